"""An erring agent is paused, let back half-open, and judged by its probes."""

from __future__ import annotations

from self_healing.model import Result, Verification, VerificationPhase
from self_healing.testing import Scenario
from tests.scenarios.conftest import MakeScenario

ERRORS = "high_error_rate"


def paused(fleet: Scenario) -> None:
    """Ten tasks fail at 0 s: the agent is paused."""
    for number in range(10):
        fleet.finish(f"bad{number}", status="failed")
    fleet.expect_incident(ERRORS, "Coder", "acting").expect_directives(paused=True)


def probes(fleet: Scenario, from_s: float, count: int, status: str = "success") -> None:
    """So many tasks start and end, one every 2 s."""
    for number in range(count):
        fleet.at(from_s + 2 * number).start(f"p{fleet.now_s}")
        task = f"p{fleet.now_s}"
        fleet.at(from_s + 2 * number + 1).finish(task, status=status, duration_s=1.0)


def test_an_erring_agent_is_paused_and_its_repair_handed_over(fleet: Scenario) -> None:
    paused(fleet)

    fleet.expect_handoff(ERRORS, target_agent="TestGeneratorAgent", about="Coder")
    fleet.at(299, step_s=60).expect_directives(paused=True)


def test_the_pause_ends_with_its_hold_off(scenario: MakeScenario) -> None:
    fleet = scenario(step_s=60)
    paused(fleet)

    fleet.at(300).expect_directives(max_concurrency=1)

    fleet.expect_incident(ERRORS, "Coder", "verifying")


def test_a_completed_handoff_lets_it_back_at_once_and_good_work_heals_it(scenario: MakeScenario) -> None:
    fleet = scenario(step_s=20)
    paused(fleet)
    fleet.at(30).complete(ERRORS).expect_directives(max_concurrency=1)

    probes(fleet, 40, 9)
    fleet.expect_incident(ERRORS, "Coder", "verifying")  # healing needs the trigger's ten samples
    probes(fleet, 60, 1)

    fleet.expect_incident(ERRORS, "Coder", "mitigated")
    fleet.at(61 + 300).expect_directives()
    probes(fleet, 370, 10)
    fleet.expect_incident(ERRORS, "Coder", "closed", "healed", attempts=1, pauses=0)


def test_a_failed_probe_pauses_again_twice_as_long_and_notes_it_on_the_same_handoff(scenario: MakeScenario) -> None:
    fleet = scenario(step_s=60)
    paused(fleet)
    fleet.at(300).expect_directives(max_concurrency=1)

    probes(fleet, 310, 1, status="failed")

    fleet.expect_directives(paused=True).expect_incident(ERRORS, "Coder", "acting", pauses=1, attempts=1)
    assert any("a probe failed" in note.text for note in fleet.expect_handoff(ERRORS).notes)
    assert len(fleet.handoffs("TestGeneratorAgent")) == 1
    fleet.at(311 + 599).expect_directives(paused=True)
    fleet.at(311 + 600).expect_directives(max_concurrency=1)


def test_the_fourth_failed_probation_escalates_with_the_agent_held_to_one_task_at_a_time(
    scenario: MakeScenario,
) -> None:
    fleet = scenario(step_s=60)
    paused(fleet)
    back_s = 300
    for pauses, hold_off_s in ((1, 600), (2, 1200), (3, 2400)):
        fleet.at(back_s).expect_directives(max_concurrency=1)
        probes(fleet, back_s + 10, 1, status="failed")
        fleet.expect_incident(ERRORS, "Coder", "acting", pauses=pauses)
        back_s = round(fleet.now_s) + hold_off_s
    fleet.at(back_s).expect_directives(max_concurrency=1)

    probes(fleet, back_s + 10, 1, status="failed")

    fleet.expect_incident(ERRORS, "Coder", "escalated", pauses=3).expect_directives(max_concurrency=1)


def test_a_failure_after_the_first_three_probes_does_not_pause_again(scenario: MakeScenario) -> None:
    fleet = scenario(step_s=60)
    paused(fleet)
    fleet.at(300)

    probes(fleet, 310, 3)
    probes(fleet, 320, 1, status="failed")
    probes(fleet, 330, 6)

    # One of ten lies between clear and condition: it waits.
    fleet.expect_incident(ERRORS, "Coder", "verifying", pauses=0).expect_directives(max_concurrency=1)


def test_the_time_of_a_pause_does_not_count_against_the_deadline(scenario: MakeScenario) -> None:
    fleet = scenario(step_s=60)
    paused(fleet)
    fleet.at(300)
    probes(fleet, 310, 1, status="failed")
    fleet.at(911).expect_directives(max_concurrency=1)

    found = fleet.loop.store.select(Verification, incident=fleet.incident(ERRORS).id)

    assert [(v.phase, v.result) for v in found] == [
        (VerificationPhase.PROBATION, Result.NOT_HEALED),
        (VerificationPhase.PROBATION, None),
    ]
    assert (found[1].deadline - found[1].effect_at).total_seconds() == 900
    assert (found[1].effect_at - fleet.start_at).total_seconds() == 911
