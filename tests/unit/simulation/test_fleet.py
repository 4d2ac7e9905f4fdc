from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from self_healing.model import Event, Kind
from self_healing.simulation import FAULTS, NAMES, SPECIALISTS, Fault, Fleet, chosen
from self_healing.simulation.faults import Repair
from tests.unit.simulation.judge import begun_after, crossings, events, judged, minutes, seconds

KINDS = {kind.name.lower() for kind in Kind}


def finished(lines: Iterable[bytes], agent: str) -> list[Event]:
    return [event for event in events(lines) if event.kind == "task_finished" and event.agent == agent]


def run(fleet: Fleet, until: datetime) -> list[bytes]:
    """Step as finely as a live fleet does, so that directives and handoffs are seen in time."""
    lines: list[bytes] = []
    while fleet.now < until:
        lines += fleet.step(min(fleet.now + minutes(0.05), until))
    return lines


def hand_over(
    directory: Path,
    fault: Fault,
    *,
    to: str | None = None,
    tags: tuple[str, ...] = (),
    beneath: tuple[Fault, ...] = (),
) -> None:
    """Deliver a handoff as the framework does; about all of `beneath` at once where there are some."""
    specialist = to or fault.repaired_by
    directory.mkdir(exist_ok=True)
    number = len(list(directory.iterdir()))
    message = {
        "target_agent": specialist,
        "prompt": "repair it",
        "context": {
            "symptom": {"trigger": fault.trigger, "group": {"cause": "model m"} if beneath else {"agent": fault.agent}},
            "incidents_beneath": [{"trigger": each.trigger, "group": {"agent": each.agent}} for each in beneath],
        },
        "tags": list(tags),
        "created_at": "2026-01-05T10:06:00Z",
        "id": f"hof-{number}",
        "incident": "inc-1",
        "execution": "exe-1",
        "deadline": "2026-01-05T10:21:00Z",
    }
    (directory / f"handoff_20260105_100600_{number:06d}_{specialist}.json").write_text(json.dumps(message))


class Orders:
    """Directives as a test gives them."""

    def __init__(self, in_force: dict[str, dict[str, Any]] | None = None) -> None:
        self.in_force = in_force or {}

    def __call__(self) -> dict[str, dict[str, Any]]:
        return self.in_force


RELIEF: dict[str, dict[str, Any]] = {
    "duration_regression": {"max_concurrency": 2, "timeout_s": 24.0},
    "retry_storm": {"quality_gate": "strict"},
    "token_leak": {"token_budget": 2800, "max_output_tokens": 700},
    "cost_drift": {"max_cost_usd": 0.5},
    "failing_tests": {"quality_gate": "strict"},
}
"""What the default actions set for the affected agent, by fault."""

each_fault = pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)


def test_a_healthy_fleet_crosses_no_threshold_for_a_day(start: datetime, day_before: list[bytes]) -> None:
    fleet = Fleet(seed=11, start=start)
    lines = judged(day_before)
    for hour in range(1, 25):
        lines += judged(fleet.step(start + minutes(60 * hour)))
    assert len(lines) > 400_000
    assert crossings(lines, start - minutes(60 * 12), fleet.now) == {}


def test_a_healthy_agent_ends_four_to_six_tasks_a_minute_with_few_failures_and_second_attempts(start: datetime) -> None:
    fleet = Fleet(seed=3, start=start)
    all_finished = [
        event for event in events(fleet.step(start + minutes(120))) if event.kind == "task_finished" and event.agent
    ]
    by_agent = Counter(event.agent for event in all_finished)
    assert set(by_agent) == set(NAMES)
    assert not set(NAMES) & {*SPECIALISTS, "Operator"}
    assert all(4 <= count / 120 <= 6 for count in by_agent.values())
    assert 0.005 < sum(event.status == "failed" for event in all_finished) / len(all_finished) < 0.015
    assert {event.attempt for event in all_finished} == {1, 2}
    assert max(event.duration_s or math.inf for event in all_finished) <= 40


