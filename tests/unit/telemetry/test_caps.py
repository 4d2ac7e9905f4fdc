"""Few bytes that would become many objects are refused before they do, whatever they are sent as."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from self_healing.errors import TooMany
from self_healing.telemetry.alertmanager import alerts
from self_healing.telemetry.caps import ITEMS_MAX, VALUES_MAX
from self_healing.telemetry.encoding import encode_events
from self_healing.telemetry.native_batch import native_batch
from self_healing.telemetry.otlp import logs, metrics, traces
from tests.unit.telemetry.otlp.bodies import protobuf_of, span

native = partial(native_batch, content_type="application/json")
lines = partial(native_batch, content_type="application/x-ndjson")


def within(*numbers: int, content: bytes) -> bytes:
    """`content` in a message in that field, in one in that field, ..., in protobuf; the innermost comes last."""
    for number in reversed(numbers):
        content = bytes([number << 3 | 2]) + varint(len(content)) + content
    return content


def varint(number: int) -> bytes:
    parts = []
    while number >= 0x80:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])


def empty(field: int, count: int) -> bytes:
    """So many messages with nothing in them."""
    return bytes([field << 3 | 2, 0]) * count


def in_json(*names: str, item: str = "{}", count: int) -> bytes:
    text = f"[{','.join([item] * count)}]"
    for name in reversed(names):
        text = f'{{"{name}":{text}}}'
        text = text if name == names[0] else f"[{text}]"
    return text.encode()


MANY = 3_000_000
BOMBS: dict[str, tuple[Callable[[bytes], Any], bytes]] = {
    "a few spans too many": (traces, within(1, 2, content=empty(2, ITEMS_MAX + 1))),
    "spans": (traces, within(1, 2, content=empty(2, MANY))),
    "scopes": (traces, within(1, content=empty(2, MANY))),
    "resources": (traces, empty(1, MANY)),
    "attributes of a span": (traces, within(1, 2, 2, content=empty(9, MANY))),
    "lists within lists": (traces, within(1, 2, 2, 9, 2, 5, content=within(1, *(5, 1) * 20, content=b"") * 240_000)),
    "lists within the body of a record": (
        logs,
        within(1, 2, 2, 5, 5, content=within(1, *(6, 1, 2) * 10, content=b"") * 240_000),
    ),
    "scores of one span": (traces, within(1, 2, 2, content=within(11, content=b"\x12\x01x") * (ITEMS_MAX + 1))),
    "records": (logs, within(1, 2, content=empty(2, MANY))),
    "metrics": (metrics, within(1, 2, content=empty(2, MANY))),
    "a few points too many": (metrics, within(1, 2, 2, 5, content=empty(1, ITEMS_MAX + 1))),
    "points": (metrics, within(1, 2, 2, 5, content=empty(1, MANY))),
    "spans behind an odd length": (traces, within(1, 2, content=b"\x12\x80\x00" * MANY)),
    "spans in JSON": (partial(traces, json=True), in_json("resourceSpans", "scopeSpans", "spans", count=200_000)),
    "more spans in JSON": (partial(traces, json=True), in_json("resourceSpans", "scopeSpans", "spans", count=MANY)),
    "resources in JSON": (partial(traces, json=True), in_json("resourceSpans", count=200_000)),
    "records in JSON": (partial(logs, json=True), in_json("resourceLogs", "scopeLogs", "logRecords", count=200_000)),
    "metrics in JSON": (
        partial(metrics, json=True),
        in_json("resourceMetrics", "scopeMetrics", "metrics", item='{"gauge":{}}', count=200_000),
    ),
    "alerts": (alerts, in_json("alerts", count=200_000)),
    "an array of events": (native, b"[" + b",".join([b"{}"] * 200_000) + b"]"),
    "an array of numbers": (native, b"[" + b"1," * MANY + b"1]"),
    "lists in an event": (native, b'{"x":[' + b"[]," * VALUES_MAX + b"1]}"),
    "lines": (lines, b"{}\n" * 200_000),
    "empty lines": (lines, b"\n" * MANY),
}


def loop_s() -> float:
    """What this machine takes just now for two million steps of a bare loop, as a measure of its speed."""
    began = time.process_time()
    for _ in range(2_000_000):
        pass
    return time.process_time() - began


@pytest.mark.parametrize("name", BOMBS)
def test_a_request_that_holds_too_much_is_refused_before_anything_is_made_of_it(name: str) -> None:
    take, body = BOMBS[name]
    began, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(TooMany, match="send smaller batches"):
        take(body)
    assert time.process_time() - began < 120 * loop_s()
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < 128


def test_as_many_as_allowed_are_taken_also_when_none_is_any_good() -> None:
    began = time.process_time()
    found = traces(within(1, 2, content=empty(2, ITEMS_MAX)))
    assert found.rejected == {"invalid_id": ITEMS_MAX}
    assert time.process_time() - began < 120 * loop_s()


def test_what_is_in_texts_is_no_value() -> None:
    assert len(native(json.dumps({"type": "log", "text": "{[," * VALUES_MAX}).encode()).rejected) == 1  # too long
    assert traces(json.dumps(span({"text": "{[," * VALUES_MAX})).encode(), json=True).events


def test_a_large_request_of_usual_spans_is_taken() -> None:
    body = protobuf_of(span({f"name.{number}": "value" for number in range(20)})) * 3_000
    assert len(body) > 1 << 20
    assert len(traces(body).events) == 3_000


def test_what_every_record_says_again_is_kept_short_and_so_much_of_it_is_refused() -> None:
    attributes = b"".join(
        within(1, content=within(1, content=key) + within(2, 1, content=b"x" * 4096))
        for key in (b"service.name", b"service.version", b"host.name")
    )
    record = within(2, content=b"\x09" + (10**18).to_bytes(8, "little"))

    def lines_of(records: int) -> int:
        body = within(1, content=within(1, content=attributes) + within(2, content=record * records))
        return sum(map(len, encode_events(logs(body).events)))

    assert lines_of(1) < 3 * 1024 + 2048
    with pytest.raises(TooMany, match="64 MiB of lines; send smaller batches"):
        lines_of(24_000)
