"""Whatever bytes come, a parser gives what holds, or the one error that it documents; and nothing gets lost."""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from self_healing.errors import Undecodable
from self_healing.model import Ingested
from self_healing.telemetry.encoding import encode_events
from self_healing.telemetry.lines import DEPTH_MAX, LINE_MAX_BYTES, SEGMENTS, depth_of
from self_healing.telemetry.native import decode
from self_healing.telemetry.normalised import Normalised
from self_healing.telemetry.otlp import Rejection, sentence
from tests.unit.telemetry.otlp.bodies import (
    FIXTURES,
    KINDS,
    attributes,
    fixture,
    in_protobuf,
    normalised,
    protobuf_of,
    span,
)

FIELDS = sorted(KINDS)
NAMES = sorted(path.stem for path in FIXTURES.glob("*.json"))
MESSAGES = {name: protobuf_of(fixture(name)) for name in NAMES}
FAR_US = 2**62


def check(found: Normalised) -> None:
    """What holds of all that was made of a request: every event is a good line, and the accounts are right."""
    assert found.received == len(found.events) + sum(found.rejected.values())
    assert set(found.rejected) <= set(Rejection)
    assert bool(sentence(found.rejected)) == bool(found.rejected)
    lines = [msgspec.json.encode(event) for event in found.events]
    read = decode(b"\n".join(lines), now_us=FAR_US)
    assert read.bad == []
    assert [event.ts for event in read.events] == [event.ts for event in found.events]
    assert all(len(line) <= LINE_MAX_BYTES and depth_of(line) <= DEPTH_MAX for line in lines)
    written = decode(b"".join(encode_events(found.events)), now_us=FAR_US, form=SEGMENTS)
    assert (written.bad, len(written.events)) == ([], len(found.events))


def take(body: bytes, field: str, *, json: bool) -> None:
    try:
        found = KINDS[field][1](body, json=json)
    except Undecodable:
        return
    check(found)


@pytest.mark.parametrize("field", FIELDS)
@given(body=st.binary(max_size=200), is_json=st.booleans())
def test_no_bytes_raise_anything_else(field: str, body: bytes, is_json: bool) -> None:
    take(body, field, json=is_json)


@given(data=st.data(), name=st.sampled_from(NAMES))
def test_a_request_with_some_bytes_changed_raises_nothing_else(data: st.DataObject, name: str) -> None:
    request = fixture(name)
    (field,) = request
    body = bytearray(json.dumps(request).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(body) - 1))
        body[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    take(bytes(body), field, json=True)


@given(data=st.data(), name=st.sampled_from(NAMES))
def test_a_protobuf_with_some_bytes_changed_raises_nothing_else(data: st.DataObject, name: str) -> None:
    request = fixture(name)
    (field,) = request
    body = bytearray(MESSAGES[name])
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(body) - 1))
        body[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    take(bytes(body), field, json=False)


VALUES = st.recursive(
    st.one_of(
        st.text(max_size=20).map(lambda text: {"stringValue": text}),
        st.integers(-(2**63), 2**63 - 1).map(lambda number: {"intValue": str(number)}),
        st.floats().map(lambda number: {"doubleValue": _as_json(number)}),
        st.booleans().map(lambda flag: {"boolValue": flag}),
        st.just({}),
    ),
    lambda inner: st.lists(inner, max_size=3).map(lambda each: {"arrayValue": {"values": each}}),
    max_leaves=4,
)
SAID = st.sampled_from(
    [
        "gen_ai.operation.name",
        "gen_ai.usage.input_tokens",
        "gen_ai.usage.output_tokens",
        "gen_ai.usage.cache_read.input_tokens",
        "gen_ai.usage.cost.amount",
        "gen_ai.request.model",
        "gen_ai.evaluation.score.value",
        "http.request.resend_count",
        "error.type",
        "openinference.span.kind",
        "a",
    ]
)


def _as_json(number: float) -> float | str:
    if math.isnan(number):
        return "NaN"
    return number if math.isfinite(number) else ("Infinity" if number > 0 else "-Infinity")


@given(
    said=st.dictionaries(SAID, VALUES, max_size=8),
    model=st.sampled_from(["gpt-4o", "gemini-2.5-pro", "nobody's"]),
    start=st.integers(0, 2**64 - 1),
    end=st.integers(0, 2**64 - 1),
)
def test_a_span_is_one_event_at_least_or_rejected_once_and_alike_in_both_encodings(
    said: dict[str, Any], model: str, start: int, end: int
) -> None:
    said = {"gen_ai.response.model": {"stringValue": model}} | said
    request = span(attributes=attributes(said), startTimeUnixNano=str(start), endTimeUnixNano=str(end))
    found = normalised(request)
    check(found)
    assert sum(event.kind != "quality_score" for event in found.events) + sum(found.rejected.values()) in {0, 1}
    assert found.received >= 1
    assert in_protobuf(request) == found


def test_an_event_that_is_written_and_read_again_is_the_same() -> None:
    for name in NAMES:
        for event in normalised(fixture(name)).events:
            assert msgspec.json.decode(msgspec.json.encode(event), type=Ingested) == event
