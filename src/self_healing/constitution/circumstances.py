"""What surrounds a proposal: how the fleet is, and what the loop knows at the instant."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from typing import Any, Self

import msgspec

from self_healing.constitution.effects import Effects, Span
from self_healing.model import CloseReason, Directive, Incident, IncidentState, affected_agent
from self_healing.spec import ActionSpec, Spec


class Fleet(msgspec.Struct, frozen=True, kw_only=True):
    """How the fleet is as a whole; worked out once for all proposals of an instant.

    Agents are those with events in the last 24 h; an agent is unwell while it has an incident that is not closed.
    """

    size: int
    unwell: int
    unwell_with_one_cause: int  # the most that one trigger makes unwell

    @classmethod
    def of(cls, agents: Collection[str], incidents: Iterable[Incident]) -> Self:
        """The fleet of `agents` with these `incidents`; closed ones don't matter."""
        fleet = frozenset(agents)
        unwell: defaultdict[str, set[str]] = defaultdict(set)
        for incident in incidents:
            agent = affected_agent(incident.group)
            if incident.state is not IncidentState.CLOSED and agent in fleet:
                unwell[incident.trigger].add(agent)
        return cls(
            size=len(fleet),
            unwell=len(set().union(*unwell.values())),
            unwell_with_one_cause=max(map(len, unwell.values()), default=0),
        )


class Circumstances(msgspec.Struct, frozen=True, kw_only=True):
    """What the loop knows at an instant and no record of a proposal says; the same for all its proposals."""

    at: datetime
    spec: Spec  # the loaded one
    kept: Mapping[tuple[str, str], Spec] = {}  # loaded and tested before, by version and trigger, as the records say
    tested_version: str | None  # the version of the spec whose tests passed
    fleet: Fleet
    effects: Effects
    directives: tuple[Directive, ...] = ()  # in force or not
    ingest_lag_s: float
    oldest_in_flight_s: float
    decision_recorded: bool  # the audit log is whole and takes it, in the transaction that also takes the intent
    stopped: bool
    step_is_for: Callable[[Incident, str], bool]  # whether its step of the plan is for an incident, by its action
    settings_from_spec: Callable[[ActionSpec, Incident], Mapping[str, Any]]
    unwell: Callable[[str], Iterable[Span]]  # when an agent had incidents that were not closed
    agreeing: Callable[[str], int]  # how many signals, independent of one another, say that an agent is unwell
    began: Callable[[str], datetime | None]  # when the incident of that id was opened first


def unwell_in(incident: Incident) -> list[Span]:
    """When `incident` was not closed, as its timeline says: it may have been reopened."""
    closing = frozenset(reason.value for reason in CloseReason)
    spans: list[Span] = []
    since: datetime | None = incident.first_opened_at
    for note in incident.notes:
        if note.what == "reopened":
            since = note.at
        elif note.what in closing and since is not None:
            spans.append((since, note.at))
            since = None
    return spans if since is None else [*spans, (since, None)]
