"""Points of metrics: what each kind amounts to, which series they belong to, and which can never be used."""

from __future__ import annotations

from typing import Any

import pytest

from self_healing.errors import Undecodable
from self_healing.telemetry.encoding import encode_events
from self_healing.telemetry.lines import SEGMENTS
from self_healing.telemetry.metric import BUCKETS_MAX, MetricPoint, point_of
from self_healing.telemetry.native import decode
from self_healing.telemetry.otlp import Rejection
from self_healing.telemetry.timestamps import END_US
from tests.unit.telemetry.otlp.bodies import attributes, event, metric, normalised, rejected

CUMULATIVE = {"aggregationTemporality": "AGGREGATION_TEMPORALITY_CUMULATIVE"}
STARTED = 1_767_607_200.0


def point(request: Any) -> MetricPoint:
    found = point_of(event(request))
    assert found is not None
    return found


def amounts(request: Any) -> dict[str, Any]:
    """What a point says beside its name and series."""
    found = point(request)
    return {
        name: getattr(found, name)
        for name in ("temporality", "count", "sum", "min", "max", "bounds", "scale", "zero_count", "offset", "buckets")
        if getattr(found, name) not in {None, ()}
    }


def test_a_point_says_whose_it_is_and_when() -> None:
    said = {"gen_ai.agent.name": "Coder", "gen_ai.request.model": "gpt-4o", "gen_ai.token.type": "input"}
    found = event(metric("sum", said, {"isMonotonic": True}, asInt="3"))
    assert (found.kind, found.agent, found.model, found.ts) == (
        "metric",
        "Coder",
        "gpt-4o",
        "2026-01-05T10:01:00.000000Z",
    )
    assert found.usage is None
    assert found.attributes is not None
    assert found.attributes["gen_ai.token.type"] == "input"
    assert (point(metric("sum", said, asInt="3")).name, point(metric("sum", said, asInt="3")).unit) == ("m", "s")


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (metric("gauge", asDouble=2.5), {"temporality": "instant", "count": 1, "sum": 2.5, "min": 2.5, "max": 2.5}),
        (metric("gauge", asInt="-3"), {"temporality": "instant", "count": 1, "sum": -3.0, "min": -3.0, "max": -3.0}),
        (metric("sum", data={"isMonotonic": True}, asInt="3"), {"temporality": "delta", "sum": 3.0}),
        (metric("sum", data=CUMULATIVE | {"isMonotonic": True}, asInt="3"), {"temporality": "cumulative", "sum": 3.0}),
        (
            metric("sum", data=CUMULATIVE, asInt="3"),  # it goes up and down
            {"temporality": "instant", "count": 1, "sum": 3.0, "min": 3.0, "max": 3.0},
        ),
        (
            metric("histogram", count="3", sum=4.5, min=0.5, max=3, bucketCounts=["1", "2"], explicitBounds=[1]),
            {
                "temporality": "delta",
                "count": 3,
                "sum": 4.5,
                "min": 0.5,
                "max": 3.0,
                "bounds": (1.0,),
                "buckets": (1, 2),
            },
        ),
        (metric("histogram", count="3"), {"temporality": "delta", "count": 3}),
        (
            metric(
                "exponentialHistogram",
                data=CUMULATIVE,
                count="4",
                sum=9,
                scale=2,
                zeroCount="1",
                positive={"offset": -3, "bucketCounts": ["0", "3"]},
            ),
            {
                "temporality": "cumulative",
                "count": 4,
                "sum": 9.0,
                "scale": 2,
                "zero_count": 1,
                "offset": -3,
                "buckets": (0, 3),
            },
        ),
        (metric("summary", count="2", sum=5), {"temporality": "cumulative", "count": 2, "sum": 5.0}),
        (metric("gauge", flags=1), {"temporality": "delta", "count": 0}),  # it says only that it is still there
    ],
)
def test_a_point_amounts_to_what_its_kind_says(request_: Any, expected: dict[str, Any]) -> None:
    found = amounts(request_)
    assert {name: found[name] for name in expected} == expected
    assert not {name for name in set(found) - set(expected) if found[name]}


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (metric("gauge", timeUnixNano="0", asInt="1"), Rejection.UNDATED),
        (metric("gauge", asDouble="NaN"), Rejection.NON_FINITE),
        (metric("gauge"), Rejection.NO_VALUE),
        (metric("sum", data={"isMonotonic": True}), Rejection.NO_VALUE),
        (metric("summary", count=str(2**63), sum=1), Rejection.INVALID_VALUE),
        (metric("sum", asDouble=1e300), Rejection.INVALID_VALUE),
        (metric("sum", data={"aggregationTemporality": 0, "isMonotonic": True}, asInt="1"), Rejection.NO_TEMPORALITY),
        (metric("histogram", count="1", sum="Infinity"), Rejection.NON_FINITE),
        (metric("histogram", count="3", bucketCounts=["1", "1"], explicitBounds=[1]), Rejection.INVALID_HISTOGRAM),
        (metric("histogram", count="2", bucketCounts=["1", "1"], explicitBounds=[1, 2]), Rejection.INVALID_HISTOGRAM),
        (
            metric("histogram", count="3", bucketCounts=["1", "1", "1"], explicitBounds=[2, 1]),
            Rejection.INVALID_HISTOGRAM,
        ),
        (
            metric(
                "histogram",
                count="0",
                bucketCounts=["0"] * (BUCKETS_MAX + 1),
                explicitBounds=list(range(BUCKETS_MAX)),
            ),
            Rejection.TOO_MANY_BUCKETS,
        ),
        (metric("exponentialHistogram", count="1", zeroCount="1", scale=21), Rejection.INVALID_HISTOGRAM),
        (metric("exponentialHistogram", count="2", zeroCount="1"), Rejection.INVALID_HISTOGRAM),
        (
            metric("exponentialHistogram", count="1", negative={"bucketCounts": ["1"]}),
            Rejection.INVALID_VALUE,
        ),
    ],
)
def test_a_point_that_can_never_be_used_is_rejected(request_: Any, reason: Rejection) -> None:
    assert rejected(request_) == {reason: 1}


