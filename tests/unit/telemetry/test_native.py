"""Lines into events: what is accepted, what is quarantined and why, and that bulk and single lines agree."""

from __future__ import annotations

import gc
import json
import time
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from self_healing.clock import MINUTE_US, from_us, to_us
from self_healing.model import Event, Kind, Usage
from self_healing.telemetry.native import (
    DEPTH_MAX,
    LINE_MAX_BYTES,
    BadLine,
    Decoded,
    attributes_of,
    decode,
    encode_ts,
)

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
NOW_US = to_us(NOW)
TS = "2026-01-05T10:00:00.000Z"
TS_US = to_us(datetime(2026, 1, 5, 10, tzinfo=UTC))
GOOD = b'{"ts":"2026-01-05T10:00:00.000Z","type":"heartbeat","id":"t"}'


def line(**fields: Any) -> bytes:
    return json.dumps({"ts": TS, "type": "task_finished"} | fields).encode()


def decoded(*lines: bytes) -> Decoded:
    return decode(b"\n".join(lines) + b"\n", now_us=NOW_US)


def reason(bad: bytes) -> BadLine | None:
    """Why `bad` is quarantined, among good lines; None when it is not."""
    found = decoded(GOOD, bad, GOOD)
    assert found.received == len(found.events) + len(found.bad)
    if not found.bad:
        return None
    assert found.bad[0][0] == len(GOOD) + 1
    assert len(found.bad) == 1
    assert len(found.events) == 2
    return found.bad[0][1]


# --- what is accepted ----------------------------------------------------------------------------------------------


def test_a_line_becomes_the_event_that_it_says() -> None:
    usage = {"prompt_tokens": 900, "completion_tokens": 100, "total_tokens": 1000, "total_usd": 0.02}
    found = decoded(
        line(id="t1", agent="Coder", attempt=1, status="success", started_at=1.5, duration_s=90, usage=usage, q=0.5)
    )
    event = Event(
        ts=TS,
        kind="task_finished",
        task_id="t1",
        agent="Coder",
        attempt=1,
        status="success",
        started_at=1.5,
        duration_s=90.0,
        usage=Usage(prompt_tokens=900, completion_tokens=100, total_tokens=1000, total_usd=0.02),
        quality=0.5,
    )
    assert found.events == [event]
    assert [event] == found.events
    assert found.events[0].usage == event.usage
    assert found.ts.tolist() == [TS_US]
    assert found.kind.tolist() == [Kind.TASK_FINISHED]
    assert (found.ts.dtype.name, found.kind.dtype.name) == ("int64", "uint8")


def test_events_with_different_fields_differ() -> None:
    found = decoded(line(id="a"), line(id="b"), line(usage={"total_tokens": 1}), line(usage={"total_tokens": 2}))
    assert found.events[0] != found.events[1]
    assert found.events[2].usage != found.events[3].usage


def test_zero_is_zero_and_missing_is_unknown() -> None:
    zero, missing = decoded(line(duration_s=0, attempt=None), line()).events
    assert zero.duration_s == 0.0
    assert missing.duration_s is None
    assert zero.attempt is None


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.OWN])
def test_every_kind_has_its_code(kind: Kind) -> None:
    assert decoded(line(type=kind.name.lower())).kind.tolist() == [kind]


@pytest.mark.parametrize("kind", ["webhook", "", "Task_started", "own", "self_heal"])
def test_an_unknown_type_is_kept_as_a_log(kind: str) -> None:
    found = decoded(GOOD, line(type=kind), GOOD)
    assert found.kind.tolist() == [Kind.HEARTBEAT, Kind.LOG, Kind.HEARTBEAT]
    assert found.events[1].kind == kind


@pytest.mark.parametrize("text", [b'{"ts":"%s","id":"x"}', b'{"ts":"%s","type":null,"id":"x"}'])
def test_a_line_without_a_type_is_a_log(text: bytes) -> None:
    found = decoded(text % TS.encode())
    assert found.kind.tolist() == [Kind.LOG]
    assert found.events == [Event(ts=TS, task_id="x")]


def test_own_lines_are_neither_received_nor_returned_even_when_undated_or_malformed() -> None:
    found = decoded(
        b'{"type":"self_healing_trigger"}', GOOD, b'{"type":"self_healing_summary","ts":5}', line(type="self_healing_x")
    )
    assert (len(found.events), found.received, found.bad) == (1, 1, [])


