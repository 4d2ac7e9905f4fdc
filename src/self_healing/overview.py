"""The overview: how the fleet is at a glance, for the first page of the dashboard and for ``watch``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
import numpy as np

from self_healing import status, views
from self_healing.clock import from_us
from self_healing.constitution.circumstances import Fleet
from self_healing.loop.owner import Owner
from self_healing.measures import FINE_US, MICRO, Ints
from self_healing.model import (
    Approval,
    ApprovalStatus,
    CloseReason,
    Execution,
    ExecutionStatus,
    Incident,
    IncidentState,
)
from self_healing.telemetry.signals import EVENTS

Json = dict[str, Any]

SHOWN_OPEN = 50
SHOWN_HEALED = 10
"""So many of each are shown; how many there are of all is told beside them."""

STEP_S = 60
"""Length of what one point of a chart stands for, seconds."""

_WAITS = {
    ExecutionStatus.DEFERRED: "gated",
    ExecutionStatus.AWAITING_APPROVAL: "gated",
    ExecutionStatus.WOULD: "observed",
}

STAGES = ("detected", "gated", "observed", "acting", "verifying", "mitigated", "escalated")
"""Where in the loop an incident that is not closed can stand."""


def overview(owner: Owner, *, serving: bool) -> Json:
    """Everything that the first page shows, as JSON.

    Args:
        owner: of the state.
        serving: whether a service runs on it.
    """
    now = owner.clock.now()
    incidents = list(owner.register.open.values())
    shown, healed = _worst_first(incidents)[:SHOWN_OPEN], _newest_healed(owner)
    executions = _newest_executions(owner, [*shown, *healed])
    fleet = Fleet.of(owner.telemetry.agents, incidents)
    return {
        "status": status.status(
            owner.settings,
            owner.spec,
            at=now,
            serving=serving,
            health=owner.health() if serving else None,
            evaluated_us=owner.evaluated_us if serving else None,
        ),
        "now": msgspec.to_builtins(now),
        "agents": fleet.size,
        "unwell": fleet.unwell,
        "firing": dict(owner.firing()),
        "open": [_open(owner, each, executions.get(each.id)) for each in shown],
        "open_in_all": len(incidents),
        "approvals_waiting": _waiting(owner),
        "healed": [_healed(owner, each, executions.get(each.id)) for each in healed],
        "course": course(owner),
    }


def _waiting(owner: Owner) -> int:
    """How many actions wait for a person's yes."""
    unsettled = owner.store.select(Approval, open="yes")
    return sum(each.status is ApprovalStatus.PENDING for each in unsettled)


def stage(incident: Incident, execution: Execution | None) -> str:
    """Where in the loop an incident stands, one of :data:`STAGES`.

    Args:
        incident: one that is not closed.
        execution: its newest; None before the first.
    """
    if incident.state is not IncidentState.OPEN:
        return incident.state.value
    waits = None if execution is None else _WAITS.get(execution.status)
    return waits or "detected"


def _newest_executions(owner: Owner, incidents: Sequence[Incident]) -> dict[str, Execution]:
    """The newest execution of each of them that has one, by the incident's id; one look for all."""
    ids = [each.execution for each in incidents if each.execution is not None]
    return {each.incident: each for each in owner.store.select(Execution, id=ids)}


def _open(owner: Owner, incident: Incident, execution: Execution | None) -> Json:
    note = incident.notes[-1] if incident.notes else None
    return {
        **views.incident(incident, owner.spec.triggers),
        "stage": stage(incident, execution),
        "action": None if execution is None else execution.action,
        "says": "" if note is None else note.text,
        "said_at": None if note is None else msgspec.to_builtins(note.at),
    }


def _worst_first(incidents: Sequence[Incident]) -> list[Incident]:
    """What a person should look at first: what is given to people, then by severity, then the newest."""
    rank = {"critical": 0, "high": 1, "medium": 2, "low": 3}
    newest = sorted(incidents, key=lambda each: each.opened_at, reverse=True)
    return sorted(
        newest,
        key=lambda each: (
            each.parent is not None,
            each.state is not IncidentState.ESCALATED,
            rank[each.severity.value],
        ),
    )


def _newest_healed(owner: Owner) -> list[Incident]:
    closed = owner.store.select(Incident, newest=5 * SHOWN_HEALED, by="closed_at", state=IncidentState.CLOSED.value)
    return [each for each in reversed(closed) if each.close_reason is CloseReason.HEALED][:SHOWN_HEALED]


def _healed(owner: Owner, incident: Incident, execution: Execution | None) -> Json:
    lasted = (incident.closed_at or incident.updated_at) - incident.opened_at
    return {
        **views.incident(incident, owner.spec.triggers),
        "action": None if execution is None else execution.action,
        "lasted_s": lasted.total_seconds(),
    }


def course(owner: Owner) -> Json:
    """The rates of the last hour, a point a minute: events a second, tasks a minute, USD an hour, part of errors.

    The slice of time that is under way is left out: of the newest minute, a part of it would look like a drop.
    """
    pulse, at_us = owner.telemetry.pulse, owner.evaluated_us // FINE_US * FINE_US
    until: datetime = from_us(at_us) if at_us else owner.clock.now()
    at_us -= FINE_US  # what is asked for is in the slice that ended last
    step = STEP_S * MICRO // FINE_US
    events, _ = _steps(pulse.course(EVENTS, at_us), step)
    finished, failed = _steps(pulse.course("task.errors", at_us), step)
    _, cost = _steps(pulse.course("task.cost_usd", at_us), step)
    known = _known(pulse.first_us, at_us, len(events))
    ratio = np.divide(failed / MICRO, finished, out=np.full(len(failed), np.nan), where=finished > 0)
    return {
        "from": msgspec.to_builtins(until - timedelta(hours=1)),
        "until": msgspec.to_builtins(until),
        "step_s": STEP_S,
        "events_per_s": _where(known, [round(each / STEP_S, 3) for each in events.tolist()]),
        "tasks_per_min": _where(known, finished.tolist()),
        "usd_per_h": _where(known, [round(each * 3600 / STEP_S / MICRO, 4) for each in cost.tolist()]),
        "errors": [None if np.isnan(each) else round(each, 4) for each in ratio.tolist()],
    }


def _known(first_us: int | None, at_us: int, points: int) -> int:
    """How many of the newest points anything is known of: what this process has not read, it cannot tell."""
    return 0 if first_us is None else min(max((at_us - first_us) // (STEP_S * MICRO) + 1, 0), points)


def _where(known: int, values: list[float]) -> list[float | None]:
    unknown = len(values) - known
    return [None] * unknown + list(values[unknown:])


def _steps(course: tuple[Ints, Ints], step: int) -> tuple[Ints, Ints]:
    count, amount = (each.reshape(-1, step).sum(axis=1) for each in course)
    return count, amount


def sparks(owner: Owner, trigger: str) -> list[float | None]:
    """The mean of what a trigger measures over all groups, a point a minute for the last hour; None without samples.

    Args:
        owner: of the state.
        trigger: its name.
    """
    course = owner.telemetry.course(trigger, owner.evaluated_us)
    if not len(course[0]):
        return []
    count, amount = _steps(course, STEP_S * MICRO // FINE_US)
    return [round(a / MICRO / c, 6) if c else None for c, a in zip(count.tolist(), amount.tolist(), strict=True)]
