"""Renewing: what an allowed action declared passes the gate again before it is set or restored once more.

Probation, a pause that begins anew and a directive that comes back after a relapse all belong to an execution that was
allowed, and much may have changed since: the fleet, the spec, a person's mind. So each is a decision of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from self_healing.actions.planning import Decide, Planner
from self_healing.incidents.register import Register
from self_healing.model import Decision, Execution, Incident, Outcome
from self_healing.spec import ActionSpec

WAITS = "waits"
"""The word in the timeline for what the gate deferred; what waits says so once."""


class Renewing:
    """Asks the gate once more.

    Args:
        register: the incidents.
        planner: makes the proposal.
        record: puts a decision on record.
        decide: the gate with the facts of an instant.
        free: whether anything may be set or undone in the fleet now.
        patience: how long an answer may wait.
    """

    def __init__(
        self,
        register: Register,
        planner: Planner,
        *,
        record: Callable[[Decision], None],
        decide: Callable[[datetime], Decide],
        free: Callable[[], bool],
        patience: timedelta,
    ) -> None:
        self._register = register
        self._planner = planner
        self._record = record
        self._decide = decide
        self._free = free
        self._patience = patience

    def ask(
        self, incident: Incident, execution: Execution, action: ActionSpec, settings: dict[str, Any], at: datetime
    ) -> Decision | None:
        """What the gate says of setting `settings` once more, on record; None while it must wait.

        What waited too long comes back deferred, and is allowed no more.
        """
        waiting = incident.notes[-1].what == WAITS
        if not self._free():
            if waiting:  # the time for which nothing may be set does not count as waiting
                self._register.note(incident, at, "stopped", "nothing may be set now")
            return None
        proposal = self._planner.renewal(incident, execution, action, settings)
        decision = self._decide(at)(proposal, incident, {})
        too_long = waiting and at - incident.notes[-1].at >= self._patience
        if too_long or decision.outcome in (Outcome.ALLOW, Outcome.DENY):
            self._record(decision)
            return decision
        if not waiting:
            shown = ", ".join(f"{name}={value}" for name, value in settings.items())
            self._record(decision)
            self._register.note(incident, at, WAITS, f"{shown} waits: {_reasons(decision)}")
        return None


def refused(decision: Decision) -> str:
    """What became of a proposal that was not allowed, and what is held against it, in words."""
    what = "denied" if decision.outcome is Outcome.DENY else "not allowed in time"
    return f"{what}: {_reasons(decision)}"


def _reasons(decision: Decision) -> str:
    return ", ".join(finding.policy for finding in decision.findings)
