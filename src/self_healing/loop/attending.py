"""Attending: what people may do about a fleet, each on record under a name, and looked at with the next turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from self_healing.changes import NEEDS_RESTART, Reload, restart_changes, setting_changes, spec_changes
from self_healing.clock import from_us
from self_healing.config import Settings
from self_healing.errors import NotFound, StateError
from self_healing.loading import Loaded, load_tested
from self_healing.loop.owner import Owner
from self_healing.model import Approval, CloseReason, Directive, Handoff, HandoffStatus, Incident, Silence
from self_healing.reloading import MOST_RELOADS, RELOADS, RESTART_NEEDED
from self_healing.spec import TriggerSpec
from self_healing.triggers.declared import in_pack
from self_healing.wording import plain


class Attended(Owner):
    """The state of one fleet, in people's hands."""

    def acknowledge(self, incident: str, by: str, reason: str) -> Incident:
        """Write down that a person has seen an incident. Raises NotFound, StateError when it is closed."""
        found = self._open_incident(incident)
        with self._by_person():
            return self.register.acknowledge(found, self.now(), by, reason)

    def dismiss(self, incident: str, by: str, reason: str) -> Incident:
        """Close an incident because a person says that it is none. Raises NotFound, StateError when it is closed."""
        found = self._open_incident(incident)
        with self._by_person():
            return self._dismiss(found, by, f"{by}: {reason}")

    def _dismiss(self, incident: Incident, by: str, text: str) -> Incident:
        anew_at = from_us(self.evaluated_us)
        return self.register.close(incident, self.now(), CloseReason.DISMISSED, text, by=by, anew_at=anew_at)

    def _open_incident(self, id: str) -> Incident:
        found = self.register.open.get(id)
        if found is None:
            closed = self.store.get(Incident, id)
            raise StateError(f"incident {id} is closed already ({closed.close_reason}); there is nothing to change")
        return found

    def silence(
        self,
        trigger: str | None,
        keys: Mapping[str, str],
        lasts: timedelta,
        by: str,
        reason: str,
        starts_at: datetime | None = None,
    ) -> Silence:
        """Let series open no incident for a time; what is open of them closes as suppressed. Raises SilenceRefused.

        Args:
            trigger: whose series; of every trigger when None.
            keys: what their groups have among their own, such as ``{"agent": "Coder"}``.
            lasts: from its start on.
            starts_at: aware; now when left out.
        """
        at, silences = self.now(), self._parts.silences
        with self._by_person():
            made = silences.add(trigger, keys, at=at, starts_at=starts_at, lasts=lasts, by=by, reason=reason)
            self._telling.silence(made, "added", at)
        return made

    def remove_silence(self, id: str, by: str) -> Silence:
        """End a silence before its time. Raises NotFound, SilenceRefused when it is over already."""
        at = self.now()
        with self._by_person():
            removed = self._parts.silences.remove(id, at=at, by=by)
            self._telling.silence(removed, "removed", at)
        return removed

    def undo_directives(self, ids: Sequence[str], by: str, reason: str) -> list[Directive]:
        """End directives at once. Raises NotFound, with nothing undone."""
        at = self.now()
        with self._by_person():
            undone = self._directives.undo(ids, at=at, reason=reason, by=by)
            for owner in dict.fromkeys(each.owner for each in undone):
                what = ", ".join(f"{each.name}={plain(each.value)}" for each in undone if each.owner == owner)
                self._note(owner, at, "undone", f"{by}: {reason}; {what} is undone")
        return undone

    def move_handoff(self, id: str, to: HandoffStatus, by: str, result: str | None) -> Handoff:
        """What its recipient says of a handoff. Raises NotFound, HandoffRefused."""
        at, inbox = self.now(), self.inbox
        with self._by_person():
            match to:
                case HandoffStatus.ACCEPTED:
                    return inbox.accept(id, by=by, at=at)
                case HandoffStatus.COMPLETED:
                    return inbox.complete(id, by=by, at=at, result=result)
                case HandoffStatus.FAILED:
                    return inbox.fail(id, by=by, at=at, result=result)
        raise StateError(f"a handoff cannot be set {to}; allowed are accepted, completed and failed")

    def answer_approval(self, id: str, yes: bool, by: str, reason: str, plan: str | None = None) -> Approval:
        """What a person says of what cannot be undone. Raises NotFound, ApprovalRefused.

        Args:
            yes: whether it may be done; it is decided anew then.
            plan: the hash of what the person saw; not compared when left out.
        """
        at, answer = self.now(), self._approvals.approve if yes else self._approvals.deny
        with self._by_person():
            answered = answer(id, by, reason, at, plan=plan)
            proposal = answered.proposal
            said = f"{by} said {'yes' if yes else 'no'} to {proposal.action}: {reason}"
            self._note(proposal.incident, at, "answered", said)
        return answered

    def _note(self, incident: str, at: datetime, what: str, text: str) -> None:
        """Add a line to the timeline of an incident, where that is open still."""
        found = self.register.open.get(incident)
        if found is not None:
            self.register.note(found, at, what, text)

    def override_trigger(self, name: str, changes: Mapping[str, Any], by: str) -> TriggerSpec:
        """Change a trigger beside its file, as part of the spec version from now on.

        Args:
            changes: such as ``{"enabled": False}``.

        Raises:
            NotFound: no such trigger.
            ConfigError: the change is refused; nothing is changed.
        """
        if name not in {trigger.name for trigger in self.spec.triggers} | in_pack():
            raise NotFound("trigger", name)
        overrides = {**self.overrides, name: {**self.overrides.get(name, {}), **changes}}
        # On the files as they were loaded: what is on the disk by now may be refused, or not be followed yet.
        loaded = load_tested(self.settings, overrides, documents=self.loaded.documents)
        with self._by_person(loaded):
            if changes.get("enabled") is False:
                for id in [each.id for each in self.register.open.values() if each.trigger == name]:
                    incident = self.register.open.get(id)  # None where it was closed with its parent
                    if incident is not None:
                        self._dismiss(incident, by, f"{by} disabled the trigger")
            self.store.put_fact("overrides", overrides)
            told = {"trigger": name, "changes": dict(changes), "by": by, "spec": loaded.spec.version}
            self.audit.append("override", told, self.now())
        self.overrides = overrides
        return self.spec.trigger(name)

    def reload(self, settings: Settings, loaded: Loaded, why: str) -> Reload:
        """Go on by another configuration, but for what takes a restart; returns what differs.

        Whatever fails, nothing of it is committed, and `settings` and `loaded` stay what is in force.

        Args:
            loaded: the spec that it declares, with the overrides in force.
            why: what asked for it.
        """
        followed = settings.model_copy(update={name: getattr(self.settings, name) for name in NEEDS_RESTART})
        reload = Reload(
            at=self.now(),
            why=why,
            before=self.spec.version,
            spec_version=loaded.spec.version,
            changes=(*spec_changes(self.spec, loaded.spec), *setting_changes(self.settings, followed)),
            restart=tuple(restart_changes(self.settings, settings)),
        )
        told, needed = msgspec.to_builtins(reload), [str(each) for each in reload.restart]
        with self._by_person(loaded, followed):
            if reload.changes:
                self.store.put_fact(RELOADS, [*(self.store.fact(RELOADS) or []), told][-MOST_RELOADS:])
                self.audit.append("reload", told, reload.at)
            if needed != (self.store.fact(RESTART_NEEDED) or []):
                self.store.put_fact(RESTART_NEEDED, needed)
        self.refused = ()
        return reload
