"""Each of the seven defaults: at its threshold, just below it, getting well, and falling silent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from self_healing.model import Reason
from self_healing.testing import Scenario
from tests.scenarios.conftest import MakeScenario

Push = Callable[[Scenario], object]


def tasks(fleet: Scenario, count: int, **fields: object) -> None:
    """So many tasks end now."""
    for number in range(count):
        fleet.finish(f"{fleet.now_s}-{number}", **fields)  # type: ignore[arg-type] # fields of a line


def used(fleet: Scenario, *amounts: float, what: str) -> None:
    """A task ends for each amount, having used so much."""
    for number, amount in enumerate(amounts):
        fleet.finish(f"{fleet.now_s}-{number}", duration_s=1.0, usage={what: amount})


def lasted(fleet: Scenario, *durations_s: float) -> None:
    """A task ends for each duration."""
    for number, duration_s in enumerate(durations_s):
        fleet.finish(f"{fleet.now_s}-{number}", duration_s=duration_s)


def errors(fleet: Scenario, failed: int, of: int, status: str = "failed") -> None:
    tasks(fleet, failed, status=status)
    for number in range(of - failed):
        fleet.finish(f"good-{fleet.now_s}-{number}")


@dataclass(frozen=True)
class Case:
    """One default trigger: its window, and what to push."""

    trigger: str
    window_s: int
    at: Push  # exactly enough
    below: Push  # the least step less
    well: Push  # enough samples, and none of them bad
    few: Push | None = None  # one sample less than it needs, all of them bad
    before: Push | None = None  # a past to compare with


CASES = [
    Case(
        "slow_tasks",
        300,
        at=lambda fleet: lasted(fleet, 60.0),
        below=lambda fleet: lasted(fleet, 59.999999),
        well=lambda fleet: lasted(fleet, 5.0),
    ),
    Case(
        "high_retry_rate",
        900,
        at=lambda fleet: tasks(fleet, 1, attempt=3),
        below=lambda fleet: tasks(fleet, 9, attempt=2),
        well=lambda fleet: tasks(fleet, 1),
    ),
    Case(
        "high_error_rate",
        900,
        at=lambda fleet: errors(fleet, 2, of=10),
        below=lambda fleet: errors(fleet, 2, of=11),
        well=lambda fleet: errors(fleet, 0, of=10),
        few=lambda fleet: errors(fleet, 9, of=9),
    ),
    Case(
        "token_usage_spike",
        900,
        at=lambda fleet: used(fleet, 4000, 4000, 4000, 4000, 4000, what="total_tokens"),
        below=lambda fleet: used(fleet, 4000, 4000, 4000, 4000, 3999, what="total_tokens"),
        well=lambda fleet: used(fleet, *[1000] * 5, what="total_tokens"),
        few=lambda fleet: used(fleet, *[9000] * 4, what="total_tokens"),
        before=lambda fleet: used(fleet, *[1000] * 20, what="total_tokens"),
    ),
    Case(
        "cost_efficiency_degradation",
        3600,
        at=lambda fleet: used(fleet, 0.5, 0.5, 0.5, 0.5, 0.500001, what="total_usd"),
        below=lambda fleet: used(fleet, 0.5, 0.5, 0.5, 0.5, 0.5, what="total_usd"),
        well=lambda fleet: used(fleet, *[0.02] * 5, what="total_usd"),
        few=lambda fleet: used(fleet, *[9.0] * 4, what="total_usd"),
    ),
    Case(
        "test_failure_spike",
        1800,
        at=lambda fleet: fleet.tests(37, 2),
        below=lambda fleet: fleet.tests(38, 2),
        well=lambda fleet: fleet.tests(20, 0),
        few=lambda fleet: fleet.tests(0, 19),
    ),
    Case(
        "duration_increase",
        1800,
        at=lambda fleet: lasted(fleet, 15.0, 15.0, 15.0, 15.0, 15.0),
        below=lambda fleet: lasted(fleet, 15.0, 15.0, 15.0, 15.0, 14.999999),
        well=lambda fleet: lasted(fleet, *[10.0] * 5),
        few=lambda fleet: lasted(fleet, *[50.0] * 4),
        before=lambda fleet: lasted(fleet, *[10.0] * 20),
    ),
]
EACH = pytest.mark.parametrize("case", CASES, ids=lambda case: case.trigger)


def begun(scenario: MakeScenario, case: Case) -> Scenario:
    """A fleet in observe mode, at an instant when its past, if it needs one, has left the window."""
    fleet = scenario(settings={"actions": {"mode": "observe"}}, step_s=60)
    if case.before is not None:
        case.before(fleet)
        fleet.at(case.window_s + 60)
    return fleet


@EACH
def test_it_fires_at_its_threshold(scenario: MakeScenario, case: Case) -> None:
    fleet = begun(scenario, case)

    case.at(fleet)

    fleet.expect_state(case.trigger, "Coder", "firing").expect_incident(case.trigger, "Coder", "open")


@EACH
def test_it_does_not_fire_just_below(scenario: MakeScenario, case: Case) -> None:
    fleet = begun(scenario, case)

    case.below(fleet)

    fleet.expect_state(case.trigger, "Coder", "inactive").expect_nothing_open()


@pytest.mark.parametrize("case", [case for case in CASES if case.few], ids=lambda case: case.trigger)
def test_it_does_not_fire_on_too_few_samples(scenario: MakeScenario, case: Case) -> None:
    fleet = begun(scenario, case)
    assert case.few is not None

    case.few(fleet)

    fleet.expect_state(case.trigger, "Coder", "inactive")


@EACH
def test_it_recovers_a_minute_after_its_window_is_well(scenario: MakeScenario, case: Case) -> None:
    fleet = begun(scenario, case)
    case.at(fleet)
    fleet.expect_state(case.trigger, "Coder", "firing")
    well_s = fleet.now_s + case.window_s + 10

    case.well(fleet.at(well_s))

    fleet.expect_state(case.trigger, "Coder", "recovering")
    fleet.at(well_s + 59).expect_state(case.trigger, "Coder", "recovering")
    fleet.at(well_s + 60).expect_state(case.trigger, "Coder", "inactive")
    fleet.expect_incident(case.trigger, "Coder", "closed", "recovered")


@EACH
def test_no_data_keeps_it_firing(scenario: MakeScenario, case: Case) -> None:
    fleet = begun(scenario, case)
    case.at(fleet)
    fleet.expect_state(case.trigger, "Coder", "firing")

    fleet.at(fleet.now_s + case.window_s + 3600, step_s=600)

    fleet.expect_state(case.trigger, "Coder", "firing").expect_incident(case.trigger, "Coder", "open")
    [verdict] = [v for v in fleet.loop.verdicts() if v.trigger == case.trigger]
    assert verdict.reason is Reason.NO_DATA


def test_a_timeout_is_an_error_and_a_canceled_task_is_none(fleet: Scenario) -> None:
    errors(fleet, 1, of=10, status="timeout")
    tasks(fleet, 5, status="canceled")
    fleet.expect_state("high_error_rate", "Coder", "inactive")

    tasks(fleet.at(10), 1, status="timeout")

    fleet.expect_state("high_error_rate", "Coder", "inactive")  # 2 of 11
    tasks(fleet.at(20), 1, status="timeout")
    fleet.expect_state("high_error_rate", "Coder", "firing")  # 3 of 12


def test_an_error_rate_recovers_only_below_half_of_its_threshold(scenario: MakeScenario) -> None:
    fleet = scenario(settings={"actions": {"mode": "observe"}}, step_s=60)
    errors(fleet, 2, of=10)
    fleet.expect_state("high_error_rate", "Coder", "firing")

    errors(fleet.at(60), 0, of=10)
    fleet.expect_state("high_error_rate", "Coder", "firing")  # 2 of 20 is still 0.10
    errors(fleet.at(120), 0, of=1)

    fleet.expect_state("high_error_rate", "Coder", "recovering")


def test_a_running_task_fires_before_it_finishes(fleet: Scenario) -> None:
    fleet.start("t1")
    fleet.at(59).expect_state("slow_tasks", "Coder", "inactive")

    fleet.at(60).expect_state("slow_tasks", "Coder", "firing")

    fleet.expect_incident("slow_tasks", "Coder", "acting", value=60.0)
    fleet.expect_actions("slow_tasks", analyze_slow_tasks="dispatched")


def test_series_of_other_agents_stay_as_they_are(fleet: Scenario) -> None:
    fleet.finish("t1", "Slow", duration_s=70.0).finish("t2", "Quick", duration_s=7.0)

    fleet.expect_state("slow_tasks", "Slow", "firing").expect_state("slow_tasks", "Quick", "inactive")


def test_repair_work_of_a_specialist_feeds_no_trigger(fleet: Scenario) -> None:
    fleet.finish("t1", "Coder", duration_s=70.0)
    handoff = fleet.expect_handoff("slow_tasks", target_agent="ChiefArchitectAgent")
    fleet.at(10).start("r1", "ChiefArchitectAgent", handoff_id=handoff.id)

    fleet.at(200).finish("r1", "ChiefArchitectAgent", duration_s=190.0, attempt=5, handoff_id=handoff.id)

    fleet.at(210).expect_state("slow_tasks", "ChiefArchitectAgent", "inactive")
    fleet.expect_state("high_retry_rate", "ChiefArchitectAgent", "inactive")
    fleet.expect_incident("slow_tasks", "Coder", "verifying")


def test_what_is_worked_out_for_all_series_at_once_is_what_each_says(scenario: MakeScenario) -> None:
    fleet = scenario()
    for agent in ("Coder", "Writer", "Well"):
        fleet.finish(agent, agent, attempt=1 if agent == "Well" else 4, duration_s=1.0 if agent == "Well" else 70.0)
    fleet.at(5)
    framework, t_us = fleet.loop.framework, fleet.loop.evaluated_us
    at_once = framework.met_at(t_us)
    asked = [(name, (("agent", agent),)) for name in framework.names for agent in ("Coder", "Writer", "Well", "Nobody")]
    assert [at_once(*each) for each in asked] == [framework.met(*each, t_us) for each in asked]
    assert sum(at_once(*each) is not None for each in asked) == 4
