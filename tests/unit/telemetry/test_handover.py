"""What was just written is handed to its reader: the same events, at the same offsets, and nothing twice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from self_healing.clock import FakeClock, to_us
from self_healing.model import Event, Ingested
from self_healing.telemetry.handover import Handover, Written
from self_healing.telemetry.intake import Intake
from self_healing.telemetry.normalised import Normalised
from self_healing.telemetry.reader import Batch, DirectoryReader, Position
from self_healing.telemetry.segments import Segments

AT = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
NOW_US = to_us(AT)


def span(number: int, **fields: object) -> Ingested:
    ts = f"2026-01-05T09:00:{number:02d}.000Z"
    return Ingested(ts=ts, kind="span", trace_id="t", span_id=str(number), role="agent", **fields)  # type: ignore[arg-type]


@dataclass
class State:
    """A state into which batches come, and readers of it."""

    folder: Path
    intake: Intake

    def send(self, *events: Ingested, as_read: bool = True, **rejected: int) -> None:
        batch = Normalised(events=list(events), rejected=rejected, as_read=as_read)
        self.intake.submit(batch, "otlp").result(30)

    def reader(self, *, handed: bool = True, positions: tuple[Position, ...] = ()) -> DirectoryReader:
        segments = self.intake.segments
        return DirectoryReader(
            self.folder / "logs",
            positions,
            segments=segments.directory,
            readable_bytes=segments.readable_bytes,
            handover=segments.handover if handed else None,
        )


@contextmanager
def opened(folder: Path) -> Iterator[State]:
    (folder / "logs").mkdir()
    now = FakeClock(AT).now
    intake = Intake(Segments(folder / "segments", now=now), now=now)
    intake.start()
    try:
        yield State(folder, intake)
    finally:
        intake.stop()


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    with opened(tmp_path) as found:
        yield found


def said(batch: Batch) -> tuple[object, ...]:
    return (
        [(event.ts, event.span_id) for event in batch.events if isinstance(event, Ingested)],
        batch.ts.tolist(),
        batch.kind.tolist(),
        (batch.received, dict(batch.quarantined), [bad.offset for bad in batch.bad], dict(batch.lines)),
        (batch.caught_up, batch.newest_ts_us, batch.positions),
    )


def is_handed(event: Event, *given: Event) -> bool:
    return any(event is each for each in given)


def test_the_reader_gets_the_events_themselves(state: State) -> None:
    first, second = span(1), span(2)
    state.send(first)
    state.send(second)
    batch = state.reader().read(NOW_US)
    assert [is_handed(event, first, second) for event in batch.events] == [True, True]
    assert (batch.received, batch.caught_up) == (2, True)


def test_what_is_handed_over_is_accounted_as_if_it_were_read(state: State) -> None:
    future, undated = span(3), span(4)
    future.ts, undated.ts = "2026-01-05T11:00:00.000Z", None
    state.send(span(2), future, span(1), undated)
    state.send(span(5))
    assert said(state.reader().read(NOW_US)) == said(state.reader(handed=False).read(NOW_US))


def test_what_is_not_as_it_will_be_read_is_read(state: State) -> None:
    secret = span(1, attributes={"said": "password=hunter2hunter2"})
    vague, usual = span(2), span(3)
    state.send(secret)
    state.send(vague, as_read=False)
    state.send(usual, bad=1)  # the line that says so is not handed over
    state.send(usual, span(4))  # one of them came before
    last = span(5)
    state.send(last)
    batch = state.reader().read(NOW_US)
    assert [event.span_id for event in batch.events if isinstance(event, Ingested)] == ["1", "2", "3", "4", "5"]
    assert [is_handed(event, secret, vague, usual, last) for event in batch.events] == [False] * 4 + [True]
    assert (dict(batch.rejected), dict(batch.dropped)) == ({"bad": 1}, {"duplicate": 1})
    assert "hunter2" not in str(batch.events[0].attributes)


def test_each_event_is_taken_once_whoever_reads(state: State) -> None:
    first, second, third = span(1), span(2), span(3)
    state.send(first)
    reader = state.reader()
    begun = reader.read(NOW_US)
    state.send(second)
    again = state.reader(positions=begun.positions).read(NOW_US)
    assert [is_handed(event, second) for event in again.events] == [True]
    state.send(third)
    reader.seek(begun.positions)  # as after a write that failed
    both = reader.read(NOW_US)
    assert [is_handed(event, second, third) for event in both.events] == [False, True]
    assert reader.read(NOW_US).received == 0


def test_a_reader_that_was_slow_takes_little_at_once(state: State) -> None:
    for number in range(4):
        state.send(span(number))
    reader = state.reader()
    assert [len(reader.read(NOW_US, max_bytes=1).events) for _ in range(5)] == [1, 1, 1, 1, 0]


def test_no_more_is_held_than_there_is_room_for() -> None:
    handover = Handover(most_bytes=20)
    one = Written([Event()], np.array([10]), np.array([0]))
    for number in range(3):
        handover.give("1", number * 10, one)
    assert handover.take("1", 0, 1) is one
    handover.give("1", 30, one)
    assert handover.take("1", 20, 1) is None
    assert (handover.next_after("1", 20), handover.take("1", 30, 1)) == (30, one)


def test_what_nobody_will_read_makes_room() -> None:
    handover = Handover(most_bytes=10)
    one = Written([Event()], np.array([10]), np.array([0]))
    handover.give("1", 0, one)
    handover.keep({"2"})
    handover.give("2", 0, one)
    assert (handover.take("1", 0, 1), handover.take("2", 0, 1)) == (None, one)
