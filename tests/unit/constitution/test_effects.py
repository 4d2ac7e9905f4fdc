"""The past that limits look at: cool-downs, breakers, and an index that agrees with a plain count."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from self_healing.constitution.circumstances import unwell_in
from self_healing.constitution.effects import Effects, cool_down_left_s
from self_healing.model import Execution, ExecutionStatus, Note
from self_healing.spec import Limits
from tests.unit.constitution.fine import NOW, ago, execution, incident, limits

FAILED, DISPATCHED, INTENDED = ExecutionStatus.FAILED, ExecutionStatus.DISPATCHED, ExecutionStatus.INTENDED


@pytest.mark.parametrize(
    ("ages_s", "left"),
    [
        ([], 0),
        ([0], 10),
        ([10], 0),
        ([100, 0], 20),
        ([100, 19.5], 1),
        ([100, 20], 0),
        ([300, 200, 100, 0], 80),
        ([500, 400, 300, 200, 100, 0], 300),  # 320 without the maximum
        ([599.9, 0], 20),
        ([600, 0], 10),  # ten healthy minutes
        ([1000, 900, 0], 10),
        ([0] * 5000, 300),
    ],
)
def test_the_cool_down_doubles_with_each_action_and_starts_anew_after_ten_quiet_minutes(
    ages_s: list[float], left: int
) -> None:
    assert cool_down_left_s([ago(age_s) for age_s in ages_s], NOW, Limits()) == left


@pytest.mark.parametrize(
    ("unwell_s", "left"),
    [
        ([], 5),  # well all the time: the second action is the first of a row
        ([(2000, None)], 15),  # unwell ever since: it is the second
        ([(2000, 605), (700, None)], 15),
        ([(2000, 1200), (600, None)], 5),  # ten minutes well, to the second
        ([(2000, 1199), (600, None)], 15),
        ([(600, None), (2000, 1200)], 5),  # in any order
        ([(1000, 900), (1000, None)], 15),
    ],
)
def test_only_ten_minutes_without_an_incident_start_the_cool_down_anew(
    unwell_s: list[tuple[float, float | None]], left: int
) -> None:
    unwell = [(ago(start), None if end is None else ago(end)) for start, end in unwell_s]
    assert cool_down_left_s([ago(1300), ago(5)], NOW, Limits(), unwell) == left


def test_an_incident_was_not_closed_from_each_opening_to_its_close() -> None:
    notes = [
        ("detected", 900),
        ("healed", 800),
        ("reopened", 700),
        ("acting", 600),
        ("recovered", 500),
        ("reopened", 400),
    ]
    told = incident(first_opened_at=ago(900), notes=tuple(Note(at=ago(age), what=what, text="") for what, age in notes))
    assert unwell_in(told) == [(ago(900), ago(800)), (ago(700), ago(500)), (ago(400), None)]


def test_nothing_is_left_of_a_cool_down_after_the_time_that_resets_it() -> None:
    odd = limits(cool_down=500, cool_down_max=500, cool_down_reset=100)
    assert cool_down_left_s([ago(99)], NOW, odd) == 401
    assert cool_down_left_s([ago(100)], NOW, odd) == 0


def of_action(*statuses: ExecutionStatus, newest_s: float = 1) -> Effects:
    """Executions of one action that ended so, oldest first, a second apart."""
    last = len(statuses) - 1
    return Effects(
        execution(number, ago(newest_s + last - number), action="pause", status=status)
        for number, status in enumerate(statuses)
    )


@pytest.mark.parametrize(
    ("effects", "is_open"),
    [
        (of_action(), False),
        (of_action(*[FAILED] * 4), False),
        (of_action(*[FAILED] * 5), True),
        (of_action(*[FAILED] * 9), True),
        (of_action(*[FAILED] * 5, DISPATCHED), False),
        (of_action(*[FAILED] * 3, DISPATCHED, *[FAILED] * 4), False),
        (of_action(*[FAILED] * 4, ExecutionStatus.UNKNOWN), True),
        (of_action(*[FAILED] * 4, INTENDED), False),
        (of_action(*[FAILED] * 5, newest_s=299.9), True),
        (of_action(*[FAILED] * 5, newest_s=300), False),
        (of_action(*[FAILED] * 5, INTENDED, newest_s=300), True),
        (of_action(*[FAILED] * 6, newest_s=1), True),
    ],
)
def test_five_failures_in_a_row_open_the_breaker_and_after_five_minutes_one_trial_may_go(
    effects: Effects, is_open: bool
) -> None:
    assert effects.breaker_open("pause", NOW, Limits()) is is_open
    assert not effects.breaker_open("ask", NOW, Limits())


@pytest.mark.parametrize(("status", "is_open"), [(FAILED, True), (DISPATCHED, False)])
def test_what_becomes_of_the_trial_opens_or_closes_the_breaker(status: ExecutionStatus, is_open: bool) -> None:
    effects = of_action(*[FAILED] * 5, newest_s=301)
    effects.add(execution(9, ago(1), action="pause", status=status))
    assert effects.breaker_open("pause", NOW, Limits()) is is_open


def test_only_what_is_over_for_a_day_is_forgotten() -> None:
    day = 86_400
    effects = Effects(
        [
            execution(1, ago(day)),
            execution(2, ago(day - 1)),
            execution(3, ago(2 * day), status=INTENDED),
            execution(4, ago(2 * day), updated_at=ago(1)),
        ]
    )
    effects.forget(NOW)
    assert len(effects) == 3
    assert effects.running() == 1
    assert effects.in_last_minute(ago(day - 2)) == 1


def test_what_ended_before_it_began_is_no_failure_and_no_action() -> None:
    effects = Effects(execution(number, ago(1), action="pause", status=INTENDED, tries=0) for number in range(5))
    assert (effects.running(), effects.in_last_minute(NOW)) == (5, 5)
    for number in range(5):
        effects.add(execution(number, ago(1), action="pause", status=FAILED, tries=0))
    assert not effects.breaker_open("pause", NOW, Limits())
    assert (effects.running(), effects.in_last_minute(NOW)) == (0, 0)
    assert effects.times_on("a1", NOW) == []


EXECUTIONS = st.builds(
    lambda number, age_s, target, status: execution(number, ago(age_s), target=target, status=status),
    st.integers(0, 8),
    st.integers(-5, 200),
    st.sampled_from(["a", "b"]),
    st.sampled_from(ExecutionStatus),
)


@given(st.lists(EXECUTIONS, max_size=40))
def test_after_any_updates_the_counts_are_those_of_a_plain_count(executions: list[Execution]) -> None:
    effects, kept = Effects(), dict[str, Execution]()
    for each in executions:
        effects.add(each)
        kept[each.id] = each
    idle = {"denied", "deferred", "awaiting_approval", "would"}
    begun = [each for each in kept.values() if each.status.value not in idle]
    assert len(effects) == len(begun)
    assert effects.in_last_minute(NOW) == sum(NOW - each.created_at < timedelta(minutes=1) for each in begun)
    assert effects.running() == sum(each.status is INTENDED for each in begun)
    for target in ("a", "b"):
        about = [each for each in begun if each.target == target]
        assert effects.running_on(target) == sum(each.status is INTENDED for each in about)
        assert effects.times_on(target, NOW) == sorted(each.created_at for each in about)
    again = Effects(msgspec.structs.replace(each) for each in kept.values())
    assert again.in_last_minute(NOW) == effects.in_last_minute(NOW)