@pytest.mark.parametrize("seed", [1, 7])
@each_fault
def test_each_fault_crosses_its_own_threshold_within_six_minutes_and_no_other(
    fault: Fault, seed: int, start: datetime, hours_before: list[bytes]
) -> None:
    onset = start + minutes(fault.starts_after_s / 60)
    lines = Fleet(seed=seed, start=start, faults=[fault]).step(onset + minutes(6))
    crossed = crossings(hours_before + lines, start, onset + minutes(6))
    moment = crossed.pop((fault.trigger, fault.agent))
    assert onset < moment <= onset + minutes(6)
    # Half an hour of tasks that are too slow are a rise of their duration as well, unless they are repaired in time.
    also = {("duration_increase", fault.agent)} if fault.name == "slow_model" else set()
    assert set(crossed) <= also


def test_slow_tasks_that_are_repaired_in_time_are_no_rise_of_the_duration(
    tmp_path: Path, start: datetime, hours_before: list[bytes]
) -> None:
    (fault,) = chosen("slow_model")
    fleet = Fleet(seed=5, start=start, faults=[fault], handoffs_dir=tmp_path)
    lines = run(fleet, start + minutes(fault.starts_after_s / 60 + 1.2))
    hand_over(tmp_path, fault)
    lines += run(fleet, fleet.now + minutes(40))
    assert set(crossings(hours_before + lines, start, fleet.now)) == {("slow_tasks", "Coder")}


@pytest.mark.parametrize("name", RELIEF)
def test_directives_relieve_a_fault_while_they_hold_and_no_longer(
    name: str, start: datetime, hours_before: list[bytes]
) -> None:
    (fault,) = chosen(name)
    orders = Orders()
    fleet = Fleet(seed=2, start=start, faults=[fault], directives=orders)
    run(fleet, start + minutes(10))
    orders.in_force = {fault.agent: RELIEF[name]}
    relieved_at = fleet.now
    relieved = run(fleet, relieved_at + minutes(10))
    orders.in_force = {}
    relapsed_at = fleet.now
    relapsed = run(fleet, relapsed_at + minutes(10))
    assert crossings(hours_before + begun_after(relieved, relieved_at), relieved_at, relapsed_at) == {}
    assert (fault.trigger, fault.agent) in crossings(
        hours_before + begun_after(relapsed, relapsed_at), relapsed_at, fleet.now
    )
    assert fleet.cured == {}


@each_fault
def test_a_completed_handoff_removes_the_cause(
    fault: Fault, tmp_path: Path, start: datetime, hours_before: list[bytes]
) -> None:
    fleet = Fleet(seed=4, start=start, faults=[fault], handoffs_dir=tmp_path / "handoffs")
    run(fleet, start + minutes(8))
    hand_over(tmp_path / "handoffs", fault)
    lines = run(fleet, start + minutes(25))
    cured_at = fleet.cured[fault.name]
    repair = [event for event in events(lines) if event.handoff_id == "hof-0" and event.kind != "heartbeat"]
    assert [(event.kind, event.agent) for event in repair] == [
        ("task_started", fault.repaired_by),
        ("task_finished", fault.repaired_by),
    ]
    accepted_at, completed_at = map(seconds, repair)
    assert 2 <= accepted_at - (start + minutes(8)).timestamp() <= 6
    assert 60 <= completed_at - accepted_at <= 280
    assert completed_at == cured_at.timestamp()
    assert repair[1].status == "success"
    assert crossings(hours_before + begun_after(lines, cured_at), cured_at, fleet.now) == {}


def test_a_handoff_about_several_agents_removes_the_cause_of_each(tmp_path: Path, start: datetime) -> None:
    one = chosen("retry_storm")[0]
    faults = [one, replace(one, name="another", agent=next(each.agent for each in FAULTS if each.agent != one.agent))]
    fleet = Fleet(seed=4, start=start, faults=faults, handoffs_dir=tmp_path)
    run(fleet, start + minutes(6))
    hand_over(tmp_path, one, beneath=tuple(faults))
    (repair,) = finished(run(fleet, start + minutes(12)), one.repaired_by)
    assert repair.status == "success"
    assert set(fleet.cured) == {"retry_storm", "another"}


