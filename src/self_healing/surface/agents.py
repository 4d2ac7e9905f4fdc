"""The agents, and what is stored, page by page."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import msgspec

from self_healing import listing, views
from self_healing.clock import from_us
from self_healing.errors import NotFound
from self_healing.model import (
    Approval,
    Decision,
    Execution,
    Handoff,
    Incident,
    IncidentState,
    Record,
    Silence,
    Transition,
    affected_agent,
)
from self_healing.problems import suggestion
from self_healing.surface.handing import Handing
from self_healing.surface.shared import AtLeastOne
from self_healing.telemetry.signals import unit
from self_healing.views import Json

MOST_OF_AGENT = 50
"""So many of the newest incidents and handoffs are told of one agent; the lists have all of them."""


class Agents(Handing):
    """The agents with what is open, set and handed over about each, and every record."""

    def agents(self, limit: AtLeastOne = 50, cursor: str | None = None) -> Json:
        """Every agent, those with an open incident first, and by name: both go on where the page before ended."""
        behind = None if cursor is None else listing.opened(cursor, "agents", tuple[bool, str])
        open_of, read = self._open_of(), self.directives()["effective"]
        known = sorted((agent not in open_of, agent) for agent in {*self._loop.telemetry.agents, *read})
        wanted = [place for place in known if behind is None or place > behind]
        those = wanted[:limit]
        return {
            "now": msgspec.to_builtins(self._loop.clock.now()),
            "in_all": len(known),
            "unwell": sum(not well for well, _ in known),
            "agents": [self._agent(agent, open_of, read) for _, agent in those],
            "next": listing.sealed("agents", those[-1]) if len(wanted) > limit else None,
        }

    def _open_of(self) -> dict[str, list[Json]]:
        """The open incidents of each agent."""
        open_of: defaultdict[str, list[Json]] = defaultdict(list)
        for incident in self._loop.register.open.values():
            open_of[affected_agent(incident.group)].append(self._incident(incident))
        return dict(open_of)

    def _agent(self, agent: str, open_of: Mapping[str, list[Json]], read: Mapping[str, Json]) -> Json:
        seen_us = self._loop.telemetry.agents.get(agent)
        return {
            "agent": agent,
            "seen_at": None if seen_us is None else msgspec.to_builtins(from_us(seen_us)),
            "incidents": open_of.get(agent, []),
            "directives": read.get(agent, {}),
        }

    def agent(self, name: str) -> Json:
        seen, set_now = self._loop.telemetry.agents, self.directives()
        read = set_now["effective"]
        if name not in seen and name not in read:
            raise NotFound("agent", name, suggestion(name, list(seen)))
        specs = {spec.name: spec for spec in self._loop.spec.triggers}
        past = self._store.select(Incident, newest=MOST_OF_AGENT, agent=name, state=IncidentState.CLOSED.value)
        handoffs = self._store.select(Handoff, newest=MOST_OF_AGENT, agent=name)
        return {
            **self._agent(name, self._open_of(), read),
            "series": [
                {**views.verdict(each), "unit": unit(specs[each.trigger])}
                for each in self._loop.verdicts()
                if affected_agent(each.group) == name
            ],
            "past": [self._incident(each) for each in reversed(past)],
            "in_force": [each for each in set_now["directives"] if each["agent"] == name],
            "handoffs": [self._handoff(each) for each in reversed(handoffs)],
        }

    def records(
        self,
        kind: str,
        where: dict[str, tuple[str, ...]] = {},  # noqa: B006 it is only read
        limit: AtLeastOne = 50,
        cursor: str | None = None,
    ) -> Json:
        found, following = listing.page(self._store, kind, where, limit, cursor)
        told = self._executions(found) if kind == "executions" else [self._told(each) for each in found]
        return {kind: told, "next": following}

    def execution(self, id: str) -> Json:
        [execution] = self._executions([self._store.get(Execution, id)])
        return {"execution": execution}

    def _told(self, record: Any) -> Json:
        match record:
            case Incident():
                return self._incident(record)
            case Decision():
                return views.decision(record)
            case Handoff():
                return self._handoff(record)
            case Approval():
                return self._approval(record)
            case Silence():
                return views.silence(record, self._loop.now())
            case Transition():
                return views.transition(record)
            case Record():
                return views.plain(record)
        told: Json = record
        return told
