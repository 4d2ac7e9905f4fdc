"""Gathering: the evidence about an incident, for whoever gets it handed over."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from self_healing.actions.directing import Directives
from self_healing.handoffs.cleaning import clean
from self_healing.handoffs.evidence import evidence
from self_healing.incidents.register import Register
from self_healing.model import Event, Execution, Incident, IncidentState, affected_agent, group_dict
from self_healing.spec import ActionSpec, ActionType, Spec
from self_healing.storage.store import Store
from self_healing.telemetry.samples import duration_of, tokens_of
from self_healing.telemetry.telemetry import Telemetry

MOST_EXAMPLES = 5
MOST_SIMILAR = 5


class Gathering:
    """What is known about an incident.

    Args:
        store: the state.
        register: the incidents.
        directives: what is in force.
        telemetry: has the newest attempts.
        spec: the loaded spec.
        now: the present instant.
    """

    def __init__(
        self,
        store: Store,
        register: Register,
        directives: Directives,
        telemetry: Telemetry,
        spec: Spec,
        *,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._register = register
        self._directives = directives
        self._telemetry = telemetry
        self._spec = spec
        self._now = now

    def for_action(self, incident: Incident, action: ActionSpec, settings: dict[str, Any]) -> dict[str, Any]:
        """The context of the handoff that goes with `action`."""
        context = self._evidence(incident, action.description or action.name, settings)
        if action.type is ActionType.DIAGNOSTIC:
            context["open_incidents"] = clean([_line(i) for i in self._register.open.values()])
        return context

    def for_person(self, incident: Incident, at: datetime) -> dict[str, Any]:
        """The context of a notification."""
        return self._evidence(incident, f"a person's decision: {incident.escalation}", {})

    def _evidence(self, incident: Incident, wanted: str, settings: dict[str, Any]) -> dict[str, Any]:
        trigger = self._spec.trigger(incident.trigger)
        agent = affected_agent(incident.group)
        past = self._store.select(Incident, trigger=incident.trigger, state=IncidentState.CLOSED.value, newest=50)
        return evidence(
            incident,
            window={"window_s": trigger.window, "signal": trigger.signal, "aggregate": trigger.aggregate.value},
            examples=self._examples(agent),
            directives=self._directives.in_force(agent, at=self._now()),
            tried=self._store.select(Execution, incident=incident.id),
            similar=[each for each in reversed(past) if each.id != incident.id][:MOST_SIMILAR],
            wanted=wanted,
            done=settings,
        )

    def _examples(self, agent: str) -> list[dict[str, Any]]:
        """The affected agent's newest attempts, the failed and the slow ones first."""
        mine = self._telemetry.examples.of(agent)
        mine.sort(key=lambda e: (e.status in ("failed", "timeout"), duration_of(e) or 0.0), reverse=True)
        return [_example(event) for event in mine[:MOST_EXAMPLES]]


def _line(incident: Incident) -> dict[str, Any]:
    return {
        "incident": incident.id,
        "trigger": incident.trigger,
        "group": group_dict(incident.group),
        "state": incident.state.value,
        "value": incident.value,
    }


def _example(event: Event) -> dict[str, Any]:
    shown = {
        "task": event.task_id,
        "ended_at": event.ts,
        "status": event.status,
        "duration_s": duration_of(event),
        "attempt": event.attempt,
        "model": event.model,
        "tokens": tokens_of(event.usage),
        "cost_usd": event.usage.total_usd if event.usage else None,
        "error_type": event.error_type,
    }
    return {name: value for name, value in shown.items() if value is not None}