def test_a_fault_that_is_never_cured_outlives_its_handoff(
    tmp_path: Path, start: datetime, hours_before: list[bytes]
) -> None:
    fault = replace(chosen("retry_storm")[0], repair=Repair.MISTAKEN)
    fleet = Fleet(seed=4, start=start, faults=[fault], handoffs_dir=tmp_path)
    run(fleet, start + minutes(6))
    hand_over(tmp_path, fault)
    run(fleet, start + minutes(12))
    lines = run(fleet, start + minutes(18))
    assert fleet.cured == {}
    assert (fault.trigger, fault.agent) in crossings(
        hours_before + begun_after(lines, start + minutes(12)), start + minutes(12), fleet.now
    )


def test_a_failed_repair_says_so_and_removes_nothing(tmp_path: Path, start: datetime) -> None:
    fault = replace(chosen("retry_storm")[0], repair=Repair.FAILS)
    fleet = Fleet(seed=4, start=start, faults=[fault], handoffs_dir=tmp_path)
    run(fleet, start + minutes(6))
    hand_over(tmp_path, fault)
    (repair,) = finished(run(fleet, start + minutes(12)), fault.repaired_by)
    assert (repair.handoff_id, repair.status) == ("hof-0", "failed")
    assert fleet.cured == {}


def test_a_repair_that_worsens_doubles_what_is_wrong(tmp_path: Path, start: datetime) -> None:
    fault = replace(chosen("slow_model")[0], repair=Repair.WORSENS)
    fleet = Fleet(seed=4, start=start, faults=[fault], handoffs_dir=tmp_path)
    run(fleet, start + minutes(8))
    hand_over(tmp_path, fault)
    run(fleet, start + minutes(14))
    ended = finished(run(fleet, start + minutes(25)), fault.agent)
    assert {160 <= (event.duration_s or 0) <= 200 for event in ended} == {True}
    assert fleet.cured == {}


def test_a_fault_that_passes_is_over_by_itself(start: datetime) -> None:
    fault = replace(chosen("retry_storm")[0], ends_after_s=600.0)
    fleet = Fleet(seed=4, start=start, faults=[fault])
    assert max(event.attempt or 0 for event in finished(fleet.step(start + minutes(9)), fault.agent)) >= 3
    fleet.step(start + minutes(11))
    assert max(event.attempt or 0 for event in finished(fleet.step(start + minutes(60)), fault.agent)) <= 2


def test_a_partial_fault_befalls_its_share_of_the_attempts(start: datetime) -> None:
    fault = replace(chosen("slow_model")[0], starts_after_s=0.0, share=0.25)
    ended = finished(Fleet(seed=4, start=start, faults=[fault]).step(start + minutes(240)), fault.agent)
    slow = sum((event.duration_s or 0) >= 80 for event in ended)
    assert 0.2 < slow / len(ended) < 0.3


def test_two_faults_of_one_agent_add_up(start: datetime) -> None:
    faults = [replace(fault, agent="Coder", starts_after_s=0.0) for fault in chosen("token_leak,slow_model")]
    ended = finished(Fleet(seed=4, start=start, faults=faults).step(start + minutes(30)), "Coder")
    full = [event for event in ended if event.started_at and event.started_at >= start.timestamp()]
    assert {
        (event.duration_s or 0) >= 80 and (event.usage.total_tokens or 0) > 10_000 for event in full if event.usage
    } == {True}


@pytest.mark.parametrize("rate", [0.5, 2.0])
def test_the_pace_of_the_agents_can_be_given(rate: float, start: datetime) -> None:
    fleet = Fleet(seed=3, start=start, tasks_per_minute=rate)
    ended = Counter(e.agent for e in events(fleet.step(start + minutes(240))) if e.kind == "task_finished")
    assert all(0.85 * rate <= count / 240 <= 1.15 * rate for count in ended.values())


