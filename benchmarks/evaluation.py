"""One evaluation of many triggers over many groups: with few events and with many, one window and many."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.figure import Figure
from self_healing.config import Settings, load_spec
from self_healing.measures import FINE_US, MICRO
from self_healing.model import Event, Kind, Severity, Usage
from self_healing.spec import Aggregate, Baseline, Spec, Threshold, TriggerSpec, TriggerType
from self_healing.telemetry.telemetry import Telemetry
from self_healing.triggers.framework import TriggerFramework

TRIGGERS = 100
GROUPS = 10_000
START_S = 1_767_607_200
TICKS = 24
"""Seconds that are measured: two 10 s panes begin in them."""

PER_SECOND = 1000
WINDOWS_S = tuple(60 * number for number in range(1, 61))
"""From a minute to an hour."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What is evaluated.

    Args:
        name: for the table.
        triggers: all of them.
        groups: how many groups have samples.
        filled_s: for how long they have had some before, 1,000 a second, all groups in turn.
    """

    name: str
    triggers: Sequence[TriggerSpec]
    groups: int
    filled_s: int


def _trigger(number: int, window_s: int, aggregate: Aggregate, baseline_s: int = 0) -> TriggerSpec:
    limit = 50.0 + number
    return TriggerSpec(
        name=f"trigger_{number}",
        type=TriggerType.CUSTOM,
        signal="task.duration_s",
        aggregate=aggregate,
        window=window_s,
        condition=(
            Baseline(kind="baseline", ratio=1.5 + number / 100, over=baseline_s)
            if baseline_s
            else Threshold(value=limit)
        ),
        severity=Severity.LOW,
        target_agent="Nobody",
    )


def _one_window(triggers: int = TRIGGERS) -> list[TriggerSpec]:
    """Half fixed thresholds over a minute, half a minute against the three minutes before it."""
    return [_trigger(number, 60, Aggregate.MEAN, 0 if number % 2 else 180) for number in range(triggers)]


def _many_windows() -> list[TriggerSpec]:
    """Sixty windows of up to an hour; a third maxima, of the means half against a baseline."""
    kinds = ((Aggregate.MEAN, 0), (Aggregate.MAX, 0), (Aggregate.MEAN, 3600))
    return [_trigger(number, WINDOWS_S[number % len(WINDOWS_S)], *kinds[number % 3]) for number in range(TRIGGERS)]


def _defaults() -> list[TriggerSpec]:
    """The seven defaults, over and over, each time with another limit."""
    seven = load_spec(Settings()).triggers
    return [
        seven[number % len(seven)].model_copy(update={"name": f"trigger_{number}", "keep_firing_for": 60 + number})
        for number in range(TRIGGERS)
    ]


def _events(first: int, count: int, groups: int) -> list[Event]:
    """Attempts that went well, of all groups in turn; durations that come and go."""
    return [
        Event(
            kind="task_finished",
            agent=f"a{number % groups}",
            task_id=f"t{number % groups}",
            attempt=1,
            status="success",
            duration_s=9.0 + number * 7919 % 1000 / 100,
            usage=Usage(total_tokens=1000, total_usd=0.02),
        )
        for number in range(first, first + count)
    ]


class Engine:
    """Triggers over what is fed to it.

    Args:
        triggers: all of them.
        groups: how many agents there are.
    """

    def __init__(self, triggers: Sequence[TriggerSpec], groups: int) -> None:
        self.groups = groups
        self.telemetry = Telemetry(triggers)
        self.framework = TriggerFramework(Spec(triggers=tuple(triggers), actions=()), self.telemetry)
        self.fed = 0
        self.feed(groups, (START_S - 600) * MICRO, 1)

    def feed(self, count: int, from_us: int, length_us: int) -> None:
        """Fold so many events, spread over a stretch of time."""
        ts = from_us + np.arange(count) * length_us // max(count, 1)
        events = _events(self.fed, count, self.groups)
        self.telemetry.queue(events, np.full(count, int(Kind.TASK_FINISHED), np.uint8), ts)
        self.telemetry.fold()
        self.fed += count

    def fill(self, events: int, length_s: int) -> int:
        """Feed events from the start on, a pane at a time; returns the instant after, microseconds."""
        for at_us, count in _portions(events, length_s):
            self.feed(count, at_us, FINE_US)
        return (START_S + length_s) * MICRO


def _portions(events: int, length_s: int) -> Iterator[tuple[int, int]]:
    panes = length_s * MICRO // FINE_US
    for pane in range(panes):
        yield START_S * MICRO + pane * FINE_US, events * (pane + 1) // panes - events * pane // panes


def _timed_s(run: Callable[..., object], *arguments: int) -> float:
    began = time.perf_counter()
    run(*arguments)
    return time.perf_counter() - began


def _pane_s(events: int) -> float:
    """Seconds for an evaluation at which a pane begins, after so many events in four minutes; the best of some."""
    engine = Engine(_one_window(), GROUPS)
    t_us = engine.fill(events, 240)
    engine.framework.evaluate(t_us)
    # A pane further each time, so that nothing worked out before serves again.
    return min(_timed_s(engine.framework.evaluate, t_us + number * FINE_US) for number in range(1, 8))


def _ticks_s(shape: Shape) -> list[float]:
    """Seconds for each of some evaluations a second apart, with 1,000 new samples before each."""
    engine = Engine(shape.triggers, shape.groups)
    t_us = engine.fill(shape.filled_s * PER_SECOND, shape.filled_s)
    engine.framework.evaluate(t_us)
    times = []
    for number in range(TICKS):
        engine.feed(PER_SECOND, t_us + number * MICRO, MICRO)
        times.append(_timed_s(engine.framework.evaluate, t_us + (number + 1) * MICRO - 1))
    return times


def _sketch_s(triggers: int, groups: int) -> float:
    """Seconds for a bare NumPy sketch of the same shape: rolling sums, a comparison and a state machine."""
    count, amount = np.ones((2, groups), np.int64)
    state = np.zeros((triggers, groups), np.uint8)
    limits = np.arange(triggers) + 50

    def once() -> None:
        np.add(count, 1, out=count)
        np.add(amount, 9, out=amount)
        for number in range(triggers):
            met = amount > count * limits[number]
            np.copyto(state[number], met, where=state[number] != met)

    return min(_timed_s(once) for _ in range(7))


def _named(triggers: int, groups: int) -> str:
    return f"one evaluation of {triggers:,} triggers x {groups:,} groups"


def _shape_figure(shape: Shape, target_s: float) -> Figure:
    times, sketch_s = _ticks_s(shape), _sketch_s(len(shape.triggers), shape.groups)
    usual_s, longest_s = sorted(times)[len(times) // 2], max(times)
    return Figure(
        f"{_named(len(shape.triggers), shape.groups)}, {shape.name}, 1,000 new samples a second",
        f"{usual_s * 1000:.1f} ms, at most {longest_s * 1000:.1f} ms",
        f"a bare NumPy sketch: {sketch_s * 1000:.1f} ms",
        f"<= {target_s * 1000:.0f} ms",
        longest_s <= target_s,
    )


def measure() -> list[Figure]:
    """Seconds an evaluation, after 200 events and after 1,000,000, and of each shape, beside the sketch."""
    few_s, many_s, sketch_s = _pane_s(200), _pane_s(1_000_000), _sketch_s(TRIGGERS, GROUPS)
    name = f"{_named(TRIGGERS, GROUPS)}, 1m against 3m"
    shapes = (
        (Shape(name="1m against 3m", triggers=_one_window(), groups=GROUPS, filled_s=240), 0.05),
        (Shape(name="the defaults' windows", triggers=_defaults(), groups=GROUPS, filled_s=3600), 0.05),
        (Shape(name="60 windows of up to an hour", triggers=_many_windows(), groups=GROUPS, filled_s=3600), 0.05),
        (Shape(name="1m against 3m", triggers=_one_window(1000), groups=1000, filled_s=240), 1.0),
    )
    return [
        Figure(
            f"{name}, 200 events",
            f"{few_s * 1000:.1f} ms",
            f"a bare NumPy sketch: {sketch_s * 1000:.1f} ms",
            "<= 50 ms",
            few_s <= 0.05,
        ),
        Figure(
            f"{name}, 1,000,000 events",
            f"{many_s * 1000:.1f} ms",
            f"after 200 events: {few_s * 1000:.1f} ms",
            "<= 50 ms, and flat (<= 1.5 x)",
            many_s <= 0.05 and many_s <= 1.5 * few_s,
        ),
        *(_shape_figure(*shape) for shape in shapes),
    ]
