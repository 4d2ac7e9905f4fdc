"""Silence, and what other triggers say, from the symptom to its end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from self_healing.model import Verification
from self_healing.testing import Scenario
from tests.scenarios.conftest import MakeScenario

SILENT = """
[[trigger]]
name = "silent"
type = "custom"
signal = "{signal}"
condition = {{ kind = "absence", silent_for = "1m" }}
severity = "high"
target_agent = "Helper"
actions = ["analyze_slow_tasks"]
"""

TOGETHER = """
[[trigger]]
name = "slow_tasks"
actions = []

[[trigger]]
name = "high_retry_rate"
actions = []

[[trigger]]
name = "together"
type = "custom"
condition = {{ kind = "composite", {how} = ["slow_tasks", "high_retry_rate"] }}
severity = "high"
target_agent = "Helper"
actions = ["analyze_slow_tasks"]
"""


def watched(scenario: MakeScenario, tmp_path: Path, text: str, **options: Any) -> Scenario:
    file = tmp_path / "triggers.toml"
    file.write_text(text)
    return scenario(settings={"triggers": {"files": [file]}}, **options)


def test_who_fell_silent_is_healed_by_enough_signs_of_life_after_the_effect(
    scenario: MakeScenario, tmp_path: Path
) -> None:
    fleet = watched(scenario, tmp_path, SILENT.format(signal="agent.events"))
    fleet.at(0).event("log", agent="Coder")
    fleet.at(59).expect_state("silent", "Coder", "inactive")
    fleet.at(60).expect_incident("silent", "Coder", "acting")
    fleet.at(65).complete("silent").expect_incident("silent", "Coder", "verifying")
    fleet.at(70).event("log", agent="Coder")
    fleet.at(80).event("log", agent="Other")
    fleet.at(90).event("log", agent="Coder").expect_incident("silent", "Coder", "verifying")
    fleet.at(91).event("log", agent="Coder")

    fleet.expect_incident("silent", "Coder", "closed", "healed")

    fleet.at(151).expect_state("silent", "Coder", "firing").expect_incident("silent", "Coder", "acting", reopened=1)


def test_who_stays_silent_is_never_healed(scenario: MakeScenario, tmp_path: Path) -> None:
    fleet = watched(scenario, tmp_path, SILENT.format(signal="agent.events"), step_s=30)
    fleet.at(0).event("log", agent="Coder")
    fleet.at(60).expect_incident("silent", "Coder", "acting")
    fleet.at(90).complete("silent")

    fleet.at(3000).expect_incident("silent", "Coder", "escalated")
    assert {v.result and v.result.value for v in fleet.loop.store.select(Verification)} == {"inconclusive"}


def test_a_stuck_task_is_healed_by_tasks_that_began_after_the_effect_and_are_alive(
    scenario: MakeScenario, tmp_path: Path
) -> None:
    text = SILENT.format(signal="task.heartbeat") + '[[trigger]]\nname = "slow_tasks"\nenabled = false\n'
    fleet = watched(scenario, tmp_path, text)
    fleet.at(0).start("stuck").start("other")
    for second in range(5, 66, 5):
        fleet.at(second).event("heartbeat", id="other", agent="Coder")
        if second == 5:
            fleet.event("heartbeat", id="stuck", agent="Coder")
    fleet.expect_incident("silent", "Coder", "acting")
    fleet.at(66).complete("silent")
    for second in (70, 75, 80):
        fleet.at(second).event("heartbeat", id="other", agent="Coder")
    fleet.expect_incident("silent", "Coder", "verifying")  # it began before the effect
    fleet.at(81).start("new")
    fleet.at(83).event("heartbeat", id="new", agent="Coder")
    fleet.at(85).event("heartbeat", id="new", agent="Coder")

    fleet.expect_incident("silent", "Coder", "closed", "healed")


def bad(fleet: Scenario) -> None:
    fleet.at(0).finish("t1", attempt=3, duration_s=90.0)
    fleet.expect_incident("together", "Coder", "acting")
    fleet.at(1).complete("together").expect_incident("together", "Coder", "verifying")


def work(fleet: Scenario, from_s: float, *, attempt: int, count: int = 3) -> None:
    for number in range(count):
        begin = from_s + 10 * number
        fleet.at(begin).start(f"g{begin}", attempt=attempt)
        fleet.at(begin + 5).finish(f"g{begin}", attempt=attempt, duration_s=5.0)


@pytest.mark.parametrize(
    ("how", "attempt", "state", "reason"),
    [
        ("all", 1, "closed", "healed"),
        ("all", 3, "closed", "healed"),  # no longer slow: that not all fire any more is enough
        ("any", 1, "closed", "healed"),
    ],
)
def test_what_looks_at_others_is_verified_through_them(
    scenario: MakeScenario, tmp_path: Path, how: str, attempt: int, state: str, reason: str
) -> None:
    fleet = watched(scenario, tmp_path, TOGETHER.format(how=how))
    bad(fleet)

    work(fleet, 10, attempt=attempt)

    fleet.expect_incident("together", "Coder", state, reason)


def test_one_that_is_still_bad_is_enough_where_any_is(scenario: MakeScenario, tmp_path: Path) -> None:
    fleet = watched(scenario, tmp_path, TOGETHER.format(how="any"))
    bad(fleet)

    work(fleet, 10, attempt=3)
    fleet.at(40).expect_incident("together", "Coder", "escalated")  # its plan has no other step

    [verification] = fleet.loop.store.select(Verification)
    assert (verification.result and verification.result.value, verification.value) == ("not_healed", 1.0)


def test_a_verification_goes_on_after_a_restart(scenario: MakeScenario, tmp_path: Path) -> None:
    fleet = watched(scenario, tmp_path, TOGETHER.format(how="any"))
    bad(fleet)
    work(fleet, 10, attempt=1, count=2)

    fleet.restart()
    work(fleet, 40, attempt=1, count=1)

    fleet.expect_incident("together", "Coder", "closed", "healed")


BRIEF = """
[[trigger]]
name = "brief"
type = "custom"
signal = "task.duration_s"
aggregate = "max"
window = "10s"
condition = { kind = "threshold", value = 50 }
no_data = "clear"
keep_firing_for = "10s"
severity = "high"
target_agent = "Helper"
"""


def test_silence_closes_no_escalated_incident_though_it_ends_the_firing(scenario: MakeScenario, tmp_path: Path) -> None:
    fleet = watched(scenario, tmp_path, BRIEF, step_s=5)
    fleet.at(0).finish("t1", duration_s=55.0).expect_incident("brief", "Coder", "escalated")

    fleet.at(100).expect_state("brief", "Coder", "inactive").expect_incident("brief", "Coder", "escalated")

    fleet.finish("t2", duration_s=1.0).at(101).expect_incident("brief", "Coder", "closed", "recovered")


ABOVE = """
[[trigger]]
name = "above"
type = "custom"
signal = "task.duration_s"
aggregate = "mean"
window = "1m"
condition = { kind = "baseline", ratio = 2, over = "1h", min_samples = 10 }
severity = "high"
target_agent = "Helper"
"""


@pytest.mark.parametrize(("dismissed", "baseline"), [(False, 10.0), (True, 310 / 23)])
def test_the_time_of_an_incident_stays_out_of_the_baseline_unless_it_is_dismissed(
    scenario: MakeScenario, tmp_path: Path, *, dismissed: bool, baseline: float
) -> None:
    fleet = watched(scenario, tmp_path, ABOVE, step_s=60)
    for seconds in range(0, 1140, 60):
        fleet.at(seconds).finish(f"t{seconds}", duration_s=10.0)
    fleet.at(1140).finish("slow", duration_s=90.0).expect_incident("above", "Coder", "escalated")
    if dismissed:
        fleet.loop.dismiss(fleet.incident("above").id, "Ada", "as planned")
    for seconds in range(1200, 1441, 60):
        fleet.at(seconds).finish(f"t{seconds}", duration_s=10.0)

    fleet.expect_incident("above", "Coder", "closed", "dismissed" if dismissed else "recovered")

    [found] = [each for each in fleet.loop.verdicts() if each.trigger == "above"]
    assert found.baseline == pytest.approx(baseline)
