"""What a line says beyond the columns reaches the attempts that become examples, and no others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from self_healing.model import Event, Ingested
from self_healing.telemetry.batch import Batch
from self_healing.telemetry.examples import MOST_DESCRIBED, PER_AGENT
from self_healing.telemetry.reader import DirectoryReader
from self_healing.telemetry.telemetry import Telemetry
from tests.unit.telemetry.fleet import Line, at_us, event, finished

NOW_US = at_us(3600)


def write(path: Path, *lines: Line | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("\n".join(text) + "\n")


def read(directory: Path, segments: Path | None = None) -> Batch:
    """What is there, all of it described."""
    batch = DirectoryReader(directory, segments=segments).read(NOW_US)
    for each in batch.events:
        batch.beyond.describe(each)
    return batch


def folded(directory: Path, until_us: int | None = None) -> Telemetry:
    """What is there, folded up to then."""
    batch, telemetry = DirectoryReader(directory).read(NOW_US), Telemetry([])
    telemetry.queue(batch.events, batch.kind, batch.ts, batch.beyond)
    telemetry.fold(until_us)
    return telemetry


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


def described(events: list[Event]) -> set[str | None]:
    return {event.task_id for event in events if event.attributes}


def test_only_what_is_kept_of_an_agent_has_them(tmp_path: Path) -> None:
    busy = [finished(second, f"busy{second}", "Busy", duration_s=1, region="eu") for second in range(100)]
    busy[40] |= {"status": "failed"}
    write(tmp_path / "a.jsonl", finished(0, "quiet", "Quiet", region="us"), event(0, "heartbeat", "t", pid=1), *busy)
    batch, telemetry = DirectoryReader(tmp_path).read(NOW_US), Telemetry([])
    events = batch.events
    telemetry.queue(events, batch.kind, batch.ts, batch.beyond)
    telemetry.fold()
    kept = [*telemetry.examples.of("Busy"), *telemetry.examples.worst("Busy", 0), *telemetry.examples.of("Quiet")]
    assert described(events) == described(kept) == {event.task_id for event in kept}
    assert "busy40" in described(kept)


def test_of_many_agents_no_more_than_a_few_hundred_in_all_have_them_of_each_as_many(tmp_path: Path) -> None:
    agents, each = MOST_DESCRIBED // 4, 2 * PER_AGENT
    lines = [finished(n, f"t{n}", f"A{n % agents}", status="success", region="eu") for n in range(agents * each)]
    write(tmp_path / "a.jsonl", *lines)
    examples = folded(tmp_path).examples
    assert {len(described(examples.of(f"A{n}"))) for n in range(agents)} == {4}
    bad = [line | {"status": "failed", "error_type": "boom"} for line in lines[: agents * 3]]
    write(tmp_path / "a.jsonl", *bad, *lines[agents * 3 :])
    examples = folded(tmp_path).examples
    assert sum(len(described(examples.worst(f"A{n}", 0))) for n in range(agents)) == MOST_DESCRIBED // 2
    assert sum(len(described(examples.of(f"A{n}"))) for n in range(agents)) == MOST_DESCRIBED // 2


def test_what_waits_still_has_them_after_a_restart(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", finished(1, "1", region="r1"), finished(9, "9", region="r9"))
    before, after = folded(tmp_path, at_us(5)), Telemetry([])
    stored = before.pack()
    after.restore((), msgspec.msgpack.decode(msgspec.msgpack.encode(stored.facts)))
    before.fold()
    after.fold()
    assert [each.attributes for each in before.examples.of("A")] == [{"region": "r1"}, {"region": "r9"}]
    assert after.examples.of("A")[-1].attributes == {"region": "r9"}


def test_an_end_whose_calls_may_still_come_is_remembered_without_them(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", finished(1, "1", region="eu-secret-1"))
    telemetry = folded(tmp_path)
    assert described(telemetry.examples.of("A")) == {"1"}
    assert b"eu-secret-1" not in telemetry.tasks.pack()["tasks"]


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
