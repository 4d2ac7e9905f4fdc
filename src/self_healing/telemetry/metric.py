"""One point of a metric that its sender had aggregated already, as an event of kind `metric` carries it.

It stands under ``POINT`` in the event's attributes. A metric is a signal of its own, ``metric.<name>``; it never adds
to what tasks used, since whoever sends metrics mostly sends the same as spans or logs too.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from self_healing.model import Event

POINT: Final = "point"
"""The attribute that holds the point."""

BUCKETS_MAX = 1024
"""How many buckets a histogram may have."""


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
    """

    name: str
    unit: str = ""
    series: str = ""
    temporality: Literal["delta", "cumulative", "instant"] = "delta"
    started_at: float | None = None
    count: int | None = 0
    sum: float | None = None
    min: float | None = None
    max: float | None = None
    bounds: tuple[float, ...] = ()
    scale: int | None = None
    zero_count: int = 0
    offset: int = 0
    buckets: tuple[int, ...] = ()


def point_of(event: Event) -> MetricPoint | None:
    """The point that an event of kind `metric` carries; None when it carries none that can be used."""
    try:
        return msgspec.convert((event.attributes or {}).get(POINT), MetricPoint)
    except msgspec.ValidationError:
        return None
