"""Trying a threshold on what is stored: in whatever kind of file, as much as there is time for, and no more."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from self_healing.config import Settings, load_spec
from self_healing.dashboard import trying
from self_healing.dashboard.trying import try_threshold
from self_healing.errors import TelemetryError
from self_healing.model import Ingested
from tests.unit.telemetry.query.test_find import native, places, segment

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
SLOW: dict[str, Any] = next(
    each.model_dump(mode="json", by_alias=True) for each in load_spec(Settings()).triggers if each.name == "slow_tasks"
)


def slow(number: int, agent: str, minutes: float) -> dict[str, Any]:
    ts = (NOW - timedelta(minutes=minutes)).isoformat()
    told = {"ts": ts, "type": "task_finished", "id": f"t{number}", "agent": agent, "attempt": 1}
    return told | {"status": "success", "duration_s": 50.0}


def sent(number: int, agent: str, minutes: float) -> Ingested:
    return Ingested(
        ts=(NOW - timedelta(minutes=minutes)).isoformat(),
        kind="task_finished",
        task_id=f"t{number}",
        agent=agent,
        attempt=1,
        status="success",
        duration_s=50.0,
    )


def opened(directory: Path, threshold: str = "40") -> set[str]:
    told = try_threshold(places(directory), SLOW, threshold, NOW)
    return {each["group"]["agent"] for each in told["only_there"]}


def test_what_came_otherwise_is_replayed_as_well_also_once_it_is_compacted(tmp_path: Path) -> None:
    native(tmp_path, slow(1, "Coder", 30))
    segment(tmp_path, sent(2, "Compacted", 60), compacted=True)
    segment(tmp_path, sent(3, "Sender", 90))
    assert opened(tmp_path) == {"Coder", "Compacted", "Sender"}


def test_history_of_weeks_is_found_where_there_is_little(tmp_path: Path) -> None:
    native(tmp_path, slow(1, "Coder", 60 * 24 * 20))
    told = try_threshold(places(tmp_path), SLOW, "40", NOW)
    assert (told["there"]["incidents"], told["whole"], told["stopped"]) == (1, True, False)


def test_what_takes_too_long_is_ended_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trying, "LONGEST_S", -1.0)
    native(tmp_path, slow(1, "Coder", 200), slow(2, "Late", 1))
    told = try_threshold(places(tmp_path), SLOW, "40", NOW)
    assert (told["stopped"], [each["group"]["agent"] for each in told["only_there"]]) == (True, ["Coder"])


def test_without_history_there_is_nothing_to_try(tmp_path: Path) -> None:
    (tmp_path / "telemetry").mkdir()
    with pytest.raises(TelemetryError, match="no history is stored yet"):
        try_threshold(places(tmp_path), SLOW, "40", NOW)
