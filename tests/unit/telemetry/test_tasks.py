"""Who works on what since when, whatever the order in which it is told, until it ends or is given up."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from self_healing.measures import NONE_MIN, NOT_SILENT, Measure
from self_healing.model import Event, Kind
from self_healing.telemetry.groups import BY_AGENT, Grouping
from self_healing.telemetry.losses import level
from self_healing.telemetry.tasks import TaskTable
from tests.unit.telemetry.fleet import DAY_S, START_S, Fleet, at_us, beat, call, event, finished, started

OWN = {"total_tokens": 1000, "total_usd": 0.02}


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


def lost(fleet: Fleet, at: float) -> int:
    """How many tasks were given up by then."""
    fleet.telemetry.give_up_lost(at_us(at))
    return fleet.telemetry.tasks.lost


# --- the age of running tasks --------------------------------------------------------------------------------------


def test_a_task_runs_from_its_start_to_its_end(fleet: Fleet) -> None:
    assert fleet.oldest() is None
    fleet.take(started(10, started_at=START_S + 8.5))
    assert (fleet.oldest(), fleet.telemetry.tasks.running) == (8.5, 1)
    fleet.take(finished(20))
    assert (fleet.oldest(), fleet.telemetry.tasks.running) == (None, 0)


def test_a_start_that_does_not_say_when_is_of_its_own_time(fleet: Fleet) -> None:
    fleet.take(started(10))
    assert fleet.oldest() == 10


def test_the_oldest_of_an_agents_tasks_gives_its_age(fleet: Fleet) -> None:
    fleet.take(started(10, "a"), started(5, "b"), started(1, "c", "B"))
    assert [fleet.oldest(agent) for agent in "AB"] == [5, 1]
    fleet.take(finished(20, "b"))
    assert fleet.oldest() == 10


def test_the_oldest_since_an_instant_leaves_out_what_ran_before(fleet: Fleet) -> None:
    measure = Measure.of(fleet.triggers[0])
    fleet.take(started(10, "a"), started(5, "b"))
    since = [fleet.telemetry.oldest_running_since(measure, 0, at_us(seconds)) for seconds in (0, 5, 10)]
    assert since == [at_us(5), at_us(10), NONE_MIN]


def test_a_group_that_sent_heartbeats_stays_known_for_it_until_it_is_forgotten_itself() -> None:
    groups = Grouping(("model",))
    tasks, heartbeats = (
        TaskTable(Grouping(BY_AGENT), ["model"], keep_silent=True),
        Measure("task.heartbeat", (), ("model",)),
    )
    for at, kind in ((1, Kind.TASK_STARTED), (4, Kind.HEARTBEAT), (5, Kind.TASK_FINISHED)):
        tasks.fold([Event(agent="A", task_id="t", model="m")], np.array([kind], np.uint8), np.array([at_us(at)]))
        told = tasks.quietest(heartbeats, groups).tolist()
    assert told == [NOT_SILENT]
    tasks.forget(("model",), np.array([1]))
    assert tasks.quietest(heartbeats, groups).tolist() == [NOT_SILENT]
    tasks.forget(("model",), np.array([0]))
    assert tasks.quietest(heartbeats, groups).tolist() == [0]


def test_a_task_is_told_apart_by_its_agent_and_its_id(fleet: Fleet) -> None:
    fleet.take(started(1, "t", "A"), started(2, "t", "B"), finished(3, "t", "B"))
    assert [fleet.oldest(agent) for agent in "AB"] == [1, None]


def test_a_start_without_an_id_never_runs_for_nothing_will_say_that_it_ended(fleet: Fleet) -> None:
    fleet.take(started(1, None))
    assert fleet.oldest() is None


# --- orders --------------------------------------------------------------------------------------------------------

LIFE = (started(10), beat(20), call(25, 600, 0.01), finished(30, started_at=START_S + 10.0))


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_the_lines_of_a_task_may_arrive_in_any_order(fleet: Fleet, order: tuple[int, ...]) -> None:
    for place in order:
        fleet.take(LIFE[place])
    assert fleet.oldest() is None
    assert fleet.samples("task.duration_s") == (1, 20)
    if order.index(2) > order.index(0) or order.index(2) > order.index(3):
        assert fleet.samples("task.tokens") == (1, 600)


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize(
    ("own", "tokens", "cost"), [({"total_tokens": 1000}, 1000, 0.03), ({"total_usd": 0.02}, 700, 0.02)]
)
def test_a_figure_that_a_task_does_not_say_is_the_sum_of_its_calls_also_of_those_that_come_late(
    fleet: Fleet, own: dict[str, float], tokens: int, cost: float, late: bool
) -> None:
    calls, end = (call(25, 600, 0.01), call(26, 100, 0.02)), finished(30, usage=own)
    fleet.take(started(10))
    for line in (end, *calls) if late else (*calls, end):
        fleet.take(line)
    assert (fleet.samples("task.tokens"), fleet.samples("task.cost_usd")) == ((1, tokens), (1, cost))


def test_a_start_that_arrives_after_its_end_does_not_run(fleet: Fleet) -> None:
    fleet.take(finished(30, duration_s=20.0))
    fleet.take(started(10))
    assert fleet.oldest() is None


def test_an_id_that_is_used_again_after_its_end_runs_again(fleet: Fleet) -> None:
    fleet.take(started(10), finished(30))
    fleet.take(started(31))
    assert fleet.oldest() == 31


def test_the_next_attempt_takes_the_place_of_the_one_before(fleet: Fleet) -> None:
    fleet.take(started(10, attempt=1), started(20, attempt=2))
    assert (fleet.oldest(), fleet.telemetry.tasks.running) == (20, 1)


def test_a_start_of_an_earlier_attempt_that_arrives_late_changes_nothing(fleet: Fleet) -> None:
    fleet.take(started(20, attempt=2))
    fleet.take(started(10, attempt=1))
    assert fleet.oldest() == 20


def test_the_end_of_an_earlier_attempt_leaves_the_next_one_running(fleet: Fleet) -> None:
    fleet.take(started(10, attempt=1), started(20, attempt=2), finished(21, attempt=1, status="failed"))
    assert fleet.oldest() == 20
    assert fleet.samples("task.errors") == (1, 1)
    fleet.take(finished(30, attempt=2))
    assert fleet.oldest() is None
    assert fleet.samples("task.duration_s") == (1, 10)


def test_a_start_that_is_told_twice_is_one_task(fleet: Fleet) -> None:
    fleet.take(started(10), started(10))
    fleet.take(finished(20))
    assert fleet.telemetry.tasks.running == 0


# --- lost ----------------------------------------------------------------------------------------------------------


def test_a_task_is_lost_after_three_missed_heartbeats_and_yields_no_sample(fleet: Fleet) -> None:
    fleet.take(started(0), beat(5), beat(10))
    assert fleet.telemetry.next_lost_us() == at_us(25) + 1
    assert lost(fleet, 25) == 0
    assert fleet.oldest() == 0
    assert lost(fleet, 25.001) == 1
    assert fleet.oldest() is None
    assert fleet.samples("task.duration_s") == (0, 0)
    assert fleet.telemetry.next_lost_us() is None


def test_a_heartbeat_keeps_a_task(fleet: Fleet) -> None:
    fleet.take(started(0), beat(5), beat(10), beat(24))
    assert lost(fleet, 30) == 0
    assert fleet.oldest() == 0


def test_one_short_gap_between_heartbeats_makes_nobody_look_lost(fleet: Fleet) -> None:
    fleet.take(started(0), beat(10), beat(20), beat(20.1))
    assert lost(fleet, 45) == 0


def test_a_new_task_of_an_agent_that_sends_heartbeats_is_lost_by_its_agents_habit(fleet: Fleet) -> None:
    fleet.take(started(0), beat(5), finished(6), started(10, "u"))
    assert lost(fleet, 25) == 0
    assert lost(fleet, 25.001) == 1


def test_a_task_whose_agent_sends_no_heartbeats_is_lost_after_a_day(fleet: Fleet) -> None:
    fleet.take(started(0))
    assert lost(fleet, DAY_S) == 0
    assert lost(fleet, DAY_S + 0.001) == 1


def test_the_end_of_a_lost_task_is_a_sample_all_the_same(fleet: Fleet) -> None:
    fleet.take(started(0), beat(5), beat(10))
    assert lost(fleet, 60) == 1
    fleet.take(finished(90, duration_s=90.0))
    assert fleet.samples("task.duration_s") == (1, 90)


def test_beyond_a_hundred_thousand_the_newest_tasks_are_lost(fleet: Fleet) -> None:
    fleet.take(*[started(number // 1000, f"t{number}") for number in range(100_002)])
    assert fleet.telemetry.tasks.running == 100_000
    assert lost(fleet, 101) == 2
    assert fleet.oldest() == 0
    fleet.take(*[finished(102, f"t{number}") for number in range(99_999)])
    assert fleet.oldest() == 99


def test_beyond_that_who_has_most_running_loses_them_and_who_has_little_none() -> None:
    fleet = Fleet()
    fleet.take(*[started(0, f"s{number}", "small") for number in range(5)])
    for agent in ("A", "B"):
        fleet.take(*[started(1, f"t{number}", agent) for number in range(60_000)])
    running = {name: len(agent.running) for name, agent in fleet.telemetry.tasks.agents.items()}
    assert running["small"] == 5
    assert sum(running.values()) == 100_000
    assert abs(running["A"] - running["B"]) <= 1


@given(st.lists(st.integers(0, 50), min_size=1, max_size=8).map(sorted), st.integers(0, 100))
def test_the_level_leaves_as_many_as_are_kept_but_for_less_than_one_each(counts: list[int], most: int) -> None:
    kept = sum(min(count, level(counts, most)) for count in counts)
    assert min(sum(counts), most) - len(counts) < kept <= min(sum(counts), most)


# --- agents --------------------------------------------------------------------------------------------------------


def test_an_agent_is_known_for_a_day_after_its_newest_event(fleet: Fleet) -> None:
    fleet.take(event(10, "log", agent="A"), event(5, "log", agent="A"), event(7, "log", agent="B"))
    fleet.telemetry.give_up_lost(at_us(DAY_S + 7))
    assert fleet.telemetry.agents == {"A": at_us(10), "B": at_us(7)}
    fleet.telemetry.give_up_lost(at_us(DAY_S + 7.001))
    assert fleet.telemetry.agents == {"A": at_us(10)}


# --- repair work ---------------------------------------------------------------------------------------------------


def test_repair_work_feeds_no_trigger(fleet: Fleet) -> None:
    repair = {"agent": "Helper", "handoff_id": "h1"}
    fleet.take(
        event(0, "task_started", **repair),
        event(1, "llm_call", usage=OWN, **repair),
        event(2, "test_run", passed=1, failed=9, **repair),
        event(3, "quality_score", q=0.1, **repair),
        event(4, "task_finished", status="failed", duration_s=99.0, attempt=9, **repair),
    )
    assert set(fleet.all_samples(["Helper"])["Helper"]) == {None, (0, 0)}
    assert fleet.telemetry.agents == {}
    assert fleet.accounting.aggregated == 5


def test_the_later_lines_of_repair_work_need_not_name_the_handoff_again(fleet: Fleet) -> None:
    fleet.take(event(0, "task_started", agent="Helper", handoff_id="h1"), finished(90, agent="Helper", duration_s=90.0))
    assert fleet.samples("task.duration_s", "Helper") == (0, 0)
    assert [(each.handoff, each.status, each.ts_us) for each in fleet.telemetry.repairs] == [
        ("h1", None, at_us(0)),
        ("h1", "success", at_us(90)),
    ]


def test_a_task_that_says_late_that_it_is_repair_work_no_longer_counts_by_its_age(fleet: Fleet) -> None:
    fleet.take(started(0, agent="Helper"))
    assert fleet.oldest("Helper") == 0
    fleet.take(event(5, "heartbeat", agent="Helper", handoff_id="h1"))
    assert fleet.oldest("Helper") is None


def test_a_specialists_other_tasks_count_as_anybodys(fleet: Fleet) -> None:
    fleet.take(event(0, "task_started", "r", agent="Helper", handoff_id="h1"))
    fleet.take(finished(9, "own", "Helper", duration_s=2.0))
    assert fleet.samples("task.duration_s", "Helper") == (1, 2)