@pytest.mark.parametrize(
    "request_",
    [
        metric("histogram", count="-5", sum=1),
        metric("histogram", count="0", bucketCounts=["5", "-5"], explicitBounds=[1]),
        metric("exponentialHistogram", count="0", zeroCount="-1", positive={"bucketCounts": ["1"]}),
        metric("exponentialHistogram", count="1", positive={"offset": 2**31, "bucketCounts": ["1"]}),
        metric("exponentialHistogram", count="1", scale=-(2**31) - 1, positive={"bucketCounts": ["1"]}),
        metric("summary", count="-1"),
    ],
)
def test_json_that_protobuf_cannot_say_is_refused(request_: Any) -> None:
    with pytest.raises(Undecodable, match=r"below zero|does not fit in 32 bits"):
        normalised(request_)


def test_a_histogram_of_many_buckets_is_read_as_it_came() -> None:
    buckets = list(range(BUCKETS_MAX))
    bounds = [each + 0.123456789 for each in buckets[:-1]]
    sent = event(metric("histogram", count=str(sum(buckets)), bucketCounts=buckets, explicitBounds=bounds))
    before = point_of(sent)
    (line,) = encode_events([sent])
    (read,) = decode(line, now_us=END_US, form=SEGMENTS).events
    assert before is not None
    assert point_of(read) == before


def test_a_series_is_its_resource_its_scope_its_name_and_its_attributes_in_any_order() -> None:
    said = {"a": "1", "b": "2"}
    turned = {"b": "2", "a": "1"}
    one = point(metric("gauge", said, asInt="1")).series
    assert point(metric("gauge", turned, asInt="9")).series == one
    others = [
        metric("gauge", {"a": "1"}, asInt="1"),
        metric("gauge", said, asInt="1"),
        metric("gauge", said, asInt="1"),
    ]
    others[1]["resourceMetrics"][0]["resource"] = {"attributes": attributes({"service.instance.id": "2"})}
    others[2]["resourceMetrics"][0]["scopeMetrics"][0]["metrics"][0]["name"] = "n"
    assert len({one, *(point(other).series for other in others)}) == 4


def test_an_event_without_a_point_has_none() -> None:
    found = event(metric("gauge", asInt="1"))
    found.attributes = {"point": {"name": 5}}
    assert point_of(found) is None
    found.attributes = None
    assert point_of(found) is None
