"""Points of metrics into events of kind `metric`, as they came; what a cumulative one adds is found when it is folded.

So whatever arrives is stored once and can be folded again, and a request that is sent twice does no harm.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from typing import Any, cast

import msgspec
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AggregationTemporality,
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    SummaryDataPoint,
)

from self_healing.model import Ingested
from self_healing.telemetry.metric import BUCKETS_MAX, POINT, POINT_MAX, MetricPoint
from self_healing.telemetry.normalised import Normalised
from self_healing.telemetry.otlp import values
from self_healing.telemetry.otlp.cells import cells_of, kept_of
from self_healing.telemetry.otlp.items import normalised
from self_healing.telemetry.otlp.json_body import MetricsRequest, decode_json
from self_healing.telemetry.otlp.names import PROVIDER_OF, SOURCE_OF
from self_healing.telemetry.otlp.plan import NAME_MAX, READERS, Attributes, Origin, origin_of, plan_for
from self_healing.telemetry.otlp.protobuf_body import decode_protobuf
from self_healing.telemetry.otlp.rejection import BadItem, Rejection
from self_healing.telemetry.timestamps import encode_micros

_NO_VALUE = 1
"""The flag of a point that says only that its series is still there."""

_DELTA = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA

_TEMPORALITIES: dict[int, str] = {
    _DELTA: "delta",
    AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE: "cumulative",
}

Point = NumberDataPoint | HistogramDataPoint | ExponentialHistogramDataPoint | SummaryDataPoint


def metrics(body: bytes, *, json: bool = False) -> Normalised:
    """The events of an ``ExportMetricsServiceRequest``, one a point.

    Args:
        body: the request, decompressed.
        json: it is OTLP/JSON; else it is protobuf.

    Raises:
        Undecodable: it is no such request.
    """
    if json:
        request = cast("ExportMetricsServiceRequest", decode_json(body, MetricsRequest))
    else:
        request = decode_protobuf(body, ExportMetricsServiceRequest, levels=5)
    points = ((point, *rest) for rest in _metrics(request) for point in _points(rest[0]))
    return normalised(points, lambda *point: [_event(*point)], body=body)


def _metrics(request: ExportMetricsServiceRequest) -> Iterator[tuple[Metric, Origin, bytes]]:
    """Each metric with where it comes from, and with its resource in bytes."""
    for resource_metrics in request.resource_metrics:
        attributes = resource_metrics.resource.attributes
        resource = _bytes_of(attributes)
        for scope_metrics in resource_metrics.scope_metrics:
            origin = origin_of(scope_metrics.scope.name, attributes)
            for metric in scope_metrics.metrics:
                yield metric, origin, resource


def _points(metric: Metric) -> Iterator[Point]:
    data = metric.WhichOneof("data")
    return iter(()) if data is None else iter(getattr(metric, data).data_points)


def _event(point: Point, metric: Metric, origin: Origin, resource: bytes) -> Ingested:
    """The event of one point.

    Raises:
        BadItem: it cannot be used.
    """
    if not point.time_unix_nano:
        raise BadItem(Rejection.UNDATED)
    plan, pairs = plan_for(origin, point.attributes)
    row = dict(zip(READERS, cells_of(plan, pairs), strict=True))
    kept = kept_of(plan, pairs, origin)
    said = {
        "name": metric.name[:NAME_MAX],
        "unit": metric.unit[:NAME_MAX],
        "series": _series(resource, origin.scope, metric.name, point.attributes),
        "started_at": point.start_time_unix_nano / 1e9 if point.start_time_unix_nano else None,
        **({} if point.flags & _NO_VALUE else _amounts(point, metric)),
    }
    try:
        kept[POINT] = msgspec.to_builtins(msgspec.convert(said, MetricPoint))
    except msgspec.ValidationError as error:
        raise BadItem(Rejection.INVALID_HISTOGRAM) from error
    return Ingested(
        ts=encode_micros(point.time_unix_nano // 1000),
        kind="metric",
        source=SOURCE_OF[plan.source],
        task_id=row["task_id"],
        agent=row["agent"],
        model=row["model"],
        provider=row["provider"] or PROVIDER_OF.get(plan.source),
        error_type=row["error_type"],
        tool=row["tool"],
        run_id=row["run_id"],
        handoff_id=row["handoff_id"],
        attributes=kept,
    )


def _series(resource: bytes, scope: str, name: str, attributes: Attributes) -> str:
    said = hashlib.blake2b(digest_size=12)
    for part in (resource, scope.encode(), name.encode(), _bytes_of(attributes)):
        said.update(len(part).to_bytes(8, "big") + part)
    return said.hexdigest()


def _bytes_of(attributes: Attributes) -> bytes:
    """The attributes in one order, whatever order they came in."""
    return repr(sorted([(pair.key, repr(values.kept(pair.value))) for pair in attributes])).encode()


def _amounts(point: Any, metric: Metric) -> dict[str, Any]:
    """What a point amounts to, in the fields of a :class:`MetricPoint`.

    Raises:
        BadItem: one of the amounts cannot be used.
    """
    match metric.WhichOneof("data"):
        case "gauge":
            return _level(point)
        case "sum":
            if not metric.sum.is_monotonic and metric.sum.aggregation_temporality != _DELTA:
                return _level(point)  # it goes up and down, as a queue does
            amount = _finite(_number(point))
            return {"temporality": _temporality(metric.sum), "count": None, "sum": amount}
        case "histogram":
            return {"temporality": _temporality(metric.histogram)} | _histogram(point)
        case "exponential_histogram":
            return {"temporality": _temporality(metric.exponential_histogram)} | _exponential(point)
        case _:  # a summary: its quantiles cannot be merged with any other's
            return {"temporality": "cumulative", "count": _count(point), "sum": _finite(point.sum)}


def _level(point: NumberDataPoint) -> dict[str, Any]:
    amount = _finite(_number(point))
    return {"temporality": "instant", "count": 1, "sum": amount, "min": amount, "max": amount}


def _number(point: NumberDataPoint) -> float:
    match point.WhichOneof("value"):
        case "as_int":
            return float(point.as_int)
        case "as_double":
            return point.as_double
        case _:  # unknown is not zero
            raise BadItem(Rejection.NO_VALUE)


def _temporality(data: Any) -> str:
    found = _TEMPORALITIES.get(data.aggregation_temporality)
    if found is None:
        raise BadItem(Rejection.NO_TEMPORALITY)
    return found


def _finite(amount: float) -> float:
    if not math.isfinite(amount):
        raise BadItem(Rejection.NON_FINITE)
    if abs(amount) > POINT_MAX:
        raise BadItem(Rejection.INVALID_VALUE)
    return amount


def _extent(point: HistogramDataPoint | ExponentialHistogramDataPoint) -> dict[str, Any]:
    """The count, and those of sum, min and max that the point has."""
    amounts = {name: _finite(getattr(point, name)) for name in ("sum", "min", "max") if point.HasField(name)}
    return {"count": _count(point), **amounts}


def _count(point: HistogramDataPoint | ExponentialHistogramDataPoint | SummaryDataPoint) -> int:
    if point.count > POINT_MAX:
        raise BadItem(Rejection.INVALID_VALUE)
    return point.count


def _histogram(point: HistogramDataPoint) -> dict[str, Any]:
    bounds, buckets = tuple(point.explicit_bounds), tuple(point.bucket_counts)
    if len(buckets) > BUCKETS_MAX:
        raise BadItem(Rejection.TOO_MANY_BUCKETS)
    return {"bounds": bounds, "buckets": buckets} | _extent(point)


def _exponential(point: ExponentialHistogramDataPoint) -> dict[str, Any]:
    buckets = tuple(point.positive.bucket_counts)
    if len(buckets) > BUCKETS_MAX:
        raise BadItem(Rejection.TOO_MANY_BUCKETS)
    if any(point.negative.bucket_counts):
        raise BadItem(Rejection.INVALID_VALUE)  # nothing that we measure is below zero
    if point.zero_count + sum(buckets) != point.count:
        raise BadItem(Rejection.INVALID_HISTOGRAM)
    return {
        "scale": point.scale,
        "zero_count": point.zero_count,
        "offset": point.positive.offset,
        "buckets": buckets,
    } | _extent(point)
