"""What a window's totals say: exact at every boundary, and missing data under its own name."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from self_healing.measures import MICRO, NONE_MAX, NONE_MIN, Totals, add_running
from self_healing.spec import TriggerSpec
from self_healing.triggers.conditions import find, look
from self_healing.triggers.states import Finding
from tests.unit.triggers.engine import trigger

MET, CLEARED, BETWEEN, TOO_FEW, NO_DATA, NO_BASELINE = Finding


def totals(*rows: tuple[int, int, int, int]) -> Totals:
    """Of count, amount, maximum and minimum, a row a group."""
    columns = zip(*rows, strict=True)
    return Totals(*(np.array(column, np.int64) for column in columns))


def one(count: int, amount: int) -> Totals:
    return totals((count, amount, amount, amount))


def found(tried: TriggerSpec, window: Totals, before: Totals | None = None) -> Finding:
    return Finding(int(find(tried, window, before)[0]))


# the operator, and whether one step below, at and one step above the threshold meet it
OPERATORS = [
    (">=", (False, True, True)),
    (">", (False, False, True)),
    ("<=", (True, True, False)),
    ("<", (True, False, False)),
]


HALF = MICRO // 2


def beside(aggregate: str, step: int) -> tuple[float, Totals]:
    """A threshold, and a window that lies `step` smallest steps beside it."""
    match aggregate:
        case "count":
            return 5, one(5 + step, 0)
        case "rate":  # 30 samples in 60 s
            return 0.5, one(30 + step, 0)
        case "sum":
            return 0.5, one(3, HALF + step)
        case "mean":
            return 0.5, one(7, 7 * HALF + step)
        case "ratio":
            return 0.5, one(2, 2 * HALF + step)
        case "max":
            return 0.5, totals((2, 0, HALF + step, NONE_MIN))
        case _:
            return 0.5, totals((2, 0, NONE_MAX, HALF + step))


@pytest.mark.parametrize("aggregate", ["count", "rate", "sum", "mean", "ratio", "max", "min"])
@pytest.mark.parametrize(("op", "expected"), OPERATORS)
def test_each_aggregate_and_operator_is_exact_at_its_threshold(
    aggregate: str, op: str, expected: tuple[bool, bool, bool]
) -> None:
    for step, meets in zip((-1, 0, 1), expected, strict=True):
        threshold, window = beside(aggregate, step)
        tried = trigger(aggregate=aggregate, condition=(op, threshold))

        assert found(tried, window) is (MET if meets else CLEARED), step


def test_a_mean_of_exactly_a_half_is_not_above_a_half() -> None:
    tried = trigger(signal="task.cost_usd", aggregate="mean", condition=(">", 0.50), min_samples=5)
    costs = [100_000, 100_000, 100_000, 1_100_000, 1_100_000]  # whose mean in floating point is above a half

    assert found(tried, one(5, sum(costs))) is CLEARED
    assert found(tried, one(5, sum(costs) + 1)) is MET


@pytest.mark.parametrize(("value", "expected"), [(20, MET), (19, BETWEEN), (11, BETWEEN), (10, BETWEEN), (9, CLEARED)])
def test_between_clear_and_the_threshold_neither_holds(value: int, expected: Finding) -> None:
    tried = trigger(signal="task.errors", aggregate="ratio", condition=(">=", 0.20), clear=0.10)

    assert found(tried, one(100, value * MICRO)) is expected


@pytest.mark.parametrize(("value", "expected"), [(5, MET), (6, BETWEEN), (7, BETWEEN), (8, CLEARED)])
def test_a_falling_condition_clears_above_its_clear_value(value: int, expected: Finding) -> None:
    tried = trigger(signal="task.quality", aggregate="mean", condition=("<", 0.6), clear=0.8)

    assert found(tried, one(1, value * MICRO // 10)) is expected


def test_too_few_samples_and_no_data_are_findings_of_their_own() -> None:
    tried = trigger(aggregate="mean", min_samples=3)
    nothing = (0, 0, NONE_MAX, NONE_MIN)
    window = totals(nothing, (2, 900 * MICRO, 0, 0), (3, 900 * MICRO, 0, 0))

    assert find(tried, window, None).tolist() == [NO_DATA, TOO_FEW, MET]


@pytest.mark.parametrize("aggregate", ["count", "rate"])
def test_no_sample_is_a_count_of_zero(aggregate: str) -> None:
    tried = trigger(aggregate=aggregate, condition=("<", 1), min_samples=5)

    assert found(tried, one(0, 0)) is MET
    assert look(tried, one(0, 0), None).value.tolist() == [0.0]


class TestBaseline:
    def tried(self, ratio: float = 1.5, min_samples: int = 20, **changes: Any) -> TriggerSpec:
        condition = {"kind": "baseline", "ratio": ratio, "over": "24h", "min_samples": min_samples}
        return trigger(aggregate="mean", condition=condition, min_samples=5, **changes)

    @pytest.mark.parametrize(("beside", "expected"), [(-1, CLEARED), (0, MET), (1, MET)])
    def test_exactly_the_ratio_meets_it(self, beside: int, expected: Finding) -> None:
        before = one(20, 20 * 10 * MICRO)

        assert found(self.tried(), one(5, 5 * 15 * MICRO + beside), before) is expected

    def test_three_hundred_percent_above_is_four_times(self) -> None:
        before = one(20, 20 * 1000 * MICRO)

        assert found(self.tried(4.0), one(5, 5 * 3999 * MICRO), before) is CLEARED
        assert found(self.tried(4.0), one(5, 5 * 4000 * MICRO), before) is MET

    def test_too_few_samples_before_the_window_are_no_baseline(self) -> None:
        assert found(self.tried(), one(5, 500 * MICRO), one(19, 19 * MICRO)) is NO_BASELINE
        assert found(self.tried(), one(5, 500 * MICRO), one(20, 20 * MICRO)) is MET

    def test_a_baseline_of_zero_is_none(self) -> None:
        assert found(self.tried(), one(5, 5 * MICRO), one(20, 0)) is NO_BASELINE

    def test_missing_samples_are_named_before_a_missing_baseline(self) -> None:
        nothing = one(0, 0)

        assert found(self.tried(), nothing, nothing) is NO_DATA
        assert found(self.tried(), one(4, 4 * MICRO), nothing) is TOO_FEW

    def test_its_figures_are_in_the_unit_of_the_signal(self) -> None:
        seen = look(self.tried(), one(5, 5 * 30 * MICRO), one(20, 20 * 10 * MICRO))

        assert (seen.value[0], seen.baseline[0], seen.threshold[0]) == (30.0, 10.0, 15.0)

    def test_without_a_baseline_there_is_no_threshold_either(self) -> None:
        seen = look(self.tried(), one(5, 5 * MICRO), one(0, 0))

        assert math.isnan(seen.baseline[0])
        assert math.isnan(seen.threshold[0])

    def test_a_limit_beyond_all_numbers_is_never_met(self) -> None:
        assert found(self.tried(1e12), one(5, 2**60), one(20, 20 * 10**9 * MICRO)) is CLEARED

    def test_it_cannot_be_judged_without_the_baseline(self) -> None:
        with pytest.raises(ValueError, match="tried: a baseline condition needs a baseline"):
            find(self.tried(), one(5, 5), None)


@pytest.mark.parametrize(
    ("how", "limit"),
    [
        ({"ratio": 1.5}, 15_000_000),
        ({"percent": 50}, 15_000_000),
        ({"percent": 300}, 40_000_000),
        ({"absolute": 2.5}, 12_500_000),
        ({"absolute": 0.000001}, 10_000_001),
    ],
)
@pytest.mark.parametrize(("beside", "expected"), [(-1, CLEARED), (0, MET), (1, MET)])
def test_a_baseline_of_ten_is_exceeded_exactly_where_it_says(
    how: dict[str, float], limit: int, beside: int, expected: Finding
) -> None:
    tried = trigger(aggregate="mean", condition={"kind": "baseline", "min_samples": 4, **how}, min_samples=2)
    before = one(4, 4 * 10 * MICRO)

    assert found(tried, one(2, 2 * (limit + beside)), before) is expected
    assert look(tried, one(2, 2 * limit), before).threshold.tolist() == [limit / MICRO]


def test_more_than_a_baseline_of_nothing_is_a_distance_and_no_multiple() -> None:
    def tried(**how: float) -> TriggerSpec:
        return trigger(aggregate="mean", condition={"kind": "baseline", "min_samples": 4, **how})

    assert found(tried(absolute=2), one(1, 2 * MICRO), one(4, 0)) is MET
    assert found(tried(absolute=2), one(1, 2 * MICRO - 1), one(4, 0)) is CLEARED
    assert found(tried(percent=100), one(1, 2 * MICRO), one(4, 0)) is NO_BASELINE


def test_a_part_of_a_whole_can_be_compared_with_its_baseline() -> None:
    condition = {"kind": "baseline", "absolute": 0.1, "min_samples": 10}
    tried = trigger(signal="task.errors", aggregate="ratio", condition=condition)

    assert found(tried, one(10, 2 * MICRO), one(10, MICRO)) is MET
    assert found(tried, one(100, 19 * MICRO), one(10, MICRO)) is CLEARED


class TestRateOfChange:
    """Over a window of 60 s and per 30 s: half of the difference of two windows."""

    def tried(self, op: str, value: float, aggregate: str = "mean", **changes: Any) -> TriggerSpec:
        condition = {"kind": "rate_of_change", "op": op, "value": value, "per": 30}
        return trigger(aggregate=aggregate, condition=condition, window=60, **changes)

    @pytest.mark.parametrize(("op", "expected"), OPERATORS)
    @pytest.mark.parametrize("value", [2.5, -2.5])
    @pytest.mark.parametrize("aggregate", ["sum", "mean", "max", "min"])
    def test_it_is_exact_beside_its_edge(
        self, op: str, expected: tuple[bool, bool, bool], value: float, aggregate: str
    ) -> None:
        before = one(1, 100 * MICRO)
        for step, meets in zip((-1, 0, 1), expected, strict=True):
            window = one(1, 100 * MICRO + round(2 * value * MICRO) + step)

            assert found(self.tried(op, value, aggregate), window, before) is (MET if meets else CLEARED), step

    @pytest.mark.parametrize(("count", "expected"), [(29, CLEARED), (30, MET), (31, MET)])
    def test_a_count_that_rises(self, count: int, expected: Finding) -> None:
        assert found(self.tried(">=", 10, "count"), one(count, 0), one(10, 0)) is expected

    @pytest.mark.parametrize(("count", "expected"), [(1, CLEARED), (0, MET)])
    def test_a_count_that_falls_to_nothing(self, count: int, expected: Finding) -> None:
        assert found(self.tried("<=", -5, "count"), one(count, 0), one(10, 0)) is expected

    @pytest.mark.parametrize(("count", "expected"), [(69, CLEARED), (70, MET), (71, MET)])
    def test_a_rate_that_rises(self, count: int, expected: Finding) -> None:  # from 10 in 60 s to 70 in 60 s: by 1/s
        assert found(self.tried(">=", 0.5, "rate"), one(count, 0), one(10, 0)) is expected

    @pytest.mark.parametrize(("value", "expected"), [(14, MET), (13, BETWEEN), (12, BETWEEN), (11, CLEARED)])
    def test_between_clear_and_the_limit_neither_holds(self, value: int, expected: Finding) -> None:
        tried = self.tried(">=", 2, clear=1)

        assert found(tried, one(1, value * MICRO), one(1, 10 * MICRO)) is expected

    def test_too_few_samples_in_either_window_are_findings_of_their_own(self) -> None:
        tried, nothing = self.tried(">=", 0.001, min_samples=2), one(0, 0)

        assert found(tried, one(2, 9 * MICRO), one(2, 0)) is MET
        assert found(tried, one(2, 9 * MICRO), one(1, 0)) is NO_BASELINE
        assert found(tried, one(2, 9 * MICRO), nothing) is NO_BASELINE
        assert found(tried, one(1, 9 * MICRO), one(2, 0)) is TOO_FEW
        assert found(tried, nothing, one(2, 0)) is NO_DATA
        assert found(tried, nothing, nothing) is NO_DATA

    def test_from_nothing_no_count_rises(self) -> None:
        assert found(self.tried(">=", 1, "count"), one(50, 0), one(0, 0)) is NO_BASELINE

    def test_its_figures_are_the_change_and_what_it_was_before(self) -> None:
        seen = look(self.tried(">=", 2.5), one(2, 2 * 16 * MICRO), one(1, 10 * MICRO))

        assert (seen.value[0], seen.threshold[0], seen.baseline[0]) == (3.0, 2.5, 10.0)

    def test_without_a_window_before_there_is_no_change(self) -> None:
        seen = look(self.tried(">=", 2.5), one(2, 2 * 16 * MICRO), one(0, 0))

        assert math.isnan(seen.value[0])
        assert math.isnan(seen.baseline[0])


class TestRunning:
    T_US = 1_000 * MICRO

    def test_the_age_of_the_oldest_running_task_is_one_more_sample(self) -> None:
        window = add_running(
            totals((2, 9 * MICRO, 5 * MICRO, 4 * MICRO)), np.array([self.T_US - 60 * MICRO]), self.T_US
        )

        assert (window.count[0], window.maximum[0], window.minimum[0]) == (3, 60 * MICRO, 4 * MICRO)

    def test_a_running_task_alone_is_data(self) -> None:
        nothing = totals((0, 0, NONE_MAX, NONE_MIN))

        assert found(trigger(), add_running(nothing, np.array([self.T_US - 60 * MICRO]), self.T_US)) is MET
        assert found(trigger(), add_running(nothing, np.array([self.T_US - 60 * MICRO + 1]), self.T_US)) is CLEARED
        assert found(trigger(), add_running(nothing, np.array([NONE_MIN]), self.T_US)) is NO_DATA

    def test_a_task_that_says_it_starts_in_the_future_has_no_age(self) -> None:
        window = add_running(totals((0, 0, NONE_MAX, NONE_MIN)), np.array([self.T_US + 7]), self.T_US)

        assert window.maximum.tolist() == [0]
