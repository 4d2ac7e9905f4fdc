"""Incidents and silences, and what people say of them."""

from __future__ import annotations

from datetime import timedelta

from self_healing import listing, views
from self_healing.incidents.silences import matched
from self_healing.incidents.similar import similar
from self_healing.model import (
    Decision,
    Directive,
    Execution,
    Handoff,
    Incident,
    IncidentState,
    Silence,
    Verification,
)
from self_healing.reloading import RELOADS
from self_healing.surface.shared import NOT_CLOSED, Answers, AtLeastOne, Aware, Said
from self_healing.views import Json


class Incidents(Answers):
    """Incidents, past ones, and what mutes them."""

    def incidents(self, states: tuple[IncidentState, ...] = NOT_CLOSED, agents: tuple[str, ...] = ()) -> Json:
        store = self._store
        found = store.select(Incident, state=states, agent=agents) if agents else store.select(Incident, state=states)
        return {"incidents": [self._incident(each) for each in found]}

    def incident(self, id: str) -> Json:
        incident = self._store.get(Incident, id)
        beneath = self._store.select(Incident, parent=id)
        handoffs = self._store.select(Handoff, incident=id)
        return {
            "incident": self._incident(incident),
            "series": self._series(incident),
            "goes_on_by": self._loop.goes_on_by(incident),
            "evidence": self._evidence(incident, beneath),
            "beneath": [self._incident(each) for each in beneath],
            "timeline": views.timeline(incident, handoffs),
            "executions": self._executions(self._store.select(Execution, incident=id)),
            "decisions": [views.decision(each) for each in self._store.select(Decision, incident=id)],
            "verifications": [views.plain(each) for each in self._store.select(Verification, incident=id)],
            "directives": [views.plain(each) for each in self._store.select(Directive, owner=id)],
            "handoffs": [self._handoff(each) for each in handoffs],
            "similar": self._past(similar(self._store, incident)),
        }

    def _evidence(self, incident: Incident, beneath: list[Incident]) -> Json:
        """The events in the windows over which it was open; of a parent, those of all that are or were beneath it."""
        window_s = next((each.window for each in self._loop.spec.triggers if each.name == incident.trigger), 0)
        since = incident.opened_at - timedelta(seconds=window_s)
        return views.evidence([each.group for each in beneath or [incident]], since, incident.closed_at)

    def _series(self, incident: Incident) -> Json | None:
        """What the trigger says of an incident's series now; None of a parent, and once it is closed."""
        if incident.state is IncidentState.CLOSED or incident.is_parent or not self._loop.register.watched(incident):
            return None
        at_us = self._loop.evaluated_us
        return views.verdict(self._loop.framework.verdict(incident.trigger, incident.group, at_us))

    def ack(self, id: str, by: Said, reason: Said) -> Json:
        return {"incident": self._incident(self._loop.acknowledge(id, by, reason))}

    def close(self, id: str, by: Said, reason: Said) -> Json:
        return {"incident": self._incident(self._loop.dismiss(id, by, reason))}

    def history(self, limit: AtLeastOne = 20, cursor: str | None = None, agents: tuple[str, ...] = ()) -> Json:
        incidents, following = listing.page(self._store, "incidents", {"agent": agents}, limit, cursor)
        return {
            "history": self._past(incidents),
            "next": following,
            "reloads": (self._store.fact(RELOADS) or [])[: -limit - 1 : -1],
        }

    def silences(self, everything: bool = False) -> Json:
        now = self._loop.now()
        known = self._store.select(Silence) if everything else self._store.select(Silence, open="yes")
        shown = [each for each in known if everything or each.over_at > now]
        return {"silences": [views.silence(each, now) for each in shown]}

    def silence(
        self,
        by: Said,
        reason: str,  # what is named is looked at first, and then that it is not empty
        lasts_s: AtLeastOne,
        trigger: str | None = None,
        keys: dict[str, str] = {},  # noqa: B006 it is only read, and says what is meant
        starts_at: Aware | None = None,
    ) -> Json:
        made = self._loop.silence(trigger, keys, timedelta(seconds=lasts_s), by, reason, starts_at)
        series = [(each.trigger, each.group) for each in self._loop.verdicts()]
        return {"silence": views.silence(made, self._loop.now()), "matches": matched(trigger, keys, series)}

    def unsilence(self, id: str, by: Said) -> Json:
        return {"silence": views.silence(self._loop.remove_silence(id, by), self._loop.now())}
