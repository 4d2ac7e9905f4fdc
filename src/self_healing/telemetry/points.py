"""Points of metrics become samples of the signals ``metric.<name>``: each measurement counts once.

A point of a sum and a level are one sample each. A point of a histogram stands for all its measurements: their number
and their sum are exact, and each bucket is told by the value in it that is off by the least towards both of its ends.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from self_healing.clock import MINUTE_US
from self_healing.histograms import SCALE, ZERO, bucket_of, code_of, middle_of
from self_healing.measures import LARGEST, MICRO
from self_healing.model import Event
from self_healing.telemetry.differences import IDLE_US, SERIES_MAX, Differences, LeftOut
from self_healing.telemetry.metric import POINT_MAX, MetricPoint, point_of
from self_healing.telemetry.samples import Rows, Samples, Spread
from self_healing.telemetry.signals import METRIC

TOO_MANY_SERIES: Final = "too_many_series"
"""Why a point was dropped: there is no place for its series."""


@dataclass(slots=True)
class _Gathered:
    """The points of one metric."""

    events: list[Event] = field(default_factory=list)
    ts: list[int] = field(default_factory=list)
    points: list[MetricPoint] = field(default_factory=list)


class Points:
    """Tells what came new with each point, and remembers from where to count."""

    def __init__(self) -> None:
        self._differences: Differences | None = None
        self._changed = False  # since it was last packed
        self._left_out = 0  # points that somebody asks for, since it was last asked

    def samples(
        self, events: Sequence[Event], ts: Sequence[int], asked: Container[str]
    ) -> Iterator[tuple[str, Samples]]:
        """The samples of events of kind `metric`, by signal.

        Args:
            events: in the order of their time.
            ts: of each, microseconds.
            asked: the signals that somebody wants; of all others only is remembered from where to count.
        """
        found: dict[str, _Gathered] = {}
        for event, at in zip(events, ts, strict=True):
            point = point_of(event)
            added = None if point is None else self._added(point, at, asked)
            if added is not None and _says(added) and f"{METRIC}{added.name}" in asked:
                gathered = found.setdefault(f"{METRIC}{added.name}", _Gathered())
                gathered.events.append(event)
                gathered.ts.append(at)
                gathered.points.append(added)
        for signal, gathered in found.items():
            yield signal, _samples(gathered)

    def _added(self, point: MetricPoint, ts_us: int, asked: Container[str]) -> MetricPoint | None:
        if self._differences is None:
            # What a series had summed up by then belongs to no instant that anybody judges.
            self._differences = Differences(ts_us)
        self._changed = True
        try:
            return self._differences.added(point, ts_us)
        except LeftOut:
            self._left_out += f"{METRIC}{point.name}" in asked
            return None

    def take_left_out(self) -> int:
        """How many points that somebody asks for had no place for their series, since this was last asked."""
        left_out, self._left_out = self._left_out, 0
        return left_out

    @property
    def issues(self) -> list[str]:
        """What is wrong with the metrics that come in, in words."""
        if self._differences is None or not self._differences.crowded:
            return []
        return [
            f"more than {SERIES_MAX} cumulative series of metrics within {IDLE_US // MINUTE_US} min: points of further"
            f" ones are dropped as {TOO_MANY_SERIES}; have deltas sent"
            " (OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE=delta), or fewer attributes"
        ]

    def pack(self) -> dict[str, bytes]:
        """All of it for the state, by name; nothing when nothing changed since the last time."""
        if not self._changed or self._differences is None:
            return {}
        self._changed = False
        return {"metrics": self._differences.pack()}

    def unpack(self, packed: bytes | None) -> None:
        """Put back what :meth:`pack` gave; None where nothing was ever stored."""
        if packed is not None:
            self._differences = Differences(0)
            self._differences.unpack(packed)


def _says(point: MetricPoint) -> bool:
    """Whether it says of some measurement how much that is."""
    return point.count != 0 and (point.sum is not None or point.zero_count > 0 or any(point.buckets))


def _samples(gathered: _Gathered) -> Samples:
    points, length = gathered.points, len(gathered.points)
    rows = Rows(gathered.events, np.array(gathered.ts, np.int64))
    count = [1 if point.count is None else min(point.count, LARGEST) for point in points]
    amount = [_amount(point) for point in points]
    filled = [_filled(*each) for each in zip(points, count, amount, strict=True)]
    low = [_extreme(point.min, min(codes)) for point, codes in zip(points, filled, strict=True)]
    high = [_extreme(point.max, max(codes)) for point, codes in zip(points, filled, strict=True)]
    for place, point in enumerate(points):
        if count[place] == 1 and point.sum is not None:
            low[place] = high[place] = amount[place]
    cells = [(place, code, held) for place, codes in enumerate(filled) for code, held in codes.items()]
    of, codes, counts = np.array(cells, np.int64).reshape(-1, 3).T
    spread = Spread(np.array(low, np.int64), np.array(high, np.int64), of, codes, counts)
    return Samples(rows, np.arange(length), np.array(count, np.int64), np.array(amount, np.int64), spread)


def _amount(point: MetricPoint) -> int:
    """What the measurements amount to: as the point says, else what stands for its buckets."""
    if point.sum is not None:
        return _micros(point.sum)
    return _micros(sum(middle_of(code) * held for code, held in _told(point)))


def _micros(amount: float) -> int:
    return round(max(min(amount, LARGEST), -LARGEST) * MICRO)


def _extreme(said: float | None, code: int) -> int:
    """An extreme as the point says it, else what stands for its outermost bucket."""
    return _micros(middle_of(code) if said is None else said)


def _filled(point: MetricPoint, count: int, amount: int) -> dict[int, int]:
    """How many measurements are in each of our buckets; all in that of their mean where the point does not say."""
    filled: dict[int, int] = {}
    for code, held in _told(point):
        filled[code] = filled.get(code, 0) + held
    return filled or {bucket_of(amount // count): count}


def _told(point: MetricPoint) -> Iterator[tuple[int, int]]:
    if point.zero_count:
        yield ZERO, point.zero_count
    for number, held in enumerate(point.buckets):
        if held and point.scale is not None:
            yield _from_exponential(point.offset + number, point.scale), held
        elif held and point.bounds:
            yield bucket_of(_micros(_inside(point, number))), held


def _from_exponential(index: int, scale: int) -> int:
    """Our bucket for one at another scale: a finer one lies within one of ours, a coarser one counts at its middle."""
    if scale >= SCALE:
        return code_of(index >> (scale - SCALE))
    width = 2.0**-scale  # in doublings
    narrowing = width - math.log2(1 + 2**width) if width < 64 else 0.0
    return code_of(math.ceil((index * width + 1 + narrowing) * 2**SCALE) - 1)


def _inside(point: MetricPoint, number: int) -> float:
    """What stands for the bucket of an explicit histogram."""
    lower = point.bounds[number - 1] if number else point.min
    upper = point.bounds[number] if number < len(point.bounds) else point.max
    if lower is None:
        lower = min(upper or 0.0, 0.0)
    if upper is None:
        return lower
    # Some name the largest float there is as their last bound, and two of these have no sum.
    lower, upper = (max(min(bound, POINT_MAX), -POINT_MAX) for bound in (lower, upper))
    return 2 * lower * upper / (lower + upper) if lower > 0 else (lower + upper) / 2
