"""The arithmetic that triggers rest on: exact, in whole millionths, and never out of range."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from self_healing.measures import MICRO, MOST, NONE_MAX, NONE_MIN, Measure, Totals, mean_holds, value_of, whole
from self_healing.spec import Operator
from tests.unit.triggers.engine import trigger

RELATIONS = {
    Operator.GE: lambda left, right: left >= right,
    Operator.GT: lambda left, right: left > right,
    Operator.LE: lambda left, right: left <= right,
    Operator.LT: lambda left, right: left < right,
}


def totals(*rows: tuple[int, int, int, int]) -> Totals:
    return Totals(*(np.array(column, np.int64) for column in zip(*rows, strict=True)))


@given(
    amount=st.integers(-(2**62), 2**62),
    count=st.integers(1, 2**40),
    limit=st.integers(-MOST, MOST),
    beside=st.integers(-2, 2),
    op=st.sampled_from(Operator),
)
def test_a_mean_is_compared_exactly_however_large_its_parts(
    amount: int, count: int, limit: int, beside: int, op: Operator
) -> None:
    near = min(max(amount // count + beside, -MOST), MOST)
    for against in (limit, near):
        found = mean_holds(totals((count, amount, 0, 0)), op, np.int64(against))[0]

        assert found == RELATIONS[op](Fraction(amount, count), against)


@pytest.mark.parametrize("op", list(Operator))
def test_a_mean_of_nothing_meets_nothing(op: Operator) -> None:
    assert not mean_holds(totals((0, 0, NONE_MAX, NONE_MIN)), op, np.int64(0))[0]


def test_each_group_is_compared_with_its_own_limit() -> None:
    found = mean_holds(totals((2, 10, 0, 0), (2, 10, 0, 0)), Operator.GE, np.array([5, 6]))

    assert found.tolist() == [True, False]


def test_a_limit_beyond_a_column_is_kept_within_it() -> None:
    assert [int(whole(micros)) for micros in (1e300, -1e300, 0.4, 0.6)] == [MOST, -MOST, 0, 1]


@pytest.mark.parametrize(
    ("aggregate", "expected"),
    [("count", 4.0), ("rate", 4 / 60), ("sum", 6.0), ("mean", 1.5), ("ratio", 1.5), ("max", 3.0), ("min", 0.5)],
)
def test_values_are_in_the_unit_of_the_signal(aggregate: str, expected: float) -> None:
    window = totals((4, 6 * MICRO, 3 * MICRO, MICRO // 2))

    assert value_of(trigger(aggregate=aggregate, window=60), window).tolist() == [expected]


@pytest.mark.parametrize("aggregate", ["sum", "mean", "ratio", "max", "min"])
def test_of_no_sample_there_is_no_value(aggregate: str) -> None:
    assert math.isnan(value_of(trigger(aggregate=aggregate), totals((0, 0, NONE_MAX, NONE_MIN)))[0])


@pytest.mark.parametrize("aggregate", ["count", "rate"])
def test_no_sample_is_a_count_of_zero(aggregate: str) -> None:
    assert value_of(trigger(aggregate=aggregate), totals((0, 0, NONE_MAX, NONE_MIN))).tolist() == [0.0]


def test_triggers_that_measure_the_same_share_their_panes() -> None:
    one = trigger(where={"model": "m", "tool": "t"}, window=60)
    other = trigger(name="other", where={"tool": "t", "model": "m"}, window=300, condition=("<", 1))

    assert Measure.of(one) == Measure.of(other)
    assert Measure.of(one).key == Measure.of(other).key


def test_no_two_measures_share_a_key_whatever_their_values_hold() -> None:
    measures = [
        Measure.of(trigger()),
        Measure.of(trigger(signal="task.attempts")),
        Measure.of(trigger(group_by=("agent", "model"))),
        Measure.of(trigger(where={"model": "a&provider=b"})),
        Measure.of(trigger(where={"model": "a", "provider": "b"})),
        Measure.of(trigger(where={"model": 'a"],["provider","b'})),
    ]

    assert len({measure.key for measure in measures}) == len(measures)


def test_the_totals_of_some_groups_are_taken_out_together() -> None:
    some = totals((1, 10, 100, 1000), (2, 20, 200, 2000), (3, 30, 300, 3000)).at([2, 0])

    assert [column.tolist() for column in (some.count, some.amount, some.maximum, some.minimum)] == [
        [3, 1],
        [30, 10],
        [300, 100],
        [3000, 1000],
    ]
