"""One evaluation of a hundred triggers over ten thousand groups, with few events and with many."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from benchmarks.figure import Figure
from self_healing.measures import MICRO
from self_healing.model import Event, Kind, Severity
from self_healing.spec import Aggregate, Baseline, Spec, Threshold, TriggerSpec, TriggerType
from self_healing.telemetry.telemetry import Telemetry
from self_healing.triggers.framework import TriggerFramework

TRIGGERS = 100
GROUPS = 10_000
START_S = 1_767_607_200
RUNS = 7


def _triggers() -> tuple[TriggerSpec, ...]:
    """Half fixed thresholds over a minute, half a minute against the three minutes before it."""
    conditions = [
        Threshold(value=50.0 + number) if number % 2 else Baseline(kind="baseline", ratio=1.5 + number / 100, over=180)
        for number in range(TRIGGERS)
    ]
    return tuple(
        TriggerSpec(
            name=f"trigger_{number}",
            type=TriggerType.CUSTOM,
            signal="task.duration_s",
            aggregate=Aggregate.MEAN,
            window=60,
            condition=condition,
            severity=Severity.LOW,
            target_agent="Nobody",
        )
        for number, condition in enumerate(conditions)
    )


def _engine(events: int) -> tuple[TriggerFramework, int]:
    """An engine that has folded so many events over four minutes, every group among them; and its next instant."""
    telemetry = Telemetry(_triggers())
    framework = TriggerFramework(Spec(triggers=_triggers(), actions=()), telemetry)
    everyone = [Event(kind="task_finished", agent=f"a{g}", task_id=f"t{g}", duration_s=9.0) for g in range(GROUPS)]
    _fold(telemetry, everyone, START_S - 600)
    step = 100_000
    for first in range(0, events, step):
        count = min(step, events - first)
        batch = [
            Event(kind="task_finished", agent=f"a{n % GROUPS}", task_id=f"t{n % GROUPS}", duration_s=9.0)
            for n in range(first, first + count)
        ]
        _fold(telemetry, batch, START_S + 240 * first // max(events, 1))
    return framework, (START_S + 240) * MICRO


def _fold(telemetry: Telemetry, events: list[Event], at_s: int) -> None:
    ts = np.full(len(events), at_s * MICRO, np.int64) + np.arange(len(events))
    telemetry.queue(events, np.full(len(events), int(Kind.TASK_FINISHED), np.uint8), ts)
    telemetry.fold()


def _best_s(run: Callable[[int], object]) -> float:
    times = []
    for number in range(RUNS):
        began = time.perf_counter()
        run(number)
        times.append(time.perf_counter() - began)
    return min(times)


def _evaluation_s(events: int) -> float:
    framework, t_us = _engine(events)
    framework.evaluate(t_us)
    # A pane further each time, so that nothing worked out before serves again.
    return _best_s(lambda number: framework.evaluate(t_us + (number + 1) * 10 * MICRO))


def _sketch_s() -> float:
    """Seconds for a bare NumPy sketch of the same shape: rolling sums, a comparison and a state machine."""
    count, amount = np.ones((2, GROUPS), np.int64)
    state = np.zeros((TRIGGERS, GROUPS), np.uint8)
    limits = np.arange(TRIGGERS) + 50

    def once(_number: int) -> None:
        np.add(count, 1, out=count)
        np.add(amount, 9, out=amount)
        for number in range(TRIGGERS):
            met = amount > count * limits[number]
            np.copyto(state[number], met, where=state[number] != met)

    return _best_s(once)


def measure() -> list[Figure]:
    """Seconds an evaluation, after 200 events and after 1,000,000, beside the sketch."""
    few_s, many_s, sketch_s = _evaluation_s(200), _evaluation_s(1_000_000), _sketch_s()
    beside = f"a bare NumPy sketch: {sketch_s * 1000:.1f} ms"
    name = f"one evaluation of {TRIGGERS} triggers x {GROUPS:,} groups"
    return [
        Figure(f"{name}, 200 events", f"{few_s * 1000:.1f} ms", beside, "<= 50 ms", few_s <= 0.05),
        Figure(
            f"{name}, 1,000,000 events",
            f"{many_s * 1000:.1f} ms",
            f"after 200 events: {few_s * 1000:.1f} ms",
            "<= 50 ms, and flat (<= 1.5 x)",
            many_s <= 0.05 and many_s <= 1.5 * few_s,
        ),
    ]