@pytest.mark.parametrize(
    ("to", "tags"), [(None, ("diagnostic",)), (None, ("notification",)), ("PlannerAgent", ()), ("Operator", ())]
)
def test_notes_diagnostics_and_the_wrong_specialist_repair_nothing(
    to: str | None, tags: tuple[str, ...], tmp_path: Path, start: datetime
) -> None:
    (fault,) = chosen("retry_storm")
    fleet = Fleet(seed=4, start=start, faults=[fault], handoffs_dir=tmp_path)
    run(fleet, start + minutes(6))
    hand_over(tmp_path, fault, to=to, tags=tags)
    completed = [event for event in finished(run(fleet, start + minutes(12)), to or fault.repaired_by)]
    assert [event.handoff_id for event in completed] == ([] if to == "Operator" else ["hof-0"])
    assert fleet.cured == {}


def test_a_specialist_works_two_handoffs_at_a_time_in_their_order(tmp_path: Path, start: datetime) -> None:
    fleet = Fleet(seed=4, start=start, faults=FAULTS, handoffs_dir=tmp_path)
    run(fleet, start + minutes(6))
    error_burst, failing_tests = chosen("error_burst,failing_tests")
    for fault in (error_burst, failing_tests, error_burst):
        hand_over(tmp_path, fault)
    work = [event for event in events(run(fleet, start + minutes(20))) if event.agent == "TestGeneratorAgent"]
    begun = {event.handoff_id: seconds(event) for event in work if event.kind == "task_started"}
    ended = {event.handoff_id: seconds(event) for event in work if event.kind == "task_finished"}
    assert set(begun) == set(ended) == {"hof-0", "hof-1", "hof-2"}
    assert max(begun["hof-0"], begun["hof-1"]) < min(ended.values())
    assert begun["hof-2"] > ended["hof-1"]


def test_a_paused_agent_ends_what_it_is_at_and_starts_nothing(start: datetime) -> None:
    (fault,) = chosen("error_burst")
    orders = Orders()
    fleet = Fleet(seed=6, start=start, faults=[fault], directives=orders)
    before = run(fleet, start + minutes(5))
    orders.in_force = {fault.agent: {"paused": True}}
    paused = [event for event in events(run(fleet, start + minutes(10))) if event.agent == fault.agent]
    running = Counter(
        {"task_started": 1, "task_finished": -1}.get(event.kind, 0) * (event.agent == fault.agent)
        for event in events(before)
    )
    assert not [event for event in paused if event.kind == "task_started"]
    assert sum(event.kind == "task_finished" for event in paused) == running[1] - running[-1]
    orders.in_force = {fault.agent: {"max_concurrency": 1}}
    assert finished(run(fleet, start + minutes(12)), fault.agent)


def test_a_limit_on_concurrency_is_obeyed(start: datetime) -> None:
    def most_at_once(orders: Orders) -> dict[str | None, int]:
        at_once: defaultdict[str | None, int] = defaultdict(int)
        most: defaultdict[str | None, int] = defaultdict(int)
        for event in events(Fleet(seed=6, start=start, directives=orders).step(start + minutes(30))):
            at_once[event.agent] += {"task_started": 1, "task_finished": -1}.get(event.kind, 0)
            most[event.agent] = max(most[event.agent], at_once[event.agent])
        return most

    assert set(most_at_once(Orders()).values()) == {1, 2}
    assert set(most_at_once(Orders({name: {"max_concurrency": 1} for name in NAMES})).values()) == {1}
    assert set(most_at_once(Orders({name: {"max_concurrency": 9} for name in NAMES})).values()) == {1, 2}


def test_a_limit_on_retries_and_another_model_are_obeyed(start: datetime) -> None:
    storm, drift = chosen("retry_storm,cost_drift")
    orders = Orders({storm.agent: {"max_retries": 1}, drift.agent: {"model": "atlas-2-mini"}})
    lines = Fleet(seed=6, start=start, faults=[storm, drift], directives=orders).step(start + minutes(20))
    assert max(event.attempt or 0 for event in finished(lines, storm.agent)) == 2
    assert {event.model for event in finished(lines, drift.agent)} == {"atlas-2-mini"}
    assert max(event.usage.total_usd or 0 for event in finished(lines, drift.agent) if event.usage) < 0.1


