"""Conditions: from the totals of a window to what holds, for all groups of a trigger at once.

Comparisons are made on whole millionths and without a division wherever a threshold is fixed, so that a mean of exactly
0.50 is not above 0.50.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from self_healing.measures import (
    MICRO,
    MOST,
    Floats,
    Ints,
    Totals,
    change_holds,
    change_of,
    holds,
    mean_holds,
    value_of,
)
from self_healing.spec import COUNTING, Absence, Baseline, Operator, RateOfChange, Threshold, TriggerSpec
from self_healing.triggers.states import Finding, States


@dataclass(slots=True)
class Seen:
    """What a trigger's groups show at one instant, one element a group.

    Args:
        finding: :class:`Finding`.
        samples: in the window.
        value: in the signal's unit; NaN where there is none.
        threshold: the effective one, in the signal's unit; NaN where there is none.
        baseline: what it was before the window; NaN where the condition has none.
    """

    finding: States
    samples: Ints
    value: Floats
    threshold: Floats
    baseline: Floats


def find(trigger: TriggerSpec, totals: Totals, before: Totals | None) -> States:
    """The :class:`Finding` of each group, without the figures behind it: what every evaluation needs of all groups.

    Args:
        totals: of the window.
        before: of the baseline, for a baseline condition; of the window before, for a rate of change.
    """
    match trigger.condition:
        case RateOfChange() as condition:
            finding = _change_finding(trigger, condition, totals, _needed(trigger, before))
        case Baseline() as condition:
            baseline, limit = _baseline_limit(condition, _needed(trigger, before))
            finding = np.where(mean_holds(totals, Operator.GE, limit), _MET, _CLEARED)
            finding[np.isnan(baseline)] = _NO_BASELINE
        case _:
            finding = _threshold_finding(trigger, _fixed(trigger), totals)
    if trigger.aggregate not in COUNTING:
        if trigger.min_samples > 1 and not isinstance(trigger.condition, Absence):
            finding[totals.count < trigger.min_samples] = _TOO_FEW
        finding[totals.count == 0] = _NO_DATA
    return finding


def look(trigger: TriggerSpec, totals: Totals, before: Totals | None) -> Seen:
    """What each group shows, with its figures; arguments as for :func:`find`."""
    groups = len(totals.count)
    value = value_of(trigger, totals)
    match trigger.condition:
        case RateOfChange() as condition:
            before = _needed(trigger, before)
            threshold, baseline = np.full(groups, condition.value), value_of(trigger, before)
            baseline[before.count < trigger.min_samples] = np.nan
            value = change_of(trigger, condition, value, baseline)
        case Baseline() as condition:
            baseline, _ = _baseline_limit(condition, _needed(trigger, before))
            threshold = baseline * condition.times + condition.plus
        case _:
            threshold, baseline = np.full(groups, _fixed(trigger).value), np.full(groups, np.nan)
    return Seen(find(trigger, totals, before), totals.count, value, threshold, baseline)


_MET, _CLEARED, _BETWEEN, _TOO_FEW, _NO_DATA, _NO_BASELINE = (np.uint8(finding) for finding in Finding)


def _fixed(trigger: TriggerSpec) -> Threshold:
    if trigger.fixed is None:
        raise ValueError(f"{trigger.name}: a {trigger.condition.kind} condition has no fixed limit")
    return trigger.fixed


def _needed(trigger: TriggerSpec, before: Totals | None) -> Totals:
    if before is None:
        raise ValueError(f"{trigger.name}: a {trigger.condition.kind} condition needs a baseline")
    return before


def _threshold_finding(trigger: TriggerSpec, condition: Threshold, totals: Totals) -> States:
    met = holds(trigger, totals, condition.op, condition.value)
    finding = np.where(met, _MET, _CLEARED)
    if trigger.clear is not None and trigger.clear != condition.value:
        finding[holds(trigger, totals, condition.op, trigger.clear) & ~met] = _BETWEEN
    return finding


def _change_finding(trigger: TriggerSpec, condition: RateOfChange, totals: Totals, before: Totals) -> States:
    met = change_holds(trigger, condition, totals, before, condition.value)
    finding = np.where(met, _MET, _CLEARED)
    if trigger.clear is not None and trigger.clear != condition.value:
        finding[change_holds(trigger, condition, totals, before, trigger.clear) & ~met] = _BETWEEN
    finding[before.count < trigger.min_samples] = _NO_BASELINE  # even of a count: from nothing, nothing rises
    return finding


def _baseline_limit(condition: Baseline, before: Totals) -> tuple[Floats, Ints]:
    """Each group's baseline in the signal's unit, NaN where there is none, and its limit in whole millionths."""
    missing = before.count < condition.min_samples
    if condition.absolute is None:  # there is no multiple of nothing, but more than nothing there is
        missing |= before.amount <= 0
    baseline = before.amount / np.maximum(before.count, 1) / MICRO
    # In whole millionths, like every threshold: a mean of exactly 1.5 times the baseline is met.
    above = baseline * (condition.times * MICRO) + condition.plus * MICRO
    limit = np.rint(np.minimum(above, float(MOST))).astype(np.int64)
    baseline[missing] = np.nan
    return baseline, limit