def test_empty_lines_and_carriage_returns_are_not_counted() -> None:
    found = decode(b"\n\r\n" + GOOD + b"\r\n \t\n" + GOOD + b"\n\n", now_us=NOW_US)
    assert (len(found.events), found.received, found.bad) == (2, 2, [])


@pytest.mark.parametrize("nothing", [b"", b"\n", b"\r\n\r\n", b"  \n"])
def test_nothing_is_decoded_into_nothing(nothing: bytes) -> None:
    found = decode(nothing, now_us=NOW_US)
    assert (found.events, found.received, found.bad) == ([], 0, [])
    assert (found.ts.dtype.name, found.kind.dtype.name) == ("int64", "uint8")


def test_the_last_line_needs_no_newline() -> None:
    assert decode(GOOD + b"\n" + GOOD, now_us=NOW_US).received == 2


# --- what is quarantined -------------------------------------------------------------------------------------------

BAD: list[tuple[bytes, BadLine]] = [
    (b'{"id":"\xff"}', BadLine.INVALID_UTF8),
    (b'{"unknown":"\xed\xa0\x80"}', BadLine.INVALID_UTF8),
    (b'{"id":"x"', BadLine.INVALID_JSON),
    (b"garbage", BadLine.INVALID_JSON),
    (b"\x00\x00\x00", BadLine.INVALID_JSON),
    (b'{"id":"a"}{"id":"b"}', BadLine.INVALID_JSON),
    (b'{"id":5} rest', BadLine.INVALID_JSON),
    (b'{"id":"\\ud800 "}', BadLine.INVALID_JSON),
    (b'{"type":null,"unknown":"\\ud800 "}', BadLine.INVALID_JSON),
    (b"[1]", BadLine.INVALID_VALUE),
    (b"null", BadLine.INVALID_VALUE),
    (b'"text"', BadLine.INVALID_VALUE),
    (b'{"type":5}', BadLine.INVALID_VALUE),
    (b'{"type":null,"attempt":0}', BadLine.INVALID_VALUE),
    (b'{"ts":1767607200.0}', BadLine.INVALID_VALUE),
    (b'{"duration_s":NaN}', BadLine.NON_FINITE),
    (b'{"duration_s":-Infinity}', BadLine.NON_FINITE),
    (b'{"duration_s":1e999}', BadLine.NON_FINITE),
    (b'{"usage":{"total_usd":1e999}}', BadLine.NON_FINITE),
    (b'{"attributes":{"a":1e999}}', BadLine.NON_FINITE),
    (b'{"attempt":%s}' % (b"9" * 5000), BadLine.NON_FINITE),
    (line(text="x" * LINE_MAX_BYTES), BadLine.TOO_LONG),
    (b'{"id":"undated"}', BadLine.UNDATED),
    (b'{"ts":"yesterday"}', BadLine.UNDATED),
    (b'{"ts":""}', BadLine.UNDATED),
    (b'{"ts":"2026-01-05T10:00:00"}', BadLine.UNDATED),
    (b'{"ts":"2026-02-29T10:00:00Z"}', BadLine.UNDATED),
    (b'{"ts":"1969-12-31T23:59:59.999Z"}', BadLine.UNDATED),
    (b'{"ts":"1969-12-31T23:59:59Z","started_at":1767607200.0}', BadLine.UNDATED),
    (b'{"ts":"9999-12-31T23:59:59-01:00"}', BadLine.UNDATED),
    (b'{"ts":"2026-01-05T12:05:00.001Z"}', BadLine.FUTURE),
    (b'{"started_at":1767615000.0}', BadLine.FUTURE),
]


