"""The fleet beside a running service: steps to the clock's time and appends what happened to the day's file."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

from self_healing.clock import Clock
from self_healing.simulation import lines
from self_healing.simulation.fleet import Fleet


async def run_fleet(
    fleet: Fleet, clock: Clock, telemetry_dir: Path, stop: asyncio.Event, *, every_s: float = 3.0
) -> None:
    """Live until `stop` is set.

    Args:
        fleet: stepped along.
        clock: which time it lives in.
        telemetry_dir: made when missing.
        stop: looked at once a step.
        every_s: how often it steps, in seconds of the clock's time.

    Raises:
        OSError: telemetry could not be written.
        Exception: whatever :meth:`Fleet.step` raises.
    """
    telemetry_dir.mkdir(parents=True, exist_ok=True)
    # Half a step behind: between the instant that a directive bears and its commit lies a moment, in which work would
    # otherwise begin that ignores it although it is dated after it.
    behind = timedelta(seconds=every_s / 2)
    while not stop.is_set():
        lines.append(telemetry_dir, fleet.step(clock.now() - behind))
        await clock.sleep(every_s)
