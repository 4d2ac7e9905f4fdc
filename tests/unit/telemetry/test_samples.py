"""Which event is a sample of which signal, and how much it counts for: usage once a task, canceled no error."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.telemetry.fleet import Fleet, Line, call, event, finished, started, trigger

OWN = {"total_tokens": 1000, "total_usd": 0.02}


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


def tokens_and_cost(fleet: Fleet) -> tuple[tuple[int, float], tuple[int, float]]:
    return fleet.samples("task.tokens"), fleet.samples("task.cost_usd")


# --- usage is counted once a task ----------------------------------------------------------------------------------


def test_a_tasks_own_usage_counts_and_its_model_calls_do_not(fleet: Fleet) -> None:
    fleet.take(started(0), call(1, 600, 0.01), call(2, 500, 0.02), finished(3, usage=OWN), call(4, 99, 0.5))
    assert tokens_and_cost(fleet) == ((1, 1000), (1, 0.02))


def test_a_task_without_usage_of_its_own_used_the_sum_of_its_model_calls(fleet: Fleet) -> None:
    fleet.take(started(0), call(1, 600, 0.01), call(2, 500, 0.02), finished(3))
    assert tokens_and_cost(fleet) == ((1, 1100), (1, 0.03))


def test_what_a_task_does_not_say_of_its_usage_is_the_sum_of_its_model_calls(fleet: Fleet) -> None:
    calls = started(0), call(1, 600, 0.01), call(2, 500, 0.02)
    fleet.take(*calls, finished(3, usage={"total_tokens": 1000}))
    assert tokens_and_cost(fleet) == ((1, 1000), (1, 0.03))


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": 900, "completion_tokens": 100},
        {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 1000},
    ],
)
def test_the_tokens_of_a_usage_are_its_total_else_what_went_in_and_out(fleet: Fleet, usage: dict[str, int]) -> None:
    fleet.take(started(0), finished(3, usage=usage))
    assert fleet.samples("task.tokens") == (1, 1000)


def test_zero_usage_is_known_and_counts(fleet: Fleet) -> None:
    fleet.take(started(0), call(1, 600, 0.01), finished(3, usage={"total_tokens": 0, "total_usd": 0}))
    assert tokens_and_cost(fleet) == ((1, 0), (1, 0))


def test_a_task_whose_usage_nobody_knows_is_no_sample_of_it(fleet: Fleet) -> None:
    fleet.take(started(0), finished(3), started(4, "u"), finished(5, "u", usage=OWN))
    assert tokens_and_cost(fleet) == ((1, 1000), (1, 0.02))


def test_a_model_call_that_comes_after_its_task_adds_to_the_sum_and_not_to_the_count(fleet: Fleet) -> None:
    fleet.take(started(0), call(1, 600, 0.01), finished(3), call(4, 500, 0.02))
    assert tokens_and_cost(fleet) == ((1, 1100), (1, 0.03))


def test_the_first_thing_that_is_known_of_an_ended_tasks_usage_counts_it(fleet: Fleet) -> None:
    fleet.take(started(0), finished(3), call(4, 500, None), call(5, 100, 0.02), call(6, 10, 0.01))
    assert tokens_and_cost(fleet) == ((1, 610), (1, 0.03))


def test_a_late_call_joins_the_pane_of_its_task(fleet: Fleet) -> None:
    fleet.take(started(0), finished(3), call(1800, 500, 0.02))
    assert fleet.samples("task.tokens", at=10, window=3600) == (1, 500)


def test_calls_of_another_task_or_agent_are_none_of_a_tasks_business(fleet: Fleet) -> None:
    fleet.take(started(0), call(1, 600, 0.01, id="u"), call(2, 500, 0.02, agent="B"), finished(3))
    assert tokens_and_cost(fleet) == ((0, 0), (0, 0))


def test_each_attempt_has_the_calls_that_were_made_while_it_ran(fleet: Fleet) -> None:
    fleet.take(started(0, attempt=1), call(1, 600), finished(2, attempt=1, status="failed"))
    fleet.take(started(3, attempt=2), call(4, 50), finished(5, attempt=2))
    assert fleet.samples("task.tokens") == (2, 650)
    assert fleet.extremes("task.tokens") == (50, 600)


# --- errors --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "worth"),
    [("success", (1, 0)), ("failed", (1, 1)), ("timeout", (1, 1)), ("canceled", (0, 0)), (None, (0, 0))],
)
def test_the_ratio_of_errors_counts_success_failed_and_timeout_alone(
    fleet: Fleet, status: str | None, worth: tuple[int, float]
) -> None:
    fleet.take(event(1, "task_finished", status=status, duration_s=1.0))
    assert fleet.samples("task.errors") == worth
    assert fleet.samples("task.duration_s") == (1, 1)


# --- durations and attempts ----------------------------------------------------------------------------------------

START = 1_767_607_200.0


@pytest.mark.parametrize(
    ("fields", "duration_s"),
    [
        ({"duration_s": 7.5, "started_at": START, "finished_at": START + 90}, 7.5),
        ({"started_at": START, "finished_at": START + 90}, 90),
        ({"started_at": START + 20}, 80),  # it ended when the line says
        ({"started_at": START + 90, "finished_at": START}, 0),
        ({"duration_s": 0}, 0),
    ],
)
def test_a_duration_is_its_own_figure_else_finish_minus_start(
    fleet: Fleet, fields: dict[str, Any], duration_s: float
) -> None:
    fleet.take(finished(100, **fields))
    assert fleet.samples("task.duration_s") == (1, duration_s)


def test_a_finish_that_does_not_say_when_it_started_is_measured_from_its_start(fleet: Fleet) -> None:
    fleet.take(started(10), finished(100))
    assert fleet.samples("task.duration_s") == (1, 90)


def test_a_finish_without_a_start_or_a_duration_is_no_sample_of_one_and_counts_for_all_else(fleet: Fleet) -> None:
    fleet.take(finished(100, attempt=2, usage=OWN, status="failed"))
    assert fleet.samples("task.duration_s") == (0, 0)
    assert [fleet.samples(f"task.{name}") for name in ("attempts", "errors", "tokens")] == [(1, 2), (1, 1), (1, 1000)]


def test_every_attempt_is_a_sample_of_which_it_was(fleet: Fleet) -> None:
    for attempt in (1, 2, 3):
        fleet.take(started(attempt * 10, attempt=attempt), finished(attempt * 10 + 5, attempt=attempt, status="failed"))
    assert fleet.samples("task.attempts") == (3, 6)
    assert fleet.extremes("task.attempts") == (1, 3)


def test_sums_are_exact_where_floats_are_not(fleet: Fleet) -> None:
    fleet.take(*[finished(number, f"t{number}", usage={"total_usd": 0.1}) for number in range(1000)])
    assert fleet.samples("task.cost_usd") == (1000, 100.0)


# --- tests and scores ----------------------------------------------------------------------------------------------


def test_each_test_is_a_sample(fleet: Fleet) -> None:
    fleet.take(event(1, "test_run", passed=48, failed=2), event(2, "test_run", passed=10), event(3, "test_run"))
    assert fleet.samples("task.tests") == (60, 2)


def test_a_score_is_a_sample_of_quality(fleet: Fleet) -> None:
    fleet.take(event(1, "quality_score", q=0.5), event(2, "quality_score", q=0.75), event(3, "quality_score"))
    assert fleet.samples("task.quality") == (2, 1.25)


# --- which groups and filters --------------------------------------------------------------------------------------


def test_a_trigger_with_a_filter_sees_the_events_that_have_its_values_alone() -> None:
    where = {"model": "large", "error_type": "overload"}
    fleet = Fleet([trigger("filtered", "task.errors", where=where)])
    fleet.take(
        finished(1, "a", model="large", error_type="overload", status="failed"),
        finished(2, "b", model="large", status="failed"),
        finished(3, "c", model="small", error_type="overload", status="failed"),
    )
    assert fleet.samples("task.errors", where=where) == (1, 1)


def test_agents_are_kept_apart(fleet: Fleet) -> None:
    fleet.take(finished(1, agent="A", duration_s=1.0), finished(2, agent="B", duration_s=2.0))
    assert [fleet.samples("task.duration_s", agent) for agent in "ABC"] == [(1, 1), (1, 2), (0, 0)]


NOTHING: list[Line] = [
    started(1),
    event(2, "heartbeat"),
    event(3, "tool_call", status="failed", duration_s=9.0),
    event(4, "orchestrator_started", None),
    event(5, "orchestrator_finished", None, status="failed", duration_s=9.0),
    event(6, "log", status="failed", duration_s=9.0, passed=1, failed=1, q=0.1),
    event(7, "anything", status="failed", duration_s=9.0),
]


@pytest.mark.parametrize("line", NOTHING, ids=lambda line: str(line["type"]))
def test_other_events_are_aggregated_and_are_samples_of_nothing(fleet: Fleet, line: Line) -> None:
    fleet.take(line)
    assert (fleet.accounting.aggregated, fleet.accounting.dropped) == (1, {})
    assert {worth for found in fleet.all_samples("A").values() for worth in found[1:]} == {(0, 0)}
