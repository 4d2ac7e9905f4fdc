"""Our own segments are read beside the native files: in one order of time, as far as they are synced, once."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from self_healing.clock import SECOND_US, from_us, to_us
from self_healing.errors import TelemetryError
from self_healing.model import Ingested
from self_healing.orchestrator import run_self_healing_check
from self_healing.telemetry.encoded import encoded
from self_healing.telemetry.intake import Intake
from self_healing.telemetry.native import BadLine, encode_ts
from self_healing.telemetry.normalised import Normalised
from self_healing.telemetry.reader import Batch, DirectoryReader, Position, Quarantined
from self_healing.telemetry.segments import Segments
from tests.unit.telemetry.fleet import Fleet, finished, unaccounted

START_US = to_us(datetime(2026, 1, 5, 10, tzinfo=UTC))
NOW_US = START_US + 3600 * SECOND_US


class Directories:
    """A telemetry directory and one of segments, and how much of each segment is synced."""

    def __init__(self, folder: Path) -> None:
        self.native, self.segments = folder / "logs", folder / "state" / "segments"
        self.native.mkdir()
        self.segments.mkdir(parents=True)
        self.synced: dict[str, int] = {}

    def reader(self, positions: tuple[Position, ...] = ()) -> DirectoryReader:
        return DirectoryReader(self.native, positions, segments=self.segments, readable_bytes=self.synced.get)


@pytest.fixture
def at(tmp_path: Path) -> Directories:
    return Directories(tmp_path)


def native(name: str, second: float) -> bytes:
    ts = encode_ts(START_US + int(second * SECOND_US))
    return b'{"ts":"%s","type":"heartbeat","id":"%s"}\n' % (ts.encode(), name.encode())


def ingested(name: str, second: float) -> bytes:
    ts = encode_ts(START_US + int(second * SECOND_US))
    span = Ingested(ts=ts, kind="span", task_id=name, source="otlp", trace_id="ab", span_id="cd", role="agent")
    return msgspec.json.encode(span) + b"\n"


INTAKE = b'{"ts":"2026-01-05T10:00:00.000Z","type":"self_healing_intake","source":"otlp","events":0,%s}\n'
SAID = INTAKE % b'"rejected":{"bad_span":3},"dropped":{"duplicate":5}'


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def ids(batch: Batch) -> list[str | None]:
    return [event.task_id for event in batch.events]


def test_both_are_read_in_one_order_of_time(at: Directories) -> None:
    append(at.native / "a.jsonl", native("n1", 1) + native("n3", 3))
    append(at.segments / "1.jsonl", ingested("s2", 2))
    batch = at.reader().read(NOW_US)
    assert (ids(batch), batch.caught_up) == (["n1", "s2", "n3"], True)
    assert [(each.label, each.segment) for each in batch.positions] == [("segments/1.jsonl", True), ("a.jsonl", False)]
    assert dict(batch.lines) == {"a.jsonl": 2, "segments/1.jsonl": 1}


def test_what_is_furthest_behind_comes_first_wherever_it_is(at: Directories) -> None:
    append(at.native / "a.jsonl", native("n", 100))
    append(at.segments / "1.jsonl", ingested("s", 1))
    reader = at.reader()
    assert ids(reader.read(NOW_US, max_bytes=1)) == ["s"]
    assert ids(reader.read(NOW_US, max_bytes=1)) == ["n"]


def test_an_event_of_a_segment_keeps_what_says_where_it_came_from(at: Directories) -> None:
    append(at.segments / "1.jsonl", ingested("s", 1))
    (event,) = at.reader().read(NOW_US).events
    assert isinstance(event, Ingested)
    assert (event.source, event.trace_id, event.span_id, event.role) == ("otlp", "ab", "cd", "agent")


def test_a_restart_goes_on_in_both(at: Directories) -> None:
    append(at.native / "a.jsonl", native("n1", 1))
    append(at.segments / "a.jsonl", ingested("s1", 1))
    stored = msgspec.msgpack.encode(at.reader().read(NOW_US).positions)
    append(at.native / "a.jsonl", native("n2", 2))
    append(at.segments / "a.jsonl", ingested("s2", 3))
    positions = msgspec.msgpack.decode(stored, type=tuple[Position, ...])
    assert ids(at.reader(positions).read(NOW_US)) == ["n2", "s2"]


def test_a_position_from_before_there_were_segments_is_one_of_a_native_file(at: Directories) -> None:
    append(at.native / "a.jsonl", native("n1", 1))
    (position,) = at.reader().read(NOW_US).positions
    old = {name: value for name, value in msgspec.to_builtins(position).items() if name != "segment"}
    append(at.native / "a.jsonl", native("n2", 2))
    assert ids(at.reader((msgspec.convert(old, Position),)).read(NOW_US)) == ["n2"]


def test_what_a_segment_says_of_items_that_never_became_lines_is_told_once(at: Directories) -> None:
    append(at.segments / "1.jsonl", SAID + ingested("s", 1) + INTAKE % b'"dropped":{"too_late":1}')
    reader = at.reader()
    batch = reader.read(NOW_US)
    assert (ids(batch), batch.received, batch.bad) == (["s"], 1, [])
    assert (dict(batch.rejected), dict(batch.dropped)) == ({"bad_span": 3}, {"duplicate": 5, "too_late": 1})
    again = reader.read(NOW_US)
    assert (dict(again.rejected), dict(again.dropped)) == ({}, {})


def test_nobody_else_can_say_so(at: Directories) -> None:
    append(at.native / "a.jsonl", SAID)
    batch = at.reader().read(NOW_US)
    assert (batch.received, dict(batch.rejected), dict(batch.dropped)) == (0, {}, {})


def test_the_ranges_of_a_segments_fields_are_checked_as_those_of_any_line(at: Directories) -> None:
    append(at.segments / "1.jsonl", b'{"ts":"2026-01-05T10:00:00Z","source":"http","q":2}\n' + ingested("s", 1))
    batch = at.reader().read(NOW_US)
    assert batch.bad == [Quarantined(file="segments/1.jsonl", offset=0, reason=BadLine.INVALID_VALUE)]
    assert ids(batch) == ["s"]


def test_what_is_not_synced_yet_is_not_read(at: Directories) -> None:
    segment = at.segments / "1.jsonl"
    append(segment, ingested("s1", 1))
    at.synced["1.jsonl"] = segment.stat().st_size
    append(segment, ingested("s2", 2))
    reader = at.reader()
    batch = reader.read(NOW_US)
    assert (ids(batch), batch.caught_up) == (["s1"], True)
    assert ids(reader.read(NOW_US)) == []
    at.synced["1.jsonl"] = segment.stat().st_size  # nothing about the file itself changes
    assert ids(reader.read(NOW_US)) == ["s2"]
    del at.synced["1.jsonl"]
    assert reader.read(NOW_US).received == 0


def test_what_was_cut_off_because_it_could_not_be_synced_makes_no_other_file_of_a_segment(at: Directories) -> None:
    segment = at.segments / "1.jsonl"
    append(segment, ingested("s1", 1))
    at.synced["1.jsonl"] = synced = segment.stat().st_size
    append(segment, ingested("s2", 2))
    reader = at.reader()
    assert ids(reader.read(NOW_US)) == ["s1"]
    segment.write_bytes(segment.read_bytes()[:synced])
    assert ids(reader.read(NOW_US)) == []


def test_where_nothing_native_was_ever_read_the_telemetry_directory_may_be_missing(at: Directories) -> None:
    at.native.rmdir()
    with pytest.raises(TelemetryError, match=r"cannot read the telemetry directory .* makes it"):
        at.reader().read(NOW_US)
    append(at.segments / "1.jsonl", ingested("s", 1))
    assert ids(at.reader().read(NOW_US)) == ["s"]


def test_where_something_native_was_read_a_missing_telemetry_directory_is_an_error(at: Directories) -> None:
    append(at.segments / "1.jsonl", ingested("s", 1))
    append(at.native / "a.jsonl", native("n", 1))
    positions = at.reader().read(NOW_US).positions
    (at.native / "a.jsonl").unlink()
    at.native.rmdir()
    with pytest.raises(TelemetryError, match="cannot read the telemetry directory"):
        at.reader(positions).read(NOW_US)


def test_segments_that_cannot_be_read_are_an_error(at: Directories) -> None:
    at.segments.rmdir()
    at.segments.write_text("no directory")
    with pytest.raises(TelemetryError, match="cannot read our own segments"):
        at.reader().read(NOW_US)


def test_what_is_in_flight_stays_what_it_is_over_a_restart(at: Directories) -> None:
    append(at.segments / "1.jsonl", ingested("s", 1))
    append(at.native / "a.jsonl", native("n", 2))
    fleet = Fleet()
    batch = at.reader().read(NOW_US)
    fleet.telemetry.account(batch.received, {})
    fleet.telemetry.queue(batch.events, batch.kind, batch.ts)
    stored = msgspec.msgpack.decode(msgspec.msgpack.encode(fleet.restarted().telemetry.pack().facts["queue"]))
    assert stored == msgspec.msgpack.decode(msgspec.msgpack.encode(fleet.telemetry.pack().facts["queue"]))
    assert fleet.restarted().accounting.in_flight == 2


def test_the_accounting_holds_with_what_never_became_lines() -> None:
    fleet = Fleet()
    fleet.push(finished(1, duration_s=1.0))
    fleet.telemetry.account(2, {"undated": 2}, rejected={"bad_span": 3}, dropped={"duplicate": 5})
    fleet.fold()
    count = fleet.accounting
    assert (count.received, count.accepted, count.rejected, count.dropped) == (11, 8, {"bad_span": 3}, {"duplicate": 5})
    assert unaccounted(count) == (0, 0)


def test_one_check_reads_both_and_the_next_reads_neither_again(tmp_path: Path) -> None:
    at = Directories(tmp_path)
    intake = Intake(Segments(at.segments, now=lambda: from_us(NOW_US)), now=lambda: from_us(NOW_US))
    intake.start()
    ts = encode_ts(NOW_US - SECOND_US)
    event = Ingested(ts=ts, kind="task_finished", task_id="t", agent="Coder", status="success", duration_s=90.0)
    batch = Normalised(events=[event], rejected={"bad_span": 2}, key="k")
    for _ in range(2):
        intake.submit(encoded(batch, "http")).result(5)
    intake.stop()
    append(at.native / "a.jsonl", native("n", 1))
    for second in range(2):
        found = run_self_healing_check(
            telemetry_dir=at.native,
            state_dir=at.segments.parent,
            logs_dir=tmp_path / "own",
            now=from_us(NOW_US + second * SECOND_US),
        )
        assert found["triggers_fired"] == 1
        told = {name: value for name, value in found["telemetry"].items() if value}
        # The batch that came again is counted too: its event as a duplicate, its bad items once more.
        came = {"received": 7, "accepted": 3, "rejected": {"bad_span": 4}}
        assert told == {**came, "aggregated": 2, "dropped": {"duplicate": 1}}


@pytest.mark.parametrize(
    ("span", "kept"),
    [
        ({"role": "model"}, {"a": 1, "service.name": "shop"}),  # a root span is a task, as an agent's may be
        ({"role": "agent", "parent_id": "ef"}, {"a": 1, "service.name": "shop"}),
        ({"role": "score 1", "parent_id": "ef", "span_id": None}, {"a": 1, "service.name": "shop"}),
        ({"role": "model", "parent_id": "ef"}, {"service.name": "shop"}),
        ({"role": "tool", "parent_id": "ef", "agent": "Coder"}, None),  # which its service does not stand for
    ],
)
def test_of_a_part_of_a_trace_only_the_service_that_stands_for_its_agent_is_folded(
    at: Directories, span: dict[str, str], kept: dict[str, Any] | None
) -> None:
    line = {"ts": encode_ts(START_US), "agent": "shop", "trace_id": "ab", "span_id": "cd"} | span
    append(
        at.segments / "1.jsonl", msgspec.json.encode(line | {"attributes": {"a": 1, "service.name": "shop"}}) + b"\n"
    )
    (event,) = at.reader().read(NOW_US).events
    assert (event.agent, event.attributes) == (line["agent"], kept)
