"""The past: stored events of a stretch of time, out of every kind of file, in the order of their time."""

from __future__ import annotations

from pathlib import Path

import pytest

from self_healing.errors import TelemetryError
from self_healing.model import Ingested, Kind
from self_healing.telemetry.query.past import past
from tests.unit.telemetry.query.test_find import native, places, segment, ts, us


def started(second: float, task: str, agent: str | None = "Coder") -> Ingested:
    return Ingested(ts=ts(second), kind="task_started", task_id=task, agent=agent, source="otlp")


def tasks(directory: Path, since: float, until: float, agent: str | None = None) -> list[str | None]:
    return [event.task_id for event in past(places(directory), us(since), us(until), agent=agent).events]


def test_native_files_segments_and_compacted_segments_are_one_past(tmp_path: Path) -> None:
    native(tmp_path, {"ts": ts(3), "type": "task_finished", "id": "c"}, {"ts": ts(1), "type": "heartbeat", "id": "a"})
    segment(tmp_path, started(4, "d"))
    segment(tmp_path, started(2, "b"), compacted=True)

    found = past(places(tmp_path), us(0), us(10))

    assert [event.task_id for event in found.events] == ["a", "b", "c", "d"]
    assert found.ts.tolist() == [us(second) for second in (1, 2, 3, 4)]
    assert found.kind.tolist() == [Kind.HEARTBEAT, Kind.TASK_STARTED, Kind.TASK_FINISHED, Kind.TASK_STARTED]
    assert found.warnings == []


def test_both_ends_belong_to_it_to_the_microsecond(tmp_path: Path) -> None:
    seconds = (0.999999, 1, 2, 2.000001)
    native(tmp_path, *({"ts": ts(second), "type": "log", "id": str(second)} for second in seconds))

    assert tasks(tmp_path, 1, 2) == ["1", "2"]


def test_what_happened_at_the_same_time_stays_in_the_order_of_its_file(tmp_path: Path) -> None:
    names = [str(number) for number in range(2_000)]
    native(tmp_path, *({"ts": ts(1), "type": "log", "id": name} for name in names))

    assert tasks(tmp_path, 0, 2) == names


def test_what_is_certainly_another_agents_can_be_left_out(tmp_path: Path) -> None:
    native(
        tmp_path,
        {"ts": ts(1), "type": "log", "id": "mine", "agent": "Coder"},
        {"ts": ts(2), "type": "log", "id": "theirs", "agent": "Tester"},
        {"ts": ts(3), "type": "log", "id": "nobody's"},
        {"ts": ts(4), "type": "log", "id": "in a trace", "agent": "Tester", "trace_id": "t"},
    )
    with (tmp_path / "telemetry" / "odd.jsonl").open("w") as file:  # as nobody writes it, but may
        file.write(f'{{"ts": "{ts(5)}", "type": "log", "id": "escaped", "\\u0061gent": "\\u0043oder"}}\n')
    assert tasks(tmp_path, 0, 9, agent="Coder") == ["mine", "nobody's", "in a trace", "escaped"]


def test_it_is_whole_from_where_it_was_asked_for_if_something_older_is_stored(tmp_path: Path) -> None:
    native(tmp_path, {"ts": ts(1), "type": "log"}, {"ts": ts(5), "type": "log"})

    assert past(places(tmp_path), us(3), us(9)).reaches_us == us(3)
    assert past(places(tmp_path), us(0), us(9)).reaches_us == us(1)


def test_where_there_is_too_much_the_newest_is_looked_at_and_that_is_said(tmp_path: Path) -> None:
    native(tmp_path, *({"ts": ts(second), "type": "log", "id": str(second)} for second in range(5)))

    found = past(places(tmp_path), us(1), us(9), most=2)

    assert [event.task_id for event in found.events] == ["3", "4"]
    assert found.reaches_us == us(3)
    assert found.warnings == ["there are more than 2 events; only the newest of them are looked at"]


def test_without_any_telemetry_there_is_no_past(tmp_path: Path) -> None:
    with pytest.raises(TelemetryError, match="no telemetry yet"):
        past(places(tmp_path), us(0), us(1))
