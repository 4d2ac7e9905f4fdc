"""The state table, row by row; pure."""

from __future__ import annotations

import numpy as np
import pytest

from self_healing.clock import SECOND_US
from self_healing.model import SeriesState
from self_healing.triggers.states import Finding, next_timer_us, step
from tests.unit.triggers.engine import trigger

INACTIVE, PENDING, FIRING, RECOVERING = SeriesState
MET, CLEARED, BETWEEN, TOO_FEW, NO_DATA, NO_BASELINE = Finding
MISSING = (TOO_FEW, NO_DATA, NO_BASELINE)

SINCE_S = 1000
FOR_S = 30
KEEP_S = 60
FLAP_S = 3600

# from, what was found, seconds in that state, to; with `for` 30 s, `keep_firing_for` 60 s, `no_data` keep
TABLE = [
    (INACTIVE, MET, 500, PENDING),
    *((INACTIVE, found, 500, INACTIVE) for found in (CLEARED, BETWEEN, *MISSING)),
    (PENDING, MET, 29, PENDING),
    (PENDING, MET, 30, FIRING),
    (PENDING, MET, 31, FIRING),
    *((PENDING, found, 29, INACTIVE) for found in (CLEARED, BETWEEN, *MISSING)),
    *((PENDING, found, 30, INACTIVE) for found in (CLEARED, BETWEEN, *MISSING)),
    (FIRING, MET, 500, FIRING),
    (FIRING, CLEARED, 0, RECOVERING),
    (FIRING, BETWEEN, 500, FIRING),
    *((FIRING, found, 500, FIRING) for found in MISSING),
    (RECOVERING, MET, 59, FIRING),
    (RECOVERING, MET, 60, FIRING),
    (RECOVERING, CLEARED, 59, RECOVERING),
    (RECOVERING, CLEARED, 60, INACTIVE),
    (RECOVERING, BETWEEN, 59, RECOVERING),
    (RECOVERING, BETWEEN, 60, INACTIVE),
    *((RECOVERING, found, 500, RECOVERING) for found in MISSING),
]

# the rows in which `no_data` says something else
CLEAR = [
    *((INACTIVE, found, 500, INACTIVE) for found in MISSING),
    *((PENDING, found, 30, INACTIVE) for found in MISSING),
    *((FIRING, found, 500, RECOVERING) for found in MISSING),
    *((RECOVERING, found, 59, RECOVERING) for found in MISSING),
    *((RECOVERING, found, 60, INACTIVE) for found in MISSING),
]
FIRE = [
    (INACTIVE, NO_DATA, 500, PENDING),
    (PENDING, NO_DATA, 29, PENDING),
    (PENDING, NO_DATA, 30, FIRING),
    (FIRING, NO_DATA, 500, FIRING),
    (RECOVERING, NO_DATA, 60, FIRING),
    *((FIRING, found, 500, FIRING) for found in (TOO_FEW, NO_BASELINE)),
    *((RECOVERING, found, 500, RECOVERING) for found in (TOO_FEW, NO_BASELINE)),
    *((PENDING, found, 29, INACTIVE) for found in (TOO_FEW, NO_BASELINE)),
]


def after(
    state: SeriesState,
    finding: Finding,
    waited_s: float,
    *,
    no_data: str = "keep",
    for_s: int = FOR_S,
    flapping: bool = False,
) -> tuple[SeriesState, int]:
    """The next state of one series, and since when in seconds."""
    tried = trigger(**{"for": for_s}, keep_firing_for=KEEP_S, no_data=no_data, flap_window=FLAP_S)
    t_us = round((SINCE_S + waited_s) * SECOND_US)
    since = np.array([SINCE_S * SECOND_US])
    new, since_us = step(
        tried, np.array([state], np.uint8), since, np.array([flapping]), np.array([finding], np.uint8), t_us
    )
    return SeriesState(int(new[0])), int(since_us[0]) // SECOND_US


@pytest.mark.parametrize(("state", "finding", "waited_s", "expected"), TABLE)
def test_each_row_of_the_table_holds(
    state: SeriesState, finding: Finding, waited_s: float, expected: SeriesState
) -> None:
    now, since_s = after(state, finding, waited_s)

    assert now is expected
    assert since_s == (SINCE_S if now is state else SINCE_S + waited_s)


@pytest.mark.parametrize(("state", "finding", "waited_s", "expected"), CLEAR)
def test_missing_data_recovers_where_no_data_is_clear(
    state: SeriesState, finding: Finding, waited_s: float, expected: SeriesState
) -> None:
    assert after(state, finding, waited_s, no_data="clear")[0] is expected


@pytest.mark.parametrize(("state", "finding", "waited_s", "expected"), FIRE)
def test_no_data_counts_as_the_condition_met_where_no_data_is_fire(
    state: SeriesState, finding: Finding, waited_s: float, expected: SeriesState
) -> None:
    assert after(state, finding, waited_s, no_data="fire")[0] is expected


def test_without_for_it_fires_at_once() -> None:
    assert after(INACTIVE, MET, 0, for_s=0) == (FIRING, SINCE_S)


def test_a_millionth_of_a_second_before_for_has_passed_it_is_still_pending() -> None:
    assert after(PENDING, MET, FOR_S - 1e-6)[0] is PENDING


def test_series_are_stepped_independently_of_each_other() -> None:
    rows = TABLE
    state = np.array([row[0] for row in rows], np.uint8)
    finding = np.array([row[1] for row in rows], np.uint8)
    t_us = 5000 * SECOND_US
    since = np.array([t_us - row[2] * SECOND_US for row in rows])
    tried = trigger(**{"for": FOR_S}, keep_firing_for=KEEP_S)

    new, _ = step(tried, state, since, np.zeros(len(rows), np.bool_), finding, t_us)

    assert new.tolist() == [row[3] for row in rows]


def test_what_was_given_is_not_changed() -> None:
    state, since = np.array([INACTIVE], np.uint8), np.array([0])

    new, since_us = step(trigger(), state, since, np.array([False]), np.array([MET], np.uint8), SECOND_US)

    assert (state.tolist(), since.tolist()) == ([INACTIVE], [0])
    assert (new.tolist(), since_us.tolist()) == ([FIRING], [SECOND_US])


def test_the_next_timer_is_the_first_that_still_runs() -> None:
    tried = trigger(**{"for": 30}, keep_firing_for=60)
    state = np.array([INACTIVE, PENDING, RECOVERING, RECOVERING, FIRING], np.uint8)
    since = np.array([0, 100, 65, 10, 0]) * SECOND_US
    steady = np.zeros(5, np.bool_)

    assert next_timer_us(tried, state, since, steady, 100 * SECOND_US) == 125 * SECOND_US
    assert next_timer_us(tried, state, since, steady, 125 * SECOND_US) == 130 * SECOND_US
    assert next_timer_us(tried, state, since, steady, 130 * SECOND_US) is None


def test_where_nothing_waits_no_timer_runs() -> None:
    tried = trigger(**{"for": 30})

    assert (
        next_timer_us(tried, np.array([INACTIVE, FIRING], np.uint8), np.array([0, 0]), np.array([False, True]), 5)
        is None
    )
