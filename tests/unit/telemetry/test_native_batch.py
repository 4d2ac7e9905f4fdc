from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from self_healing.telemetry.lines import BadLine, read_line
from self_healing.telemetry.native_batch import JSON_TYPE, LINES_TYPES, native_batch
from self_healing.telemetry.normalised import PROBLEMS_MAX

TS = "2026-01-05T10:00:00.000Z"
FINISHED: dict[str, Any] = {
    "ts": TS,
    "type": "task_finished",
    "id": "t1",
    "agent": "Coder",
    "status": "success",
    "duration_s": 90.0,
    "usage": {"total_tokens": 7},
    "team": "red",
    "attributes": {"a": 1},
}
LOG = {"ts": TS, "agent": "x"}


def ids(body: bytes, content_type: str = JSON_TYPE) -> list[str | None]:
    return [event.agent for event in native_batch(body, content_type).events]


def test_one_object_is_one_event_with_what_it_does_not_know_as_attributes() -> None:
    batch = native_batch(json.dumps(FINISHED, indent=2).encode(), "application/json; charset=utf-8", "k")
    (event,) = batch.events
    assert (batch.key, batch.rejected, batch.received) == ("k", {}, 1)
    assert (event.kind, event.task_id, event.duration_s) == ("task_finished", "t1", 90.0)
    assert event.usage is not None
    assert event.usage.total_tokens == 7
    assert event.attributes == {"team": "red", "a": 1}
    assert (event.source, event.span_id) == (None, None)


def test_an_array_is_its_objects() -> None:
    assert ids(json.dumps([FINISHED, LOG], indent=1).encode()) == ["Coder", "x"]
    assert ids(b"[]") == []


@pytest.mark.parametrize("content_type", [*LINES_TYPES, JSON_TYPE, ""])
def test_lines_are_their_objects_also_where_they_are_called_json(content_type: str) -> None:
    body = b"\n".join(json.dumps(each).encode() for each in (FINISHED, LOG))
    assert ids(body, content_type) == ["Coder", "x"]
    assert ids(body + b"\n\n", content_type) == ["Coder", "x"]


def test_another_content_type_is_refused_with_those_that_are_taken() -> None:
    with pytest.raises(ValueError, match=r"text/plain.*application/json.*ndjson"):
        native_batch(b"{}", "text/plain")


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (b'{"ts":"2026-01-05T10:00:00Z","duration_s":-1}', BadLine.INVALID_VALUE),
        (b'{"type":"log"}', BadLine.UNDATED),
        (b'"text"', BadLine.INVALID_VALUE),
        (b'{"ts":"2026-01-05T10:00:00Z","duration_s":1e999}', BadLine.NON_FINITE),
        (b'{"ts":"2026-01-05T10:00:00Z","x":' + b"[" * 40 + b"]" * 40 + b"}", BadLine.TOO_DEEP),
        (b'{"ts":"2026-01-05T10:00:00Z","x":"' + b"x" * (1 << 20) + b'"}', BadLine.TOO_LONG),
    ],
)
def test_a_bad_item_is_rejected_for_its_reason_and_the_others_are_taken(item: bytes, reason: BadLine) -> None:
    good = json.dumps(LOG).encode()
    for body, kind in ((b"[" + good + b"," + item + b"]", JSON_TYPE), (good + b"\n" + item, LINES_TYPES[0])):
        batch = native_batch(body, kind)
        assert (len(batch.events), batch.rejected) == (1, {reason.value: 1})


def test_the_first_of_the_bad_items_are_told_with_their_place() -> None:
    bad = b'{"ts":"2026-01-05T10:00:00Z","status":"ok"}'
    allowed = 'status: "ok": allowed are success, failed, timeout, canceled'
    lines = native_batch(b"{}\n\n" + bad, LINES_TYPES[0])
    assert [text[:15] for text in lines.problems] == ["line 1: ts: nul", "line 3: status:"]
    assert native_batch(b"[" + bad + b"]", JSON_TYPE).problems == [f"event 1: {allowed}"]
    many = native_batch(bad + b"\n" + (bad + b"\n") * 20, LINES_TYPES[0])
    assert (many.rejected, len(many.problems)) == ({"invalid_value": 21}, PROBLEMS_MAX)
    assert native_batch(b"[" * 200_000, JSON_TYPE).problems == ["the body: it nests deeper than 32 levels"]


@pytest.mark.parametrize("body", [b"{", b"nonsense", b'[{"ts":', b"\xff\xfe"])
def test_what_is_no_json_is_rejected(body: bytes) -> None:
    batch = native_batch(body, JSON_TYPE)
    assert batch.events == []
    assert sum(batch.rejected.values()) == 1
    assert set(batch.rejected) <= {"invalid_json", "invalid_utf8"}


def test_a_document_that_nests_without_end_is_rejected() -> None:
    assert native_batch(b"[" * 200_000, JSON_TYPE).events == []


def test_our_own_events_are_neither_taken_nor_counted() -> None:
    own = {"ts": TS, "type": "self_healing_intake", "events": 5, "rejected": {"x": 100}}
    assert native_batch(json.dumps([own, LOG]).encode(), JSON_TYPE).received == 1


def test_an_event_in_the_future_is_left_to_whoever_folds_it() -> None:
    assert len(native_batch(b'{"ts":"2999-01-01T00:00:00Z"}', JSON_TYPE).events) == 1


ITEMS = st.one_of(
    st.just(FINISHED),
    st.dictionaries(st.sampled_from(["ts", "type", "id", "status", "passed", "x"]), st.integers() | st.text()),
    st.text(),
    st.none(),
)


@given(st.lists(ITEMS, max_size=8))
def test_an_array_and_its_lines_are_the_same_batch(items: list[Any]) -> None:
    texts = [json.dumps(each) for each in items]
    array = native_batch(json.dumps(items, indent=1).encode(), JSON_TYPE, "k")
    lines = native_batch("\n".join(texts).encode(), LINES_TYPES[0], "k")
    assert (array.events, array.rejected) == (lines.events, lines.rejected)
    assert [text.partition(" ")[2] for text in array.problems] == [text.partition(" ")[2] for text in lines.problems]
    own = sum(read_line(text.encode()) is None for text in texts)
    assert array.received == len(items) - own
