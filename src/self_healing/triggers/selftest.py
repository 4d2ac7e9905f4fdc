"""Boundary tests: every trigger, as it is declared, is tried just below, at and just above its own threshold.

They run on the real engine, over totals made for the purpose, whenever a spec is loaded; one that fails refuses it
(article II). So no trigger goes live that could not fire where its declaration says, recover, and bear missing data.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from self_healing.measures import MICRO, MOST, Totals
from self_healing.model import SeriesState
from self_healing.spec import (
    COUNTING,
    Absence,
    Aggregate,
    Baseline,
    Composite,
    NoData,
    Operator,
    RateOfChange,
    Spec,
    Threshold,
    TriggerSpec,
)
from self_healing.telemetry.signals import METRIC, signal_of
from self_healing.triggers.framework import TriggerFramework
from self_healing.triggers.made import Fixed, Some, nothing, totals_of

Found = tuple[str, str]
"""What fails of a trigger: the key that it comes of, and what is wrong."""

BASELINE = 1000.0
"""The mean of the baselines that are made, in the signal's unit."""

START_US = 1_000_000 * MICRO
MOST_KNOWN = 10_000
"""Of so many triggers what was found is remembered: ten specs of a thousand, some megabytes."""

_KNOWN: dict[str, tuple[Found, ...]] = {}
RISING = {Operator.GE: 0, Operator.GT: 1, Operator.LE: 0, Operator.LT: -1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A boundary test that fails.

    Args:
        trigger: its name.
        key: of the trigger, dotted, that it comes of.
        said: what is wrong.
    """

    trigger: str
    key: str
    said: str

    def __str__(self) -> str:
        return f"trigger {self.trigger}: {self.key}: {self.said}"


def failures(spec: Spec) -> list[Failure]:
    """The boundary tests of `spec` that fail; empty when all pass."""
    return [
        Failure(trigger=trigger.name, key=key, said=said) for trigger in spec.triggers for key, said in _tried(trigger)
    ]


def _tried(trigger: TriggerSpec) -> Sequence[Found]:
    """What fails of a trigger; not tried again where one that was declared so was tried, as in most of a reload."""
    declared = trigger.model_dump_json()
    found = _KNOWN.get(declared)
    if found is None:
        if len(_KNOWN) >= MOST_KNOWN:
            _KNOWN.clear()
        found = _KNOWN[declared] = tuple(_try(trigger))
    return found


def _try(trigger: TriggerSpec) -> Iterator[Found]:
    on = trigger.model_copy(update={"enabled": True, "inhibited_by": (), "max_series": None})  # it is tried alone
    if isinstance(on.condition, Composite):
        yield from (("condition", said) for said in _together(on, on.condition))
    elif not _countable(on):
        key, value = _limited(on)
        yield key, f"{value:g}: more than can be counted exactly"
    else:
        yield from _unreachable(on) or [*_boundaries(on), *_silence(on)]


def _countable(trigger: TriggerSpec) -> bool:
    """Whether the thresholds in millionths, over a window of seconds for a rate, fit in a column."""
    if isinstance(trigger.condition, Baseline):
        largest = BASELINE * trigger.condition.times + trigger.condition.plus
    else:
        largest = max(abs(_limit(trigger).value), abs(trigger.clear or 0.0)) * _lengths(trigger)
    return largest * MICRO * (trigger.window if trigger.aggregate is Aggregate.RATE else 1) <= MOST


def _unreachable(trigger: TriggerSpec) -> list[Found]:
    """What the signal's own range keeps from happening: a share above one, a duration below zero."""
    met, edge = _limit_steps(trigger)
    key, value = _limited(trigger)
    problems = []
    beyond = (met + edge > 0) is trigger.rising  # else it is what every value meets
    if beyond and not _in_range(trigger, met + edge):  # what never fires has nothing to recover from
        problems.append((key, f"{value:g}: no value of {trigger.signal} meets it, so it can never fire"))
    elif not _in_range(trigger, _cleared(trigger)):
        never = f"value of {trigger.signal} meets it, so it can never recover"
        clear = trigger.clear
        problems.append((key, f"{value:g}: every {never}") if clear is None else ("clear", f"{clear:g}: no {never}"))
    return problems


def _limited(trigger: TriggerSpec) -> tuple[str, float]:
    """The key that sets the limit, and its value."""
    condition = trigger.condition.model_dump(exclude_none=True)
    key = next(key for key in ("value", "ratio", "percent", "absolute", "silent_for") if key in condition)
    return f"condition.{key}", condition[key]


def _in_range(trigger: TriggerSpec, steps: int) -> bool:
    """Whether a value can be `steps` or still better or worse: beyond it on the side that it points to."""
    signal = signal_of(trigger.signal)
    scored = signal is not None and signal.unit == "score" and trigger.aggregate not in (*COUNTING, Aggregate.SUM)
    share = trigger.aggregate is Aggregate.RATIO or scored
    if trigger.signal.startswith(METRIC) and trigger.aggregate not in COUNTING:
        return True
    if isinstance(trigger.condition, Baseline):  # above a small enough one, and below any
        return not share or trigger.condition.plus <= 1 or steps < _limit_steps(trigger)[0]
    if isinstance(trigger.condition, RateOfChange):  # which may be a fall as well as a rise
        return not share or abs(steps) <= MICRO
    return 0 <= steps <= MICRO or (steps > MICRO and not share)


def _boundaries(trigger: TriggerSpec) -> Iterator[Found]:
    met, edge = _limit_steps(trigger)
    step = 1 if trigger.rising else -1
    for name, steps in (("just below", -step), ("at", 0), ("just above", step)):
        expected = (steps >= edge) if trigger.rising else (steps <= edge)
        fired = _Trial(trigger).fires(met + steps)
        if fired != expected:
            yield "condition", f"{name} its threshold it {'fires' if fired else 'does not fire'}"
    few = 0 if isinstance(trigger.condition, Absence) else trigger.min_samples - 1
    if few and trigger.aggregate not in COUNTING and _Trial(trigger).fires(met + edge, few):
        yield "min_samples", f"{trigger.min_samples}: it fires on {few} samples"
    if not _Trial(trigger).recovers(met + edge):
        yield "condition" if trigger.clear is None else "clear", "where it is cleared it does not recover"


def _silence(trigger: TriggerSpec) -> Iterator[Found]:
    if trigger.aggregate in COUNTING:
        return  # of these, no sample is a value like any other
    met, edge = _limit_steps(trigger)
    after = {NoData.KEEP: SeriesState.FIRING, NoData.CLEAR: SeriesState.RECOVERING, NoData.FIRE: SeriesState.FIRING}
    firing, quiet = _Trial(trigger), _Trial(trigger)
    firing.show(_window(trigger, met + edge))
    firing.show(nothing(), 0)
    if firing.state is not after[trigger.no_data]:
        yield "no_data", f"{trigger.no_data.value}: missing data while it fires does something else"
    quiet.show(nothing())
    if (quiet.state is SeriesState.FIRING) != (trigger.no_data is NoData.FIRE):
        yield "no_data", f"{trigger.no_data.value}: missing data while all is well does something else"


def _limit_steps(trigger: TriggerSpec) -> tuple[int, int]:
    """The threshold in the smallest steps of its aggregate, and where from there the condition begins to hold."""
    if isinstance(trigger.condition, Baseline):
        return round((BASELINE * trigger.condition.times + trigger.condition.plus) * MICRO), 0
    limit = _limit(trigger)
    return _in_steps(trigger, limit.value, limit.op)


def _limit(trigger: TriggerSpec) -> Threshold | RateOfChange:
    """The fixed limit of a trigger that has one."""
    fixed = trigger.condition if isinstance(trigger.condition, RateOfChange) else trigger.fixed
    if fixed is None:
        raise ValueError(f"{trigger.name}: a {trigger.condition.kind} condition has no fixed limit")
    return fixed


def _lengths(trigger: TriggerSpec) -> Fraction:
    """The difference of two windows that makes up a change of one."""
    condition = trigger.condition
    return Fraction(trigger.window, condition.per) if isinstance(condition, RateOfChange) else Fraction(1)


def _in_steps(trigger: TriggerSpec, value: float, op: Operator) -> tuple[int, int]:
    exact = Fraction(round(value * MICRO)) * _lengths(trigger)
    if trigger.aggregate in COUNTING:
        exact *= Fraction(trigger.window if trigger.aggregate is Aggregate.RATE else 1, MICRO)
    if exact.denominator == 1:
        return int(exact), RISING[op]
    # Between two steps there is no "at": the next one on the firing side takes its place.
    return (math.ceil(exact), 0) if op in (Operator.GE, Operator.GT) else (math.floor(exact), 0)


def _cleared(trigger: TriggerSpec) -> int:
    """The first value, in steps, at which the trigger recovers."""
    if isinstance(trigger.condition, Baseline):
        return _limit_steps(trigger)[0] - 1
    limit = _limit(trigger)
    edge, first = _in_steps(trigger, limit.value if trigger.clear is None else trigger.clear, limit.op)
    return edge + first + (-1 if trigger.rising else 1)


def _level(trigger: TriggerSpec) -> int:
    """What a rate of change starts from, in steps: high enough for every fall that is tried."""
    if not isinstance(trigger.condition, RateOfChange):
        return 0
    least = trigger.min_samples if trigger.aggregate in COUNTING else 0
    return least + max(0, 2 - min(_limit_steps(trigger)[0], _cleared(trigger)))


def _together(trigger: TriggerSpec, condition: Composite) -> Iterator[str]:
    """A trigger that looks at others fires with as many of them as it needs, and recovers with one fewer."""
    for fire in range(len(condition.members) + 1):
        expected = fire >= condition.needed
        fired, recovered = _tried_together(trigger, condition, fire)
        if fired != expected:
            yield f"with {fire} of its triggers firing it {'fires' if fired else 'does not fire'}"
        if expected and not recovered:
            yield f"it does not recover from {fire} of its triggers firing"


def _tried_together(trigger: TriggerSpec, condition: Composite, fire: int) -> tuple[bool, bool]:
    """Whether it fires with so many of its triggers, and recovers once none of them does any more."""
    stand_ins = tuple(_stand_in(trigger, name) for name in condition.members)
    windows = Some(totals_of(1, MICRO, MICRO), nothing())
    engine = TriggerFramework(Spec(triggers=(*stand_ins, trigger), actions=()), windows)
    group = windows.groups(trigger.group_by)[0]
    t_us = START_US
    windows.runs = condition.members[:fire]
    found = []
    for number, length_s in enumerate((0, trigger.for_s, 1, 1, trigger.keep_firing_for)):
        if number > 1:  # the others recover first, and are over a second later
            windows.runs = ()
        t_us += length_s * MICRO
        engine.evaluate(t_us)
        found.append(engine.state_of(trigger.name, group))
    return found[1] is SeriesState.FIRING, found[3] is SeriesState.RECOVERING and found[4] is SeriesState.INACTIVE


def _stand_in(trigger: TriggerSpec, name: str) -> TriggerSpec:
    """A trigger of that name that fires as the test wants."""
    return TriggerSpec(
        name=name,
        type=trigger.type,
        signal="task.duration_s",
        aggregate=Aggregate.MAX,
        window=60,
        group_by=trigger.group_by,
        where={"run_id": name},
        condition=Threshold(value=1),
        keep_firing_for=0,
        severity=trigger.severity,
        target_agent=trigger.target_agent,
    )


class _Trial:
    """One trigger on the engine, with one series that is well at first."""

    def __init__(self, trigger: TriggerSpec) -> None:
        self.trigger = trigger
        self.windows = Fixed(nothing(), _before(trigger))
        self.engine = TriggerFramework(Spec(triggers=(trigger,), actions=()), self.windows)
        self.t_us = START_US
        self.show(_window(trigger, _cleared(trigger)))

    @property
    def state(self) -> SeriesState:
        group = self.windows.groups(self.trigger.group_by)[0]
        return self.engine.state_of(self.trigger.name, group)

    def show(self, totals: Totals, for_s: int | None = None) -> None:
        """Let the window show that for as long as `for` asks, or for `for_s` seconds."""
        self.windows.totals = totals
        self._go_on(1)
        if length_s := self.trigger.for_s if for_s is None else for_s:
            self._go_on(length_s)

    def _go_on(self, seconds: int) -> None:
        self.t_us += seconds * MICRO
        silent = isinstance(self.trigger.condition, Absence) and self.windows.totals.count[0]
        self.windows.last_us = self.t_us - int(self.windows.totals.maximum[0]) if silent else 0
        self.engine.evaluate(self.t_us)

    def fires(self, steps: int, samples: int | None = None) -> bool:
        self.show(_window(self.trigger, steps, samples))
        return self.state is SeriesState.FIRING

    def recovers(self, firing: int) -> bool:
        self.show(_window(self.trigger, firing))
        well = _window(self.trigger, _cleared(self.trigger))
        self.show(well, 0)
        recovering = self.state is SeriesState.RECOVERING
        self.show(well, self.trigger.keep_firing_for)
        return recovering and self.state is SeriesState.INACTIVE


def _before(trigger: TriggerSpec) -> Totals:
    """What a window is compared with, where it is compared with anything."""
    match trigger.condition:
        case RateOfChange():
            return _samples(trigger, _level(trigger))
        case Baseline() as condition:
            return totals_of(condition.min_samples, round(BASELINE * MICRO) * condition.min_samples, 0)
    return nothing()


def _window(trigger: TriggerSpec, steps: int, samples: int | None = None) -> Totals:
    """A window whose value, or how far that is from the one before, is `steps` of the aggregate's smallest steps."""
    return _samples(trigger, _level(trigger) + steps, samples)


def _samples(trigger: TriggerSpec, steps: int, samples: int | None = None) -> Totals:
    """So many samples, enough if not said, of that value."""
    samples = trigger.min_samples if samples is None else samples
    match trigger.aggregate:
        case Aggregate.COUNT | Aggregate.RATE:
            return totals_of(max(steps, 0), 0, 0)
        case Aggregate.MEAN | Aggregate.RATIO:
            return totals_of(samples, steps * samples, steps)
        case Aggregate.SUM:
            return totals_of(samples, steps, steps)
        case _:
            return totals_of(samples, steps * samples, steps)
