"""What fuzzing starts from: for each target a few inputs that it accepts, and for some one of too many items."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import Final

import zstandard

from self_healing.telemetry.caps import ITEMS_MAX
from tests.unit.telemetry.otlp.bodies import FIXTURES, metric, protobuf_of

_LINE = (
    b'{"ts":"2026-01-05T09:59:00Z","type":"task_finished","id":"t","agent":"A","attempt":1,"status":"failed",'
    b'"duration_s":9.5,"usage":{"total_tokens":9,"total_usd":0.1},"x":{"y":[1,null,"\\u00e9"]}}'
)
_POINT = (
    b'{"ts":"2026-01-05T09:59:00Z","type":"metric","agent":"A","attributes":{"point":{"name":"x","bounds":[1.0],'
    b'"buckets":[0,5],"count":5,"sum":9.0}}}'
)
_INTAKE = (
    b'{"ts":"2026-01-05T09:59:00Z","type":"self_healing_intake","source":"otlp","events":1,"rejected":{"undated":2}}'
)
_ALERTS = (
    b'{"version":"4","status":"firing","alerts":[{"status":"firing","labels":{"alertname":"Slow","agent":"A"},'
    b'"annotations":{"summary":"s"},"startsAt":"2026-01-05T09:59:00Z","endsAt":"0001-01-01T00:00:00Z"}]}'
)
_JUNIT = (
    b'<testsuites><testsuite name="s" timestamp="2026-01-05T09:59:00Z"><properties><property name="agent" value="A"/>'
    b'</properties><testcase name="a"/><testcase name="b"><failure message="m">x</failure></testcase></testsuite>'
    b"</testsuites>"
)


def _requests(field: str) -> list[dict[str, object]]:
    found = [json.loads(file.read_text()) for file in sorted(FIXTURES.glob("*.json"))]
    if field == "resourceMetrics":
        counts = ["1", "2"]
        found += [
            metric("histogram", count="3", sum=4.5, bucketCounts=counts, explicitBounds=[1]),
            metric("exponentialHistogram", count="3", scale=2, positive={"offset": -3, "bucketCounts": counts}),
        ]
        found += [metric("sum", {"a": 1}, asInt="5"), metric("gauge", {"a": [1, 2.5]}, asDouble=1.5)]
    return [request for request in found if field in request]


def _otlp() -> dict[str, list[bytes]]:
    seeds: dict[str, list[bytes]] = {}
    for name, field in {"traces": "resourceSpans", "logs": "resourceLogs", "metrics": "resourceMetrics"}.items():
        requests = _requests(field)
        seeds[f"otlp_{name}"] = [protobuf_of(request) for request in requests]
        seeds[f"otlp_{name}_json"] = [json.dumps(request).encode() for request in requests]
    return seeds


SEEDS: Final[dict[str, list[bytes]]] = {
    **_otlp(),
    "native_lines": [_LINE + b"\n", _LINE + b"\r\n" + _INTAKE + b"\n", _POINT + b"\n"],
    "native_batch_json": [_LINE, b"[" + _LINE + b"]"],
    "native_batch_lines": [_LINE + b"\n" + _LINE],
    "junit": [_JUNIT],
    "alertmanager": [_ALERTS],
    "body_gzip": [gzip.compress(_LINE, mtime=0), gzip.compress(bytes(5000), mtime=0) * 2],
    "body_deflate": [zlib.compress(_LINE), zlib.compress(bytes(5000))],
    "body_zstd": [zstandard.compress(_LINE), zstandard.compress(bytes(5000)) * 2],
}
"""By the name of the target."""

LONGEST_BYTES: Final = 1 << 17
"""The longest input that is tried: with room for more items than are taken."""

_MANY: Final = b"\x12\x00" * (ITEMS_MAX + 1)

BOMBS: Final[dict[str, list[bytes]]] = {
    # In field 1 of the request, in field 2 of what is there: empty messages of field 2.
    "otlp_traces": [b"\x0a\xa6\x8d\x06\x12\xa2\x8d\x06" + _MANY],
    "native_batch_json": [b"[" + b"1," * ITEMS_MAX + b"1]"],
    "native_batch_lines": [b"\n" * (ITEMS_MAX + 1)],
}
"""Of some targets what is refused for its many items, by name."""
