"""What was set and handed over, and what waits for a person."""

from __future__ import annotations

from collections import defaultdict
from hashlib import sha256

import msgspec

from self_healing import views
from self_healing.actions.directives import effective, overridden
from self_healing.model import (
    Approval,
    ApprovalStatus,
    Decision,
    Directive,
    Execution,
    Handoff,
    HandoffStatus,
    Incident,
    IncidentState,
    Verification,
)
from self_healing.surface.shared import Answers, AtLeastOne, Said
from self_healing.views import Json


class Handing(Answers):
    """Directives, handoffs and approvals."""

    def directives(self) -> Json:
        now = self._loop.clock.now()
        in_force = [each for each in self._store.select(Directive, open="yes") if each.expires_at > now]
        of_agent: defaultdict[str, list[Directive]] = defaultdict(list)
        for each in in_force:
            of_agent[each.agent].append(each)
        by_which = {id: by for directives in of_agent.values() for id, by in overridden(directives).items()}
        return {
            "directives": [{**views.plain(each), "overridden_by": by_which.get(each.id)} for each in in_force],
            "effective": {agent: effective(directives, now) for agent, directives in of_agent.items()},
        }

    def undo(self, ids: tuple[str, ...], by: Said, reason: Said) -> Json:
        return {"directives": [views.plain(each) for each in self._loop.undo_directives(ids, by, reason)]}

    def handoff(self, id: str) -> Json:
        return {"handoff": self._thread(self._store.get(Handoff, id))}

    def handed(self, id: str, newest: AtLeastOne) -> Json:
        """What was said of the newest handoffs of an incident, the newest first, and the evidence that is known of it.

        That is what the newest of them bears; where none does, what whoever it were handed to now would be told; of one
        that is closed nothing is known any more then. What is closed has a mark, which is another once it changes.
        """
        incident = self._store.get(Incident, id)
        handoffs = self._store.select(Handoff, newest=newest, incident=id)[::-1]
        bearing = next((each for each in handoffs if "symptom" in each.message["context"]), None)
        found, over = None, incident.state is IncidentState.CLOSED
        if bearing is not None:
            found = {**bearing.message["context"], "borne_by": self._handoff(bearing)}
        elif not over:
            found = self._loop.gathered(incident)
        return {
            "threads": [self._thread(each) for each in handoffs],
            "found": found,
            "closed_at": msgspec.to_builtins(incident.closed_at),
            "mark": self._mark(incident, handoffs) if over else None,
        }

    def _mark(self, incident: Incident, handoffs: list[Handoff]) -> str:
        """What is another once anything of a closed incident changes."""
        shown = (
            incident,
            handoffs,
            self._store.select(Execution, incident=incident.id),
            self._store.select(Directive, owner=incident.id),
            self._store.select(Verification, incident=incident.id),
        )
        return sha256(msgspec.json.encode(shown)).hexdigest()[:16]

    def _thread(self, handoff: Handoff) -> Json:
        told = views.plain(handoff)
        return {**self._handoff(handoff), "message": told["message"], "notes": told["notes"]}

    def accept(self, id: str, by: Said) -> Json:
        return self._moved(id, HandoffStatus.ACCEPTED, by, None)

    def complete(self, id: str, by: Said, result: str | None = None) -> Json:
        return self._moved(id, HandoffStatus.COMPLETED, by, result)

    def fail(self, id: str, by: Said, result: str | None = None) -> Json:
        return self._moved(id, HandoffStatus.FAILED, by, result)

    def _moved(self, id: str, to: HandoffStatus, by: str, result: str | None) -> Json:
        return {"handoff": self._handoff(self._loop.move_handoff(id, to, by, result))}

    def approvals(self, everything: bool = False, limit: AtLeastOne = 50) -> Json:
        if everything:
            asked = self._store.select(Approval, newest=limit)
        else:  # of those, how many there may be is bounded, and none is to be hidden by what was asked after it
            unsettled = self._store.select(Approval, open="yes")
            asked = [each for each in unsettled if each.status is ApprovalStatus.PENDING][-limit:]
        return {"approvals": [self._approval(each) for each in reversed(asked)]}

    def approval(self, id: str) -> Json:
        approval = self._store.get(Approval, id)
        incident = self._store.get(Incident, approval.proposal.incident)
        decision = self._store.get(Decision, approval.decision)
        return {
            "approval": self._approval(approval),
            "incident": self._incident(incident),
            "decision": views.decision(decision),
            "facts": decision.facts,
        }

    def approve(self, id: str, by: Said, reason: Said, plan: str | None = None) -> Json:
        return {"approval": self._approval(self._loop.answer_approval(id, True, by, reason, plan))}

    def deny(self, id: str, by: Said, reason: Said, plan: str | None = None) -> Json:
        return {"approval": self._approval(self._loop.answer_approval(id, False, by, reason, plan))}