@pytest.mark.parametrize(("bad", "why"), BAD)
def test_a_bad_line_is_quarantined_with_its_offset_and_reason(bad: bytes, why: BadLine) -> None:
    assert reason(bad) is why


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        ("duration_s", [0, 0.5, 1e9], [-0.1, -1, 1.01e9, 1e300, "1", True]),
        ("attempt", [1, 2], [0, -1, 1.5, 2**63, "1", True]),
        ("passed", [0, 9], [-1, 2**60, 1.5]),
        ("failed", [0, 9], [-1, 2**60, 1.5]),
        ("q", [0, 1, 0.5], [-0.01, 1.01]),
        ("status", ["success", "failed", "timeout", "canceled", None], ["", "ok", "SUCCESS", 1]),
        ("started_at", [0, 1767607200.5], [-1, 253402300800, 1.8e12]),
        ("finished_at", [0, 1767607200.5], [-1, 253402300800]),
        ("usage", [None, {}, {"other": 1}], [5, [], "x"]),
        ("attributes", [None, {}, {"a": [1, {"b": None}]}], [5, []]),
        ("agent", ["", "Coder", None], [1, ["Coder"]]),
    ],
)
def test_a_field_is_held_to_its_type_and_range(field: str, good: list[Any], bad: list[Any]) -> None:
    assert [reason(line(**{field: value})) for value in good] == [None] * len(good)
    assert [reason(line(**{field: value})) for value in bad] == [BadLine.INVALID_VALUE] * len(bad)


@pytest.mark.parametrize("field", ["prompt_tokens", "completion_tokens", "total_tokens", "total_usd"])
def test_what_was_used_is_never_negative_nor_so_large_that_sums_could_wrap_around(field: str) -> None:
    largest = 10**9
    assert [reason(line(usage={field: value})) for value in (0, 7, largest, None)] == [None] * 4
    assert [reason(line(usage={field: value})) for value in (-1, largest + 1)] == [BadLine.INVALID_VALUE] * 2


