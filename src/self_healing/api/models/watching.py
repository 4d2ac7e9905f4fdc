"""What is watched for, and what is seen."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from self_healing.api.models.base import At, Group, Json, Model, Page, StateName
from self_healing.model import Reason, Severity


class Trigger(Model):
    """One trigger in a line."""

    name: str
    type: str
    condition: str = Field(description="in words")
    unit: str = Field(description="of its values; % is a part of 1")
    window_s: int | None
    severity: Severity
    target_agent: str
    actions: list[str]
    enabled: bool
    series: int
    firing: int


class Triggers(Model):
    """Every trigger that is declared."""

    triggers: list[Trigger]


class Muted(Model):
    """What keeps a series from opening an incident."""

    why: Reason
    what: str
    by: str
    until: At | None
    text: str


class Verdict(Model):
    """What a trigger says of one series at one instant."""

    trigger: str
    group: Group
    at: At
    state: StateName
    reason: Reason
    samples: int
    value: float | None
    threshold: float | None
    baseline: float | None
    since: At | None
    muted: Muted | None
    flapping: bool
    spec_version: str


class Series(Verdict):
    """One series with its verdict of now, and the unit of its values."""

    unit: str


class SeriesPage(Page):
    """Series, by trigger and group."""

    series: list[Series]


class TriggerDetail(Model):
    """One trigger as declared, and the verdict of each of its series."""

    trigger: Json = Field(description="as it is declared, with what was left out")
    condition: str
    unit: str
    series: list[Verdict]


class Switched(Model):
    """A trigger that was switched on or off."""

    name: str
    enabled: bool
    spec_version: str
    dismissed: list[str] = Field(description="the incidents that were closed with it")


class Transition(Model):
    """A series changed its state, by that verdict."""

    before: StateName
    after: StateName
    verdict: Verdict


class Transitions(Page):
    """Changes of state, the newest first."""

    transitions: list[Transition]


class Usual(Model):
    """What the window is compared with."""

    value: float | None
    samples: int
    samples_needed: int
    frozen: bool


class MutedBy(Model):
    """What mutes a series."""

    kind: Reason
    what: str
    by: str
    text: str
    until: At | None


class IncidentThen(Model):
    """The incident of a series that was open at that instant."""

    id: str
    state: str
    opened_at: At
    parent: str | None


class Record(Model):
    """What is on record about a series of the past."""

    state: StateName
    since: At | None
    spec_version: str


class Explained(Model):
    """One series: what was seen of it, why it is as it is, and what would make it fire."""

    group: Group
    state: StateName
    since: At | None
    until: At | None = Field(description="when a timer runs out")
    left_s: float | None
    reason: Reason
    why: str
    to_fire: str | None
    value: float | None
    threshold: float | None
    clear: float | None
    samples: int
    samples_needed: int
    baseline: Usual | None
    muted_by: MutedBy | None
    flapping: bool
    incident: IncidentThen | None
    recorded: Record | None


class Point(Model):
    """The value at one instant."""

    at: At
    value: float | None
    threshold: float | None
    baseline: float | None
    state: StateName


class Moved(Model):
    """A change of state in a stretch of time."""

    at: At
    before: StateName = Field(alias="from")
    after: StateName = Field(alias="to")
    spec_version: str | None = None


class Mark(Model):
    """What happened to an incident of the series."""

    at: At
    what: str
    text: str
    incident: str


class History(Model):
    """A stretch of time of one series."""

    begin: At = Field(alias="from")
    until: At
    step_s: int
    points: list[Point]
    transitions: list[Moved] = Field(description="on record")
    recomputed: list[Moved] = Field(description="out of the stored events")
    marks: list[Mark]


class Explanation(Model):
    """Why a trigger fired, or did not."""

    trigger: str
    enabled: bool
    condition: str
    unit: str
    rising: bool = Field(description="whether more is worse")
    window_s: int | None
    for_s: int
    group_by: list[str]
    at: At | None
    source: Literal["live", "recomputed"]
    spec_version: str
    series: list[Explained]
    why_none: str | None
    history: History | None
    warnings: list[str]
