"""What is folded is worth the same however it is cut into batches and whenever the process is another one."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from self_healing.taps import Accumulator
from tests.unit.telemetry.fleet import (
    DAY_S,
    START_S,
    WINDOW_S,
    Fleet,
    Line,
    at_us,
    beat,
    call,
    event,
    finished,
    started,
    trigger,
    unaccounted,
)

AGENTS = ("A", "B")

times = st.integers(0, 100).map(float)
ids = st.sampled_from(["t", "u", None])
agents = st.sampled_from(AGENTS)
attempts = st.sampled_from([None, 1, 2, 3])
usages = st.sampled_from([None, {"total_tokens": 100}, {"total_usd": 0.5}, {"total_tokens": 7, "total_usd": 0.1}, {}])
handoffs = st.sampled_from([None, None, None, None, "h"])
starts = st.none() | st.integers(-50, 100).map(lambda seconds: float(START_S + seconds))
statuses = st.sampled_from(["success", "failed", "timeout", "canceled"])

_start = st.builds(started, times, ids, agents, attempt=attempts, started_at=starts, handoff_id=handoffs)
_finish = st.builds(
    finished,
    times,
    ids,
    agents,
    statuses,
    attempt=attempts,
    started_at=starts,
    duration_s=st.sampled_from([None, 0.0, 12.5]),
    usage=usages,
)
_rest = st.builds(
    event,
    times,
    st.sampled_from(["heartbeat", "llm_call", "test_run", "quality_score", "log"]),
    ids,
    agents,
    usage=usages,
    passed=st.sampled_from([None, 0, 9]),
    failed=st.sampled_from([None, 0, 1]),
    q=st.sampled_from([None, 0.25, 1.0]),
)
lines: st.SearchStrategy[list[Line]] = st.lists(st.one_of(_start, _finish, _rest), max_size=25)


def known(fleet: Fleet) -> dict[str, Any]:
    """All that anybody could ask of it."""
    telemetry = fleet.telemetry
    return {
        "samples": fleet.all_samples(AGENTS),
        "running": telemetry.tasks.running,
        "lost": telemetry.tasks.lost,
        "next_lost_us": telemetry.next_lost_us(),
        "agents": telemetry.agents,
        "repairs": [msgspec.to_builtins(each) for each in telemetry.repairs],
        "queued": (telemetry.queued, telemetry.next_queued_us()),
        "accounting": telemetry.accounting,
    }


def in_time(found: list[Line]) -> list[Line]:
    return sorted(found, key=lambda line: str(line["ts"]))


# --- the accounting ------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(lines, st.none() | times)))
def test_both_equations_of_the_accounting_hold_after_every_batch_and_fold(
    batches: list[tuple[list[Line], float | None]],
) -> None:
    fleet = Fleet()
    pushed = 0
    for batch, until in batches:
        fleet.push(*batch)
        pushed += len(batch)
        assert unaccounted(fleet.accounting) == (0, 0)
        fleet.fold(until)
        assert unaccounted(fleet.accounting) == (0, 0)
        assert fleet.accounting.in_flight == fleet.telemetry.queued
    fleet.fold()
    assert (fleet.accounting.received, fleet.accounting.in_flight) == (pushed, 0)


def test_what_was_quarantined_was_accepted() -> None:
    fleet = Fleet()
    fleet.telemetry.account(5, {"undated": 2, "torn": 1})
    fleet.telemetry.account(1, {"torn": 1})
    count = fleet.accounting
    assert (count.received, count.accepted, count.quarantined) == (6, 6, {"undated": 2, "torn": 2})


def test_events_wait_in_flight_until_their_time_comes() -> None:
    fleet = Fleet()
    fleet.push(finished(20, duration_s=1.0))
    fleet.push(finished(10, "u", duration_s=1.0))
    assert (fleet.telemetry.next_queued_us(), fleet.accounting.in_flight) == (at_us(10), 2)
    fleet.fold(10)
    assert fleet.samples("task.duration_s") == (1, 1)
    assert (fleet.telemetry.next_queued_us(), fleet.accounting.in_flight) == (at_us(20), 1)
    fleet.fold(19.999999)
    assert fleet.accounting.in_flight == 1
    fleet.fold(20)
    assert (fleet.telemetry.next_queued_us(), fleet.accounting.in_flight) == (None, 0)


def test_an_event_is_late_when_its_instant_was_evaluated_already_and_joins_its_pane_all_the_same() -> None:
    fleet = Fleet()
    fleet.take(finished(100, duration_s=1.0))
    fleet.push(finished(29.9, "u", duration_s=3.0), finished(30, "v", duration_s=5.0))
    fleet.fold(evaluated=30)
    assert fleet.accounting.late == 1
    assert fleet.samples("task.duration_s", at=20, window=10) == (1, 3)
    assert unaccounted(fleet.accounting) == (0, 0)


KEPT_S = WINDOW_S + 300 + 10
"""Panes are kept for the window, the five minutes that an event may lie ahead, and one more."""


def one_of_each(at: float) -> list[Line]:
    usage = {"total_tokens": 1, "total_usd": 1}
    return [
        finished(at, duration_s=1.0, attempt=1, usage=usage),
        event(at, "test_run", passed=1),
        event(at, "quality_score", q=1.0),
    ]


@pytest.mark.parametrize(("seconds", "fate"), [(0.0, "aggregated"), (-0.1, "too_late")])
def test_an_event_whose_samples_find_no_pane_any_more_is_dropped_as_too_late(seconds: float, fate: str) -> None:
    fleet = Fleet()
    newest = 7200.0
    fleet.take(*one_of_each(newest))
    oldest = newest - KEPT_S
    fleet.push(*one_of_each(oldest + seconds))
    fleet.fold(evaluated=newest)
    count = fleet.accounting
    dropped, late = (3, 0) if fate == "too_late" else (0, 3)
    assert (count.aggregated, count.dropped.get("too_late", 0), count.late) == (6 - dropped, dropped, late)
    assert fleet.samples("task.duration_s", at=oldest + WINDOW_S)[0] == late // 3
    assert unaccounted(count) == (0, 0)


def test_history_in_order_is_never_too_late_however_long_it_is_and_however_it_is_cut() -> None:
    fleet = Fleet()
    fleet.take(*[finished(day * DAY_S, duration_s=1.0) for day in range(5)])
    fleet.take(*[finished(day * DAY_S, duration_s=1.0) for day in range(5, 9)])
    assert (fleet.accounting.aggregated, fleet.accounting.dropped) == (9, {})


def test_an_old_event_that_no_trigger_reads_is_aggregated() -> None:
    fleet = Fleet([trigger("slow", "task.duration_s")])
    fleet.take(finished(9 * DAY_S, duration_s=1.0))
    fleet.take(event(0, "test_run", passed=1), event(0, "log"), started(0, "u"), call(0, 5), finished(0, "v"))
    assert (fleet.accounting.aggregated, fleet.accounting.dropped) == (6, {})
    fleet.take(finished(0, "w", duration_s=1.0))
    assert (fleet.accounting.aggregated, fleet.accounting.dropped) == (6, {"too_late": 1})


def test_a_baseline_keeps_panes_for_its_day_and_what_joins_them_is_not_too_late() -> None:
    condition = {"kind": "baseline", "ratio": 1.5, "over": DAY_S, "min_samples": 5}
    fleet = Fleet([trigger("slower", "task.duration_s", aggregate="mean", condition=condition)])
    fleet.take(finished(2 * DAY_S, duration_s=1.0))
    fleet.take(finished(DAY_S, "u", duration_s=1.0), finished(DAY_S - 2 * WINDOW_S, "v", duration_s=1.0))
    assert (fleet.accounting.aggregated, fleet.accounting.dropped) == (2, {"too_late": 1})


def test_an_event_is_not_too_late_while_one_of_its_samples_finds_a_pane() -> None:
    fleet = Fleet([trigger("slow", "task.duration_s"), trigger("errors", "task.errors", window=DAY_S)])
    fleet.take(finished(7200, duration_s=1.0))
    fleet.take(finished(0, duration_s=1.0))
    assert (fleet.accounting.aggregated, fleet.accounting.dropped) == (2, {})
    assert fleet.samples("task.errors", window=DAY_S) == (1, 0)


def test_the_end_of_a_task_is_heard_even_when_it_comes_too_late_for_a_sample() -> None:
    fleet = Fleet()
    fleet.take(started(0), finished(2 * DAY_S, "u", duration_s=1.0))
    fleet.take(finished(10, duration_s=10.0))
    assert fleet.accounting.dropped == {"too_late": 1}
    assert fleet.oldest() is None


# --- cut in any way ------------------------------------------------------------------------------------------------


@given(lines, st.lists(st.integers(0, 25)))
def test_a_batch_in_any_slices_is_worth_what_it_is_at_once(found: list[Line], cuts: list[int]) -> None:
    found = in_time(found)
    whole, sliced = Fleet(), Fleet()
    whole.take(*found)
    for first, last in pairwise([0, *sorted(cuts), len(found)]):
        sliced.take(*found[first:last])
    assert known(sliced) == known(whole)


@given(lines, st.lists(times, max_size=4))
def test_a_batch_folded_in_any_steps_is_worth_what_it_is_at_once(found: list[Line], steps: list[float]) -> None:
    whole, stepped = Fleet(), Fleet()
    whole.take(*found)
    stepped.push(*found)
    for until in sorted(steps):
        stepped.fold(until)
    stepped.fold()
    assert known(stepped) == known(whole)


@given(lines, lines)
def test_batches_that_wait_together_are_folded_as_one(first: list[Line], second: list[Line]) -> None:
    one, two = Fleet(), Fleet()
    one.take(*in_time(first + second))
    two.push(*first)
    two.push(*second)
    two.fold()
    assert known(two) == known(one)


@given(lines)
def test_the_same_events_in_the_same_batches_give_the_same_state_to_the_byte(found: list[Line]) -> None:
    one, two = Fleet(), Fleet()
    for fleet in (one, two):
        fleet.take(*found)
    assert known(one) == known(two)
    assert one.telemetry.pack().facts == two.telemetry.pack().facts


# --- another process -----------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(lines, st.none() | times, st.booleans()), max_size=6))
def test_a_restart_at_any_moment_changes_nothing(batches: list[tuple[list[Line], float | None, bool]]) -> None:
    going_on, restarting = Fleet(), Fleet()
    for batch, until, restart in batches:
        for fleet in (going_on, restarting):
            fleet.push(*batch)
            fleet.fold(until)
            fleet.telemetry.repairs.clear()  # heard by the loop, in the transaction that stores the rest
        if restart:
            restarting = restarting.restarted()
        assert known(restarting) == known(going_on)


def test_a_restart_remembers_the_usage_of_running_tasks_and_of_those_that_ended_a_moment_ago() -> None:
    fleet = Fleet()
    fleet.take(started(0), call(1, 600), finished(2), started(3, "u"), call(4, 30, id="u"))
    fleet = fleet.restarted()
    fleet.take(call(5, 7), call(6, 3, id="u"), finished(7, "u"))
    assert fleet.samples("task.tokens") == (2, 640)


# --- what single series gather -------------------------------------------------------------------------------------

GROUP = (("agent", "A"),)


def watching(effect: float) -> Fleet:
    fleet = Fleet()
    fleet.take(finished(0, "first", duration_s=0.0))
    fleet.telemetry.watch("v", "each_duration_s", GROUP, at_us(effect))
    return fleet


def gathered(fleet: Fleet) -> list[tuple[float, bool, list[float]]]:
    """Start, whether it ended, and durations of each task that a verification has seen."""
    tasks = fleet.telemetry.taps.accumulators["v"].tasks.values()
    return [
        ((task.start_us - at_us(0)) / 1e6, task.finished, [amount / 1e6 for _, _, amount in task.samples])
        for task in tasks
    ]


def test_a_verification_gathers_the_tasks_that_began_after_the_effect() -> None:
    fleet = watching(10)
    fleet.take(started(5, "old"), started(10, "new"), finished(20, "old"))
    assert gathered(fleet) == [(10, False, [])]
    fleet.take(finished(30, "new"), started(31, "other", "B"))
    assert gathered(fleet) == [(10, True, [20])]


def test_a_verification_knows_the_tasks_that_ran_when_it_began() -> None:
    fleet = Fleet()
    fleet.take(started(5, "old"), started(12, "new"))
    fleet.telemetry.watch("v", "each_duration_s", GROUP, at_us(10))
    assert gathered(fleet) == [(12, False, [])]


def test_a_lost_task_is_no_longer_watched() -> None:
    fleet = watching(0)
    fleet.take(started(10, "gone"), beat(11, "gone"))
    assert gathered(fleet) == [(10, False, [])]
    fleet.telemetry.give_up_lost(at_us(60))
    assert gathered(fleet) == []


def test_what_was_gathered_is_given_back_once() -> None:
    fleet = watching(0)
    fleet.take(finished(20, "new", duration_s=5.0))
    found = fleet.telemetry.unwatch("v")
    assert isinstance(found, Accumulator)
    assert len(found.tasks) == 1
    assert fleet.telemetry.unwatch("v") is None


def test_what_a_verification_gathered_survives_a_restart() -> None:
    fleet = watching(10)
    fleet.take(started(10, "new"))
    fleet = fleet.restarted()
    fleet.take(finished(30, "new"))
    assert gathered(fleet) == [(10, True, [20])]


def test_a_series_that_was_never_measured_cannot_be_watched() -> None:
    with pytest.raises(ValueError, match="nothing was ever measured for each_duration_s"):
        Fleet().telemetry.watch("v", "each_duration_s", GROUP, 0)


@given(st.lists(st.tuples(st.booleans(), times, st.integers(0, 40), st.integers(0, 9)), max_size=12), st.data())
def test_what_a_verification_gathers_does_not_hang_on_batches(
    tasks: list[tuple[bool, float, int, int]], data: st.DataObject
) -> None:
    found: list[Line] = []
    for number, (ends, at, lasts, score) in enumerate(tasks):
        found.append(started(at, f"t{number}"))
        found += [finished(at + lasts, f"t{number}", attempt=1 + score % 2)] if ends else []
    found = in_time(found)
    cuts = data.draw(st.lists(st.integers(0, len(found)), max_size=4))
    whole, sliced = watching(50), watching(50)
    whole.take(*found)
    for first, last in pairwise([0, *sorted(cuts), len(found)]):
        sliced.take(*found[first:last])
    assert sorted(gathered(sliced)) == sorted(gathered(whole))
