"""How it stands, and what came in."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from self_healing.api.models.base import At, Json, Model, Page


class Health(Model):
    """Whether the framework itself is well."""

    status: Literal["healthy", "degraded", "unhealthy"]
    telemetry_healthy: bool
    triggers_enabled: int
    actions_available: int
    issues: list[str] = Field(description="why it is not healthy")


class Change(Model):
    """One thing that differs between two configurations."""

    what: str
    key: str | None
    before: Any
    after: Any


class Reload(Model):
    """The service went on by another configuration."""

    at: At
    why: str
    before: str = Field(description="the spec version before")
    spec_version: str
    changes: list[Change]
    restart: list[Change] = Field(description="what of it takes a restart")


class Stop(Model):
    """Who stopped every effect, and why."""

    reason: str
    by: str | None
    at: At | None


class Accounting(Model):
    """What became of every event: received = accepted + rejected, accepted = aggregated + the other fates."""

    received: int
    accepted: int
    rejected: dict[str, int]
    aggregated: int
    quarantined: dict[str, int]
    dropped: dict[str, int]
    in_flight: int
    late: int
    traces_lost: int


class Sources(Model):
    """Where telemetry comes from."""

    native: str
    segments: str
    unread: list[str] = Field(description="the files in which something waits to be read")


class Quarantined(Model):
    """A line that could not be used."""

    file: str
    offset: int = Field(description="bytes")
    reason: str
    what: str | None = Field(description="what is wrong with it; null when the reason says it all")


class Telemetry(Model):
    """The accounting, where telemetry comes from, and the newest lines that could not be used."""

    telemetry: Accounting
    sources: Sources
    quarantine: list[Quarantined]


class Status(Telemetry):
    """How fleet and framework are."""

    health: Health
    service_running: bool
    environment: str
    mode: Literal["act", "observe"]
    spec_version: str
    last_reload: Reload | None
    restart_needed: list[str]
    stopped: Stop | None
    triggers_enabled: int
    evaluated_at: At | None
    series: dict[str, int | dict[str, int]] = Field(description="how many stand in each state, flap, or are muted")
    incidents: dict[str, int] = Field(description="how many are in each state but closed")
    executions: dict[str, int] = Field(description="how many of those that are kept have each status")
    directives_in_force: int
    constitutional_violations: int
    deleted: dict[str, int] = Field(description="how many of each kind are gone because they were too old")
    requests_refused: dict[str, int] = Field(
        description="how many requests with telemetry were refused whole since the service started, by reason"
    )


class Event(Model):
    """One event that is stored; null is unknown."""

    ts: At
    kind: str
    source: str | None
    task_id: str | None
    agent: str | None
    model: str | None
    provider: str | None
    attempt: int | None
    status: str | None
    duration_s: float | None
    input_tokens: int | None
    output_tokens: int | None
    total_tokens: int | None
    cost_usd: float | None
    quality: float | None
    passed: int | None
    failed: int | None
    error_type: str | None
    tool: str | None
    run_id: str | None
    trace_id: str | None
    attributes: Json


class Events(Page):
    """Events, the newest first."""

    events: list[Event]
    warnings: list[str] = Field(description="files that were skipped and why, and names that no event has")
