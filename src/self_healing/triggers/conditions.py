"""Conditions: from the totals of a window to what holds, for all groups of a trigger at once.

Comparisons are made on whole millionths and without a division wherever a threshold is fixed, so that a mean of exactly
0.50 is not above 0.50.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from self_healing.measures import (
    MICRO,
    NONE_MAX,
    NONE_MIN,
    Bools,
    Floats,
    Ints,
    Totals,
    holds,
    value_of,
)
from self_healing.spec import Aggregate, Baseline, Threshold, TriggerSpec
from self_healing.triggers.states import Finding, States


@dataclass(slots=True)
class Seen:
    """What a trigger's groups show at one instant, one element a group.

    Args:
        finding: :class:`Finding`.
        samples: in the window.
        value: in the signal's unit; NaN where there is none.
        threshold: the effective one, in the signal's unit; NaN where there is none.
        baseline: the mean before the window; NaN where the condition has none.
    """

    finding: States
    samples: Ints
    value: Floats
    threshold: Floats
    baseline: Floats


def look(trigger: TriggerSpec, totals: Totals, before: Totals | None) -> Seen:
    """What each group shows.

    Args:
        totals: of the window.
        before: of the baseline, for a baseline condition.
    """
    match trigger.condition:
        case Threshold() as condition:
            return _threshold(trigger, condition, totals)
        case Baseline() as condition:
            if before is None:
                raise ValueError(f"{trigger.name}: a baseline condition needs a baseline")
            return _baseline(trigger, condition, totals, before)


def _few(trigger: TriggerSpec, totals: Totals) -> tuple[Bools, Bools]:
    counts = trigger.aggregate in (Aggregate.COUNT, Aggregate.RATE)
    return (totals.count == 0) & (not counts), totals.count < (0 if counts else trigger.min_samples)


def _threshold(trigger: TriggerSpec, condition: Threshold, totals: Totals) -> Seen:
    met = holds(trigger, totals, condition.op, condition.value)
    clear = condition.value if trigger.clear is None else trigger.clear
    cleared = ~met if clear == condition.value else ~holds(trigger, totals, condition.op, clear)
    finding = np.where(met, np.uint8(Finding.MET), np.where(cleared, np.uint8(Finding.CLEARED), np.uint8(Finding.BETWEEN)))
    none, few = _few(trigger, totals)
    finding[few] = Finding.TOO_FEW
    finding[none] = Finding.NO_DATA
    groups = len(finding)
    return Seen(
        finding,
        totals.count,
        value_of(trigger, totals),
        np.full(groups, condition.value),
        np.full(groups, np.nan),
    )


def _baseline(trigger: TriggerSpec, condition: Baseline, totals: Totals, before: Totals) -> Seen:
    value = value_of(trigger, totals)
    with np.errstate(invalid="ignore", divide="ignore"):
        baseline = before.amount / before.count / MICRO
    missing = (before.count < condition.min_samples) | ~(baseline > 0)
    baseline[missing] = np.nan
    threshold = baseline * condition.ratio
    # In whole millionths, like every threshold: a mean of exactly 1.5 times the baseline is met.
    limit = np.rint(np.where(missing, 0.0, threshold) * MICRO).astype(np.int64)
    met = totals.amount >= limit * totals.count
    finding = np.where(met, np.uint8(Finding.MET), np.uint8(Finding.CLEARED))
    none, few = _few(trigger, totals)
    finding[missing] = Finding.NO_BASELINE
    finding[few] = Finding.TOO_FEW
    finding[none] = Finding.NO_DATA
    return Seen(finding, totals.count, value, threshold, baseline)


def add_running(totals: Totals, oldest_us: Ints, t_us: int) -> Totals:
    """`totals` of durations with the age of each group's oldest running task as one more sample."""
    runs = oldest_us != NONE_MIN
    age_us = np.where(runs, t_us - oldest_us, NONE_MAX)
    return Totals(
        totals.count + runs, totals.amount, np.maximum(totals.maximum, age_us), np.minimum(totals.minimum, np.where(runs, age_us, NONE_MIN))
    )
