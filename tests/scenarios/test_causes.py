"""One cause in several series: a parent hands over once for all, and each series is judged on its own work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from self_healing.model import Handoff, HandoffStatus, Incident, IncidentState, Verification
from self_healing.testing import Scenario
from tests.scenarios.conftest import MakeScenario

RETRIES = "high_retry_rate"
SLOW = "slow_tasks"
CAUSE = (("cause", "model=m-2"),)


def fleet_of(fleet: Scenario, agents: int, ill: int = 3) -> list[str]:
    """So many agents work well, the first few of them with another model; returns the names of those."""
    names = [f"Agent{number:02d}" for number in range(agents)]
    for name in names:
        fleet.finish(f"well-{name}", name, duration_s=1.0, provider="p", model="m-2" if name in names[:ill] else "m-1")
    return names[:ill]


def slow(fleet: Scenario, *agents: str) -> None:
    for agent in agents:
        fleet.finish(f"slow-{agent}-{fleet.now_s}", agent, duration_s=70.0, model="m-2", provider="p")


def good(fleet: Scenario, from_s: float, *agents: str, **fields: Any) -> None:
    for number in range(3):
        fleet.at(from_s + 10 * number)
        for agent in agents:
            fleet.start(f"g{agent}{fleet.now_s}", agent)
        fleet.at(from_s + 10 * number + 5)
        for agent in agents:
            fleet.finish(f"g{agent}{fleet.now_s - 5}", agent, **{"duration_s": 5.0, **fields})


def slow_by_model(fleet: Scenario) -> list[str]:
    """Of twelve agents three are slow, with a model that no other has, so that there is a parent; returns those."""
    ill = fleet_of(fleet, 12)
    slow(fleet.at(10), *ill)
    fleet.at(12)
    return ill


def parents(fleet: Scenario) -> list[Incident]:
    fleet.at(fleet.now_s)
    return [incident for incident in fleet.loop.store.select(Incident) if incident.is_parent]


def handoffs(fleet: Scenario, incident: Incident) -> list[Handoff]:
    found = fleet.loop.store.select(Handoff, incident=incident.id)
    return [each for each in found if not {"diagnostic", "notification"} & set(each.message["tags"])]


def complete(fleet: Scenario, handoff: Handoff) -> None:
    fleet.loop.move_handoff(handoff.id, HandoffStatus.COMPLETED, "Helper", "done")


def test_three_series_that_share_a_model_are_handed_over_once_and_healed_each_by_itself(fleet: Scenario) -> None:
    ill = slow_by_model(fleet)

    [parent] = parents(fleet)
    assert (parent.trigger, parent.group, parent.state) == (SLOW, CAUSE, IncidentState.ACTING)
    for agent in ill:
        fleet.expect_incident(SLOW, agent, "open", parent=parent.id, attempts=0)
        assert handoffs(fleet, fleet.incident(SLOW, agent)) == []
    [handoff] = handoffs(fleet, parent)
    assert handoff.target_agent == "ChiefArchitectAgent"
    assert handoff.message["context"]["shared_attributes"] == [{"name": "model", "value": "m-2"}]
    assert {each["group"]["agent"] for each in handoff.message["context"]["incidents_beneath"]} == set(ill)

    complete(fleet.at(20), handoff)
    fleet.at(21)
    for agent in ill:
        fleet.expect_incident(SLOW, agent, "verifying", attempts=1)
    good(fleet, 30, *ill[:2])
    fleet.at(60).expect_incident(SLOW, ill[0], "closed", "healed").expect_incident(SLOW, ill[2], "verifying")
    assert parents(fleet)[0].state is IncidentState.VERIFYING
    good(fleet, 70, ill[2])

    fleet.at(100).expect_nothing_open()
    [parent] = parents(fleet)
    assert (parent.close_reason, parent.attempts) == ("healed", 1)


def test_what_the_whole_fleet_has_in_common_is_no_cause(fleet: Scenario) -> None:
    ill = fleet_of(fleet, 12, ill=12)[:3]
    slow(fleet.at(10), *ill)
    fleet.at(12)
    assert parents(fleet) == []
    fleet.expect_incident(SLOW, ill[0], "acting", parent=None)


def test_two_series_have_no_parent_and_a_third_that_shares_their_cause_brings_one(fleet: Scenario) -> None:
    ill = fleet_of(fleet, 12)
    slow(fleet.at(10), *ill[:2])
    fleet.at(15)
    assert parents(fleet) == []

    slow(fleet, ill[2])
    fleet.at(17)

    [parent] = parents(fleet)
    for agent in ill[:2]:
        fleet.expect_incident(SLOW, agent, "acting", parent=parent.id)
    fleet.expect_incident(SLOW, ill[2], "open", parent=parent.id)
    assert parent.state is IncidentState.ACTING


def test_each_agent_beneath_a_parent_is_restrained_as_far_as_the_blast_radius_goes(scenario: MakeScenario) -> None:
    fleet = scenario(step_s=1)
    ill = fleet_of(fleet, 25)
    for agent in ill:
        fleet.at(10).finish(f"r{agent}", agent, attempt=3, duration_s=1.0, model="m-2")

    fleet.at(14)

    [parent] = parents(fleet)
    held = [agent for agent in ill if fleet.directives(agent)]
    assert len(held) == 2
    [waiting] = set(ill) - set(held)
    fleet.expect_incident(RETRIES, waiting, "open", parent=parent.id)
    [handoff] = handoffs(fleet, parent)
    assert handoff.target_agent == "AuditorAgent"
    assert [handoffs(fleet, fleet.incident(RETRIES, agent)) for agent in ill] == [[], [], []]
    # It does not escalate by waiting, but goes on when the handoff that nobody answers comes to its end.
    fleet.at(909, step_s=100).expect_incident(RETRIES, waiting, "open")
    fleet.at(912).expect_incident(RETRIES, waiting, "verifying")


def test_at_fleet_stop_the_parent_escalates_with_all_beneath_it_and_names_what_they_share(fleet: Scenario) -> None:
    ill = fleet_of(fleet, 6)
    for agent in ill:
        fleet.at(10).finish(f"r{agent}", agent, attempt=3, duration_s=1.0, model="m-2")

    fleet.at(14)

    [parent] = parents(fleet)
    assert parent.state is IncidentState.ESCALATED
    assert "fleet_stop" in (parent.escalation or "")
    assert "share model=m-2" in (parent.escalation or "")
    for agent in ill:
        fleet.expect_incident(RETRIES, agent, "escalated").expect_directives(agent)
    [notice] = fleet.handoffs("Operator")
    assert notice.incident == parent.id


def test_what_is_not_healed_beneath_a_parent_escalates_with_it(fleet: Scenario) -> None:
    ill = fleet_of(fleet, 12)
    slow(fleet.at(10), *ill)
    fleet.at(12)
    complete(fleet.at(20), handoffs(fleet, parents(fleet)[0])[0])
    fleet.at(21)
    good(fleet, 30, *ill[:2])
    for number in range(3):
        fleet.start(f"b{number}", ill[2])
    fleet.at(130)

    fleet.at(131).expect_incident(SLOW, ill[0], "closed", "healed").expect_incident(SLOW, ill[2], "escalated")
    assert parents(fleet)[0].state is IncidentState.ESCALATED

    fleet.at(140)
    for number in range(3):
        fleet.finish(f"b{number}", ill[2], duration_s=100.0)
    good(fleet, 450, ill[2])
    fleet.at(560)
    fleet.expect_incident(SLOW, ill[2], "closed", "recovered")
    assert parents(fleet)[0].close_reason == "recovered"


def test_a_person_dismisses_a_parent_with_all_beneath_it(fleet: Scenario) -> None:
    ill = fleet_of(fleet, 12)
    slow(fleet.at(10), *ill)
    fleet.at(12).loop.dismiss(parents(fleet)[0].id, "Ada", "a drill")

    fleet.at(13).expect_nothing_open()
    for agent in ill:
        fleet.expect_incident(SLOW, agent, "closed", "dismissed", closed_by="Ada")


def test_series_that_recover_by_themselves_close_their_parent(scenario: MakeScenario) -> None:
    fleet = scenario(step_s=10)
    ill = fleet_of(fleet, 12)
    slow(fleet.at(10), *ill)
    fleet.at(320)
    for agent in ill:
        fleet.finish(f"w{agent}", agent, duration_s=1.0)

    fleet.at(400).expect_nothing_open()

    assert parents(fleet)[0].close_reason == "recovered"


def test_a_parent_and_what_is_beneath_it_survive_a_restart(fleet: Scenario) -> None:
    ill = fleet_of(fleet, 12)
    slow(fleet.at(10), *ill)
    fleet.at(12).restart()
    complete(fleet.at(20), handoffs(fleet, parents(fleet)[0])[0])
    fleet.at(21).restart()
    good(fleet, 30, *ill)

    fleet.at(70).expect_nothing_open()

    assert parents(fleet)[0].close_reason == "healed"


def test_a_cause_that_comes_back_within_an_hour_reopens_its_parent(scenario: MakeScenario) -> None:
    fleet = scenario(step_s=10)
    ill = fleet_of(fleet, 12)
    slow(fleet.at(10), *ill)
    fleet.at(20)
    complete(fleet, handoffs(fleet, parents(fleet)[0])[0])
    fleet.at(30)
    good(fleet, 40, *ill)
    fleet.at(100).expect_nothing_open()

    slow(fleet.at(600), *ill)
    fleet.at(630)

    [parent] = parents(fleet)
    assert (parent.state, parent.reopened, parent.attempts) == (IncidentState.ACTING, 1, 2)


def test_what_comes_beneath_a_parent_late_is_judged_once_however_bad_it_gets_meanwhile(fleet: Scenario) -> None:
    *ill, late = fleet_of(fleet, 14, ill=4)
    slow(fleet.at(10), *ill)
    fleet.at(12)
    complete(fleet.at(20), handoffs(fleet, parents(fleet)[0])[0])
    fleet.at(22).start("hangs", late, model="m-2", provider="p")

    fleet.at(100)  # its age, and so the peak of its incident, grows with every instant

    fleet.expect_incident(SLOW, late, "verifying", attempts=1)
    assert len(fleet.loop.store.select(Verification, incident=fleet.incident(SLOW, late).id)) == 1


def test_no_handoff_about_several_agents_goes_to_one_of_them(fleet: Scenario) -> None:
    ill = fleet_of(fleet, 12)
    fleet.finish("w", "ChiefArchitectAgent", duration_s=1.0, model="m-2")
    slow(fleet.at(10), *ill, "ChiefArchitectAgent")
    fleet.at(12)
    [handoff] = handoffs(fleet, parents(fleet)[0])
    assert handoff.target_agent == "Operator"


def test_what_has_nothing_to_set_of_its_own_leaves_all_to_its_parent(scenario: MakeScenario, tmp_path: Path) -> None:
    triggers, actions = tmp_path / "triggers.toml", tmp_path / "actions.toml"
    triggers.write_text(
        '[[trigger]]\nname = "free"\ntype = "cost"\nsignal = "task.tokens"\naggregate = "min"\nwindow = "5m"\n'
        'group_by = ["agent"]\ncondition = {kind = "threshold", op = "<=", value = 0}\nactions = ["budget"]\n'
        'severity = "high"\ntarget_agent = "PlannerAgent"\n'
    )
    actions.write_text(
        '[[action]]\nname = "budget"\ntype = "cost_optimization"\npriority = "high"\ntarget_agent = "PlannerAgent"\n'
        'prompt = "Look."\ndirectives = {token_budget = {of = "threshold", times = 2, whole = true}}\n'
    )
    fleet = scenario(settings={"triggers": {"files": [triggers]}, "actions": {"files": [actions]}})
    ill = fleet_of(fleet, 12)
    for agent in ill:
        fleet.at(10).finish(f"c{agent}", agent, duration_s=1.0, model="m-2", usage={"total_tokens": 0})

    fleet.at(14)

    [parent] = parents(fleet)
    for agent in ill:
        fleet.expect_incident("free", agent, "open", parent=parent.id, execution=None)
    assert len(handoffs(fleet, parent)) == 1