def nested(opening: bytes, closing: bytes, depth: int) -> bytes:
    return b'{"ts":"%s","deep":%s1%s}' % (TS.encode(), opening * (depth - 1), closing * (depth - 1))


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a" : ', b"}"), (b'[{"a":', b"}]")])
def test_a_line_nested_too_deep_is_quarantined_and_one_just_as_deep_as_allowed_is_not(
    opening: bytes, closing: bytes
) -> None:
    levels = opening.count(b"[") + opening.count(b"{")
    assert reason(nested(opening, closing, 1 + (DEPTH_MAX - 1) // levels)) is None
    assert reason(nested(opening, closing, 2 + DEPTH_MAX // levels)) is BadLine.TOO_DEEP
    assert reason(nested(opening, closing, 30_000)) is BadLine.TOO_DEEP


def test_brackets_side_by_side_or_in_texts_are_not_deep() -> None:
    assert reason(line(many=[[], {}] * 50)) is None
    assert reason(line(text='[{"\\' * 50)) is None


@pytest.mark.parametrize(
    "hostile", [b"[" * 33 + b'"' + b'\\"' * 500_000, b"[" * LINE_MAX_BYTES, b'{"a":[["' + b"[{" * 500_000]
)
def test_a_hostile_line_takes_no_longer_than_its_length(hostile: bytes) -> None:
    began = time.perf_counter()
    assert reason(hostile) is not None
    assert time.perf_counter() - began < 5


def test_an_unknown_field_with_a_number_that_nothing_can_hold_does_not_matter() -> None:
    assert reason(line(x=1)[:-1] + b',"huge":1e999}') is None


def test_objects_that_reach_over_lines_are_bad_lines_even_when_the_number_fits() -> None:
    spanning = b'{"ts":"%s","usage":\n{}}' % TS.encode()
    found = decoded(spanning, GOOD + GOOD)
    assert [why for _, why in found.bad] == [BadLine.INVALID_JSON, BadLine.INVALID_JSON, BadLine.INVALID_JSON]
    assert found.received == 3


def test_two_objects_on_a_line_are_one_bad_line_even_before_an_empty_one() -> None:
    found = decoded(GOOD + GOOD, b"", GOOD)
    assert found.bad == [(0, BadLine.INVALID_JSON)]
    assert found.received == 2


def test_bad_lines_far_apart_spoil_only_themselves() -> None:
    lines = [line(id=str(i)) for i in range(2000)]
    for i in (0, 700, 701, 1999):
        lines[i] = b"{bad"
    found = decoded(*lines)
    assert [event.task_id for event in found.events] == [str(i) for i in range(2000) if i not in (0, 700, 701, 1999)]
    starts = np.cumsum([0, *(len(text) + 1 for text in lines)])
    assert found.bad == [(starts[i], BadLine.INVALID_JSON) for i in (0, 700, 701, 1999)]


# --- time ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ts", "at"),
    [
        ("2026-01-05T10:00:00Z", datetime(2026, 1, 5, 10, tzinfo=UTC)),
        ("2026-01-05T10:00:00+00:00", datetime(2026, 1, 5, 10, tzinfo=UTC)),
        ("2026-01-05T10:00:00.123Z", datetime(2026, 1, 5, 10, 0, 0, 123000, tzinfo=UTC)),
        ("2026-01-05T10:00:00.123+00:00", datetime(2026, 1, 5, 10, 0, 0, 123000, tzinfo=UTC)),
        ("2026-01-05T10:00:00.123456Z", datetime(2026, 1, 5, 10, 0, 0, 123456, tzinfo=UTC)),
        ("2026-01-05T10:00:00.123456+00:00", datetime(2026, 1, 5, 10, 0, 0, 123456, tzinfo=UTC)),
        ("2026-01-05T11:00:00+01:00", datetime(2026, 1, 5, 10, tzinfo=UTC)),
        ("2026-01-05 10:00:00Z", datetime(2026, 1, 5, 10, tzinfo=UTC)),
        ("20260105T100000Z", datetime(2026, 1, 5, 10, tzinfo=UTC)),
        ("1970-01-01T00:00:00Z", datetime(1970, 1, 1, tzinfo=UTC)),
        ("2000-02-29T23:59:59Z", datetime(2000, 2, 29, 23, 59, 59, tzinfo=UTC)),
    ],
)
def test_a_time_is_read_in_every_form_of_iso_8601(ts: str, at: datetime) -> None:
    assert decoded(line(ts=ts)).ts.tolist() == [to_us(at)]
    assert decoded(GOOD, line(ts=ts), GOOD).ts.tolist() == [TS_US, to_us(at), TS_US]


@pytest.mark.parametrize(
    "ts",
    [
        "2026-00-05T10:00:00.000Z",
        "2026-13-05T10:00:00.000Z",
        "2026-01-00T10:00:00.000Z",
        "2026-04-31T10:00:00.000Z",
        "1900-02-29T10:00:00.000Z",
        "2026-01-05T24:00:00.001Z",
        "2026-01-05T10:60:00.000Z",
        "2026-01-05T10:00:60.000Z",
        "2026-01-05T10:00:0/.000Z",
        "2026-01-05T10:00:0:.000Z",
        "2026-01-05T10:00:00.0000",
        "2026-01-05T10:00:00.00é",
        "0000-01-05T10:00:00.000Z",
        "2026-01-05T10:00:00.00\n",
    ],
)
def test_a_time_that_does_not_exist_is_no_time(ts: str) -> None:
    assert reason(line(ts=ts)) is BadLine.UNDATED
    assert decoded(line(ts=ts)).bad == [(0, BadLine.UNDATED)]


def test_newlines_in_times_never_give_one_line_the_time_of_another() -> None:
    found = decoded(line(ts=f"{TS}\n{TS}"), line(ts=TS[:12]), line(ts=TS[:11]))
    assert [why for _, why in found.bad] == [BadLine.UNDATED] * 3


@given(
    st.lists(
        st.tuples(
            st.datetimes(min_value=datetime(1970, 1, 2), max_value=datetime(9999, 12, 30)),
            st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30)), timezone(timedelta(hours=-8))]),
            st.sampled_from(["seconds", "milliseconds", "microseconds"]),
            st.booleans(),
        ),
        max_size=20,
    )
)
def test_times_in_columns_agree_with_datetime(times: list[tuple[datetime, Any, Any, bool]]) -> None:
    texts = []
    for at, zone, precision, zulu in times:
        text = at.replace(tzinfo=zone).isoformat(timespec=precision)
        texts.append(text.replace("+00:00", "Z") if zulu else text)
    found = decode(b"\n".join(line(ts=text) for text in texts), now_us=to_us(datetime(9999, 12, 31, tzinfo=UTC)))
    assert found.ts.tolist() == [to_us(datetime.fromisoformat(text)) for text in texts]


@given(st.integers(min_value=0, max_value=to_us(NOW)))
def test_an_encoded_time_is_read_back_exactly(us: int) -> None:
    assert decoded(line(ts=encode_ts(us))).ts.tolist() == [us]


