"""The fleet as a process of its own: ``python -m self_healing.simulation --help``."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from self_healing.actions.directives import read_all
from self_healing.clock import Clock, ScaledClock
from self_healing.simulation.faults import FAULTS, Fault, chosen
from self_healing.simulation.fleet import Fleet
from self_healing.simulation.live import run_fleet

STEP_S = 0.1  # real seconds


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the options and live until told to stop, or until what ``--for-s`` or ``--until-eof`` waits for."""
    options = _parser().parse_args(arguments)
    clock = ScaledClock(options.scale, options.start or datetime.now(UTC), options.origin)
    fleet = Fleet(
        seed=options.seed,
        start=clock.start,
        agents=options.agents,
        directives=lambda: read_all(options.state_dir, clock.now()),
        handoffs_dir=options.logs_dir / "handoffs",
        faults=options.faults,
    )
    until = None if options.for_s is None else clock.start + timedelta(seconds=options.for_s)
    held = sys.stdin.fileno() if options.until_eof else None
    asyncio.run(_live(fleet, clock, options.telemetry_dir, until, STEP_S * options.scale, held))


async def _live(
    fleet: Fleet, clock: Clock, telemetry_dir: Path, until: datetime | None, every_s: float, held: int | None
) -> None:
    """Live until told to stop, until `until`, or until the pipe `held` is let go at its other end."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    if held is not None:
        loop.add_reader(held, _heard, held, stop)
    async with asyncio.TaskGroup() as group:
        group.create_task(run_fleet(fleet, clock, telemetry_dir, stop, every_s=every_s))
        while until is not None and clock.now() < until and not stop.is_set():
            await clock.sleep(every_s)
        if until is not None:
            stop.set()


def _heard(held: int, stop: asyncio.Event) -> None:
    if not os.read(held, 1024):
        asyncio.get_running_loop().remove_reader(held)  # an end is there to be read for ever
        stop.set()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m self_healing.simulation", description="A simulated fleet that writes real native telemetry."
    )
    parser.add_argument("--telemetry-dir", type=Path, required=True, help="where it writes its telemetry")
    parser.add_argument("--state-dir", type=Path, required=True, help="where it reads its directives")
    parser.add_argument("--logs-dir", type=Path, required=True, help="handoffs are in its folder handoffs")
    parser.add_argument("--scale", type=float, default=30.0, help="seconds of its time for each real one (30)")
    parser.add_argument(
        "--start", type=_instant, help="ISO 8601 with time zone: what its clock shows at the origin (now)"
    )
    parser.add_argument("--origin", type=float, help="the machine's monotonic time, in seconds, of the start (now)")
    parser.add_argument("--seed", type=int, default=7, help="the same seed, the same work (7)")
    parser.add_argument("--agents", type=int, default=24, help="product agents (24)")
    names = ", ".join(fault.name for fault in FAULTS)
    parser.add_argument("--faults", type=_faults, default=(), help=f"none, all, or with commas between: {names} (none)")
    parser.add_argument("--for-s", type=float, help="end after so many seconds of its time")
    parser.add_argument("--until-eof", action="store_true", help="end when standard input does, which is a pipe")
    return parser


def _instant(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text!r} has no time zone; such as 2026-01-05T10:00:00Z")
    return at


def _faults(text: str) -> tuple[Fault, ...]:
    try:
        return chosen(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


if __name__ == "__main__":
    main()
