"""One point of a metric that its sender had aggregated already, as an event of kind `metric` carries it.

It stands under ``POINT`` in the event's attributes. A metric is a signal of its own, ``metric.<name>``; it never adds
to what tasks used, since whoever sends metrics mostly sends the same as spans or logs too.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from self_healing.model import Event

POINT: Final = "point"
"""The attribute that holds the point."""

BUCKETS_MAX = 1024
"""How many buckets a histogram may have."""

POINT_MAX: Final = (2**63 - 1) // 1_000_000
"""The largest figure of a point; sums are kept in int64 millionths."""

SCALES: Final = range(-10, 21)
"""The scales that OpenTelemetry's exponential histograms have."""

_Count = Annotated[int, Meta(ge=0, le=POINT_MAX)]
_Counts = Annotated[tuple[_Count, ...], Meta(max_length=BUCKETS_MAX)]
_Amount = Annotated[float, Meta(ge=-POINT_MAX, le=POINT_MAX)]
_Scale = Annotated[int, Meta(ge=SCALES.start, lt=SCALES.stop)]
_Offset = Annotated[int, Meta(ge=-(2**31), lt=2**31)]
_Instant = Annotated[float, Meta(ge=0, lt=253_402_300_800)]  # up to the year 10000


class MetricPoint(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a metric says of one stretch of time, for one set of attributes.

    Args:
        name: the metric's, such as ``gen_ai.client.token.usage``.
        unit: as the metric says it, such as ``{token}`` or ``s``.
        series: what it is a point of: a hash of the resource, the scope, the metric and the attributes.
        temporality: of `delta`, the amounts are of this point alone; of `cumulative`, since `started_at`; an `instant`
            is a level, such as a queue's length.
        started_at: seconds since 1970; None when unknown.
        count: how many measurements; None, that is unknown, for a plain sum.
        sum: of the measurements; for an instant its value.
        min: of the measurements.
        max: of the measurements.
        bounds: of an explicit histogram, the upper bounds of all buckets but the last, each of them included.
        scale: of an exponential histogram: bucket i holds what is above base**i, up to base**(i + 1), and base is
            2**(2**-scale).
        zero_count: of an exponential histogram, how many measurements are in no bucket, being next to zero.
        offset: of an exponential histogram, the i of its first bucket.
        buckets: how many measurements are in each.

    Raises:
        ValueError: it is a histogram that does not fit together.
    """

    name: str
    unit: str = ""
    series: str = ""
    temporality: Literal["delta", "cumulative", "instant"] = "delta"
    started_at: _Instant | None = None
    count: _Count | None = 0
    sum: _Amount | None = None
    min: _Amount | None = None
    max: _Amount | None = None
    bounds: tuple[float, ...] = ()
    scale: _Scale | None = None
    zero_count: _Count = 0
    offset: _Offset = 0
    buckets: _Counts = ()

    def __post_init__(self) -> None:
        if self.scale is None and not _framed(self.bounds, len(self.buckets)):
            raise ValueError("bounds that do not ascend, or another number of buckets than one more than them")
        if self.buckets and self.zero_count + sum(self.buckets) not in {0, self.count}:
            raise ValueError("buckets that do not add up to the count")


def _framed(bounds: tuple[float, ...], buckets: int) -> bool:
    """Whether the bounds of an explicit histogram ascend, and are those of so many buckets."""
    fitting = buckets == len(bounds) + 1 or not (buckets or bounds)
    return fitting and all(map(math.isfinite, bounds)) and all(low < high for low, high in pairwise(bounds))


def point_of(event: Event) -> MetricPoint | None:
    """The point that an event of kind `metric` carries; None when it carries none that can be used."""
    try:
        return msgspec.convert((event.attributes or {}).get(POINT), MetricPoint)
    except msgspec.ValidationError:
        return None