def test_the_repair_of_a_slow_model_gives_the_agent_another_one(tmp_path: Path, start: datetime) -> None:
    (fault,) = chosen("slow_model")
    fleet = Fleet(seed=4, start=start, faults=[fault], handoffs_dir=tmp_path)
    before = run(fleet, start + minutes(8))
    hand_over(tmp_path, fault)
    after = begun_after(run(fleet, start + minutes(16)), start + minutes(12))
    assert fault.switches_to not in {event.model for event in finished(before, fault.agent)}
    assert {event.model for event in finished(after, fault.agent)} == {fault.switches_to}


def test_the_same_seed_gives_the_same_lines_however_fine_the_steps(start: datetime) -> None:
    def lines(seed: int) -> Fleet:
        return Fleet(seed=seed, start=start, faults=FAULTS)

    at_once = lines(1).step(start + minutes(10))
    assert run(lines(1), start + minutes(10)) == at_once
    assert lines(2).step(start + minutes(10)) != at_once


def test_an_instant_gone_by_changes_nothing(start: datetime) -> None:
    fleet = Fleet(seed=1, start=start)
    fleet.step(start + minutes(1))
    assert fleet.step(start) == []
    assert fleet.now == start + minutes(1)


def test_every_line_is_an_event_in_the_order_of_time(tmp_path: Path, start: datetime) -> None:
    fleet = Fleet(seed=9, start=start, faults=FAULTS, handoffs_dir=tmp_path)
    lines = run(fleet, start + minutes(6))
    for fault in FAULTS:
        hand_over(tmp_path, fault)
    lines += run(fleet, start + minutes(12))
    read = events(lines)
    assert all(line.endswith(b"}\n") and line.count(b"\n") == 1 for line in lines)
    moments = [seconds(event) for event in read]
    assert moments == sorted(moments)
    assert start.timestamp() < moments[0]
    assert {event.kind for event in read} <= KINDS - {"log", "own", "span", "metric"}
    assert {event.agent for event in read} == {*NAMES, *SPECIALISTS}
    ends = [event for event in read if event.kind == "task_finished" and event.handoff_id is None]
    assert all(event.usage and event.usage.total_usd and event.model and event.started_at for event in ends)
    assert all(round((event.finished_at or 0) - (event.started_at or 0), 3) == event.duration_s for event in ends)


def test_a_running_task_is_heard_of_every_five_seconds(start: datetime) -> None:
    last: dict[str | None, float] = {}
    for event in events(Fleet(seed=9, start=start, faults=FAULTS).step(start + minutes(12))):
        if event.kind in ("task_started", "heartbeat", "task_finished"):
            assert event.kind == "task_started" or seconds(event) - last[event.task_id] < 5.001
            last[event.task_id] = seconds(event)


@pytest.mark.parametrize(
    ("faults", "agents", "message"),
    [
        ((FAULTS[0], FAULTS[0]), 24, "fault 'duration_regression' is there twice"),
        (FAULTS, 2, "no agent 'SupportBot' in a fleet of 2"),
    ],
)
def test_faults_that_the_fleet_cannot_have_are_refused(
    faults: tuple[Fault, ...], agents: int, message: str, start: datetime
) -> None:
    with pytest.raises(ValueError, match=message):
        Fleet(seed=1, start=start, agents=agents, faults=faults)


def test_faults_are_chosen_by_name() -> None:
    assert chosen("all") == FAULTS
    assert chosen("none") == ()
    assert [fault.name for fault in chosen("token_leak, retry_storm")] == ["token_leak", "retry_storm"]
    with pytest.raises(ValueError, match="no fault 'tokenleak'; allowed are all, none, duration_regression"):
        chosen("tokenleak")
