"""Cumulative metrics into what came new with each point, so that points can be summed like all else."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec.structs import replace

from self_healing.clock import MINUTE_US, SECOND_US
from self_healing.telemetry.metric import MetricPoint

SERIES_MAX: Final = 20_000
"""How many cumulative series are remembered: 30 MB, and more where they are histograms."""

IDLE_US: Final = 10 * MINUTE_US
"""A series that was not heard of for so long gives its place to another: ten times what exporters wait by default."""


class _Last(msgspec.Struct, frozen=True, array_like=True):
    ts_us: int
    point: MetricPoint


class LeftOut(Exception):
    """A point is of a series for which there is no place; caught where it is counted."""


class Differences:
    """What each point of a cumulative series adds to the one before it.

    The first point of a series counts whole if its series began after this did, as that of a program that was started
    since, which sends one point and ends. Else it only says from where to count, since what it sums up may have been
    counted in another life. A series that begins anew, or falls, was restarted, and its point counts whole. Where there
    is no place for a series, its points are left out: were another forgotten for it that is still sent, each would be
    forgotten before its next point comes, and none would ever count.

    Args:
        since_us: when this began, microseconds since 1970.
        most: how many series are remembered.
    """

    def __init__(self, since_us: int, most: int = SERIES_MAX) -> None:
        self.since_us = since_us
        self._most = most
        self._last: dict[str, _Last] = {}  # the least recently seen first
        self._newest_us = since_us
        self._left_out_us = since_us - IDLE_US

    @property
    def crowded(self) -> bool:
        """Whether a series was left out lately."""
        return self._newest_us - self._left_out_us < IDLE_US

    def added(self, point: MetricPoint, ts_us: int) -> MetricPoint | None:
        """What came new with `point`, as a delta; an instant, and what is a delta already, as it is.

        Args:
            point: one point.
            ts_us: the time of its event, microseconds since 1970.

        Returns:
            None when it adds nothing: it repeats a point, comes after a newer one, or only says from where to count.

        Raises:
            LeftOut: its series has no place.
        """
        if point.temporality != "cumulative":
            return point
        last = self._last.pop(point.series, None)
        if last is not None and ts_us <= last.ts_us:
            self._last[point.series] = last
            return None
        self._newest_us = max(self._newest_us, ts_us)
        if last is None:
            self._make_room(ts_us)
        self._last[point.series] = _Last(ts_us, point)
        if last is None:
            began_us = None if point.started_at is None else point.started_at * SECOND_US
            return _whole(point) if began_us is not None and began_us >= self.since_us else None
        if _restarted(last.point, point):
            return _whole(point)
        return _difference(last, point)

    def _make_room(self, ts_us: int) -> None:
        while len(self._last) >= self._most:
            series, oldest = next(iter(self._last.items()))
            if ts_us - oldest.ts_us < IDLE_US:
                self._left_out_us = self._newest_us
                raise LeftOut
            del self._last[series]
            # Should it come again, it must not count whole.
            self.since_us = max(self.since_us, oldest.ts_us)

    def pack(self) -> bytes:
        """All of it, for the state."""
        return msgspec.msgpack.encode((self.since_us, self._last))

    def unpack(self, packed: bytes) -> None:
        """Put back what :meth:`pack` gave."""
        self.since_us, found = msgspec.msgpack.decode(packed, type=tuple[int, dict[str, msgspec.Raw]])
        last = {series: _last_of(raw) for series, raw in found.items()}
        self._last = {series: each for series, each in last.items() if each is not None}
        self._newest_us = max((last.ts_us for last in self._last.values()), default=self.since_us)
        self._left_out_us = self._newest_us - IDLE_US


def _last_of(raw: msgspec.Raw) -> _Last | None:
    """What was stored of a series; None for a point that nobody may send any more, which ends no start."""
    try:
        return msgspec.msgpack.decode(raw, type=_Last)
    except msgspec.ValidationError:
        return None


def _whole(point: MetricPoint) -> MetricPoint:
    return replace(point, temporality="delta")


def _restarted(last: MetricPoint, point: MetricPoint) -> bool:
    fell = (point.count or 0) < (last.count or 0) or (point.sum or 0.0) < (last.sum or 0.0)
    return fell or (point.started_at or 0.0) > (last.started_at or 0.0)


def _difference(last: _Last, point: MetricPoint) -> MetricPoint:
    before = last.point
    added = replace(
        point,
        temporality="delta",
        started_at=last.ts_us / SECOND_US,
        count=None if point.count is None else point.count - (before.count or 0),
        sum=None if point.sum is None else point.sum - (before.sum or 0.0),
        min=None,  # of all since the start, and not of what came new
        max=None,
        bounds=(),
        zero_count=0,
        offset=0,
        buckets=(),
    )
    buckets = _new_buckets(before, point)
    zeros = max(point.zero_count - before.zero_count, 0)
    if buckets is None or zeros + sum(buckets) not in {0, added.count}:
        return added  # the buckets are others now; how many measurements, and how much, is still known
    return replace(added, bounds=point.bounds, zero_count=zeros, offset=point.offset, buckets=buckets)


def _new_buckets(before: MetricPoint, point: MetricPoint) -> tuple[int, ...] | None:
    """By how many each bucket of `point` grew; None when they are not those of before, nor coarser ones."""
    if point.scale is None:
        if before.scale is not None or point.bounds != before.bounds or len(point.buckets) != len(before.buckets):
            return None
        grown = [now - then for now, then in zip(point.buckets, before.buckets, strict=True)]
    else:
        if before.scale is None or before.scale < point.scale:
            return None
        shift = before.scale - point.scale
        grown = list(point.buckets)
        for place, count in enumerate(before.buckets, before.offset):
            at = (place >> shift) - point.offset
            if count and not 0 <= at < len(grown):
                return None
            if count:
                grown[at] -= count
    return tuple(grown) if min(grown, default=0) >= 0 else None
