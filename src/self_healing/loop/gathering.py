"""Gathering: the evidence about an incident, for whoever gets it handed over."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from self_healing.actions.directing import Directives
from self_healing.clock import to_us
from self_healing.handoffs.cleaning import MAX_ITEMS, clean, fit
from self_healing.handoffs.evidence import evidence, symptom
from self_healing.incidents.register import Register
from self_healing.incidents.similar import similar
from self_healing.loop.exemplifying import MOST_EXAMPLES, differing, telling
from self_healing.model import Event, Execution, Handoff, Incident, Verification, group_dict
from self_healing.spec import ActionSpec, ActionType, Spec, TriggerSpec
from self_healing.storage.store import Store
from self_healing.telemetry.signals import unit
from self_healing.telemetry.telemetry import Telemetry

AGES = "task.duration_s"
"""The signal that tasks show while they still run."""

MOST_RUNNING = 3
MOST_SIMILAR = 5
MOST_SHARED = 10
MOST_OTHERS = 200  # attempts that stand for what is normal; evidence is gathered anew whenever a proposal is looked at


class Gathering:
    """What is known about an incident.

    Args:
        store: the state.
        register: the incidents.
        directives: what is in force.
        telemetry: has the newest and the worst attempts.
        spec_of: the spec that an incident goes on by.
        shared: the attributes that the agents of some incidents share.
        now: the present instant.
    """

    def __init__(
        self,
        store: Store,
        register: Register,
        directives: Directives,
        telemetry: Telemetry,
        spec_of: Callable[[Incident], Spec],
        *,
        shared: Callable[[list[Incident]], list[tuple[str, str]]],
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._register = register
        self._directives = directives
        self._telemetry = telemetry
        self._spec_of = spec_of
        self._shared = shared
        self._now = now

    def symptom(self, incident: Incident) -> dict[str, Any]:
        """What is wrong and by how much: the evidence that a decision needs, and the least that is handed over."""
        trigger = self._spec_of(incident).trigger(incident.trigger)
        return symptom(incident, unit(trigger), self._window(incident, trigger))

    def for_action(self, incident: Incident, action: ActionSpec, settings: dict[str, Any]) -> dict[str, Any]:
        """The context of the handoff that goes with `action`."""
        context = self._evidence(incident, action.description or action.name, settings)
        if action.calls is not None:
            context["done"]["called"] = clean(action.calls)
        about = [incident]
        if action.type is ActionType.DIAGNOSTIC:
            about = list(self._register.open.values())
            context["open_incidents"] = self._lines(about)
        elif incident.is_parent:
            about = self._register.children(incident)
            context["incidents_beneath"] = self._lines(about)
        if len(about) > 1:
            found = self._shared(about)[:MOST_SHARED]
            context["shared_attributes"] = clean([{"name": name, "value": value} for name, value in found])
        return fit(context)  # anew, with what came to the evidence here

    def so_far(self, incident: Incident) -> dict[str, Any]:
        """What is known now of one that nobody was handed."""
        return self._evidence(incident, "", {})

    def for_person(self, incident: Incident, wanted: str) -> dict[str, Any]:
        """The context of a notification, with what is wanted of the person."""
        return self._evidence(incident, wanted, {})

    def _evidence(self, incident: Incident, wanted: str, settings: dict[str, Any]) -> dict[str, Any]:
        trigger = self._spec_of(incident).trigger(incident.trigger)
        agents = self._register.agents(incident)
        ended = self._ended(incident, trigger, agents)
        return evidence(
            incident,
            unit=unit(trigger),
            window=self._window(incident, trigger),
            examples=self._examples(trigger.signal, agents, ended),
            differs=self._differs(trigger.signal, incident.threshold, agents, ended),
            directives=[each for agent in agents for each in self._directives.in_force(agent, at=self._now())],
            # What waits, was denied or only would be done was never tried.
            tried=[each for each in self._store.select(Execution, incident=incident.id) if each.key is not None],
            came_to=self._store.select(Verification, incident=incident.id),
            answers=self._store.select(Handoff, incident=incident.id),
            similar=similar(self._store, incident)[:MOST_SIMILAR],
            wanted=wanted,
            done=settings,
        )

    def _window(self, incident: Incident, trigger: TriggerSpec) -> dict[str, Any]:
        """What the trigger looks at, and what it says of it now; a parent has no series of its own."""
        looked_at = {"window_s": trigger.window, "signal": trigger.signal, "aggregate": trigger.aggregate.value}
        if incident.is_parent:
            return looked_at
        now = self._register.said(incident.trigger, incident.group, self._now())
        return {**looked_at, "samples": now.samples, "value": now.value, "baseline": now.baseline, "at": now.at}

    def _ended(self, incident: Incident, trigger: TriggerSpec, agents: tuple[str, ...]) -> list[Event]:
        """The newest attempts of the affected agents, and the worst since the window began in which it came up."""
        since_us = to_us(incident.opened_at - timedelta(seconds=trigger.window))
        kept = self._telemetry.examples
        return [event for agent in agents for event in (*kept.worst(agent, since_us), *kept.of(agent))]

    def _differs(
        self, signal: str, limit: float | None, agents: tuple[str, ...], ended: list[Event]
    ) -> list[dict[str, Any]]:
        """What tells the bad attempts of the affected agents from all others."""
        return differing(signal, limit, ended, self._telemetry.examples.of_others(agents, MOST_OTHERS))

    def _examples(self, signal: str, agents: tuple[str, ...], ended: list[Event]) -> list[dict[str, Any]]:
        """The tasks of the affected agents that show it best: what runs too long still, then what ended."""
        running = self._running(agents) if signal == AGES else []
        return [*running, *telling(signal, sorted(ended, key=lambda event: event.ts or ""))][:MOST_EXAMPLES]

    def _running(self, agents: tuple[str, ...]) -> list[dict[str, Any]]:
        """The tasks that have run longest."""
        now_s = self._now().timestamp()
        found = [
            {"task": id, "agent": agent, "status": "running", "age_s": now_s - task.started_at, "attempt": task.attempt}
            for agent in agents
            for id, task in self._telemetry.tasks.longest_running(agent, MOST_RUNNING)
        ]
        return sorted(found, key=lambda each: -float(each["age_s"] or 0))[:MOST_RUNNING]

    def _lines(self, incidents: list[Incident]) -> Any:
        """A line for each; of those beyond what is shown only their number counts, so none is made of them."""
        return clean([*(self._line(each) for each in incidents[:MAX_ITEMS]), *incidents[MAX_ITEMS:]])

    def _line(self, incident: Incident) -> dict[str, Any]:
        return {
            "incident": incident.id,
            "trigger": incident.trigger,
            "group": group_dict(incident.group),
            "state": incident.state.value,
            "value": incident.value,
            "unit": unit(self._spec_of(incident).trigger(incident.trigger)),
        }
