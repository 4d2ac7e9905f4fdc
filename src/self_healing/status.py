"""How fleet and framework are, read from the state without owning it.

`status` must answer at once, so nothing here needs SQLAlchemy or NumPy: a service and a command that finds none both
read what the last cycle committed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from self_healing.config import Settings, load_spec
from self_healing.constitution.stop import stopped
from self_healing.errors import StorageError
from self_healing.filenames import SEGMENTS
from self_healing.model import Accounting, IncidentState
from self_healing.spec import Spec
from self_healing.storage.readonly import DATABASE, HEAD, VERSION_TABLE, VERSIONS, read
from self_healing.watching import ahead, unread, unreadable, unwatched

Row = tuple[Any, ...]

SHOWN_LINES = 3
"""So many of the lines in quarantine are shown."""

_STOPPED = "healing is stopped"
"""How the loop's own issue about a stop begins."""


def stored_overrides(settings: Settings) -> dict[str, dict[str, Any]]:
    """The changes made at run time, by trigger. Raises StorageError, StateCorrupt."""
    return _fact(settings, "overrides") or {}


def loaded_spec(settings: Settings, *, looking: bool = False) -> Spec:
    """What is declared, with the changes made at run time; as :func:`load_spec` has it.

    Raises ConfigError, StorageError, StateCorrupt.
    """
    return load_spec(settings, stored_overrides(settings), looking=looking)


