"""Time for the loop: one small port, and the three clocks that stand behind it.

Everything that needs the time takes a :class:`Clock` or the instant itself; nothing calls ``datetime.now``.
Instants inside the telemetry engine are ``int`` microseconds since 1970 (``_us``); records carry aware datetimes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(9000, 1, 1, tzinfo=UTC)
"""Of what people say, an instant from EPOCH until before this is one: times around it are reckoned with, too."""

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US


def to_us(at: datetime) -> int:
    """Microseconds since 1970 of an aware datetime; exact. Raises ValueError when `at` has no time zone."""
    if at.tzinfo is None:
        raise ValueError(f"{at!r} has no time zone; give an aware datetime")
    return (at - EPOCH) // timedelta(microseconds=1)


def sayable(at: datetime) -> bool:
    """Whether an aware instant is one that people may mean."""
    return EPOCH <= at < LATEST


def from_us(us: int) -> datetime:
    """The aware UTC datetime of `us` microseconds since 1970; exact."""
    return EPOCH + timedelta(microseconds=int(us))


class Clock(Protocol):
    """Where the loop gets its time from, and how it waits."""

    def now(self) -> datetime:
        """The present instant, aware, in UTC."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait for `seconds` of this clock's time."""
        ...


def _elapsed_s() -> float:
    # CLOCK_BOOTTIME goes on while a machine sleeps, which the monotonic clock of Linux does not; others do without.
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def _wall() -> datetime:
    return datetime.now(UTC)


class SystemClock:
    """The machine's clock, as it stood when this was made, and the time that has passed since.

    Stepping the wall clock neither fires timers nor drops them; :attr:`stepped_s` tells of it.

    Args:
        wall: the machine's wall clock.
        elapsed_s: seconds since any fixed moment, from a clock that nobody can set.
    """

    def __init__(self, wall: Callable[[], datetime] = _wall, elapsed_s: Callable[[], float] = _elapsed_s) -> None:
        self._wall = wall
        self._elapsed_s = elapsed_s
        self._start, self._began_s = wall(), elapsed_s()

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._elapsed_s() - self._began_s)

    @property
    def stepped_s(self) -> float:
        """By how many seconds the wall clock was set ahead since; negative when it was set back."""
        return (self._wall() - self.now()).total_seconds()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class ScaledClock:
    """A clock that runs `scale` times as fast as the machine's, from `start` on.

    Intervals are taken from the monotonic clock, so that stepping the wall clock neither stops nor rushes it.
    Two processes agree on it when they are given the same `start` and `origin`.

    Args:
        scale: seconds of this clock for each real one.
        start: what it shows at `origin`.
        origin: the machine's monotonic time, in seconds, at which it shows `start`; now when left out.
    """

    def __init__(self, scale: float, start: datetime, origin: float | None = None) -> None:
        self.scale = scale
        self.start = start
        self.origin = time.monotonic() if origin is None else origin

    def now(self) -> datetime:
        return self.start + timedelta(seconds=(time.monotonic() - self.origin) * self.scale)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self.scale)


class FakeClock:
    """A clock that moves only when told to; sleeping moves it.

    Args:
        start: the first instant it shows.
    """

    def __init__(self, start: datetime) -> None:
        to_us(start)
        self._now = start

    def now(self) -> datetime:
        return self._now

    async def sleep(self, seconds: float) -> None:
        self.advance(seconds)
        await asyncio.sleep(0)

    def advance(self, seconds: float) -> None:
        """Move on by `seconds`."""
        self._now += timedelta(seconds=seconds)

    def set(self, at: datetime) -> None:
        """Move to `at`."""
        to_us(at)
        self._now = at
