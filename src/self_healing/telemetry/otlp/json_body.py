"""OTLP in JSON, decoded into records that read like the protobuf messages of the same names.

So what maps messages maps these, without a line of its own. Ids are in hex there, 64-bit integers are texts, enums are
names or numbers, fields that are not known are to be ignored, and null is a missing value. An id or a time that cannot
be read makes its item bad, not the request.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeVar

import msgspec

from self_healing.errors import Undecodable
from self_healing.telemetry.caps import ITEMS_MAX, check_items, check_values
from self_healing.telemetry.lines import DEPTH_MAX, depth_of

T = TypeVar("T")

Integer = int | str | None
Number = float | str | None

_NO_ID = b"?"
"""Stands for an id that is not hex: as any id of a wrong length, it makes its item bad."""


def decode_json(body: bytes, kind: type[T]) -> T:
    """The request of that kind that `body` holds.

    Raises:
        Undecodable: it holds none, too much, or nests deeper than DEPTH_MAX.
    """
    check_values(body)
    if depth_of(body) > DEPTH_MAX:
        raise Undecodable(f"the body nests deeper than {DEPTH_MAX} levels")
    try:
        if body.count(b"{") > ITEMS_MAX:
            _check_items_in(msgspec.json.decode(body, type=_Items))
        return msgspec.json.decode(body, type=kind)
    except (ValueError, RecursionError) as error:
        raise Undecodable(f"the body is no OTLP/JSON: {error}") from error


Raws = list[msgspec.Raw] | None


class _Items(msgspec.Struct, rename="camel"):
    """Any request, of which only is seen how many items it has, to make none of them where they are too many."""

    resource_spans: list[_Items] | None = None
    resource_logs: list[_Items] | None = None
    resource_metrics: list[_Items] | None = None
    scope_spans: list[_Items] | None = None
    scope_logs: list[_Items] | None = None
    scope_metrics: list[_Items] | None = None
    metrics: list[_Items] | None = None
    gauge: _Items | None = None
    sum: _Items | None = None
    histogram: _Items | None = None
    exponential_histogram: _Items | None = None
    summary: _Items | None = None
    spans: Raws = None
    log_records: Raws = None
    data_points: Raws = None


def _check_items_in(request: _Items) -> None:
    """Refuse a request of too many items; a part that could have some and has none is one, too."""
    found, waiting = 0, [request]
    while waiting:
        part = waiting.pop()
        before = found + len(waiting)
        for name in part.__struct_fields__:
            match getattr(part, name):
                case _Items() as inner:
                    waiting.append(inner)
                case [_Items(), *_] as several:
                    waiting += several
                case list() as items:
                    found += len(items)
        found += found + len(waiting) == before
        check_items(found + len(waiting))


def _id(text: Any) -> bytes:
    try:
        return bytes.fromhex(text or "")
    except ValueError:
        return _NO_ID


def _time(value: Any) -> int:
    """Nanoseconds since 1970; 0, as for a missing time, where it is none."""
    try:
        time = int(value or 0)
    except ValueError:
        return 0
    return time if 0 <= time < 2**64 else 0


def _integer(value: Any) -> int:
    number = int(value or 0)
    if not -(2**63) <= number < 2**64:
        raise ValueError(f"{number} does not fit in 64 bits")
    return number


def _unsigned(value: Any) -> int:
    number = _integer(value)
    if number < 0:
        raise ValueError(f"{number} is below zero")
    return number


def _signed32(value: Any) -> int:
    number = _integer(value)
    if not -(2**31) <= number < 2**31:
        raise ValueError(f"{number} does not fit in 32 bits")
    return number


def _number(value: Any) -> float:
    return float(value or 0)


def _optional_number(value: Any) -> float | None:
    return None if value is None else float(value)


def _optional_integer(value: Any) -> int | None:
    return None if value is None else _integer(value)


def _list(value: Any) -> Any:
    return value if value is not None else []


def _counts(value: Any) -> list[int]:
    return [_unsigned(each) for each in value or ()]


def _numbers(value: Any) -> list[float]:
    return [float(each) for each in value or ()]


def _text(value: Any) -> str:
    return value or ""


def _enum(names: Sequence[str]) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        return names.index(value) if isinstance(value, str) else value or 0

    return read


class _Message(msgspec.Struct, rename="camel"):
    """Base of the messages: ``READ`` says how each field that needs it becomes what protobuf has there."""

    READ: ClassVar[dict[str, Callable[[Any], Any]]] = {}

    def __post_init__(self) -> None:
        for name, read in self.READ.items():
            setattr(self, name, read(getattr(self, name)))

    def HasField(self, name: str) -> bool:
        """As protobuf calls it: whether an optional field is there."""
        return getattr(self, name) is not None


# --- attributes ----------------------------------------------------------------------------------------------------


class _AnyValue(msgspec.Struct, rename="camel"):
    string_value: str | None = None
    bool_value: bool | None = None
    int_value: Integer = None
    double_value: Number = None
    array_value: _Values | None = None
    kvlist_value: _Pairs | None = None
    bytes_value: str | None = None

    def __post_init__(self) -> None:
        if self.int_value is not None:
            self.int_value = _integer(self.int_value)
        if self.double_value is not None:
            self.double_value = float(self.double_value)

    def WhichOneof(self, _: str) -> str | None:
        """As protobuf calls it: the field that is set."""
        for name in self.__struct_fields__:
            if getattr(self, name) is not None:
                return name
        return None


class _KeyValue(msgspec.Struct):
    key: str | None = ""
    value: _AnyValue | None = None

    def __post_init__(self) -> None:
        if self.key is None:
            self.key = ""
        if self.value is None:
            self.value = _AnyValue()


class _Values(_Message):
    READ = {"values": _list}
    values: list[_AnyValue] | None = None


class _Pairs(_Message):
    READ = {"values": _list}
    values: list[_KeyValue] | None = None


class _Resource(_Message):
    READ = {"attributes": _list}
    attributes: list[_KeyValue] | None = None


class _Scope(_Message):
    READ = {"name": _text}
    name: str | None = None


def _resource(value: Any) -> _Resource:
    return value or _Resource()


def _scope(value: Any) -> _Scope:
    return value or _Scope()


# --- traces --------------------------------------------------------------------------------------------------------


class _Status(_Message):
    READ = {"code": _enum(("STATUS_CODE_UNSET", "STATUS_CODE_OK", "STATUS_CODE_ERROR")), "message": _text}
    code: int | str | None = None
    message: str | None = None


class _SpanEvent(_Message):
    READ = {"time_unix_nano": _time, "name": _text, "attributes": _list}
    time_unix_nano: Integer = None
    name: str | None = None
    attributes: list[_KeyValue] | None = None


class _Span(_Message):
    READ = {
        "trace_id": _id,
        "span_id": _id,
        "parent_span_id": _id,
        "name": _text,
        "start_time_unix_nano": _time,
        "end_time_unix_nano": _time,
        "attributes": _list,
        "events": _list,
        "status": lambda value: value or _Status(),
    }
    trace_id: str | None = None
    span_id: str | None = None
    parent_span_id: str | None = None
    name: str | None = None
    start_time_unix_nano: Integer = None
    end_time_unix_nano: Integer = None
    attributes: list[_KeyValue] | None = None
    events: list[_SpanEvent] | None = None
    status: _Status | None = None


class _ScopeSpans(_Message):
    READ = {"scope": _scope, "spans": _list}
    scope: _Scope | None = None
    spans: list[_Span] | None = None


class _ResourceSpans(_Message):
    READ = {"resource": _resource, "scope_spans": _list}
    resource: _Resource | None = None
    scope_spans: list[_ScopeSpans] | None = None


class TraceRequest(_Message):
    """An ``ExportTraceServiceRequest``."""

    READ = {"resource_spans": _list}
    resource_spans: list[_ResourceSpans] | None = None


# --- logs ----------------------------------------------------------------------------------------------------------


class _LogRecord(_Message):
    READ = {
        "time_unix_nano": _time,
        "observed_time_unix_nano": _time,
        "severity_text": _text,
        "body": lambda value: value or _AnyValue(),
        "attributes": _list,
        "trace_id": _id,
        "span_id": _id,
        "event_name": _text,
    }
    time_unix_nano: Integer = None
    observed_time_unix_nano: Integer = None
    severity_text: str | None = None
    body: _AnyValue | None = None
    attributes: list[_KeyValue] | None = None
    trace_id: str | None = None
    span_id: str | None = None
    event_name: str | None = None


class _ScopeLogs(_Message):
    READ = {"scope": _scope, "log_records": _list}
    scope: _Scope | None = None
    log_records: list[_LogRecord] | None = None


class _ResourceLogs(_Message):
    READ = {"resource": _resource, "scope_logs": _list}
    resource: _Resource | None = None
    scope_logs: list[_ScopeLogs] | None = None


class LogsRequest(_Message):
    """An ``ExportLogsServiceRequest``."""

    READ = {"resource_logs": _list}
    resource_logs: list[_ResourceLogs] | None = None


# --- metrics -------------------------------------------------------------------------------------------------------

_temporality = _enum(
    (
        "AGGREGATION_TEMPORALITY_UNSPECIFIED",
        "AGGREGATION_TEMPORALITY_DELTA",
        "AGGREGATION_TEMPORALITY_CUMULATIVE",
    )
)

_POINT: dict[str, Callable[[Any], Any]] = {
    "attributes": _list,
    "start_time_unix_nano": _time,
    "time_unix_nano": _time,
    "flags": _unsigned,
}


class _Point(_Message):
    """What all points have."""

    READ = _POINT
    attributes: list[_KeyValue] | None = None
    start_time_unix_nano: Integer = None
    time_unix_nano: Integer = None
    flags: Integer = None


class _NumberPoint(_Point):
    READ = _POINT | {"as_double": _optional_number, "as_int": _optional_integer}
    as_double: Number = None
    as_int: Integer = None

    def WhichOneof(self, _: str) -> str | None:
        """As protobuf calls it: the field that is set."""
        return next((name for name in ("as_int", "as_double") if self.HasField(name)), None)


_EXTENT: dict[str, Callable[[Any], Any]] = {
    "count": _unsigned,
    "sum": _optional_number,
    "min": _optional_number,
    "max": _optional_number,
}


class _HistogramPoint(_Point):
    READ = _POINT | _EXTENT | {"bucket_counts": _counts, "explicit_bounds": _numbers}
    count: Integer = None
    sum: Number = None
    min: Number = None
    max: Number = None
    bucket_counts: list[int | str] | None = None
    explicit_bounds: list[float | str] | None = None


class _Buckets(_Message):
    READ = {"offset": _signed32, "bucket_counts": _counts}
    offset: Integer = None
    bucket_counts: list[int | str] | None = None


class _ExponentialPoint(_Point):
    READ = (
        _POINT
        | _EXTENT
        | {
            "scale": _signed32,
            "zero_count": _unsigned,
            "positive": lambda value: value or _Buckets(),
            "negative": lambda value: value or _Buckets(),
        }
    )
    count: Integer = None
    sum: Number = None
    min: Number = None
    max: Number = None
    scale: Integer = None
    zero_count: Integer = None
    positive: _Buckets | None = None
    negative: _Buckets | None = None


class _SummaryPoint(_Point):
    READ = _POINT | {"count": _unsigned, "sum": _number}
    count: Integer = None
    sum: Number = None


class _Gauge(_Message):
    READ = {"data_points": _list}
    data_points: list[_NumberPoint] | None = None


class _Sum(_Message):
    READ = {"data_points": _list, "aggregation_temporality": _temporality}
    data_points: list[_NumberPoint] | None = None
    aggregation_temporality: int | str | None = None
    is_monotonic: bool | None = None


class _Histogram(_Message):
    READ = {"data_points": _list, "aggregation_temporality": _temporality}
    data_points: list[_HistogramPoint] | None = None
    aggregation_temporality: int | str | None = None


class _ExponentialHistogram(_Message):
    READ = {"data_points": _list, "aggregation_temporality": _temporality}
    data_points: list[_ExponentialPoint] | None = None
    aggregation_temporality: int | str | None = None


class _Summary(_Message):
    READ = {"data_points": _list}
    data_points: list[_SummaryPoint] | None = None


class _Metric(_Message):
    READ = {"name": _text, "unit": _text}
    name: str | None = None
    unit: str | None = None
    gauge: _Gauge | None = None
    sum: _Sum | None = None
    histogram: _Histogram | None = None
    exponential_histogram: _ExponentialHistogram | None = None
    summary: _Summary | None = None

    def WhichOneof(self, _: str) -> str | None:
        """As protobuf calls it: the field that is set."""
        data = ("gauge", "sum", "histogram", "exponential_histogram", "summary")
        return next((name for name in data if self.HasField(name)), None)


class _ScopeMetrics(_Message):
    READ = {"scope": _scope, "metrics": _list}
    scope: _Scope | None = None
    metrics: list[_Metric] | None = None


class _ResourceMetrics(_Message):
    READ = {"resource": _resource, "scope_metrics": _list}
    resource: _Resource | None = None
    scope_metrics: list[_ScopeMetrics] | None = None


class MetricsRequest(_Message):
    """An ``ExportMetricsServiceRequest``."""

    READ = {"resource_metrics": _list}
    resource_metrics: list[_ResourceMetrics] | None = None
