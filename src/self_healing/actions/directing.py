"""Setting, undoing and restoring directives: the side of the owner of the state."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Protocol

import msgspec

from self_healing.actions.directives import effective
from self_healing.errors import ConstitutionBypass
from self_healing.model import Decision, Directive, Execution
from self_healing.storage.store import Store

EXPIRED = "expired"
"""The reason on a directive that ended by itself."""

OURSELVES = "self-healing"
"""Who does what no person did."""

AuditAppend = Callable[[str, dict[str, Any], datetime], object]
"""Puts an entry on the audit log, in the transaction that is open: its kind, its payload, and when."""


def directive_id(key: str, name: str) -> str:
    """The id of the directive that the execution with that idempotency key sets under `name`: always the same."""
    return "dir-" + hashlib.sha256(f"{key}/{name}".encode()).hexdigest()[:16]


class Allowing(Protocol):
    """Where the decisions are, on record."""

    def __call__(self, execution: Execution, renewal: str | None = None) -> Decision:
        """The decision by which `execution` may be done, or the later one by which it is renewed.

        Raises ConstitutionBypass: there is none.
        """
        ...


class Directives:
    """The directives in the state. Each call is one transaction, or joins the one that is open.

    Nothing is set or restored but by a decision on record, and whatever changes has its entry on the audit log.

    Args:
        store: the state.
        allowing: finds the decision on record.
        audit: puts one entry on the audit log.
    """

    def __init__(self, store: Store, *, allowing: Allowing, audit: AuditAppend) -> None:
        self._store = store
        self._allowing = allowing
        self._audit = audit

    def set(
        self,
        execution: Execution,
        settings: Mapping[str, Any],
        *,
        at: datetime,
        expires_at: datetime,
        reason: str,
        renewal: str | None = None,
    ) -> list[Directive]:
        """The directives by which `execution` puts `settings` in force for its target.

        Setting them again changes nothing, not even after somebody undid them; that is what :meth:`restore` is for.

        Args:
            execution: it must have its key.
            settings: by name.
            at: now.
            expires_at: when they end by themselves.
            reason: in plain words, for whoever wonders.
            renewal: the decision, where that is a later one than the execution's own.

        Raises:
            ConstitutionBypass: no decision on record allows them; nothing is set.
        """
        directives = []
        with self._store.joined():
            decision = self._covering(execution, settings, renewal)
            before = effective(self.in_force(execution.target, at=at), at)
            for name, value in settings.items():
                id = directive_id(execution.key or "", name)
                directive = self._store.find(Directive, id)
                if directive is None:
                    directive = Directive(
                        id=id,
                        agent=execution.target,
                        name=name,
                        value=value,
                        owner=execution.incident,
                        execution=execution.id,
                        kind=decision.proposal.action_type,
                        reason=reason,
                        created_at=at,
                        expires_at=expires_at,
                        replaced=before.get(name),
                    )
                    self._store.put(directive)
                    self._tell("directive_set", directive, at, decision=decision.id, reason=reason)
                directives.append(directive)
        return directives

    def _covering(self, execution: Execution, settings: Mapping[str, Any], renewal: str | None) -> Decision:
        decision = self._allowing(execution, renewal)
        allowed = decision.proposal.settings
        for name, value in settings.items():
            # By type as well: in Python True equals 1, and a fleet may read them differently.
            if name not in allowed or (type(allowed[name]), allowed[name]) != (type(value), value):
                raise ConstitutionBypass(execution.id, f"decision {decision.id} does not allow {name} = {value!r}")
        return decision

    def in_force(self, agent: str | None = None, *, at: datetime) -> list[Directive]:
        """The directives in force at that instant, for one agent or for all, oldest first."""
        if agent is None:
            found = self._store.select(Directive, open="yes")
        else:
            found = self._store.select(Directive, open="yes", agent=agent)
        return [directive for directive in found if directive.expires_at > at]

    def of(self, execution: Execution) -> list[Directive]:
        """What `execution` ever set, undone or not, oldest first."""
        owned = self._store.select(Directive, owner=execution.incident)
        return [directive for directive in owned if directive.execution == execution.id]

    def undo(self, ids: Iterable[str], *, at: datetime, reason: str, by: str = OURSELVES) -> list[Directive]:
        """End these at once; returns those that were not over yet. Raises NotFound, with nothing undone.

        Args:
            by: the person, where it was one.
        """
        said = reason if by == OURSELVES else f"{by}: {reason}"
        with self._store.joined():
            found = [self._store.get(Directive, id) for id in ids]
            undone = [_ended(directive, at, said) for directive in found if directive.undone_at is None]
            self._store.put(*undone)
            for directive in undone:
                self._tell("directive_undone", directive, at, by=by, reason=reason)
        return undone

    def undo_owned(self, owner: str, *, at: datetime, reason: str) -> list[Directive]:
        """End at once all that the incident `owner` has in force; returns them."""
        owned = self._store.select(Directive, owner=owner, open="yes")
        return self.undo([directive.id for directive in owned], at=at, reason=reason)

    def restore(
        self, execution: Execution, ids: Iterable[str], *, at: datetime, expires_at: datetime, renewal: str
    ) -> list[Directive]:
        """Put these of `execution` in force again, from `at` until `expires_at`.

        Args:
            renewal: the decision that allows it.

        Raises:
            NotFound: with nothing restored.
            ConstitutionBypass: that decision does not allow them, or they are another execution's; nothing is restored.
        """
        restored = []
        with self._store.joined():
            for id in ids:
                directive = self._store.get(Directive, id)
                if (directive.execution, directive.agent) != (execution.id, execution.target):
                    raise ConstitutionBypass(execution.id, f"directive {id} is not its own")
                decision = self._covering(execution, {directive.name: directive.value}, renewal)
                again = msgspec.structs.replace(
                    directive, created_at=at, expires_at=expires_at, undone_at=None, undone_reason=None
                )
                restored.append(again)
                self._tell("directive_restored", again, at, decision=decision.id)
            self._store.put(*restored)
        return restored

    def expire(self, at: datetime) -> list[Directive]:
        """Close the books on those whose time is over; returns them. They stopped counting at their very instant."""
        over = [directive for directive in self._store.select(Directive, open="yes") if directive.expires_at <= at]
        expired = [_ended(directive, directive.expires_at, EXPIRED) for directive in over]
        with self._store.joined():
            self._store.put(*expired)
            for directive in expired:
                self._tell("directive_expired", directive, at)
        return expired

    def _tell(self, kind: str, directive: Directive, at: datetime, *, by: str = OURSELVES, **more: str) -> None:
        """Put on the audit log what became of one directive, and by whom."""
        about = {
            "directive": directive.id,
            "agent": directive.agent,
            "name": directive.name,
            "value": directive.value,
            "incident": directive.owner,
            "execution": directive.execution,
        }
        self._audit(kind, {**about, "by": by, **more}, at)


def _ended(directive: Directive, at: datetime, reason: str) -> Directive:
    return msgspec.structs.replace(directive, undone_at=at, undone_reason=reason)
