"""What the framework's own state weighs."""

from __future__ import annotations

import tracemalloc

import numpy as np

from benchmarks.figure import Figure
from self_healing.config import Settings, load_spec
from self_healing.measures import MICRO
from self_healing.model import Event, Kind, Severity, Usage
from self_healing.spec import Aggregate, Baseline, Spec, Threshold, TriggerSpec, TriggerType
from self_healing.telemetry.telemetry import Telemetry
from self_healing.triggers.framework import TriggerFramework

TRIGGERS = 100
AGENTS = 10
START_S = 1_767_607_200
HOURS = 25
SIGNALS = ("task.duration_s", "task.tokens", "task.cost_usd", "task.attempts")
CROWD = 200_000
WINDOWS_S = (300, 900, 1800, 3600)


def _trigger(number: int) -> TriggerSpec:
    baseline = number % 5 == 0
    return TriggerSpec(
        name=f"trigger_{number}",
        type=TriggerType.CUSTOM,
        signal=SIGNALS[number % len(SIGNALS)],
        aggregate=Aggregate.MAX if number % 3 == 0 and not baseline else Aggregate.MEAN,
        window=WINDOWS_S[number // 4 % len(WINDOWS_S)],
        condition=Baseline(kind="baseline", ratio=4.0) if baseline else Threshold(value=1e6 + number),
        severity=Severity.LOW,
        target_agent="Nobody",
    )


def _hour(telemetry: Telemetry, hour: int) -> None:
    """An hour of work of all agents: a task each ten seconds each."""
    events = [
        Event(
            kind="task_finished",
            agent=f"agent-{agent}",
            task_id=f"{hour}-{tick}-{agent}",
            attempt=1,
            duration_s=9.0,
            status="success",
            usage=Usage(total_tokens=1000, total_usd=0.02),
        )
        for tick in range(360)
        for agent in range(AGENTS)
    ]
    ts = (START_S + hour * 3600 + np.repeat(np.arange(360) * 10, AGENTS)) * MICRO
    telemetry.queue(events, np.full(len(events), int(Kind.TASK_FINISHED), np.uint8), ts)
    telemetry.fold()


def _crowd_mb(spec: Spec) -> tuple[float, int]:
    """Megabytes held once so many agents have ended a task, and how many groups are kept apart."""
    tracemalloc.start()
    telemetry = Telemetry(spec.triggers, max_groups=spec.max_groups)
    framework = TriggerFramework(spec, telemetry)
    for first in range(0, CROWD, 10_000):
        names = [f"agent-{number}" for number in range(first, first + 10_000)]
        ended = [
            Event(kind="task_finished", agent=name, task_id=name, attempt=1, duration_s=9.0, status="success")
            for name in names
        ]
        kinds = np.full(len(ended), int(Kind.TASK_FINISHED), np.uint8)
        telemetry.queue(ended, kinds, np.full(len(ended), (START_S + first // 10_000) * MICRO))
        telemetry.fold()
    framework.evaluate((START_S + 60) * MICRO)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return held / 1e6, len(telemetry.groups(("agent",)))


def _crowd() -> Figure:
    """What senders who make up names can fill."""
    spec = load_spec(Settings())
    unbounded_mb, _ = _crowd_mb(spec.model_copy(update={"max_groups": CROWD}))
    megabytes, groups = _crowd_mb(spec)
    return Figure(
        f"framework state, the defaults, {CROWD:,} agents that end a task each",
        f"{megabytes:.1f} MB, {groups:,} groups by agent",
        f"kept apart without a limit: {unbounded_mb:.1f} MB",
        "<= 100 MB",
        megabytes <= 100 and groups <= spec.max_groups + 1,
    )


def measure() -> list[Figure]:
    """Bytes that panes, running tasks and series hold after a day, at 100 triggers and 1,000 series in all."""
    spec = Spec(triggers=tuple(_trigger(number) for number in range(TRIGGERS)), actions=())
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    telemetry = Telemetry(spec.triggers)
    framework = TriggerFramework(spec, telemetry)
    for hour in range(HOURS):
        _hour(telemetry, hour)
        framework.evaluate((START_S + (hour + 1) * 3600) * MICRO)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    megabytes = (after - before) / 1e6
    figures = TRIGGERS * AGENTS * 8 * 4 / 1e6
    return [
        Figure(
            f"framework state, {TRIGGERS} triggers, {TRIGGERS * AGENTS:,} series",
            f"{megabytes:.1f} MB",
            f"four bare numbers a series: {figures:.2f} MB",
            "<= 10 MB",
            megabytes <= 10,
        ),
        _crowd(),
    ]
