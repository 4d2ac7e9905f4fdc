"""Incidents, the agents that they are about, and silences."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from self_healing.api.models.acting import Directive, Execution, Handoff, Verification
from self_healing.api.models.base import At, Group, Model, Note, Page
from self_healing.api.models.deciding import Decision
from self_healing.api.models.watching import Series, Verdict
from self_healing.model import CloseReason, IncidentState, Result, Severity


class Incident(Model):
    """The story of a series that fired, without its timeline."""

    id: str
    trigger: str
    group: Group
    severity: Severity
    state: IncidentState
    opened_at: At
    first_opened_at: At
    value: float | None = Field(description="when it opened")
    threshold: float | None
    baseline: float | None
    peak: float | None = Field(description="the worst value seen so far")
    unit: str | None
    spec_version: str
    plan: list[str] = Field(description="names of actions, in order")
    plan_version: str
    step: int
    execution: str | None = Field(description="the newest one")
    verification: str | None = Field(description="the newest one")
    attempts: int
    given_back: int
    relapses: int
    pauses: int
    hold_s: float
    reopened: int
    updated_at: At
    closed_at: At | None
    close_reason: CloseReason | None
    closed_by: str | None
    escalated_at: At | None
    escalation: str | None = Field(description="why")
    acknowledged_by: str | None
    mitigated_at: At | None
    parent: str | None
    worst_ending: CloseReason | None


class Incidents(Page):
    """Incidents, the newest first."""

    incidents: list[Incident]


class Evidence(Model):
    """The filters of the stored events that an incident rests on."""

    agent: list[str]
    model: list[str]
    since: At
    until: At | None


class Tried(Execution):
    """An execution, and what its verification came to."""

    result: Result | None


class Past(Model):
    """A past incident in a line: what was done about it, and what came of it."""

    incident: str
    trigger: str
    group: Group
    severity: Severity
    opened_at: At
    closed_at: At | None
    outcome: str = Field(description="why it was closed; where it stands, when it is not")
    closed_by: str | None
    actions: list[Tried]


class IncidentDetail(Model):
    """One incident with its whole story."""

    incident: Incident
    series: Verdict | None = Field(description="what its trigger says of it now; null once it is closed")
    goes_on_by: str | None = Field(description="the spec version that it goes on by, where that is not the loaded one")
    evidence: Evidence
    beneath: list[Incident]
    timeline: list[Note]
    executions: list[Execution]
    decisions: list[Decision]
    verifications: list[Verification]
    directives: list[Directive]
    handoffs: list[Handoff]
    similar: list[Past] = Field(
        description="past incidents of its trigger, those of its own series first; five at most"
    )


class ChangedIncident(Model):
    """An incident after what was done to it."""

    incident: Incident


class Agent(Model):
    """One agent, and how it is."""

    agent: str
    seen_at: At | None
    incidents: list[Incident] = Field(description="those that are open")
    directives: dict[str, Any] = Field(description="the settings in force")


class Agents(Page):
    """One page of the agents that were heard of, those with an open incident first, and by name."""

    now: At
    in_all: int = Field(description="so many agents were heard of")
    unwell: int = Field(description="so many of them have an open incident")
    agents: list[Agent]


class Overridden(Directive):
    """A directive in force, and the one that holds in its place."""

    overridden_by: str | None


class AgentDetail(Agent):
    """One agent with its series, its directives, and what concerned it."""

    series: list[Series]
    past: list[Incident]
    in_force: list[Overridden]
    handoffs: list[Handoff]


class Silence(Model):
    """A person's word that some series are to open no incident for a time."""

    id: str
    trigger: str | None
    keys: dict[str, str]
    by: str
    reason: str
    created_at: At
    starts_at: At
    ends_at: At
    removed_at: At | None
    removed_by: str | None
    settled: bool
    state: Literal["to come", "mutes", "over"]


class Silences(Page):
    """Silences, the newest first."""

    silences: list[Silence]


class Matches(Model):
    """What a silence is for of what there is as it is added."""

    triggers: int = Field(description="that have such a series")
    series: int
    warning: str | None = Field(description="where there is none: why, and what may have been meant")


class AddedSilence(Model):
    """A silence that was added."""

    silence: Silence
    matches: Matches


class ChangedSilence(Model):
    """A silence after what was done to it."""

    silence: Silence
