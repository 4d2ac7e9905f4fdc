"""Renewing: what an allowed action declared passes the gate again before it is set or restored once more.

Probation, a pause that begins anew and a directive that comes back after a relapse all belong to an execution that was
allowed, and much may have changed since: the fleet, the spec, a person's mind. So each is a decision of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from self_healing.actions.planning import Decide, Planner
from self_healing.incidents.register import Register
from self_healing.model import Decision, Execution, Incident, Outcome
from self_healing.spec import ActionSpec


class Renewing:
    """Asks the gate once more.

    Args:
        register: the incidents.
        planner: makes the proposal.
        record: puts a decision on record.
        decide: the gate with the facts of an instant.
        free: whether anything may be set or undone in the fleet now.
    """

    def __init__(
        self,
        register: Register,
        planner: Planner,
        *,
        record: Callable[[Decision], None],
        decide: Callable[[datetime], Decide],
        free: Callable[[], bool],
    ) -> None:
        self._register = register
        self._planner = planner
        self._record = record
        self._decide = decide
        self._free = free

    def ask(
        self, incident: Incident, execution: Execution, action: ActionSpec, settings: dict[str, Any], at: datetime
    ) -> Decision | None:
        """What the gate says of setting `settings` once more: allowed or denied, on record; None while it must wait."""
        if not self._free():
            return None
        proposal = self._planner.renewal(incident, execution, action, settings)
        decision = self._decide(at)(proposal, incident, {})
        if decision.outcome in (Outcome.ALLOW, Outcome.DENY):
            self._record(decision)
            return decision
        if incident.notes[-1].what != "waits":
            shown = ", ".join(f"{name}={value}" for name, value in settings.items())
            self._record(decision)
            self._register.note(incident, at, "waits", f"{shown} waits: {reasons(decision)}")
        return None


def reasons(decision: Decision) -> str:
    """What a decision holds against its proposal, in words."""
    return ", ".join(finding.policy for finding in decision.findings)
