"""Simulate: the real loop over a simulated fleet, on a clock that is moved by hand, so that a day takes seconds.

Telemetry goes through real files, directives and handoffs through the real state; only the time is not real. The same
scenario and seed give the same outcome to the byte.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from self_healing.actions.directives import read_all
from self_healing.clock import FakeClock, from_us
from self_healing.config import FILE_CHANNEL, NO_PORTS, Mode, Settings
from self_healing.model import Directive, Execution, Incident, Verification
from self_healing.orchestrator import SelfHealingOrchestrator
from self_healing.simulation import lines
from self_healing.simulation.fleet import Fleet
from self_healing.simulation.foresight import Foresight
from self_healing.simulation.history import backfill
from self_healing.simulation.scenario import Scenario, faults_of
from self_healing.simulation.scoring import Records, Trouble, score

START = datetime(2026, 1, 5, tzinfo=UTC)

LEAP = timedelta(hours=1)
"""So far ahead a fleet at rest lives on at once; where something can happen meanwhile, all is lived through anew."""

MEMORY = Path("/dev/shm")
"""Where Linux keeps files in memory: what a simulation writes nobody reads after it."""


def simulate(
    scenario: Scenario,
    *,
    seed: int,
    healing: bool = True,
    settings: Settings | None = None,
    progress: Callable[[float], None] = lambda _share: None,
    every_instant: bool = False,
) -> dict[str, Any]:
    """What becomes of the scenario's faults; the mapping of ``simulate --format json``.

    Args:
        scenario: the fleet, and what goes wrong.
        seed: of everything that is random.
        healing: otherwise everything is seen and nothing is done.
        settings: whose triggers, actions and limits hold; the defaults when left out.
        progress: is told now and then which share of the time is over, 0..1.
        every_instant: turn the loop at every instant, also where nothing can happen; to check the foresight by.

    Raises:
        ConfigError: the spec is refused.
    """
    told = 0.0

    def furthest(share: float) -> None:
        nonlocal told
        if share > told:  # what is lived through anew is no news
            told = share
            progress(share)

    surprises: list[datetime] = []
    leap = timedelta() if every_instant else LEAP
    while True:
        try:
            return _simulated(scenario, seed, healing, settings or Settings(), furthest, leap, surprises)
        except _Surprise as surprise:
            surprises.append(surprise.at)


class _Surprise(Exception):
    """Something can happen at an instant beyond which the fleet has lived on already, and heard nothing of it."""

    def __init__(self, at: datetime) -> None:
        super().__init__(at)
        self.at = at


def _simulated(
    scenario: Scenario,
    seed: int,
    healing: bool,
    settings: Settings,
    progress: Callable[[float], None],
    leap: timedelta,
    surprises: Sequence[datetime],
) -> dict[str, Any]:
    """The same. Raises _Surprise where something can happen in a leap, at an instant that is none of `surprises`."""
    with ExitStack() as stack:
        within = MEMORY if MEMORY.is_dir() else None
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="self-healing-", dir=within)))
        chosen = _settings(settings, root, scenario, healing=healing)
        clock = FakeClock(START)
        backfill(
            chosen.telemetry.dir,
            START,
            scenario.history / 3600,
            min(scenario.tasks_per_minute or 1.0, 1.0),
            agents=scenario.agents,
            seed=seed,
        )
        loop = stack.enter_context(SelfHealingOrchestrator.open(chosen, clock=clock, durable=False))
        fleet = _fleet(scenario, seed, chosen, loop, clock)
        events = _live(scenario, fleet, loop, clock, progress, leap, surprises)
        store = loop.store
        records = Records(
            incidents=store.select(Incident),
            executions=store.select(Execution),
            directives=store.select(Directive),
            verifications=store.select(Verification),
        )
        troubles = [
            Trouble.of(injection, faults_of(injection, number, scenario.agents), fleet.cured, START)
            for number, injection in enumerate(scenario.faults)
        ]
        return {
            "seed": seed,
            "healing": healing,
            "agents": scenario.agents,
            "lasts_s": scenario.lasts,
            "events": events,
            "spec_version": loop.spec.version,
            **score(records, troubles, loop.spec, START, scenario),
        }


def _settings(given: Settings, root: Path, scenario: Scenario, *, healing: bool) -> Settings:
    """`given`, with everything that is written beneath `root`."""
    mode = Mode.ACT if healing else Mode.OBSERVE
    return given.model_copy(
        update={
            "telemetry": given.telemetry.model_copy(update={"dir": root / "telemetry"}),
            "triggers": given.triggers.model_copy(update={"grid": scenario.grid}),
            # Nobody out there is told of what never happened.
            "actions": given.actions.model_copy(
                update={"mode": mode, "channels": {}, "fallback_channel": FILE_CHANNEL}
            ),
            "storage": given.storage.model_copy(update={"state_dir": root / "state", "logs_dir": root / "logs"}),
            "server": NO_PORTS,
        }
    )


def _fleet(scenario: Scenario, seed: int, settings: Settings, loop: SelfHealingOrchestrator, clock: FakeClock) -> Fleet:
    faults = [
        fault
        for number, injection in enumerate(scenario.faults)
        for fault in faults_of(injection, number, scenario.agents)
    ]

    def directives() -> dict[str, dict[str, Any]]:
        # Read as an agent would, but not when there is nothing to read: an agent asks once a task, this once a step.
        with loop.store.transaction():
            some = loop.store.select(Directive, open="yes")
        return read_all(settings.storage.state_dir, clock.now()) if some else {}

    return Fleet(
        seed=seed,
        start=START,
        agents=scenario.agents,
        directives=directives,
        handoffs_dir=loop.handoffs_dir,
        faults=faults,
        tasks_per_minute=scenario.tasks_per_minute,
    )


def _live(
    scenario: Scenario,
    fleet: Fleet,
    loop: SelfHealingOrchestrator,
    clock: FakeClock,
    progress: Callable[[float], None],
    leap: timedelta,
    surprises: Sequence[datetime],
) -> int:
    """Live through the scenario; returns how many events the fleet emitted."""
    _turn(loop, START)  # takes in the past
    foresight = Foresight(loop)
    events = 0
    grid = timedelta(seconds=scenario.grid)
    now, end = START, START + -(-scenario.lasts // scenario.grid) * grid
    # Before something is known to happen the fleet stands still, so that it hears what the loop makes of it.
    known = [*surprises, *(START + timedelta(seconds=fault.at) for fault in scenario.faults)]
    stops = [START + (at - START - timedelta(microseconds=1)) // grid * grid for at in known]
    while now < end:
        until = min([end, now + leap // grid * grid, *(stop for stop in stops if stop >= now)])
        leaps = until > now + grid and not fleet.is_ill and foresight.sees(now)
        before, now = now, until if leaps else now + grid
        # Up to the moment before, so that no work begins at the very instant of an effect that it does not know yet.
        happened = fleet.step(now - timedelta(milliseconds=1))
        foresight.hear(happened)
        if leaps:
            at_us = foresight.next_us(before, now)
            if at_us is not None:
                raise _Surprise(from_us(at_us))
            loop.pass_over(now)
        lines.append(loop.settings.telemetry.dir, happened)
        events += len(happened)
        clock.set(now)
        _turn(loop, now)
        progress((now - START) / (end - START))
    return events


def _turn(loop: SelfHealingOrchestrator, now: datetime) -> None:
    """Turn the loop until it has read all there is: a leap, or the past, is more than one turn reads."""
    while not loop.cycle(now).caught_up:
        pass
