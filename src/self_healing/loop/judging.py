"""Judging: the gate with the facts of an instant; the only way to an execution."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec

from self_healing.actions.directing import Directives
from self_healing.actions.planning import Decide, Planner
from self_healing.actions.registry import ActionRegistry
from self_healing.clock import SECOND_US, to_us
from self_healing.constitution.circumstances import Circumstances, Fleet
from self_healing.constitution.facts import gather
from self_healing.constitution.gate import Gate
from self_healing.constitution.violations import violations
from self_healing.incidents.register import Register
from self_healing.loop.underway import Underway
from self_healing.model import Decision, Incident, Lesson, Outcome, Proposal
from self_healing.spec import Spec
from self_healing.storage.store import Store
from self_healing.telemetry.telemetry import Telemetry
from self_healing.triggers.framework import TriggerFramework

Violation = tuple[str, int, str]
"""Incident, step and article."""


class Judging:
    """Asks the gate, and remembers what it denied.

    Args:
        store: the state.
        gate: the constitution.
        spec: the loaded spec; its tests have passed.
        registry: the declared actions.
        planner: says which settings the spec has for an action.
        telemetry: what is known of the fleet.
        framework: what the triggers say.
        register: the incidents.
        directives: what is in force.
        underway: what is intended and was done lately.
        stopped: whether a person has stopped healing; asked for each decision.
        denied: hears of each denial.
    """

    def __init__(
        self,
        store: Store,
        gate: Gate,
        spec: Spec,
        registry: ActionRegistry,
        planner: Planner,
        telemetry: Telemetry,
        framework: TriggerFramework,
        register: Register,
        directives: Directives,
        underway: Underway,
        *,
        stopped: Callable[[], bool],
        denied: Callable[[Decision], None],
    ) -> None:
        self._store = store
        self._gate = gate
        self._spec = spec
        self._registry = registry
        self._planner = planner
        self._telemetry = telemetry
        self._framework = framework
        self._register = register
        self._directives = directives
        self._underway = underway
        self._stopped = stopped
        self._denied = denied
        self.violations: set[Violation] = set(store.fact("violations", list[Violation]) or ())

    def at(self, at: datetime) -> Decide:
        """The gate with the facts of that instant."""
        circumstances = self._circumstances(at)

        def decide(proposal: Proposal, incident: Incident, context: dict[str, Any]) -> Decision:
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
            )
            decision = self._gate.decide(proposal, facts, at)
            if decision.outcome is Outcome.DENY:
                self.violations |= violations([decision])
                self._denied(decision)
            return decision

        return decide

    def _renewed(self, proposal: Proposal) -> Proposal | None:
        """What was allowed and is to be set once more."""
        earlier = None if proposal.renews is None else self._store.find(Decision, proposal.renews)
        return earlier.proposal if earlier is not None and earlier.outcome is Outcome.ALLOW else None

    def _circumstances(self, at: datetime) -> Circumstances:
        queued_us = self._telemetry.next_queued_us()
        in_flight_s = 0.0 if queued_us is None else max(to_us(at) - queued_us, 0) / SECOND_US
        return Circumstances(
            at=at,
            spec=self._spec,
            tested_version=self._spec.version,
            fleet=Fleet.of(self._telemetry.agents, self._register.open.values()),
            effects=self._underway.effects,
            directives=tuple(self._directives.in_force(at=at)),
            ingest_lag_s=in_flight_s,
            oldest_in_flight_s=in_flight_s,
            decision_recorded=not self._store.read_only,
            outcome_will_be_recorded=not self._store.read_only,
            stopped=self._stopped(),
            settings_from_spec=self._planner.settings,
            reversible=self._registry.reversible,
        )