def status(
    settings: Settings,
    spec: Spec,
    *,
    at: datetime,
    serving: bool = False,
    health: dict[str, Any] | None = None,
    evaluated_us: int | None = None,
    refused: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """Everything that the command ``status`` shows, as JSON.

    Args:
        settings: where the state is, and the mode.
        spec: the loaded one.
        at: now, aware; directives in force are those that have not run out by then.
        serving: whether a service runs on this state.
        health: what the running loop says of itself; as of the last cycle when left out.
        evaluated_us: the newest instant that the running loop evaluated; the last that was committed when left out.
        refused: how many requests with telemetry the running service refused whole, by reason.

    Raises StorageError, StateCorrupt.
    """
    evaluated_us = evaluated_us or _fact(settings, "evaluated_us")
    stop = stopped(settings.storage.state_dir)
    return {
        "health": health if health is not None else last_health(settings, spec, at=at),
        "service_running": serving,
        "environment": settings.environment,
        "mode": settings.actions.mode.value,
        "spec_version": spec.version,
        "last_reload": (_fact(settings, "reloads") or [None])[-1],
        "restart_needed": _fact(settings, "restart_needed") or [],
        "stopped": None if stop is None else msgspec.to_builtins(stop),
        "triggers_enabled": triggers_enabled(spec),
        "evaluated_at": msgspec.to_builtins(_at(evaluated_us)) if evaluated_us else None,
        "series": _fact(settings, "series") or {},
        "incidents": _open_incidents(settings),
        "executions": dict(_rows(settings, "SELECT status, count(*) FROM executions GROUP BY status ORDER BY status")),
        "directives_in_force": _directives_in_force(settings, at),
        "constitutional_violations": violations(settings),
        "deleted": _fact(settings, "deleted") or {},
        "telemetry": accounting(settings),
        "requests_refused": dict(refused or {}),
        "sources": sources(settings),
        "quarantine": quarantine(settings),
    }


def last_health(settings: Settings, spec: Spec, *, at: datetime) -> dict[str, Any]:
    """The health as of the last cycle, with what can be seen without one; the five keys of ``status --health``.

    Args:
        settings: where state and telemetry are; no service runs on them.
        spec: the loaded one.
        at: now, aware.
    """
    last = _fact(settings, "health") or {}
    # Whether it is stopped now needs no cycle to say.
    issues: list[str] = [issue for issue in last.get("issues", ()) if not issue.startswith(_STOPPED)]
    stop = stopped(settings.storage.state_dir)
    if stop is not None:
        issues.append(f"{_STOPPED} by {stop.by}: {stop.reason}; `self-healing resume-healing` lets it go on")
    schema = _one(_rows(settings, f"SELECT version_num FROM {VERSION_TABLE}"))
    if schema is not None and schema not in VERSIONS:
        issues.append(
            f"no service starts here: {settings.storage.state_dir / DATABASE} has schema version {schema}, and {HEAD} "
            f"is the newest that is known; use the release that wrote it"
        )
    telemetry_healthy = bool(last.get("telemetry_healthy", True))
    evaluated = evaluated_at(settings)
    too_far = ahead(evaluated, at) if evaluated is not None else None
    if too_far is not None and too_far not in issues:
        issues.append(too_far)
    telemetry_dir, state_dir = settings.telemetry.dir, settings.storage.state_dir
    waiting = why_unreadable(settings)
    if waiting is None:
        waiting = unwatched(telemetry_dir, state_dir, _positions(settings), at)
    elif not telemetry_healthy:
        waiting = None  # said by the last cycle already
    if waiting is not None:
        telemetry_healthy = False
        issues.append(waiting)
    return {
        "status": "degraded" if issues else "healthy",
        "telemetry_healthy": telemetry_healthy,
        "triggers_enabled": triggers_enabled(spec),
        "actions_available": len(spec.actions),
        "issues": issues,
    }


def accounting(settings: Settings) -> dict[str, Any]:
    """What became of every event, as committed; the keys of ``check``'s ``telemetry`` ``late`` and ``traces_lost``."""
    told: dict[str, Any] = msgspec.to_builtins(msgspec.convert(_fact(settings, "accounting") or {}, Accounting))
    return told


def sources(settings: Settings) -> dict[str, Any]:
    """Where telemetry comes from: `native`, `segments` (whatever came otherwise), and which files wait `unread`."""
    telemetry_dir, state_dir = settings.telemetry.dir, settings.storage.state_dir
    return {
        "native": str(telemetry_dir),
        "segments": str(state_dir / SEGMENTS),
        "unread": unread(telemetry_dir, state_dir, _positions(settings)),
    }


def why_unreadable(settings: Settings) -> str | None:
    """Why the telemetry directory cannot be read now; None when it can."""
    return unreadable(settings.telemetry.dir, settings.storage.state_dir, _positions(settings))


def _positions(settings: Settings) -> Sequence[dict[str, Any]]:
    return _fact(settings, "positions") or ()


def quarantine(settings: Settings) -> list[dict[str, Any]]:
    """The newest lines that could not be used, each with `file`, `offset`, `reason`, and `what` is wrong with it."""
    rows = _rows(settings, "SELECT file, offset, reason FROM quarantine ORDER BY seq DESC LIMIT ?", (SHOWN_LINES,))
    if not rows:
        return []
    # Only here: it needs the decoder, whose import takes longer than the rest of `status`.
    from self_healing.telemetry.describing import describe
    from self_healing.telemetry.lines import BadLine

    return [
        {
            "file": file,
            "offset": offset,
            "reason": reason,
            "what": describe(settings.telemetry.dir, settings.storage.state_dir, file, offset, BadLine(reason)),
        }
        for file, offset, reason in rows
    ]


def violations(settings: Settings) -> int:
    """How many constitutional violations there were; one for each incident, step and article."""
    return int(_fact(settings, "violation_count") or 0)


def triggers_enabled(spec: Spec) -> int:
    """How many triggers are not switched off."""
    return sum(trigger.enabled for trigger in spec.triggers)


def evaluated_at(settings: Settings) -> datetime | None:
    """The newest instant that was evaluated; None when none was. Raises StorageError, StateCorrupt."""
    evaluated_us = _fact(settings, "evaluated_us")
    return _at(evaluated_us) if evaluated_us else None


def _at(us: int) -> datetime:
    # Not by self_healing.clock, which imports asyncio: that alone takes a tenth of the time that status may take.
    return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=us)


def _open_incidents(settings: Settings) -> dict[str, int]:
    counted: dict[str, int] = dict(_rows(settings, "SELECT state, count(*) FROM incidents GROUP BY state"))
    return {state.value: counted.get(state, 0) for state in IncidentState if state is not IncidentState.CLOSED}


def _directives_in_force(settings: Settings, at: datetime) -> int:
    records = (json.loads(row[0]) for row in _rows(settings, "SELECT record FROM directives WHERE open = 'yes'"))
    return sum(datetime.fromisoformat(record["expires_at"]) > at for record in records)


def _fact(settings: Settings, name: str) -> Any:
    packed = _one(_rows(settings, "SELECT value FROM facts WHERE name = ?", (name,)))
    return None if packed is None else msgspec.msgpack.decode(packed)


def _one(rows: list[Row]) -> Any:
    return rows[0][0] if rows else None


def _rows(settings: Settings, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
    state_dir = settings.storage.state_dir
    try:
        return read(state_dir, sql, parameters)
    except StorageError:
        # The owner makes the file a moment before the tables; until then there is nothing.
        if read(state_dir, "SELECT 1 FROM sqlite_master WHERE name = 'facts'"):
            raise
        return []
