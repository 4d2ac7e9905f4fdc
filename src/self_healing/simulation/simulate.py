"""Simulate: the real loop over a simulated fleet, on a clock that is moved by hand, so that a day takes seconds.

Telemetry goes through real files, directives and handoffs through the real state; only the time is not real. The same
scenario and seed give the same outcome to the byte.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from self_healing.actions.directives import read_all
from self_healing.clock import FakeClock
from self_healing.config import FILE_CHANNEL, NO_PORTS, Mode, Settings
from self_healing.model import Directive, Execution, Incident, Verification
from self_healing.orchestrator import SelfHealingOrchestrator
from self_healing.simulation import lines
from self_healing.simulation.fleet import Fleet
from self_healing.simulation.history import backfill
from self_healing.simulation.scenario import Scenario, faults_of
from self_healing.simulation.scoring import Records, Trouble, score

START = datetime(2026, 1, 5, tzinfo=UTC)

MEMORY = Path("/dev/shm")
"""Where Linux keeps files in memory: what a simulation writes nobody reads after it."""


def simulate(
    scenario: Scenario,
    *,
    seed: int,
    healing: bool = True,
    settings: Settings | None = None,
    progress: Callable[[float], None] = lambda _share: None,
) -> dict[str, Any]:
    """What becomes of the scenario's faults; the mapping of ``simulate --format json``.

    Args:
        scenario: the fleet, and what goes wrong.
        seed: of everything that is random.
        healing: otherwise everything is seen and nothing is done.
        settings: whose triggers, actions and limits hold; the defaults when left out.
        progress: is told now and then which share of the time is over, 0..1.

    Raises:
        ConfigError: the spec is refused.
    """
    with ExitStack() as stack:
        within = MEMORY if MEMORY.is_dir() else None
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="self-healing-", dir=within)))
        chosen = _settings(settings or Settings(), root, scenario, healing=healing)
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
        events = _live(scenario, fleet, loop, clock, progress)
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
) -> int:
    """Live through the scenario; returns how many events the fleet emitted."""
    loop.cycle(START)  # takes in the past
    events = 0
    steps = -(-scenario.lasts // scenario.grid)
    for step in range(1, steps + 1):
        now = START + timedelta(seconds=step * scenario.grid)
        # Up to the moment before, so that no work begins at the very instant of an effect that it does not know yet.
        happened = fleet.step(now - timedelta(milliseconds=1))
        lines.append(loop.settings.telemetry.dir, happened)
        events += len(happened)
        clock.set(now)
        loop.cycle(now)
        progress(step / steps)
    return events