def test_an_encoded_time_shows_milliseconds_unless_that_would_lose_some() -> None:
    assert encode_ts(TS_US) == TS
    assert encode_ts(TS_US + 1) == "2026-01-05T10:00:00.000001Z"
    assert from_us(TS_US) == datetime.fromisoformat(TS)


@pytest.mark.parametrize("ts", [None, "yesterday", "2026-01-05T10:00:00"])
def test_without_a_usable_ts_the_end_counts_and_without_an_end_the_start(ts: str | None) -> None:
    found = decoded(line(ts=ts, started_at=1.0, finished_at=2.5), line(ts=ts, started_at=1.0), line(ts=ts))
    assert found.ts.tolist() == [2_500_000, 1_000_000]
    assert [why for _, why in found.bad] == [BadLine.UNDATED]


def test_five_minutes_ahead_is_the_limit() -> None:
    assert reason(line(ts=encode_ts(NOW_US + 5 * MINUTE_US))) is None
    assert reason(line(ts=encode_ts(NOW_US + 5 * MINUTE_US + 1))) is BadLine.FUTURE


# --- attributes ----------------------------------------------------------------------------------------------------


def test_unknown_fields_join_the_attributes_which_win() -> None:
    text = line(pid=7, zone="a", attributes={"zone": "b", "x": [1]})
    assert attributes_of(text) == {"pid": 7, "zone": "b", "x": [1]}
    assert attributes_of(line(attributes=None)) == {}


def test_an_attribute_that_nothing_can_hold_is_unknown() -> None:
    text = line(a=1)[:-1] + b',"b":1e999,"c":%s,"d":2,"e":0.5}' % (b"9" * 5000)
    assert attributes_of(text) == {"a": 1, "b": None, "c": None, "d": 2, "e": 0.5}


def test_attributes_are_filled_when_asked_for() -> None:
    lines = b"\n".join([line(pid=1), b"bad", line(), line(attributes={"a": 1})])
    assert [event.attributes for event in decode(lines, now_us=NOW_US, attributes=True).events] == [
        {"pid": 1},
        None,
        {"a": 1},
    ]
    assert [event.attributes for event in decode(lines, now_us=NOW_US).events] == [None, None, {"a": 1}]


# --- always --------------------------------------------------------------------------------------------------------

PIECES = st.sampled_from(
    [GOOD, b"\n", b"\n", b"\r\n", b" ", b"{", b"}", b"[", b"]", b'"', b"\\", b"\xff", b"NaN", b":", b",", b"1e999"]
    + [line(type="self_healing_x"), line(type="span"), line(type=None), line(attempt=0), b"\xef\xbb\xbf", b"\x00"]
    + [bad for bad, why in BAD if why is not BadLine.TOO_LONG]
)


@given(st.one_of(st.binary(max_size=300), st.lists(PIECES, max_size=30).map(b"".join)))
@example(b"\xef\xbb\xbf" + GOOD)
@example(GOOD + b"\r\r\n" + GOOD)
def test_whatever_the_bytes_each_line_is_an_event_or_bad_and_bulk_agrees_with_line_by_line(data: bytes) -> None:
    found = decode(data, now_us=NOW_US)
    assert found.received == len(found.events) + len(found.bad)
    assert len(found.events) == len(found.ts) == len(found.kind)
    events: list[Event] = []
    ts: list[int] = []
    bad: list[tuple[int, str]] = []
    offset = 0
    for single in data.split(b"\n"):
        one = decode(single, now_us=NOW_US)
        assert one.received <= 1
        events += one.events
        ts += one.ts.tolist()
        bad += [(offset, why) for _, why in one.bad]
        offset += len(single) + 1
    assert (found.events, found.ts.tolist(), found.bad) == (events, ts, bad)
    assert decode(data, now_us=NOW_US, attributes=True).bad == bad


@pytest.mark.parametrize("enabled", [True, False])
def test_the_garbage_collector_is_left_as_it_was(enabled: bool) -> None:
    before = gc.isenabled()
    try:
        (gc.enable if enabled else gc.disable)()
        decoded(GOOD, b"bad")
        assert gc.isenabled() is enabled
    finally:
        (gc.enable if before else gc.disable)()
