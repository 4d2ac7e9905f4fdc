"""Gathering: the evidence about an incident, for whoever gets it handed over."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from self_healing.actions.directing import Directives
from self_healing.handoffs.cleaning import clean
from self_healing.handoffs.evidence import evidence
from self_healing.incidents.register import Register
from self_healing.model import Event, Execution, Incident, IncidentState, group_dict
from self_healing.spec import ActionSpec, ActionType, Spec
from self_healing.storage.store import Store
from self_healing.telemetry.samples import duration_of, tokens_of
from self_healing.telemetry.signals import unit
from self_healing.telemetry.telemetry import Telemetry

MOST_EXAMPLES = 5
MOST_SIMILAR = 5
MOST_SHARED = 10


class Gathering:
    """What is known about an incident.

    Args:
        store: the state.
        register: the incidents.
        directives: what is in force.
        telemetry: has the newest attempts.
        spec: the loaded spec.
        shared: the attributes that the agents of some incidents share.
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
        shared: Callable[[list[Incident]], list[tuple[str, str]]],
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._register = register
        self._directives = directives
        self._telemetry = telemetry
        self._spec = spec
        self._shared = shared
        self._now = now

    def for_action(self, incident: Incident, action: ActionSpec, settings: dict[str, Any]) -> dict[str, Any]:
        """The context of the handoff that goes with `action`."""
        context = self._evidence(incident, action.description or action.name, settings)
        about = [incident]
        if action.type is ActionType.DIAGNOSTIC:
            about = list(self._register.open.values())
            context["open_incidents"] = clean([self._line(i) for i in about])
        elif incident.is_parent:
            about = self._register.children(incident)
            context["incidents_beneath"] = clean([self._line(i) for i in about])
        if len(about) > 1:
            found = self._shared(about)[:MOST_SHARED]
            context["shared_attributes"] = clean([{"name": name, "value": value} for name, value in found])
        return context

    def for_person(self, incident: Incident, at: datetime) -> dict[str, Any]:
        """The context of a notification."""
        return self._evidence(incident, f"a person's decision: {incident.escalation}", {})

    def _evidence(self, incident: Incident, wanted: str, settings: dict[str, Any]) -> dict[str, Any]:
        trigger = self._spec.trigger(incident.trigger)
        agents = self._register.agents(incident)
        past = self._store.select(Incident, trigger=incident.trigger, state=IncidentState.CLOSED.value, newest=50)
        return evidence(
            incident,
            unit=unit(trigger),
            window={"window_s": trigger.window, "signal": trigger.signal, "aggregate": trigger.aggregate.value},
            examples=self._examples(agents),
            directives=[each for agent in agents for each in self._directives.in_force(agent, at=self._now())],
            tried=self._store.select(Execution, incident=incident.id),
            similar=[each for each in reversed(past) if each.id != incident.id][:MOST_SIMILAR],
            wanted=wanted,
            done=settings,
        )

    def _examples(self, agents: Iterable[str]) -> list[dict[str, Any]]:
        """The affected agents' newest attempts, the failed and the slow ones first."""
        mine = [event for agent in agents for event in self._telemetry.examples.of(agent)]
        mine.sort(key=lambda e: (e.status in ("failed", "timeout"), duration_of(e) or 0.0), reverse=True)
        return [_example(event) for event in mine[:MOST_EXAMPLES]]

    def _line(self, incident: Incident) -> dict[str, Any]:
        return {
            "incident": incident.id,
            "trigger": incident.trigger,
            "group": group_dict(incident.group),
            "state": incident.state.value,
            "value": incident.value,
            "unit": unit(self._spec.trigger(incident.trigger)),
        }


def _example(event: Event) -> dict[str, Any]:
    shown = {
        "task": event.task_id,
        "agent": event.agent,
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
