"""Judging: the gate with the facts of an instant; the only way to an execution."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from typing import Any

import msgspec

from self_healing.actions.directing import Directives
from self_healing.actions.planning import Decide, Planner
from self_healing.clock import SECOND_US, to_us
from self_healing.constitution.approvals import Approvals
from self_healing.constitution.audit import Audit
from self_healing.constitution.circumstances import Circumstances, Fleet, unwell_in
from self_healing.constitution.effects import Span
from self_healing.constitution.facts import gather
from self_healing.constitution.gate import Gate
from self_healing.constitution.violations import violations
from self_healing.incidents.register import Register
from self_healing.loop.stepping import Stepping
from self_healing.loop.underway import Underway
from self_healing.model import Decision, Incident, Lesson, Outcome, Proposal, affected_agent
from self_healing.spec import Spec
from self_healing.storage.store import Store
from self_healing.telemetry.telemetry import Telemetry
from self_healing.triggers.framework import TriggerFramework

Violation = tuple[str, int, str]
"""Incident, step and article."""

VIOLATIONS = "violation_count"
"""The fact that keeps how many violations there were."""

TESTED_SPEC = "tested_spec"
"""The fact that keeps the version of the spec whose own tests passed last."""


class Judging:
    """Asks the gate, and remembers what it denied.

    Args:
        store: the state.
        gate: the constitution.
        spec: the loaded spec; its tests have passed.
        kept: the specs that were loaded before and incidents go on by, by version and trigger.
        planner: says which settings the spec has for an action.
        telemetry: what is known of the fleet.
        framework: what the triggers say.
        register: the incidents.
        directives: what is in force.
        underway: what is intended and was done lately.
        stepping: says of which incidents a step is.
        audit: the audit log.
        approvals: what people said.
        agreeing: how many signals, independent of one another, say at an instant that an agent is unwell.
        unread_since_us: since when there is telemetry that could not be read, microseconds; None when there is none.
        stopped: whether a person has stopped healing; asked for each decision.
        denied: hears of each denial.
    """

    def __init__(
        self,
        store: Store,
        gate: Gate,
        spec: Spec,
        planner: Planner,
        telemetry: Telemetry,
        framework: TriggerFramework,
        register: Register,
        directives: Directives,
        underway: Underway,
        stepping: Stepping,
        *,
        kept: Mapping[tuple[str, str], Spec],
        audit: Audit,
        approvals: Approvals,
        agreeing: Callable[[str, datetime], int],
        unread_since_us: Callable[[], int | None],
        stopped: Callable[[], bool],
        denied: Callable[[Decision], None],
    ) -> None:
        self._store = store
        self._gate = gate
        self._spec = spec
        self._kept = kept
        self._planner = planner
        self._telemetry = telemetry
        self._framework = framework
        self._register = register
        self._directives = directives
        self._underway = underway
        self._stepping = stepping
        self._audit = audit
        self._approvals = approvals
        self._agreeing = agreeing
        self._unread_since_us = unread_since_us
        self._stopped = stopped
        self._denied = denied
        audit.whole()  # from here on every entry is looked at
        self.violations: int = store.fact(VIOLATIONS, int) or 0  # since the state began
        self._counted: dict[str, set[Violation]] = {}  # by incident, of some that are not closed

    def bypassed(self) -> None:
        """An effect was asked for that the gate did not allow: a violation, whatever article it would have been."""
        self.violations += 1
        self._store.put_fact(VIOLATIONS, self.violations)

    def at(self, at: datetime) -> Decide:
        """The gate with the facts of that instant."""
        # Worked out with the first proposal: most instants have none.
        at_first = cache(lambda: self._circumstances(at))

        def decide(proposal: Proposal, incident: Incident, context: dict[str, Any]) -> Decision:
            circumstances = at_first()
            # What was intended a moment ago is not in force yet, and counts all the same.
            known = (*circumstances.directives, *self._underway.about_to_be())
            facts = gather(
                proposal,
                circumstances=msgspec.structs.replace(circumstances, directives=known, stopped=self._stopped()),
                incident=self._store.find(Incident, incident.id),
                verdict=self._register.verdict(incident, at),
                evidence=context,
                lessons=self._store.select(Lesson, trigger=proposal.trigger, action=proposal.action),
                renewed=self._renewed(proposal),
                answer=self._approvals.answer(proposal, self._spec.limits, at),
            )
            decision = self._gate.decide(proposal, facts, at)
            if decision.outcome is Outcome.DENY:
                self._count(decision)
                self._denied(decision)
            return decision

        return decide

    def _renewed(self, proposal: Proposal) -> Proposal | None:
        """What was allowed and is to be set once more."""
        earlier = None if proposal.renews is None else self._store.find(Decision, proposal.renews)
        return earlier.proposal if earlier is not None and earlier.outcome is Outcome.ALLOW else None

    def _circumstances(self, at: datetime) -> Circumstances:
        return Circumstances(
            at=at,
            spec=self._spec,
            kept=self._kept,
            tested_version=self._store.fact(TESTED_SPEC, str),
            fleet=Fleet.of(self._telemetry.agents, self._register.open.values()),
            effects=self._underway.effects,
            directives=tuple(self._directives.in_force(at=at)),
            ingest_lag_s=_age_s(self._unread_since_us(), at),
            oldest_in_flight_s=_age_s(self._telemetry.next_queued_us(), at),
            decision_recorded=self._store.writing and not self._store.read_only and self._audit.whole(),
            stopped=self._stopped(),
            step_is_for=lambda incident, action: self._stepping.unmet(incident, action) is None,
            settings_from_spec=self._planner.settings,
            unwell=self._unwell,
            agreeing=lambda agent: self._agreeing(agent, at),
            began=self._began,
        )

    def _began(self, id: str) -> datetime | None:
        incident = self._register.open.get(id) or self._store.find(Incident, id)
        return None if incident is None else incident.first_opened_at

    def _unwell(self, agent: str) -> list[Span]:
        """When an agent had incidents that were not closed: those now, and those that something was done about."""
        now = {i.id: i for i in self._register.open.values() if affected_agent(i.group) == agent}
        treated = [self._store.get(Incident, id) for id in self._underway.effects.incidents_on(agent) - now.keys()]
        return [span for incident in (*now.values(), *treated) for span in unwell_in(incident)]

    def _count(self, decision: Decision) -> None:
        """Count a denial, each step and article of an incident once; the decisions on record say which were before."""
        incident = decision.proposal.incident
        if incident not in self._counted:
            earlier = self._store.select(Decision, incident=incident, outcome=Outcome.DENY.value)
            self._counted = {id: known for id, known in self._counted.items() if id in self._register.open}
            self._counted[incident] = violations(earlier)
        fresh = violations([decision]) - self._counted[incident]
        self._counted[incident] |= fresh
        self.violations += len(fresh)


def _age_s(since_us: int | None, at: datetime) -> float:
    return 0.0 if since_us is None else max(to_us(at) - since_us, 0) / SECOND_US
