"""Each event once, whatever its sender does: on real segments."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from self_healing.clock import DAY_US, FakeClock, to_us
from self_healing.errors import StorageError
from self_healing.model import Ingested
from self_healing.telemetry.encoded import encoded
from self_healing.telemetry.identities import Remembered
from self_healing.telemetry.intake import Intake, Receipt
from self_healing.telemetry.normalised import Normalised
from self_healing.telemetry.recovery import key_identity, remember
from self_healing.telemetry.segments import Segments
from tests.unit.telemetry.test_segments import files_no_larger_than

AT = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
TS = "2026-01-05T09:59:59.000Z"


@contextmanager
def opened(directory: Path, clock: FakeClock | None = None, **options: Any) -> Iterator[Intake]:
    now = (clock or FakeClock(AT)).now
    intake = Intake(Segments(directory, now=now, **options), now=now)
    intake.start()
    try:
        yield intake
    finally:
        intake.stop()


def span(number: int, trace: str = "t", **fields: Any) -> Ingested:
    return Ingested(ts=TS, kind="span", trace_id=trace, span_id=str(number), role="agent", **fields)


def plain(name: str) -> Ingested:
    return Ingested(ts=TS, kind="heartbeat", agent=name)


def batch(*events: Ingested, key: str | None = None, **rejected: int) -> Normalised:
    return Normalised(events=list(events), rejected=rejected, key=key)


def send(intake: Intake, what: Normalised, source: str = "otlp") -> Receipt:
    return intake.submit(encoded(what, source)).result(30)


def lines(directory: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for file in sorted(directory.iterdir()) for line in file.read_text().splitlines()]


def events(directory: Path) -> list[str]:
    """The span id, else the agent, of each event that was written."""
    return [str(line.get("span_id") or line["agent"]) for line in lines(directory) if "events" not in line]


def test_a_batch_of_which_there_is_nothing_more_to_say_is_its_events_alone(tmp_path: Path) -> None:
    with opened(tmp_path) as intake:
        assert send(intake, batch(span(1), plain("Coder"))) == Receipt(accepted=2)
    assert lines(tmp_path) == [
        {"ts": TS, "type": "span", "trace_id": "t", "source": "otlp", "span_id": "1", "role": "agent"},
        {"ts": TS, "type": "heartbeat", "agent": "Coder", "source": "otlp"},
    ]


def test_the_source_of_an_event_that_names_one_stays(tmp_path: Path) -> None:
    with opened(tmp_path) as intake:
        send(intake, batch(span(1, source="otlp/pydantic_ai")))
    assert lines(tmp_path)[0]["source"] == "otlp/pydantic_ai"


def test_what_else_there_is_to_say_stands_before_the_events(tmp_path: Path) -> None:
    with opened(tmp_path) as intake:
        send(intake, batch(span(1)))
        receipt = send(intake, batch(span(1), span(2), plain("Coder"), key="k", invalid_json=3, none=0))
    assert receipt == Receipt(accepted=2, rejected={"invalid_json": 3}, dropped={"duplicate": 1})
    assert receipt.dropped == {"duplicate": 1}
    assert lines(tmp_path)[1] == {
        "ts": "2026-01-05T10:00:00.000Z",
        "type": "self_healing_intake",
        "source": "otlp",
        "events": 2,
        "key": "k",
        "rejected": {"invalid_json": 3},
        "dropped": {"duplicate": 1},
    }
    assert events(tmp_path) == ["1", "2", "Coder"]


def test_a_batch_of_nothing_good_says_so(tmp_path: Path) -> None:
    with opened(tmp_path) as intake:
        assert send(intake, batch(invalid_value=2)).rejected == {"invalid_value": 2}
        assert send(intake, batch()) == Receipt()
    assert [line["rejected"] for line in lines(tmp_path)] == [{"invalid_value": 2}]


def test_of_a_batch_that_comes_again_only_its_number_is_written(tmp_path: Path) -> None:
    again = batch(plain("Coder"), span(1), key="k", undated=1)
    with opened(tmp_path) as intake:
        first = send(intake, again)
        before = lines(tmp_path)
        assert send(intake, again) == Receipt(rejected={"undated": 1}, dropped={"duplicate": 2})
        assert first.accepted == 2
    with opened(tmp_path) as intake:
        assert send(intake, again).dropped == {"duplicate": 2}
    said = {"ts": "2026-01-05T10:00:00.000Z", "type": "self_healing_intake", "source": "otlp", "events": 0}
    counted = said | {"rejected": {"undated": 1}, "dropped": {"duplicate": 2}}
    assert lines(tmp_path) == [*before, counted, counted]


def test_the_key_of_one_way_in_says_nothing_of_another(tmp_path: Path) -> None:
    with opened(tmp_path) as intake:
        assert send(intake, batch(plain("a"), key="k"), "http").accepted == 1
        assert send(intake, batch(plain("b"), key="k"), "junit").accepted == 1


def test_spans_that_come_again_are_dropped_also_after_a_start(tmp_path: Path) -> None:
    for expected in (3, 0):
        with opened(tmp_path) as intake:
            assert send(intake, batch(span(1), span(2), span(1), span(1, "u"))).accepted == expected
    assert events(tmp_path) == ["1", "2", "1"]


def test_the_scores_of_a_span_that_comes_again_are_dropped_with_it_also_after_a_start(tmp_path: Path) -> None:
    scores = [
        Ingested(ts=TS, kind="quality_score", quality=1.0, trace_id="t", parent_id=parent, role=f"score {place}")
        for parent, place in (("1", 1), ("1", 2), ("2", 1))
    ]
    for expected in (4, 0):
        with opened(tmp_path) as intake:
            assert send(intake, batch(span(1), *scores, *scores)).accepted == expected


def test_a_log_that_names_its_span_is_no_duplicate_of_it(tmp_path: Path) -> None:
    log = {"ts": TS, "kind": "log", "trace_id": "t", "span_id": "1"}
    with opened(tmp_path) as intake:
        assert send(intake, batch(span(1), Ingested(**log), Ingested(**log))).accepted == 3  # type: ignore[arg-type]


def test_a_batch_that_comes_twice_at_the_same_time_is_written_once_and_acknowledged_twice_after_the_sync(
    tmp_path: Path,
) -> None:
    written, go = Event(), Event()
    synced: list[Future[Receipt]] = []

    def hold(point: str) -> None:
        if point == "segment.written":
            written.set()
            go.wait(30)
            synced.extend(future for future in futures if future.done())

    with opened(tmp_path, crash=hold) as intake:
        futures = [intake.submit(encoded(batch(plain("first")), "http"))]
        written.wait(30)  # what comes now waits, and is written together
        again = [batch(plain("a"), plain("b"), key="k") for _ in range(3)]
        futures += [intake.submit(encoded(each, "http")) for each in again]
        go.set()
        wait(futures, 30)
        assert [each.result().accepted for each in futures] == [1, 2, 0, 0]
        assert synced == futures[:1]  # the second sync: of what it covers, nothing was acknowledged before it
    assert events(tmp_path) == ["first", "a", "b"]


def test_what_could_not_be_written_is_taken_when_it_comes_again(tmp_path: Path) -> None:
    with opened(tmp_path) as intake:
        again = [batch(span(1), key="k"), batch(span(2))]
        with files_no_larger_than(8):
            for each in again:
                with pytest.raises(StorageError):
                    send(intake, each)
        assert "File too large" in str(intake.segments.problem)
        assert [send(intake, each).accepted for each in again] == [1, 1]
        assert intake.segments.problem is None
    assert events(tmp_path) == ["1", "2"]


def test_a_receipt_cannot_be_taken_back(tmp_path: Path) -> None:
    go = Event()
    with opened(tmp_path, crash=lambda _point: go.wait(30) and None) as intake:
        receipt = intake.submit(encoded(batch(plain("a")), "http"))
        assert not receipt.cancel()
        go.set()
        assert receipt.result(30).accepted == 1


def test_a_span_from_before_all_that_is_remembered_is_too_late(tmp_path: Path) -> None:
    clock = FakeClock(AT)
    with opened(tmp_path, clock) as intake:
        send(intake, batch(span(1)))
        clock.advance(timedelta(hours=1).total_seconds())
        send(intake, batch(span(2)))
        clock.advance(timedelta(hours=25).total_seconds())
        send(intake, batch(span(3)))
        late = send(intake, batch(span(1), span(4), plain("x")))
    assert late == Receipt(accepted=1, dropped={"too_late": 2})


@pytest.mark.parametrize("ts", [TS, "2026-01-05T10:59:59+01:00"])
def test_a_batch_whose_key_may_be_forgotten_is_too_late_as_far_as_it_is_from_before(tmp_path: Path, ts: str) -> None:
    clock = FakeClock(AT)
    again = batch(Ingested(ts=ts, kind="heartbeat", agent="Coder"), key="1")
    with opened(tmp_path, clock) as intake:
        send(intake, again)
        clock.advance(timedelta(hours=1).total_seconds())
        send(intake, batch(plain("x"), key="2"))
        clock.advance(timedelta(hours=25).total_seconds())
        send(intake, batch(Ingested(ts="2026-01-06T12:00:00Z", kind="heartbeat"), key="3"))
        assert send(intake, again) == Receipt(dropped={"too_late": 1})
        assert send(intake, batch(plain("x"))).accepted == 1  # without a key it never was known again


def test_spans_push_out_no_key(tmp_path: Path) -> None:
    clock = FakeClock(AT)
    intake = Intake(Segments(tmp_path, now=clock.now), now=clock.now, most=100)
    intake.start()
    send(intake, batch(plain("x"), key="k"))
    for number in range(200):
        clock.advance(1)
        send(intake, batch(span(number)))
    assert send(intake, batch(plain("x"), key="k")).dropped == {"duplicate": 1}
    assert send(intake, batch(span(1))).dropped == {"too_late": 1}
    intake.stop()


def test_what_is_learnt_from_the_segments_ends_where_it_is_too_old_or_too_much(tmp_path: Path) -> None:
    import os

    now_us = to_us(AT)
    for number in (1, 2, 3):
        with opened(tmp_path) as intake:
            send(intake, batch(plain("x"), key=str(number)))
        at_s = (now_us - (3 - number) * DAY_US) / 1e6
        os.utime(tmp_path / f"000000000{number}.jsonl", (at_s, at_s))
    ids = [key_identity("otlp", str(number)) for number in (1, 2, 3)]

    whole, of_a_day, newest = Remembered(kept_us=9 * DAY_US), Remembered(), Remembered()
    remember(tmp_path, whole, now_us, 9 * DAY_US, 10)
    remember(tmp_path, of_a_day, now_us, DAY_US, 10)
    remember(tmp_path, newest, now_us, 9 * DAY_US, 1)
    assert whole.keys.known(ids) == [True, True, True]
    assert whole.keys.forgotten_us == whole.spans.forgotten_us == 0
    assert of_a_day.keys.known(ids) == [False, True, True]
    assert of_a_day.keys.forgotten_us == of_a_day.spans.forgotten_us == now_us - 2 * DAY_US
    assert newest.keys.known(ids) == [False, False, True]
    assert newest.keys.forgotten_us == newest.spans.forgotten_us == now_us - DAY_US


def test_a_damaged_line_hides_no_other(tmp_path: Path) -> None:
    with opened(tmp_path) as intake:
        send(intake, batch(span(1)))
    with (tmp_path / "0000000001.jsonl").open("a") as file:
        file.write("\x00\x00damaged\n")
    with opened(tmp_path) as intake:
        assert send(intake, batch(span(1))).dropped == {"duplicate": 1}


SENT = st.lists(
    st.tuples(
        st.lists(st.integers(0, 6), max_size=5),  # spans
        st.integers(0, 3),  # events without an identity
        st.none() | st.integers(0, 3),  # which key
        st.integers(0, 2),  # bad items
    ),
    max_size=12,
)


@settings(max_examples=60)
@given(SENT, st.sets(st.integers(0, 11)))
def test_however_batches_come_again_each_thing_is_there_once_and_counted_once(
    sent: list[tuple[list[int], int, int | None, int]], restarts: set[int]
) -> None:
    with TemporaryDirectory() as name:
        directory = Path(name)
        keys: set[int] = set()
        unkeyed = rejected = received = 0
        known: set[int] = set()
        receipts: list[Receipt] = []
        intake = _started(directory)
        for number, (spans, others, key, bad) in enumerate(sent):
            if number in restarts:
                intake.stop()
                intake = _started(directory)
            each = batch(*map(span, spans), *(plain("x") for _ in range(others)), undated=bad)
            each.key = None if key is None else str(key)
            receipts.append(send(intake, each))
            assert receipts[-1].accepted + sum(receipts[-1].dropped.values()) == len(each.events)
            if key is None or key not in keys:
                keys |= {key} if key is not None else set()
                known |= set(spans)
                unkeyed += others
            rejected, received = rejected + bad, received + each.received
        intake.stop()
        written = lines(directory)
        told = [line for line in written if "events" in line]
        count = Counter(events(directory))
        assert count == Counter({str(number): 1 for number in known}) + Counter({"x": unkeyed})
        assert sum(line.get("rejected", {}).get("undated", 0) for line in told) == rejected
        dropped = sum(line.get("dropped", {}).get("duplicate", 0) for line in told)
        assert received == count.total() + rejected + dropped
        assert sum(receipt.accepted for receipt in receipts) == count.total()


def _started(directory: Path) -> Intake:
    clock = FakeClock(AT)
    intake = Intake(Segments(directory, now=clock.now), now=clock.now)
    intake.start()
    return intake
