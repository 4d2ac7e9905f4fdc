"""The clocks: what they show, and what does not disturb them."""

import asyncio
import time
from datetime import UTC, datetime, timedelta

import pytest

from self_healing.clock import FakeClock, ScaledClock, SystemClock, from_us, to_us

START = datetime(2026, 1, 5, 10, tzinfo=UTC)


def test_stepping_the_wall_clock_moves_no_timer_and_is_told() -> None:
    wall, elapsed_s = [START], [50.0]
    clock = SystemClock(lambda: wall[0], lambda: elapsed_s[0])
    elapsed_s[0] += 7
    wall[0] = START - timedelta(hours=1)
    assert clock.now() == START + timedelta(seconds=7)
    assert clock.stepped_s == -3607


def test_the_machines_clock_agrees_with_the_wall_while_nobody_sets_it() -> None:
    assert abs((SystemClock().now() - datetime.now(UTC)).total_seconds()) < 1


def test_a_scaled_clock_runs_as_many_times_as_fast() -> None:
    clock = ScaledClock(30, START, origin=time.monotonic() - 2)
    assert 60 <= (clock.now() - START).total_seconds() < 90


def test_sleeping_moves_a_fake_clock() -> None:
    clock = FakeClock(START)
    asyncio.run(clock.sleep(5))
    assert clock.now() == START + timedelta(seconds=5)


def test_microseconds_come_and_go_exactly() -> None:
    at = START.replace(microsecond=352989)
    assert from_us(to_us(at)) == at


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        to_us(datetime(2026, 1, 5))
