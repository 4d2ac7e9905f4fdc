"""What a line says beyond the columns reaches the attempts that become examples, and no others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from self_healing.model import Event, Ingested
from self_healing.telemetry.batch import Batch
from self_healing.telemetry.examples import PER_AGENT
from self_healing.telemetry.reader import DirectoryReader
from tests.unit.telemetry.fleet import Line, at_us, event, finished

NOW_US = at_us(3600)


def write(path: Path, *lines: Line | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("\n".join(text) + "\n")


def read(directory: Path, segments: Path | None = None) -> Batch:
    return DirectoryReader(directory, segments=segments).read(NOW_US)


def attributes(batch: Batch) -> dict[str | None, Any]:
    return {event.task_id: event.attributes for event in batch.events}


def test_an_ended_attempt_keeps_the_fields_that_no_column_holds(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", finished(1, region="eu", batch_size=3, model="m", attributes={"tier": "gold"}))
    (ended,) = read(tmp_path).events
    assert ended.attributes == {"region": "eu", "batch_size": 3, "tier": "gold"}


def test_attributes_win_over_fields_of_the_same_name(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", finished(1, region="eu", attributes={"region": "us", "deep": {"kept": True}}))
    (ended,) = read(tmp_path).events
    assert ended.attributes == {"region": "us", "deep": {"kept": True}}


@pytest.mark.parametrize("value", ["x" * 1000, "[1, 2]", '{"a": 1}', "1" + "0" * 30, "1e999", "null"])
def test_a_field_that_says_nothing_plain_or_that_the_state_cannot_hold_is_left_out(tmp_path: Path, value: str) -> None:
    shown = json.dumps(value) if value.startswith("x") else value
    line = json.dumps(finished(1, region="eu")).removesuffix("}") + f', "odd": {shown}}}'
    write(tmp_path / "a.jsonl", line)
    (ended,) = read(tmp_path).events
    assert ended.attributes == {"region": "eu"}
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(ended), type=Event).attributes == {"region": "eu"}


def test_only_the_newest_ended_attempts_of_each_agent_have_them(tmp_path: Path) -> None:
    busy = [finished(second, f"busy{second}", "Busy", region="eu") for second in range(100)]
    write(tmp_path / "a.jsonl", finished(0, "quiet", "Quiet", region="us"), event(0, "heartbeat", "t", pid=1), *busy)
    found = attributes(read(tmp_path))
    newest = {f"busy{second}" for second in range(100 - PER_AGENT, 100)}
    assert {id for id, given in found.items() if given} == newest | {"quiet"}


def test_each_event_has_those_of_its_own_line(tmp_path: Path) -> None:
    """Several files, out of order, a bad line, one of another form and a last line without its newline between them."""
    write(tmp_path / "a.jsonl", finished(5, "5", region="r5"), "no json", finished(1, "1", region="r1"))
    write(tmp_path / "b.jsonl", finished(4, "4", region="r4"), "", finished(2, "2", region="é"))
    (tmp_path / "b.jsonl").write_bytes((tmp_path / "b.jsonl").read_bytes().rstrip(b"\n"))
    span = Ingested(ts=finished(3)["ts"], kind="task_finished", task_id="3", agent="A", source="otlp")
    write(tmp_path / "segments" / "1.jsonl", msgspec.json.encode(span).decode())
    batch = read(tmp_path, tmp_path / "segments")
    assert batch.ts.tolist() == [at_us(second) for second in range(1, 6)]
    assert attributes(batch) == {
        "1": {"region": "r1"},
        "2": {"region": "é"},
        "3": None,
        "4": {"region": "r4"},
        "5": {"region": "r5"},
    }
