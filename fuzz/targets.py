"""The parsers, each as a function of any bytes that says whether something was made of them.

Refusing them is fine, as long as it is in the words for that.
What a parser accepts must be writable as one line of our segments, and readable there; and what is read must fold.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import numpy as np

from self_healing.api.bodies import BodyError, decompressed
from self_healing.errors import Undecodable
from self_healing.spec import TriggerSpec
from self_healing.telemetry.alertmanager import alerts
from self_healing.telemetry.encoding import encode_events
from self_healing.telemetry.junit import junit
from self_healing.telemetry.lines import NATIVE, SEGMENTS
from self_healing.telemetry.metric import point_of
from self_healing.telemetry.native import Decoded, decode
from self_healing.telemetry.native_batch import native_batch
from self_healing.telemetry.normalised import Normalised
from self_healing.telemetry.otlp import logs, metrics, traces
from self_healing.telemetry.signals import METRIC
from self_healing.telemetry.telemetry import Telemetry
from self_healing.telemetry.timestamps import END_US

AT: Final = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
MOST_BYTES: Final = 1 << 20
MOST_TRIGGERS: Final = 4


def _normalised(normalise: Callable[[bytes], Normalised], data: bytes) -> bool:
    try:
        found = normalise(data)
    except Undecodable:
        return False
    lines = encode_events(found.events)
    read = decode(b"".join(lines), now_us=END_US, form=SEGMENTS)
    assert len(lines) == len(found.events) == read.received, (found.events, lines)
    assert all(count > 0 for count in found.rejected.values()), found.rejected
    _fold(read)
    return bool(found.events)


def _fold(read: Decoded) -> None:
    """Fold what was read, under a trigger on each metric that is in it."""
    points = [point for event in read.events if event.kind == "metric" and (point := point_of(event)) is not None]
    telemetry = Telemetry(_asking(f"{METRIC}{name}") for name in {point.name for point in points[:MOST_TRIGGERS]})
    telemetry.account(read.received, Counter(reason.value for _, reason in read.bad))
    order = np.argsort(read.ts, kind="stable")
    telemetry.queue([read.events[place] for place in order.tolist()], read.kind[order], read.ts[order])
    telemetry.fold()
    telemetry.pack()
    count = telemetry.accounting
    fates = count.aggregated + sum(count.quarantined.values()) + sum(count.dropped.values())
    assert (count.accepted, count.in_flight) == (fates, 0), count


def _asking(signal: str) -> TriggerSpec:
    return TriggerSpec.model_validate(
        {
            "name": "metric",
            "type": "performance",
            "signal": signal,
            "aggregate": "p99",
            "window": "5m",
            "condition": {"kind": "threshold", "op": ">", "value": 1},
            "severity": "low",
            "target_agent": "A",
        }
    )


def _lines(data: bytes) -> bool:
    for form in (NATIVE, SEGMENTS):
        read = decode(data, now_us=END_US, attributes=form is NATIVE, form=form)
        assert read.received >= len(read.events)
        _fold(read)
    return bool(read.events)


def _body(encoding: str, data: bytes) -> bool:
    try:
        assert len(decompressed(data, encoding, MOST_BYTES)) <= MOST_BYTES
    except BodyError:
        return False
    return True


def _otlp(normalise: Callable[..., Normalised]) -> dict[str, Callable[[bytes], bool]]:
    name = f"otlp_{normalise.__name__}"
    return {
        name: partial(_normalised, normalise),
        f"{name}_json": partial(_normalised, partial(normalise, json=True)),
    }


def _native_batch(kind: str) -> Callable[[bytes], Any]:
    return lambda data: native_batch(data, kind)


TARGETS: Final[dict[str, Callable[[bytes], bool]]] = {
    **_otlp(traces),
    **_otlp(logs),
    **_otlp(metrics),
    "native_lines": _lines,
    "native_batch_json": partial(_normalised, _native_batch("application/json")),
    "native_batch_lines": partial(_normalised, _native_batch("application/x-ndjson")),
    "junit": partial(_normalised, lambda data: junit(data, at=AT)),
    "alertmanager": partial(_normalised, alerts),
    "body_gzip": partial(_body, "gzip"),
    "body_deflate": partial(_body, "deflate"),
    "body_zstd": partial(_body, "zstd"),
}
"""The targets by name."""
