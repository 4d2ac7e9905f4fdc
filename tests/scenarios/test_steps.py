"""Conditions on the steps of a plan: a step that is not for an incident is passed over, and the timeline says why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from self_healing.model import Execution, ExecutionStatus, HandoffStatus
from self_healing.testing import Scenario
from tests.scenarios.conftest import MakeScenario

SLOW = "slow_tasks"
ACTIONS = "".join(
    f'[[action]]\nname = "{name}"\ntype = "agent_handoff"\npriority = "high"\ntarget_agent = "Aide"\nprompt = "Do."\n'
    for name in ("first", "second")
)


def planned(directory: Path, when: str) -> dict[str, Any]:
    """Settings under which slow tasks call for two steps, the second one under a condition."""
    triggers, actions = directory / "triggers.toml", directory / "actions.toml"
    triggers.write_text(f'[[trigger]]\nname = "{SLOW}"\nactions = ["first", "second"]\n{when}\n')
    actions.write_text(ACTIONS)
    return {"triggers": {"files": [triggers]}, "actions": {"files": [actions]}}


def slow(fleet: Scenario, agent: str = "Coder") -> None:
    fleet.start(f"slow-{agent}", agent, started_at=fleet.clock.now().timestamp() - 70)


def skipped(fleet: Scenario, agent: str = "Coder") -> list[str]:
    return [note.text for note in fleet.incident(SLOW, agent).notes if note.what == "skipped"]


@pytest.mark.parametrize(
    ("when", "why"),
    [
        ('severity = ["critical", "medium"]', "it is for severity critical or medium, and this is high"),
        ('severity = ["high"]', None),
        ('group = { agent = "Other" }', "it is for agent Other, and this is Coder"),
        ('group = { agent = ["Other", "Coder"] }', None),
        ("attempt = 2", "it is from attempt 2 on, and this would be 1"),
        ("attempt = 1", None),
    ],
)
def test_a_step_is_made_only_for_the_incidents_that_it_is_for(
    scenario: MakeScenario, tmp_path: Path, when: str, why: str | None
) -> None:
    fleet = scenario(settings=planned(tmp_path, f"[trigger.when.first]\n{when}"))
    slow(fleet)
    fleet.at(2).expect_actions(SLOW, **({"first": "dispatched"} if why is None else {"second": "dispatched"}))
    assert skipped(fleet) == ([] if why is None else [f"first is passed over: {why}"])


@pytest.mark.parametrize(
    ("outcomes", "made"), [('"failed"', True), ('["denied", "failed"]', True), ('"not_healed"', False)]
)
def test_a_step_may_wait_for_what_came_of_an_earlier_one(
    scenario: MakeScenario, tmp_path: Path, outcomes: str, made: bool
) -> None:
    fleet = scenario(settings=planned(tmp_path, f"[trigger.when.second]\nafter = {{ first = {outcomes} }}"))
    slow(fleet)
    handoff = fleet.expect_handoff(SLOW)
    fleet.loop.move_handoff(handoff.id, HandoffStatus.FAILED, "Aide", "cannot")
    fleet.at(40).expect_incident(SLOW, "Coder", "acting" if made else "escalated")
    why = "second is passed over: it is after first was not_healed, and that was failed"
    assert skipped(fleet) == ([] if made else [why])


def test_a_plan_of_which_no_step_is_for_an_incident_ends_with_a_person(scenario: MakeScenario, tmp_path: Path) -> None:
    never = "severity = ['low']"
    fleet = scenario(settings=planned(tmp_path, f"[trigger.when.first]\n{never}\n[trigger.when.second]\n{never}"))
    slow(fleet)
    fleet.at(3).expect_incident(SLOW, "Coder", "escalated", escalation="no action of its plan is left")


def test_what_had_to_wait_was_not_tried(scenario: MakeScenario) -> None:
    fleet = scenario(settings={"constitution": {"limits": {"actions_per_minute": 1}}})
    slow(fleet, "Coder")
    slow(fleet, "Other")
    fleet.at(1).expect_actions(SLOW, "Other", analyze_slow_tasks="deferred")

    fleet.at(70, step_s=5).expect_actions(SLOW, "Other", analyze_slow_tasks="dispatched")

    assert fleet.expect_handoff(SLOW, "Other").message["context"]["tried"] == []


def looked_into(scenario: MakeScenario, directory: Path, **limits: int) -> Scenario:
    """A fleet whose plan is two diagnostics, of which the first one could not be done."""
    settings = planned(directory, "")
    (directory / "actions.toml").write_text(ACTIONS.replace("agent_handoff", "diagnostic"))
    fleet = scenario(settings={**settings, "constitution": {"limits": limits}})
    slow(fleet)
    fleet.loop.move_handoff(fleet.expect_handoff(SLOW).id, HandoffStatus.FAILED, "Aide", "cannot")
    return fleet


def test_a_diagnostic_that_is_a_step_of_a_plan_is_an_attempt_like_any_other(
    scenario: MakeScenario, tmp_path: Path
) -> None:
    fleet = looked_into(scenario, tmp_path, attempts_per_incident=1)
    fleet.at(12).expect_incident(SLOW, "Coder", "escalated").expect_actions(
        SLOW, first="dispatched", second="denied", comprehensive_system_analysis="succeeded"
    )


def test_a_diagnostic_that_has_to_wait_with_its_step_waits_as_one(scenario: MakeScenario, tmp_path: Path) -> None:
    fleet = looked_into(scenario, tmp_path, actions_per_minute=1).at(30)
    waiting = [each for each in fleet.loop.store.select(Execution) if each.action == "second"]
    assert [each.status for each in waiting] == [ExecutionStatus.DEFERRED]


def test_a_step_that_is_not_for_an_incident_is_denied_even_where_it_is_proposed(
    scenario: MakeScenario, tmp_path: Path
) -> None:
    fleet = scenario(settings=planned(tmp_path, "[trigger.when.second]\nafter = { first = 'failed' }"))
    slow(fleet)
    fleet.expect_actions(SLOW, first="dispatched")
    parts, spec = fleet.loop._parts, fleet.loop.spec
    incident = msgspec.structs.replace(fleet.incident(SLOW), step=1)
    proposal = parts.judging._planner.proposal(incident, spec.action("second"), 1)
    with fleet.loop.store.transaction():
        decision = parts.judging.at(fleet.clock.now())(proposal, incident, {"e": 1})
    assert "step_not_for_it" in [finding.policy for finding in decision.findings]


def test_a_step_that_waits_is_passed_over_when_it_is_not_for_the_incident_any_more(
    scenario: MakeScenario, tmp_path: Path
) -> None:
    settings = planned(tmp_path, "[trigger.when.second]\nafter = { first = ['inconclusive', 'failed'] }")
    fleet = scenario(settings={**settings, "constitution": {"limits": {"actions_per_minute": 1}}})
    slow(fleet)
    first = fleet.expect_handoff(SLOW)
    fleet.loop.move_handoff(first.id, HandoffStatus.FAILED, "Aide", "cannot")
    fleet.at(12).expect_actions(SLOW, first="dispatched", second="deferred")
    # The record says another thing of the first one by now.
    store = fleet.loop.store
    [execution] = [each for each in store.select(Execution) if each.action == "first"]
    store.put(msgspec.structs.replace(execution, status=ExecutionStatus.UNKNOWN))

    fleet.at(14)

    assert skipped(fleet)[-1] == (
        "second is passed over: it is after first was inconclusive or failed, and that was unknown"
    )
