"""Windows made for the purpose: what boundary tests show a trigger, in place of telemetry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from self_healing.histograms import Histograms, bucket_of
from self_healing.measures import NONE_MAX, NONE_MIN, Grouped, Ints, Measure, Totals
from self_healing.model import Group
from self_healing.taps import Restart


def totals_of(count: int, amount: int, extreme: int) -> Totals:
    """A window of one group, with samples that are all as large."""
    return _one_group(count, amount, extreme, extreme, {bucket_of(extreme): count})


def nothing() -> Totals:
    """A window of one group without a sample."""
    return _one_group(0, 0, NONE_MAX, NONE_MIN, {})


def _one_group(count: int, amount: int, maximum: int, minimum: int, buckets: Mapping[int, int]) -> Totals:
    columns = (np.array([value], np.int64) for value in (count, amount, maximum, minimum))
    return Totals(*columns, histograms=Histograms.single(buckets))


@dataclass(slots=True)
class Fixed:
    """Windows that show what a test puts there; one group."""

    totals: Totals
    before: Totals
    last_us: int = 0

    def groups(self, grouped: Grouped) -> Sequence[Group]:
        return [tuple((column, "test") for column in grouped)] if isinstance(grouped, tuple) else []

    def place(self, grouped: Grouped, group: Group) -> int | None:
        return 0

    def window(self, measure: Measure, window_us: int, t_us: int) -> Totals:
        return self.totals

    def baseline(self, measure: Measure, window_us: int, over_us: int, t_us: int) -> Totals:
        return self.before if over_us else nothing()

    def successive(self, measure: Measure, window_us: int, t_us: int) -> tuple[Totals, Totals]:
        return self.totals, self.before

    def single(self, measure: Measure, places: Ints, from_us: Ints, until_us: Ints) -> tuple[Ints, Ints]:
        return np.zeros_like(places), np.zeros_like(places)

    def oldest_running(self, measure: Measure) -> Ints:
        return np.array([NONE_MIN], np.int64)

    def oldest_running_since(self, measure: Measure, group: int, since_us: int) -> int:
        return NONE_MIN

    def last_sign(self, measure: Measure) -> Ints:
        return np.array([self.last_us], np.int64)

    def last_sign_since(self, measure: Measure, group: int, since_us: int) -> int:
        return self.last_us

    def restarted(self, trigger: str, from_us: int) -> Mapping[int, Restart]:
        return {}

    def first_sampled_us(self, measure: Measure, from_us: int) -> int | None:
        return None

    def first_heard_us(self, measure: Measure, places: Ints, from_us: Ints, pane_us: int) -> Ints:
        return np.zeros_like(places)

    def next_lost_us(self) -> int | None:
        return None


class Some(Fixed):
    """Windows that show nothing but in measures of some runs."""

    runs: tuple[str, ...] = ()

    def window(self, measure: Measure, window_us: int, t_us: int) -> Totals:
        return self.totals if dict(measure.where).get("run_id") in self.runs else totals_of(1, 0, 0)
