"""Observing: what the window of each series held over the stored history, and the peaks of each agent and day."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from self_healing.clock import DAY_US, SECOND_US
from self_healing.doctor.findings import Tell
from self_healing.doctor.history import History
from self_healing.doctor.keeping import Keeping
from self_healing.measures import FINE_US, MICRO, Floats, Measure, add_running, value_of
from self_healing.spec import COUNTING, Baseline, RateOfChange, Spec, Threshold, TriggerSpec
from self_healing.telemetry.telemetry import Telemetry

MOST_STEPS: Final = 4_000
"""At so many instants of the history a trigger is looked at: every five minutes of two weeks."""


@dataclass(slots=True)
class Observed:
    """What one trigger saw.

    Args:
        most: the most samples that any of its windows held.
        most_before: the most samples that was ever held by what windows are compared with; 0 without such.
        days: by day since 1970 the worst value of each group, NaN where there was none; in what its condition compares
            with: the signal's unit, or times the baseline, per cent above it, and so on.
    """

    trigger: TriggerSpec
    most: int = 0
    most_before: int = 0
    groups: int = 0
    days: dict[int, Floats] = field(default_factory=dict)

    @property
    def needed(self) -> int:
        """How many samples a window must hold."""
        return 1 if self.trigger.aggregate in COUNTING else self.trigger.min_samples

    def see(self, telemetry: Telemetry, t_us: int) -> None:
        """Look at the windows that end at `t_us`."""
        trigger = self.trigger
        measure, window_us = Measure.of(trigger), trigger.window * SECOND_US
        # Asked first: it makes a group known whose first task still runs.
        oldest = telemetry.oldest_running(measure) if trigger.counts_running else None
        totals = telemetry.window(measure, window_us, t_us)
        if oldest is not None:
            totals = add_running(totals, oldest, t_us)
        self.groups = len(totals.count)
        if not self.groups:
            return
        self.most = max(self.most, int(totals.count.max()))
        value = value_of(trigger, totals)
        enough = totals.count >= self.needed
        match trigger.condition:
            case Baseline() as condition:
                before = telemetry.baseline(measure, window_us, condition.over * SECOND_US, t_us)
                self.most_before = max(self.most_before, int(before.count.max(initial=0)))
                enough = enough & (before.count >= condition.min_samples)
                if condition.absolute is None:  # as the engine judges: there is no multiple of nothing
                    enough = enough & (before.amount > 0)
                value = _above(condition, value, before.amount / np.maximum(before.count, 1) / MICRO)
            case RateOfChange() as change:
                now, earlier = telemetry.successive(measure, window_us, t_us)
                self.most_before = max(self.most_before, int(earlier.count.max(initial=0)))
                enough = enough & (earlier.count >= trigger.min_samples)
                value = (value_of(trigger, now) - value_of(trigger, earlier)) / trigger.window * change.per
        self._note(t_us // DAY_US, np.where(enough, value, np.nan))

    def _note(self, day: int, value: Floats) -> None:
        worst = self.days.get(day, np.zeros(0))
        worst = np.concatenate([worst, np.full(len(value) - len(worst), np.nan)])
        self.days[day] = np.fmax(worst, value) if self.trigger.rising else np.fmin(worst, value)

    def peaks(self) -> Floats:
        """The worst value of each group and day on which it could be judged, in order."""
        found = np.concatenate([np.zeros(0), *self.days.values()])
        return np.sort(found[~np.isnan(found)])


def _above(condition: Baseline, value: Floats, mean: Floats) -> Floats:
    """`value` in what `condition` compares with: times the mean before it, per cent above it, or by how much."""
    if condition.absolute is not None:
        return value - mean
    times = np.divide(value, mean, out=np.full(len(mean), np.nan), where=mean > 0)
    found: Floats = times if condition.ratio is not None else (times - 1) * 100
    return found


def beyond(value: float, *, rising: bool) -> float:
    """The next number of two digits above `value`, or below it when less is worse."""
    digits = 1 - math.floor(math.log10(abs(value))) if value else 2
    scaled = value * 10.0**digits
    # What is a round number itself, but for how it is stored, is not to be stepped from twice, or not at all.
    whole = round(scaled) if abs(scaled - round(scaled)) < 1e-6 else math.floor(scaled) if rising else math.ceil(scaled)
    limit = (whole + (1 if rising else -1)) / 10.0**digits
    return round(limit, max(digits, 0))


def observe(spec: Spec, history: History, tell: Tell) -> dict[str, Observed]:
    """What each enabled trigger that has a window saw in `history`, by its name."""
    triggers = [each for each in spec.triggers if each.enabled and measured(each)]
    observed = {trigger.name: Observed(trigger) for trigger in triggers}
    if not triggers or not history.events:
        return observed
    telemetry = Keeping(triggers, max_groups=spec.max_groups)
    telemetry.queue(list(history.events), history.kind, history.ts)
    due = _instants(history.ts, triggers)
    for number, t_us in enumerate(sorted(due)):
        if number % 50 == 0:
            tell("looking at windows", number / len(due))
        telemetry.fold(t_us)
        telemetry.give_up_lost(t_us)
        for name in due[t_us]:
            observed[name].see(telemetry, t_us)
    grid_us = spec.grid * SECOND_US
    end_us = -(-int(history.ts[-1]) // grid_us) * grid_us
    for each in observed.values():
        most, most_before = telemetry.most(each.trigger, grid_us, end_us)
        each.most, each.most_before = max(each.most, most), max(each.most_before, most_before)
    return observed


def measured(trigger: TriggerSpec) -> bool:
    """Whether it compares the value of a window with a limit."""
    return isinstance(trigger.condition, Threshold | Baseline | RateOfChange)


def _instants(ts: NDArray[np.int64], triggers: Sequence[TriggerSpec]) -> dict[int, list[str]]:
    """When to look at which: four times in the window of each, but not at more instants than :data:`MOST_STEPS`."""
    first_us, last_us = int(ts[0]), int(ts[-1])
    due: dict[int, list[str]] = {}
    for each in triggers:
        apart_us = max(each.window * SECOND_US // 4, (last_us - first_us) // MOST_STEPS)
        apart_us = max(apart_us // FINE_US, 1) * FINE_US
        for t_us in range(first_us // FINE_US * FINE_US + FINE_US, last_us + apart_us, apart_us):
            due.setdefault(t_us, []).append(each.name)
    return due
