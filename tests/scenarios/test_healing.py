"""The whole loop, from the symptom to its end: healed, mitigated, relapsed, not healed, worse, and never known."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from self_healing.loop.hearing import MOST_REFUSED, REFUSED
from self_healing.model import Directive, Execution, HandoffStatus, Incident, Lesson, Result, Verification
from self_healing.storage import lately
from self_healing.surface import Surface
from self_healing.testing import Scenario
from tests.scenarios.conftest import MakeScenario

RETRIES = "high_retry_rate"
SLOW = "slow_tasks"


def good(fleet: Scenario, from_s: float, count: int = 3, *, attempt: int = 1) -> None:
    """So many quick tasks start and end, one every 10 s, from an instant on."""
    for number in range(count):
        begin = from_s + 10 * number
        fleet.at(begin).start(f"g{begin}", attempt=attempt)
        fleet.at(begin + 5).finish(f"g{begin}", attempt=attempt, duration_s=5.0)


def mitigated(fleet: Scenario) -> None:
    """Retries, a strict quality gate, three good tasks under it: mitigated at 35 s."""
    fleet.at(0).finish("t1", attempt=3, duration_s=1.0)
    fleet.expect_incident(RETRIES, "Coder", "acting").expect_directives(quality_gate="strict")
    good(fleet, 10)
    fleet.expect_incident(RETRIES, "Coder", "mitigated").expect_directives(quality_gate="strict")


def timeline(fleet: Scenario, trigger: str, what: str) -> list[str]:
    return [note.text for note in fleet.incident(trigger).notes if note.what == what]


def test_what_a_person_undoes_while_it_is_judged_is_on_the_timeline_and_no_healing_before_it_stays_well(
    fleet: Scenario,
) -> None:
    fleet.at(0).finish("t1", attempt=3, duration_s=1.0)
    good(fleet, 10, 2)
    [directive] = fleet.loop.store.select(Directive)
    fleet.loop.undo_directives([directive.id], "Ada", "it blocks a release")
    good(fleet, 30, 1)

    fleet.expect_incident(RETRIES, "Coder", "mitigated").expect_directives()
    assert timeline(fleet, RETRIES, "undone")[0] == "Ada: it blocks a release; quality_gate=strict is undone"
    [said] = timeline(fleet, RETRIES, "mitigated")
    assert said.endswith("in part under a directive that is over by now")
    good(fleet, 40)
    fleet.expect_incident(RETRIES, "Coder", "closed", "healed")


def test_the_timeline_says_that_nobody_answered_a_handoff_in_time(fleet: Scenario) -> None:
    fleet.at(0).start("t1").at(60).expect_incident(SLOW, "Coder", "acting")
    handoff = fleet.expect_handoff(SLOW)
    fleet.at(965, step_s=30).expect_incident(SLOW, "Coder", "verifying")
    assert timeline(fleet, SLOW, "expired") == [
        f"handoff {handoff.id} to ChiefArchitectAgent: no answer until {handoff.deadline:%H:%M:%S}"
    ]


def test_a_slow_task_is_handed_over_repaired_and_verified_healed(fleet: Scenario) -> None:
    fleet.at(0).start("t1")
    fleet.at(60).expect_incident(SLOW, "Coder", "acting")
    handoff = fleet.expect_handoff(SLOW, target_agent="ChiefArchitectAgent", status=HandoffStatus.DELIVERED)
    assert (fleet.directory / "logs" / "handoffs" / handoff.file).exists()
    fleet.at(70).finish("t1", duration_s=70.0)

    fleet.at(80).complete(SLOW).expect_incident(SLOW, "Coder", "verifying")
    good(fleet, 90, 2)
    fleet.expect_incident(SLOW, "Coder", "verifying")
    good(fleet, 110, 1)

    fleet.expect_incident(SLOW, "Coder", "closed", "healed", attempts=1)
    fleet.expect_actions(SLOW, analyze_slow_tasks="succeeded").expect_state(SLOW, "Coder", "inactive")
    [lesson] = fleet.loop.store.select(Lesson, trigger=SLOW)
    assert (lesson.tries, lesson.healed, lesson.credit, lesson.heal_s) == (1, 1, 1.0, (55.0,))


def test_no_credit_is_due_where_who_was_left_alone_got_well_just_so(scenario: MakeScenario, tmp_path: Path) -> None:
    (tmp_path / "triggers.toml").write_text(f'[[trigger]]\nname = "{RETRIES}"\nwindow = "2m"\n')
    fleet = scenario(settings={"triggers": {"files": [tmp_path / "triggers.toml"]}})
    for agent in ("Coder", "Writer"):
        fleet.finish(f"hard {agent}", agent, attempt=3)
    fleet.at(1).expect_directives(quality_gate="strict")
    fleet.expect_actions(RETRIES, "Writer", resolve_retry_failures="deferred")  # one agent at a time
    fleet.complete(RETRIES)
    good(fleet, 5)
    fleet.at(135, step_s=60).finish("easy", "Writer", attempt=1)
    fleet.at(200, step_s=60).expect_incident(RETRIES, "Writer", "closed", "recovered", attempts=0)
    good(fleet.at(336, step_s=60), 336)

    fleet.expect_incident(RETRIES, "Coder", "closed", "recovered", attempts=1)
    assert "no credit is due" in fleet.incident(RETRIES).notes[-1].text
    [lesson] = fleet.loop.store.select(Lesson, trigger=RETRIES)
    assert (lesson.tries, lesson.healed, lesson.credit) == (1, 1, 0.0)


def test_old_trouble_still_in_the_window_opens_nothing_after_healing(fleet: Scenario) -> None:
    fleet.at(0).finish("t1", duration_s=90.0)
    fleet.at(5).complete(SLOW)
    good(fleet, 10)
    fleet.expect_incident(SLOW, "Coder", "closed", "healed")

    fleet.at(200, step_s=5).finish("t2", duration_s=5.0)

    fleet.expect_nothing_open().expect_incident(SLOW, "Coder", "closed", "healed")


def test_only_work_begun_after_the_effect_is_judged(fleet: Scenario) -> None:
    fleet.at(0).finish("t1", duration_s=90.0)
    fleet.at(10).complete(SLOW).expect_incident(SLOW, "Coder", "verifying")
    for number in range(5):
        fleet.at(20 + number).finish(f"old{number}", duration_s=15.0)  # each began before 10 s

    fleet.at(30).expect_incident(SLOW, "Coder", "verifying")
    good(fleet, 40)

    fleet.expect_incident(SLOW, "Coder", "closed", "healed")


def test_quick_tasks_do_not_speak_for_a_slow_one_begun_before_them(fleet: Scenario) -> None:
    fleet.at(0).finish("t1", duration_s=90.0)
    fleet.at(10).complete(SLOW)
    fleet.at(11).start("hangs")
    good(fleet, 12, 4)

    fleet.at(70).expect_incident(SLOW, "Coder", "verifying")
    fleet.at(71)

    assert fleet.incident(SLOW).step == 1
    [verification] = fleet.loop.store.select(Verification, incident=fleet.incident(SLOW).id)
    assert verification.result is Result.NOT_HEALED


def test_good_under_a_directive_is_mitigated_and_healed_once_it_is_undone(fleet: Scenario) -> None:
    mitigated(fleet)

    fleet.at(334, step_s=20).expect_directives(quality_gate="strict")
    fleet.at(335).expect_directives().expect_incident(RETRIES, "Coder", "mitigated")
    good(fleet, 340)

    fleet.expect_incident(RETRIES, "Coder", "closed", "healed", relapses=0, attempts=1)
    fleet.expect_directives()


def test_an_agent_that_retries_too_often_can_be_told_not_to_try_again_at_all(
    scenario: MakeScenario, tmp_path: Path
) -> None:
    (tmp_path / "actions.toml").write_text("""
        [[action]]
        name = "resolve_retry_failures"
        directives = { quality_gate = "strict", max_retries = 0 }
    """)
    fleet = scenario(settings={"actions": {"files": [tmp_path / "actions.toml"]}})
    fleet.at(0).finish("t1", attempt=3, duration_s=1.0)
    fleet.expect_directives(quality_gate="strict", max_retries=0)


def test_a_relapse_restores_the_directive_with_its_hold_doubled(fleet: Scenario) -> None:
    mitigated(fleet)
    fleet.at(335, step_s=20).expect_directives()

    good(fleet, 340, 3, attempt=3)

    fleet.expect_directives(quality_gate="strict")
    fleet.expect_incident(RETRIES, "Coder", "verifying", relapses=1, attempts=2, hold_s=600.0)
    good(fleet, 370)
    fleet.expect_incident(RETRIES, "Coder", "mitigated")
    fleet.at(994, step_s=30).expect_directives(quality_gate="strict")
    fleet.at(995).expect_directives()


def test_the_third_relapse_escalates_and_the_directive_stays_until_it_expires(scenario: MakeScenario) -> None:
    fleet = scenario(step_s=30)
    mitigated(fleet)
    undone_s = 335
    for relapse, hold_s in ((1, 600), (2, 1200)):
        fleet.at(undone_s).expect_directives()
        good(fleet, undone_s + 5, 3, attempt=3)
        fleet.expect_incident(RETRIES, "Coder", "verifying", relapses=relapse)
        good(fleet, undone_s + 35)
        fleet.expect_incident(RETRIES, "Coder", "mitigated")
        undone_s = round(fleet.now_s) + hold_s
    fleet.at(undone_s).expect_directives()

    good(fleet, undone_s + 5, 3, attempt=3)

    fleet.expect_incident(RETRIES, "Coder", "escalated", relapses=3).expect_directives(quality_gate="strict")
    escalated_s = round(fleet.now_s)
    fleet.at(escalated_s + 3595, step_s=60).expect_directives(quality_gate="strict")
    fleet.at(escalated_s + 3600).expect_directives()


def test_not_healed_escalates_with_a_comprehensive_analysis_and_a_word_to_a_person(fleet: Scenario) -> None:
    fleet.at(0).finish("t1", duration_s=70.0)
    fleet.at(10).complete(SLOW)
    for number in range(3):
        fleet.at(20 + number).start(f"b{number}")
    for number in range(3):
        fleet.at(85 + number).finish(f"b{number}", duration_s=65.0)

    fleet.at(95).expect_incident(SLOW, "Coder", "escalated")

    fleet.expect_actions(SLOW, analyze_slow_tasks="succeeded", comprehensive_system_analysis="succeeded")
    [analysis] = [h for h in fleet.handoffs("ChiefArchitectAgent") if "diagnostic" in h.message["tags"]]
    [notification] = fleet.handoffs("Operator")
    assert analysis.status is notification.status is HandoffStatus.DELIVERED
    assert {h.incident for h in (analysis, notification)} == {fleet.incident(SLOW).id}
    for told in (analysis, notification):
        tried = told.message["context"]["tried"][0]
        went = {name: tried[name] for name in ("action", "result", "value_after", "unit_after", "handoff", "answer")}
        assert went == {
            "action": "analyze_slow_tasks",
            "result": "not_healed",
            "value_after": 60.0,  # that of the first one to run too long, by its age
            "unit_after": "s",
            "handoff": "completed",
            "answer": "done",
        }
    [lesson] = fleet.loop.store.select(Lesson, trigger=SLOW, action="analyze_slow_tasks")
    assert (lesson.not_healed, lesson.healed) == (1, 0)


def test_an_escalated_incident_closes_when_its_series_is_well_and_acts_no_more(scenario: MakeScenario) -> None:
    fleet = scenario(step_s=10)
    fleet.at(0).finish("t1", duration_s=70.0)
    fleet.at(10).complete(SLOW)
    fleet.at(20).start("b1")
    fleet.at(85).finish("b1", duration_s=65.0)
    fleet.at(90).expect_incident(SLOW, "Coder", "escalated")

    good(fleet, 400)  # when the slow ones have left the window
    fleet.at(470)

    fleet.expect_incident(SLOW, "Coder", "closed", "recovered", attempts=1)


def test_worse_undoes_the_directive_first(fleet: Scenario) -> None:
    fleet.at(0).finish("t1", attempt=3, duration_s=1.0)
    fleet.expect_directives(quality_gate="strict")

    good(fleet, 10, 3, attempt=4)  # beyond the peak of 3 by a third of the threshold

    fleet.expect_directives().expect_incident(RETRIES, "Coder", "escalated")
    [verification] = fleet.loop.store.select(Verification, incident=fleet.incident(RETRIES).id)
    assert verification.result is Result.WORSE


def test_one_run_with_one_failing_test_is_judged_with_the_runs_that_follow(fleet: Scenario) -> None:
    spike = "test_failure_spike"
    fleet.at(0).tests(12, 12)
    fleet.expect_incident(spike, "Coder", "acting").expect_directives(quality_gate="strict")
    for number, failed in enumerate((1, 1, 1, 0)):
        begin = 10 + 10 * number
        fleet.at(begin).start(f"t{number}")
        fleet.at(begin + 5).tests(24 - failed, failed, id=f"t{number}").finish(f"t{number}", duration_s=5.0)
        fleet.expect_incident(spike, "Coder", "verifying")  # 4.2 %, then 3.1 %: between 2.5 and 5 %

    fleet.at(50).start("t4")
    fleet.at(55).tests(24, 0, id="t4").finish("t4", duration_s=5.0)

    fleet.expect_incident(spike, "Coder", "mitigated")
    [verification] = fleet.loop.store.select(Verification, incident=fleet.incident(spike).id)
    assert (verification.result, verification.samples, verification.value) == (Result.HEALED, 120, 0.025)


def test_silence_is_inconclusive_extended_twice_and_then_escalated(scenario: MakeScenario) -> None:
    fleet = scenario(step_s=30)
    fleet.at(0).finish("t1", duration_s=70.0)
    fleet.at(10).complete(SLOW).expect_incident(SLOW, "Coder", "verifying")
    good(fleet, 20, 2)  # one too few

    for deadline_s in (910, 1810):
        fleet.at(deadline_s).expect_incident(SLOW, "Coder", "verifying")
    fleet.at(2709).expect_incident(SLOW, "Coder", "verifying")
    [verification] = fleet.loop.store.select(Verification, incident=fleet.incident(SLOW).id)
    assert verification.extended == 2
    fleet.at(2710)

    fleet.expect_incident(SLOW, "Coder", "escalated")
    [lesson] = fleet.loop.store.select(Lesson, trigger=SLOW, action="analyze_slow_tasks")
    assert (lesson.inconclusive, lesson.recent) == (1, ())


@pytest.mark.parametrize(("answered_s", "effect_s"), [(90.0, 90.0), (None, 960.0)])
def test_a_handoffs_effect_is_when_it_was_completed_or_its_deadline_and_not_when_somebody_looked(
    scenario: MakeScenario, answered_s: float | None, effect_s: float
) -> None:
    fleet = scenario()
    fleet.at(0).start("t1").at(60).expect_incident(SLOW, "Coder", "acting")
    handoff = fleet.expect_handoff(SLOW)
    if answered_s is not None:
        fleet.at(answered_s)
        fleet.loop.move_handoff(handoff.id, HandoffStatus.COMPLETED, "Ada", "done")
    fleet.at(1003 if answered_s is None else answered_s + 7, step_s=7).expect_incident(SLOW, "Coder", "verifying")
    [execution] = [each for each in fleet.loop.store.select(Execution) if each.id == handoff.execution]
    assert execution.effect_at == fleet.start_at + timedelta(seconds=effect_s)


def test_a_handoff_that_nobody_answers_has_its_effect_at_its_deadline(scenario: MakeScenario) -> None:
    fleet = scenario(step_s=30)
    fleet.at(0).finish("t1", duration_s=70.0)

    fleet.at(890).expect_incident(SLOW, "Coder", "acting")
    fleet.at(900).expect_incident(SLOW, "Coder", "verifying")

    fleet.expect_handoff(SLOW, status=HandoffStatus.EXPIRED)
    good(fleet, 910)
    fleet.expect_incident(SLOW, "Coder", "closed", "healed")


def test_a_handoff_that_fails_goes_on_to_the_next_step(fleet: Scenario) -> None:
    fleet.at(0).finish("t1", duration_s=70.0)
    handoff = fleet.expect_handoff(SLOW)

    fleet.at(10).start("r1", "ChiefArchitectAgent", handoff_id=handoff.id)
    fleet.at(20).finish("r1", "ChiefArchitectAgent", status="failed", handoff_id=handoff.id)

    fleet.at(22).expect_incident(SLOW, "Coder", "escalated")


def test_what_became_of_its_handoff_is_told_of_an_execution(fleet: Scenario) -> None:
    fleet.at(0).finish("t1", duration_s=70.0)
    handoff = fleet.expect_handoff(SLOW)
    fleet.at(10).loop.move_handoff(handoff.id, HandoffStatus.FAILED, "ChiefArchitectAgent", "cannot")
    told = Surface(fleet.loop)

    [past] = told.call("history", {})["history"]
    [shown] = told.call("incident", {"id": handoff.incident})["executions"]

    assert past["actions"][0]["handoff_status"] == shown["handoff_status"] == "failed"


def test_a_specialist_answers_a_handoff_by_its_own_telemetry(fleet: Scenario) -> None:
    fleet.at(0).finish("t1", duration_s=70.0)
    handoff = fleet.expect_handoff(SLOW)

    fleet.at(10).start("r1", "ChiefArchitectAgent", handoff_id=handoff.id)
    fleet.at(11).expect_handoff(SLOW, status=HandoffStatus.ACCEPTED)
    fleet.at(20).finish("r1", "ChiefArchitectAgent", handoff_id=handoff.id)

    fleet.at(21).expect_handoff(SLOW, status=HandoffStatus.COMPLETED)
    good(fleet, 30)
    fleet.expect_incident(SLOW, "Coder", "closed", "healed")


def test_no_other_agents_telemetry_answers_a_handoff_and_the_timeline_says_once_who_tried(fleet: Scenario) -> None:
    fleet.at(0).finish("t1", duration_s=70.0)
    id = fleet.expect_handoff(SLOW).id

    for status in ("success", "failed"):
        fleet.start("r1", "Coder", handoff_id=id).finish("r1", "Coder", status=status, handoff_id=id)
    fleet.at(1).expect_handoff(SLOW, status=HandoffStatus.DELIVERED, notes=())
    assert refused(fleet) == [
        f"handoff {id} is for ChiefArchitectAgent; what a task of Coder says of it changes nothing"
    ]

    for number in range(9):
        fleet.start("r1", f"other-{number}", handoff_id=id)
    fleet.event("task_started", id="r1", handoff_id=id)
    fleet.at(2).expect_handoff(SLOW, status=HandoffStatus.DELIVERED, notes=())
    assert len(refused(fleet)) == MOST_REFUSED

    fleet.finish("r2", "ChiefArchitectAgent", handoff_id=id)
    fleet.at(3).expect_handoff(SLOW, status=HandoffStatus.COMPLETED)


def refused(fleet: Scenario) -> list[str]:
    return [note.text for note in fleet.incident(SLOW).notes if note.what == REFUSED]


@pytest.mark.parametrize(
    ("trigger", "agent", "fields"),
    [
        (SLOW, "ChiefArchitectAgent", {"duration_s": 70.0}),
        (RETRIES, "AuditorAgent", {"attempt": 3}),
    ],
)
def test_no_handoff_goes_to_the_agent_that_it_is_about(
    fleet: Scenario, trigger: str, agent: str, fields: dict[str, Any]
) -> None:
    fleet.at(0).finish("t1", agent, **fields)

    handoff = fleet.expect_handoff(trigger, agent, target_agent="Operator", about=agent)

    assert fleet.handoffs(agent) == []
    assert handoff.message["target_agent"] == "Operator"


def test_firing_again_within_an_hour_reopens_the_incident_with_its_attempts(scenario: MakeScenario) -> None:
    fleet = scenario(step_s=30)
    fleet.at(0).finish("t1", duration_s=70.0)
    fleet.at(10).complete(SLOW)
    good(fleet, 20)
    first = fleet.incident(SLOW)
    assert (first.close_reason, first.attempts) == ("healed", 1)

    fleet.at(45 + 3600).finish("t2", duration_s=80.0)

    again = fleet.incident(SLOW)
    assert (again.id, again.reopened, again.attempts, again.value) == (first.id, 1, 2, 80.0)


def test_firing_after_more_than_an_hour_is_another_incident(scenario: MakeScenario) -> None:
    fleet = scenario(step_s=30)
    fleet.at(0).finish("t1", duration_s=70.0)
    fleet.at(10).complete(SLOW)
    good(fleet, 20)
    first = fleet.incident(SLOW)

    fleet.at(46 + 3600).finish("t2", duration_s=80.0)

    again = fleet.incident(SLOW)
    assert again.id != first.id
    assert (again.reopened, again.attempts) == (0, 1)


def test_a_day_without_data_closes_an_incident(scenario: MakeScenario) -> None:
    fleet = scenario(step_s=3600)
    fleet.at(0).finish("t1", duration_s=70.0)
    fleet.expect_incident(SLOW, "Coder", "acting")
    silent_s = 309  # the last instant at which the window held the sample

    fleet.at(silent_s + 24 * 3600 - 1)
    assert fleet.incident(SLOW).state != "closed"
    fleet.at(silent_s + 24 * 3600)

    fleet.expect_incident(SLOW, "Coder", "closed", "no_data")


def test_a_person_dismisses_an_incident_and_what_it_set_is_undone(fleet: Scenario) -> None:
    fleet.at(0).finish("t1", attempt=3, duration_s=1.0)
    fleet.expect_directives(quality_gate="strict")
    incident = fleet.incident(RETRIES)

    fleet.at(10).loop.dismiss(incident.id, "Ada", "a drill")

    fleet.expect_incident(RETRIES, "Coder", "closed", "dismissed", closed_by="Ada")
    fleet.expect_directives().expect_state(RETRIES, "Coder", "inactive")
    fleet.at(300, step_s=10).expect_nothing_open()


def test_a_task_that_ran_when_its_incident_was_dismissed_opens_nothing_however_long_it_runs(
    scenario: MakeScenario,
) -> None:
    fleet = scenario(step_s=10)
    fleet.at(0).start("t1")
    fleet.at(60).loop.dismiss(fleet.incident(SLOW).id, "Ada", "it is meant to take long")

    fleet.at(1200).expect_nothing_open()
    fleet.start("t2")
    fleet.at(1260).expect_state(SLOW, "Coder", "firing")


def test_everything_survives_a_restart_at_every_step(fleet: Scenario) -> None:
    fleet.at(0).start("t1")
    fleet.at(30).restart()
    fleet.at(60).expect_incident(SLOW, "Coder", "acting").restart()
    fleet.at(70).complete(SLOW).expect_incident(SLOW, "Coder", "verifying").restart()
    good(fleet, 80, 2)
    fleet.restart()
    good(fleet, 100, 1)

    fleet.expect_incident(SLOW, "Coder", "closed", "healed", attempts=1)
    assert len(fleet.loop.store.select(Execution, incident=fleet.incident(SLOW).id)) == 1


def test_the_evidence_of_before_a_restart_is_handed_over(fleet: Scenario) -> None:
    fleet.at(0).finish("t0", duration_s=9.0, model="m-1")
    fleet.at(1).loop.rest()
    fleet.at(2).restart()

    fleet.start("t1", started_at=fleet.clock.now().timestamp() - 70)

    handoff = fleet.at(3).expect_handoff(SLOW)
    assert [each["task"] for each in handoff.message["context"]["examples"]] == ["t1", "t0"]


def test_the_evidence_shows_what_still_runs_and_what_lines_say_beyond_the_columns(fleet: Scenario) -> None:
    fleet.at(0).finish("t0", duration_s=9.0, region="eu", password="hunter2")
    for number in range(4):
        fleet.start(f"t{1 + number}", started_at=fleet.clock.now().timestamp() - 70 + number)

    examples = fleet.at(1).expect_handoff(SLOW).message["context"]["examples"]
    assert [each["task"] for each in examples] == ["t1", "t2", "t3", "t0"]
    assert (examples[0]["status"], examples[0]["attempt"]) == ("running", 1)
    assert examples[0]["age_s"] >= 70
    assert examples[3]["attributes"] == {"region": "eu", "password": "[redacted]"}


@pytest.mark.parametrize(("bad", "trigger"), [({"duration_s": 70.0}, SLOW), ({"attempt": 3}, "high_retry_rate")])
def test_of_many_tasks_at_once_the_evidence_names_the_one_that_was_bad(
    fleet: Scenario, bad: dict[str, Any], trigger: str
) -> None:
    fleet.finish("bad", status="failed", region="eu", **{"duration_s": 5.0, **bad})
    for number in range(39):
        fleet.finish(f"good{number}", duration_s=5.0)

    examples = fleet.at(1).expect_handoff(trigger).message["context"]["examples"]
    assert (examples[0]["task"], examples[0]["status"], examples[0]["attributes"]) == (
        "bad",
        "failed",
        {"region": "eu"},
    )


def test_the_evidence_tells_what_only_the_bad_tasks_have_and_what_is_in_force(fleet: Scenario) -> None:
    for number in range(3):
        fleet.at(0).finish(f"o{number}", "Other", duration_s=5.0, model="m-1", prompt_version="6")
    fleet.finish("t1", attempt=3, duration_s=5.0, model="m-1", prompt_version="6")
    fleet.at(20).finish("t2", duration_s=70.0, model="m-2", prompt_version="7")

    context = fleet.at(22).expect_handoff(SLOW).message["context"]
    assert context["differs"] == [
        {"name": name, "value": value, "share_here": 1.0, "share_elsewhere": 0.0}
        for name, value in (("model", "m-2"), ("prompt_version", "7"))
    ]
    assert [(each["name"], each["value"]) for each in context["in_force"]] == [("quality_gate", "strict")]


def test_an_incident_that_was_closed_lately_is_reopened_after_a_restart_however_many_came_after_it(
    scenario: MakeScenario,
) -> None:
    fleet = scenario(step_s=10)
    fleet.finish("slow", duration_s=70.0)
    incident = fleet.at(10).incident("slow_tasks")
    fleet.loop.dismiss(incident.id, "Ada", "a drill")
    closed = fleet.loop.store.get(Incident, incident.id)
    earlier = fleet.start_at - timedelta(hours=2)
    fleet.loop.store.put(
        *(msgspec.structs.replace(closed, id=f"inc-{n}", group=(), closed_at=earlier) for n in range(lately.AT_ONCE))
    )
    fleet.restart()

    fleet.at(20).finish("again", duration_s=70.0)

    fleet.at(30).expect_incident("slow_tasks", "Coder", "acting", id=incident.id, reopened=1)


def test_all_that_closed_within_the_hour_is_reopened_after_a_restart_however_much_it_was(
    scenario: MakeScenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = scenario(step_s=10)
    fleet.finish("slow", duration_s=70.0)
    incident = fleet.at(10).incident("slow_tasks")
    fleet.loop.dismiss(incident.id, "Ada", "a drill")
    closed = fleet.loop.store.get(Incident, incident.id)
    later = fleet.clock.now() + timedelta(seconds=1)
    monkeypatch.setattr(lately, "AT_ONCE", 2)
    fleet.loop.store.put(*(msgspec.structs.replace(closed, id=f"inc-{n}", group=(), closed_at=later) for n in range(5)))
    fleet.restart()

    fleet.at(20).finish("again", duration_s=70.0)

    fleet.at(30).expect_incident("slow_tasks", "Coder", "acting", id=incident.id, reopened=1)


STEPS = """
[[action]]
name = "strict"
type = "quality_enforcement"
priority = "high"
target_agent = "Aide"
prompt = "Look."
directives = { quality_gate = "strict" }

[[action]]
name = "look"
type = "agent_handoff"
priority = "high"
target_agent = "Aide"
prompt = "Look again."
"""


def test_a_relapse_restores_what_an_earlier_step_had_in_force(scenario: MakeScenario, tmp_path: Path) -> None:
    triggers, actions = tmp_path / "triggers.toml", tmp_path / "actions.toml"
    triggers.write_text(f'[[trigger]]\nname = "{RETRIES}"\nactions = ["strict", "look"]\n')
    actions.write_text(STEPS)
    fleet = scenario(settings={"triggers": {"files": [triggers]}, "actions": {"files": [actions]}})
    fleet.at(0).finish("t1", attempt=3, duration_s=1.0)
    good(fleet, 10, attempt=3)
    fleet.at(60).expect_actions(RETRIES, strict="dispatched", look="dispatched").complete(RETRIES)
    good(fleet, 70)
    fleet.expect_incident(RETRIES, "Coder", "mitigated").expect_directives(quality_gate="strict")
    fleet.at(420, step_s=10).expect_directives()

    good(fleet, 430, attempt=3)

    fleet.expect_incident(RETRIES, "Coder", "verifying", relapses=1).expect_directives(quality_gate="strict")
