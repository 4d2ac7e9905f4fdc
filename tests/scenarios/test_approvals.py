"""What cannot be undone is asked for: a yes is for one plan, for a short time, and once; all else is a no."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from self_healing.constitution.approvals import Answer, plan_of
from self_healing.constitution.stop import resume, stop
from self_healing.errors import ApprovalRefused, NotFound
from self_healing.model import Approval, ApprovalStatus, Decision, Execution, ExecutionStatus, HandoffStatus
from self_healing.surface import Surface
from self_healing.testing import Scenario
from tests.scenarios.conftest import MakeScenario

SLOW = "slow_tasks"
ERASE = """
[[action]]
name = "erase"
type = "agent_handoff"
priority = "high"
target_agent = "Janitor"
prompt = "Erase the cache."
reversible = false
"""
OWN = """
[[trigger]]
name = "slow_tasks"
actions = ["erase", "analyze_slow_tasks"]
"""


def options(directory: Path, actions: str = ERASE, **limits: int) -> dict[str, Any]:
    """Settings under which slow tasks call for what cannot be undone."""
    files = {"triggers": directory / "triggers.toml", "actions": directory / "actions.toml"}
    files["triggers"].write_text(OWN)
    files["actions"].write_text(actions)
    declared: dict[str, Any] = {kind: {"files": [file]} for kind, file in files.items()}
    return {**declared, "constitution": {"limits": {"independent_signals": 1, **limits}}}


@pytest.fixture
def fleet(scenario: MakeScenario, tmp_path: Path) -> Scenario:
    """Coder is slow, and the answer to that waits for a person."""
    made = scenario(settings=options(tmp_path))
    made.start("slow", started_at=made.clock.now().timestamp() - 70)  # and goes on
    made.expect_actions(SLOW, erase="awaiting_approval")
    return made


def approvals(fleet: Scenario) -> list[Approval]:
    return fleet.loop.store.select(Approval)


def pending(fleet: Scenario) -> Approval:
    [found] = [each for each in approvals(fleet) if each.status is ApprovalStatus.PENDING]
    return found


def told(fleet: Scenario) -> list[tuple[str, str | None]]:
    """What the audit log has of approvals: status, and by whom."""
    entries = fleet.loop.audit.tail(1000)
    return [(each.payload["status"], each.payload["by"]) for each in entries if each.kind == "approval"]


def test_an_answer_counts_to_the_second(fleet: Scenario) -> None:
    asked, limits, approvals = pending(fleet), fleet.loop.spec.limits, fleet.loop._approvals

    def answer(at: datetime) -> Answer:
        return approvals.answer(asked.proposal, limits, at)

    second = timedelta(seconds=1)
    assert (answer(asked.expires_at - second), answer(asked.expires_at)) == (Answer.NONE, Answer.NO)
    fleet.loop.answer_approval(asked.id, True, "Ada", "it is a copy")
    until = fleet.loop.now() + timedelta(seconds=limits.plan_freshness)
    assert (answer(until), answer(until + second)) == (Answer.YES, Answer.NO)


def test_what_cannot_be_undone_waits_and_a_person_is_told_what_and_until_when(fleet: Scenario) -> None:
    fleet.at(300, step_s=60).expect_actions(SLOW, erase="awaiting_approval")

    approval = pending(fleet)
    [notice] = fleet.handoffs("Operator")
    asked = notice.message["context"]["approval"]
    assert (asked["id"], asked["action"], asked["target"]) == (approval.id, "erase", "Coder")
    assert (asked["calls"], notice.message["context"]["wanted"]) == (None, "a person's yes to erase")
    assert (approval.expires_at - approval.asked_at).total_seconds() == 900
    assert notice.status is HandoffStatus.DELIVERED
    assert fleet.handoffs("Janitor") == []
    assert told(fleet) == [("pending", None)]


def test_a_person_sees_the_program_that_would_run_with_what_it_gets_but_no_secret(
    scenario: MakeScenario, tmp_path: Path
) -> None:
    program = 'argv = ["wipe", "--all", "password=hunter22"]\nparameters = { pool = "slow" }\n'
    fleet = scenario(settings=options(tmp_path, ERASE.replace('"agent_handoff"', '"command"') + program))
    fleet.start("slow", started_at=fleet.clock.now().timestamp() - 70).expect_actions(SLOW, erase="awaiting_approval")

    [notice] = fleet.handoffs("Operator")
    [listed] = Surface(fleet.loop).call("approvals", {})["approvals"]
    for told in (notice.message["context"]["approval"], listed):
        assert told["calls"].startswith("wipe --all")
        assert "hunter22" not in told["calls"]
        assert told["parameters"] == {"pool": "slow"}


def test_the_timeline_says_once_that_a_person_is_asked_whatever_else_comes_and_goes_meanwhile(
    scenario: MakeScenario, tmp_path: Path
) -> None:
    fleet = scenario(settings=options(tmp_path, actions_per_minute=1))
    fleet.start("slow", started_at=fleet.clock.now().timestamp() - 70)
    fleet.at(10).finish("tried", "Writer", attempt=5)  # what is done about that uses the rate up, for a minute
    fleet.at(80).expect_actions("high_retry_rate", "Writer", resolve_retry_failures="dispatched")
    decisions = fleet.loop.store.select(Decision, incident=fleet.incident(SLOW).id)
    assert [len(decision.findings) for decision in decisions] == [1, 2, 1]

    assert [note.what for note in fleet.incident(SLOW).notes] == ["detected", "awaiting_approval"]


def test_a_yes_lets_that_plan_be_decided_anew_and_done_once(fleet: Scenario) -> None:
    approval = pending(fleet)
    fleet.at(100).loop.answer_approval(approval.id, True, "Ada", "do", approval.plan)

    fleet.at(103).expect_actions(SLOW, erase="dispatched")

    assert len(fleet.handoffs("Janitor")) == 1
    [execution] = fleet.loop.store.select(Execution)
    decision = fleet.loop.store.get(Decision, execution.decision)
    assert decision.id != approval.decision
    assert decision.facts["approved"]
    assert told(fleet) == [("pending", None), ("approved", "Ada"), ("used", "Ada")]
    used = fleet.loop.store.get(Approval, approval.id)
    assert (used.reason, used.came_to) == ("do", f"used by execution {execution.id}")
    assert fleet.loop.audit.verify().ok


def test_a_no_denies_the_step_and_the_plan_goes_on(fleet: Scenario) -> None:
    fleet.at(5).loop.answer_approval(pending(fleet).id, False, "Ada", "not now")

    fleet.at(20).expect_actions(SLOW, erase="denied", analyze_slow_tasks="dispatched")

    assert fleet.handoffs("Janitor") == []
    assert "Ada said no to erase: not now" in [note.text for note in fleet.incident(SLOW).notes]
    [denied] = [e for e in fleet.loop.store.select(Execution) if e.status is ExecutionStatus.DENIED]
    assert denied.reason == "cannot_be_undone, not_approved"


def test_no_answer_within_fifteen_minutes_is_a_no(fleet: Scenario) -> None:
    approval = pending(fleet)
    fleet.at(899, step_s=30).expect_actions(SLOW, erase="awaiting_approval")

    fleet.at(900)

    with pytest.raises(ApprovalRefused, match="ran out at 2026-01-05 10:15:00, which is a no"):
        fleet.loop.answer_approval(approval.id, True, "Ada", "late")
    fleet.at(902).expect_actions(SLOW, erase="denied", analyze_slow_tasks="dispatched")
    with pytest.raises(ApprovalRefused, match="it is expired by self-healing"):
        fleet.loop.answer_approval(approval.id, True, "Ada", "late")
    assert told(fleet) == [("pending", None), ("expired", "self-healing")]
    assert "erase: nobody answered in time" in [note.text for note in fleet.incident(SLOW).notes]


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("second", [True, False])
def test_a_second_answer_is_refused_with_the_first(fleet: Scenario, first: bool, second: bool) -> None:
    id = pending(fleet).id
    fleet.at(1).loop.answer_approval(id, first, "Ada", "as I see it")

    with pytest.raises(ApprovalRefused, match=f"it is {'approved' if first else 'denied'} by Ada at 2026-01-05 10:00"):
        fleet.loop.answer_approval(id, second, "Bob", "no, as I do")


def test_an_answer_about_another_plan_by_nobody_or_under_no_such_id_is_refused_and_changes_nothing(
    fleet: Scenario,
) -> None:
    id = pending(fleet).id
    with pytest.raises(ApprovalRefused, match=r"it is about plan .*, not 123"):
        fleet.loop.answer_approval(id, True, "Ada", "do", "123")
    with pytest.raises(ApprovalRefused, match="nobody says who answers"):
        fleet.loop.answer_approval(id, True, " ", "do")
    with pytest.raises(NotFound):
        fleet.loop.answer_approval("apr-none", True, "Ada", "do")
    assert pending(fleet).id == id
    fleet.at(5).expect_actions(SLOW, erase="awaiting_approval")


def test_a_plan_that_changes_is_asked_anew_and_the_old_one_cannot_be_answered(fleet: Scenario) -> None:
    old = pending(fleet)
    with fleet.loop.store.transaction():
        fleet.loop.register.put(msgspec.structs.replace(fleet.incident(SLOW), plan_version="another"))

    fleet.at(3).expect_actions(SLOW, erase="awaiting_approval")

    assert fleet.loop.store.get(Approval, old.id).status is ApprovalStatus.WITHDRAWN
    assert pending(fleet).plan != old.plan
    with pytest.raises(ApprovalRefused, match="it is withdrawn by self-healing"):
        fleet.loop.answer_approval(old.id, True, "Ada", "do")


def test_a_yes_holds_under_another_spec_as_its_incident_goes_on_by_its_own(fleet: Scenario, tmp_path: Path) -> None:
    fleet.loop.answer_approval(pending(fleet).id, True, "Ada", "do")
    (tmp_path / "actions.toml").write_text(ERASE + "timeout = 60\n")
    fleet.restart().at(5).expect_actions(SLOW, erase="dispatched")


def test_what_was_approved_is_not_done_when_its_condition_is_no_longer_met(fleet: Scenario) -> None:
    approval = pending(fleet)
    fleet.at(1).finish("slow", duration_s=71.0)
    fleet.at(299, step_s=10).expect_state(SLOW, "Coder", "firing")
    fleet.finish("quick", duration_s=1.0).at(330, step_s=5).expect_state(SLOW, "Coder", "recovering")
    fleet.loop.answer_approval(approval.id, True, "Ada", "do")

    fleet.at(400)

    assert fleet.handoffs("Janitor") == []
    assert fleet.loop.store.get(Approval, approval.id).status is ApprovalStatus.WITHDRAWN


def test_a_yes_is_too_old_after_five_minutes_in_which_it_could_not_be_done(fleet: Scenario) -> None:
    stop(fleet.settings.storage.state_dir, "looking", "Bob", fleet.clock.now())
    fleet.at(5).loop.answer_approval(pending(fleet).id, True, "Ada", "do")
    fleet.at(306, step_s=30)
    resume(fleet.settings.storage.state_dir, "looked", "Ada", fleet.clock.now())

    fleet.at(310)

    assert fleet.handoffs("Janitor") == []
    [over] = approvals(fleet)
    assert (over.status, over.by, over.reason) == (ApprovalStatus.EXPIRED, "Ada", "do")
    with pytest.raises(ApprovalRefused, match=r"expired \(approved by Ada at .*; it could not be done in time\)"):
        fleet.loop.answer_approval(over.id, True, "Ada", "do")
    fleet.expect_actions(SLOW, erase="denied", analyze_slow_tasks="dispatched")


def test_the_stop_holds_back_what_was_approved(fleet: Scenario) -> None:
    stop(fleet.settings.storage.state_dir, "looking", "Bob", fleet.clock.now())
    fleet.at(5).loop.answer_approval(pending(fleet).id, True, "Ada", "do")
    fleet.at(60)
    assert fleet.handoffs("Janitor") == []

    resume(fleet.settings.storage.state_dir, "looked", "Ada", fleet.clock.now())

    fleet.at(65).expect_actions(SLOW, erase="dispatched")


def test_a_yes_that_somebody_wrote_into_the_state_alone_is_none(fleet: Scenario) -> None:
    approval = pending(fleet)
    forged = msgspec.structs.replace(
        approval, status=ApprovalStatus.APPROVED, by="Ada", reason="do", answered_at=fleet.clock.now()
    )
    fleet.loop.store.put(forged)

    fleet.at(10)

    assert fleet.handoffs("Janitor") == []
    fleet.expect_actions(SLOW, erase="denied", analyze_slow_tasks="dispatched")


def test_a_yes_that_was_written_for_another_plan_is_none(fleet: Scenario) -> None:
    approval = pending(fleet)
    fleet.loop.answer_approval(approval.id, True, "Ada", "do")
    given = fleet.loop.store.get(Approval, approval.id)
    other = msgspec.structs.replace(given.proposal, settings={"paused": True})
    fleet.loop.store.put(msgspec.structs.replace(given, proposal=other, plan=plan_of(given.proposal)))
    fleet.at(10)
    assert fleet.handoffs("Janitor") == []


def test_a_question_ends_with_its_incident(fleet: Scenario) -> None:
    approval = pending(fleet)
    fleet.loop.dismiss(fleet.incident(SLOW).id, "Ada", "a drill")

    with pytest.raises(ApprovalRefused, match="does not wait for it any more"):
        fleet.loop.answer_approval(approval.id, True, "Ada", "do")
    fleet.at(5)
    assert fleet.loop.store.get(Approval, approval.id).status is ApprovalStatus.WITHDRAWN


def test_an_incident_that_fires_again_after_its_question_ended_has_it_asked_anew(fleet: Scenario) -> None:
    first = pending(fleet)
    fleet.at(1).finish("slow", duration_s=71.0)
    fleet.at(299, step_s=10).finish("quick", duration_s=1.0).at(400, step_s=10)
    assert fleet.loop.store.get(Approval, first.id).status is ApprovalStatus.WITHDRAWN

    fleet.finish("slow again", duration_s=70.0).at(405).expect_actions(SLOW, erase="awaiting_approval")

    second = pending(fleet)
    assert second.plan == first.plan
    assert second.id != first.id


TOLD: list[tuple[str, str]] = []


def one_way(handoff: dict[str, Any]) -> None:
    TOLD.append(("one", handoff["context"]["approval"]["target"]))


def another_way(handoff: dict[str, Any]) -> None:
    TOLD.append(("another", handoff["context"]["approval"]["target"]))


def test_a_person_is_asked_by_every_way_and_the_agents_name_is_text_from_telemetry(
    scenario: MakeScenario, tmp_path: Path
) -> None:
    TOLD.clear()
    ways = {
        each.__name__: {"kind": "python", "function": f"{__name__}:{each.__name__}", "agents": ["Operator"]}
        for each in (one_way, another_way)
    }
    given = options(tmp_path)
    fleet = scenario(settings={**given, "actions": {**given["actions"], "channels": ways}})
    fleet.finish("slow", "Co\u202eder", duration_s=70.0).at(2)
    assert TOLD == [("one", "Co\\u202eder"), ("another", "Co\\u202eder")]


def test_the_time_that_a_person_took_to_answer_does_not_count_as_waiting(
    scenario: MakeScenario, tmp_path: Path
) -> None:
    fleet = scenario(settings=options(tmp_path, actions_per_minute=1, actions_per_minute_unwell=1))
    fleet.start("slow", started_at=fleet.clock.now().timestamp() - 70).at(880, step_s=30)
    fleet.finish("other", "Other", attempt=9).at(885).expect_actions(
        "high_retry_rate", "Other", resolve_retry_failures="dispatched"
    )
    fleet.loop.answer_approval(pending(fleet).id, True, "Ada", "do")

    fleet.at(930, step_s=5).expect_actions(SLOW, erase="deferred")
    fleet.at(960, step_s=5).expect_actions(SLOW, erase="dispatched")


def test_a_question_survives_a_restart(fleet: Scenario) -> None:
    approval = pending(fleet)
    fleet.restart().at(5).loop.answer_approval(approval.id, True, "Ada", "do")
    fleet.restart().at(8).expect_actions(SLOW, erase="dispatched")


def test_observe_asks_nobody(scenario: MakeScenario, tmp_path: Path) -> None:
    observing = {"files": [tmp_path / "actions.toml"], "mode": "observe"}
    fleet = scenario(settings={**options(tmp_path), "actions": observing})
    fleet.finish("slow", duration_s=70.0)
    fleet.expect_actions(SLOW, erase="would")
    assert approvals(fleet) == []


def test_the_surface_lists_shows_and_takes_answers(fleet: Scenario) -> None:
    surface = Surface(fleet.loop)
    [listed] = surface.call("approvals", {})["approvals"]
    shown = surface.call("approval", {"id": listed["id"]})
    assert shown["decision"]["articles"]["III"] == [{"policy": "cannot_be_undone", "outcome": "ask"}]
    assert shown["incident"]["trigger"] == SLOW

    answer = surface.call("approve", {"id": listed["id"], "by": "Ada", "reason": "do", "plan": listed["plan"]})

    assert (answer["approval"]["status"], answer["approval"]["by"]) == ("approved", "Ada")
    assert surface.call("approvals", {})["approvals"] == []
    assert len(surface.call("approvals", {"everything": True})["approvals"]) == 1


def test_one_signal_alone_brings_about_nothing_that_cannot_be_undone_and_asks_nobody(
    scenario: MakeScenario, tmp_path: Path
) -> None:
    fleet = scenario(settings=options(tmp_path, independent_signals=2))
    # Whoever can write native files can make any number of triggers fire.
    fleet.finish("slow", attempt=9, duration_s=70.0).tests(10, 20)

    fleet.at(5).expect_actions(SLOW, erase="deferred")

    assert approvals(fleet) == []
    assert fleet.handoffs("Janitor") == []


def test_two_signals_that_came_by_different_ways_agree_and_a_person_is_asked(
    scenario: MakeScenario, tmp_path: Path
) -> None:
    fleet = scenario(settings=options(tmp_path, independent_signals=2))
    fleet.finish("slow", duration_s=70.0).expect_actions(SLOW, erase="deferred")

    cases = "".join(f'<testcase name="{n}" classname="c"><failure/></testcase>' for n in range(20))
    report = tmp_path / "report.xml"
    report.write_text(f'<testsuite name="t" timestamp="2026-01-05T10:00:00Z">{cases}</testsuite>')
    Surface(fleet.loop).call("ingest_junit", {"paths": [str(report)], "agent": "Coder"})

    fleet.at(5).expect_incident("test_failure_spike", "Coder", "verifying")
    fleet.expect_actions(SLOW, erase="awaiting_approval")
    decision = fleet.loop.store.get(Decision, pending(fleet).decision)
    assert (decision.facts["signals_agreeing"], decision.facts["signals_needed"]) == (2, 2)


def test_what_waits_for_a_person_is_listed_however_much_was_asked_and_answered_after_it(fleet: Scenario) -> None:
    waits, store = pending(fleet), fleet.loop.store
    with store.transaction():
        for number in range(60):
            store.put(msgspec.structs.replace(waits, id=f"apr-later{number}", status=ApprovalStatus.EXPIRED))

    [listed] = Surface(fleet.loop).call("approvals", {})["approvals"]

    assert listed["id"] == waits.id
