"""An erring agent is paused, let back half-open, and judged by its probes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from self_healing.model import (
    Approval,
    ApprovalStatus,
    Directive,
    HandoffStatus,
    Lesson,
    Result,
    Verification,
    VerificationPhase,
)
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


ASK = 'type = "agent_handoff"'
PAUSE = 'type = "emergency_shutdown"\ndirectives = { paused = true }'


def second(
    scenario: MakeScenario,
    directory: Path,
    when: str = "",
    more: str = ASK,
    plan: tuple[str, ...] = ("handle_error_spike", "ask_another"),
    **constitution: Any,
) -> Scenario:
    """The agent is paused, and whoever was handed its repair says at 10 s that it cannot be done; a step is left."""
    triggers, actions = directory / "triggers.toml", directory / "actions.toml"
    triggers.write_text(f'[[trigger]]\nname = "{ERRORS}"\nactions = {json.dumps(plan)}\n{when}\n')
    actions.write_text(
        '[[action]]\nname = "ask_another"\npriority = "high"\ntarget_agent = "Other"\n'
        f'prompt = "Do."\nhandoff_deadline = "1h"\n{more}\n'
    )
    files = {"triggers": {"files": [triggers]}, "actions": {"files": [actions]}}
    fleet = scenario(step_s=10, settings={**files, "constitution": constitution})
    paused(fleet)
    cannot(fleet.at(10))
    return fleet


def cannot(fleet: Scenario) -> None:
    """Whoever has its newest handoff says that it cannot be done."""
    handoff = fleet.expect_handoff(ERRORS)
    fleet.loop.move_handoff(handoff.id, HandoffStatus.FAILED, handoff.target_agent, "cannot")


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


def test_the_step_after_a_failed_handoff_is_due_at_once_and_the_pause_goes_on(
    scenario: MakeScenario, tmp_path: Path
) -> None:
    fleet = second(scenario, tmp_path)

    fleet.at(20).expect_actions(ERRORS, handle_error_spike="dispatched", ask_another="dispatched")

    fleet.expect_incident(ERRORS, "Coder", "acting", step=1, attempts=2).expect_directives(paused=True)
    assert [note.text for note in fleet.incident(ERRORS).notes if note.what == "failed"] == [
        "TestGeneratorAgent could not do it: cannot"
    ]


def test_what_the_next_step_did_is_judged_by_the_probes_of_the_agent_that_is_let_back(
    scenario: MakeScenario, tmp_path: Path
) -> None:
    fleet = second(scenario, tmp_path)
    fleet.at(30).complete(ERRORS).expect_directives(max_concurrency=1)

    probes(fleet, 40, 10)

    fleet.expect_incident(ERRORS, "Coder", "mitigated", step=1)
    fleet.at(61 + 300).expect_directives()
    probes(fleet, 370, 10)
    fleet.expect_incident(ERRORS, "Coder", "closed", "healed", attempts=2, pauses=0)


def test_the_pause_of_an_earlier_step_ends_with_its_hold_off_and_begins_anew_with_a_failed_probe(
    scenario: MakeScenario, tmp_path: Path
) -> None:
    fleet = second(scenario, tmp_path)
    fleet.at(299).expect_directives(paused=True)
    fleet.at(300).expect_directives(max_concurrency=1).expect_incident(ERRORS, "Coder", "verifying", step=1)

    probes(fleet, 310, 1, status="failed")

    fleet.expect_directives(paused=True).expect_incident(ERRORS, "Coder", "acting", step=1, pauses=1)
    assert any("a probe failed" in note.text for note in fleet.expect_handoff(ERRORS, target_agent="Other").notes)
    fleet.at(311 + 599, step_s=60).expect_directives(paused=True)
    fleet.at(311 + 600).expect_directives(max_concurrency=1)


def test_after_the_last_failed_handoff_the_pause_goes_its_way(scenario: MakeScenario, tmp_path: Path) -> None:
    fleet = second(scenario, tmp_path)
    cannot(fleet.at(30))

    fleet.at(299, step_s=60).expect_incident(ERRORS, "Coder", "acting", step=1).expect_directives(paused=True)
    fleet.at(300).expect_directives(max_concurrency=1)


def test_a_step_that_is_not_for_the_incident_does_not_end_a_pause_early(scenario: MakeScenario, tmp_path: Path) -> None:
    fleet = second(scenario, tmp_path, '[trigger.when.ask_another]\nafter = { handle_error_spike = "not_healed" }')

    fleet.at(299, step_s=60).expect_incident(ERRORS, "Coder", "acting", step=0).expect_directives(paused=True)
    fleet.at(300).expect_directives(max_concurrency=1).expect_incident(ERRORS, "Coder", "verifying", step=0)


def test_what_two_steps_paused_is_let_back_by_the_later_of_them(scenario: MakeScenario, tmp_path: Path) -> None:
    fleet = second(scenario, tmp_path, more='type = "emergency_shutdown"\ndirectives = { paused = true }')
    in_force = [each.name for each in fleet.at(30).loop.store.select(Directive, agent="Coder", open="yes")]
    assert in_force == ["paused", "paused"]

    fleet.complete(ERRORS).expect_directives(max_concurrency=1)


def test_where_the_next_step_is_denied_the_hold_off_and_the_probes_decide_before_a_person_has_it(
    scenario: MakeScenario, tmp_path: Path
) -> None:
    fleet = second(scenario, tmp_path, limits={"attempts_per_incident": 1})

    fleet.at(299, step_s=60).expect_incident(ERRORS, "Coder", "acting").expect_directives(paused=True)
    fleet.at(300).expect_directives(max_concurrency=1).expect_incident(ERRORS, "Coder", "verifying")


def test_a_next_step_that_waits_does_not_keep_the_agent_paused_beyond_the_hold_off(
    scenario: MakeScenario, tmp_path: Path
) -> None:
    fleet = second(scenario, tmp_path, more='type = "agent_handoff"\nreversible = false')

    fleet.at(299, step_s=60).expect_actions(ERRORS, handle_error_spike="dispatched", ask_another="deferred")
    fleet.expect_directives(paused=True)
    fleet.at(310).expect_directives(max_concurrency=1).expect_incident(ERRORS, "Coder", "verifying")


def test_a_next_step_for_which_a_person_is_asked_does_not_keep_the_agent_paused_beyond_the_hold_off(
    scenario: MakeScenario, tmp_path: Path
) -> None:
    erase = 'type = "agent_handoff"\nreversible = false'
    fleet = second(scenario, tmp_path, more=erase, limits={"independent_signals": 1})

    fleet.at(299, step_s=60).expect_actions(ERRORS, handle_error_spike="dispatched", ask_another="awaiting_approval")
    fleet.expect_directives(paused=True)
    fleet.at(310).expect_directives(max_concurrency=1).expect_incident(ERRORS, "Coder", "verifying")
    [approval] = fleet.loop.store.select(Approval)
    assert approval.status is ApprovalStatus.WITHDRAWN


def test_a_step_that_could_not_be_done_gets_no_credit_for_what_the_probes_find(
    scenario: MakeScenario, tmp_path: Path
) -> None:
    fleet = second(scenario, tmp_path)
    cannot(fleet.at(30))
    probes(fleet.at(300, step_s=60), 310, 10)
    fleet.at(331 + 300, step_s=60).expect_directives()
    probes(fleet, 640, 10)

    fleet.expect_incident(ERRORS, "Coder", "closed", "healed")
    healed = {each.action: each.healed for each in fleet.loop.store.select(Lesson, trigger=ERRORS)}
    assert healed == {"handle_error_spike": 1, "ask_another": 0}


NOT_ANOTHER = """@id("not_here")
forbid (principal, action == Action::"execute", resource) when { context.proposal.action == "ask_another" };
"""


def test_a_step_that_pauses_and_was_denied_did_not_pause_the_agent(scenario: MakeScenario, tmp_path: Path) -> None:
    own = tmp_path / "own.cedar"
    own.write_text(NOT_ANOTHER)
    third = f'[[action]]\nname = "ask_a_third"\npriority = "high"\ntarget_agent = "Third"\nprompt = "Do."\n{ASK}'
    plan = ("handle_error_spike", "ask_another", "ask_a_third")
    fleet = second(scenario, tmp_path, more=f"{PAUSE}\n{third}", plan=plan, files=[own])

    fleet.at(60, step_s=10)
    fleet.expect_actions(ERRORS, handle_error_spike="dispatched", ask_another="denied", ask_a_third="dispatched")
    fleet.expect_incident(ERRORS, "Coder", "acting").expect_directives(paused=True)
