"""What automation may not do: too much at once, to too many, and for ever."""

from __future__ import annotations

from datetime import timedelta

import pytest

from self_healing.constitution.stop import resume, stop
from self_healing.model import Execution, ExecutionStatus, HandoffStatus, Incident, IncidentState, Lesson
from self_healing.orchestrator import SelfHealingOrchestrator
from self_healing.testing import Scenario
from tests.scenarios.conftest import MakeScenario

RETRIES = "high_retry_rate"
SLOW = "slow_tasks"
ANALYSIS = "comprehensive_system_analysis"


def working(fleet: Scenario, agents: int) -> list[str]:
    """So many agents work well; returns their names."""
    names = [f"Agent{number:02d}" for number in range(agents)]
    for name in names:
        fleet.finish(f"well-{name}", name, duration_s=1.0)
    return names


def slow(fleet: Scenario, *agents: str) -> None:
    for agent in agents:
        fleet.finish(f"slow-{agent}", agent, duration_s=70.0)


def retrying(fleet: Scenario, *agents: str) -> None:
    for agent in agents:
        fleet.finish(f"retry-{agent}", agent, attempt=3, duration_s=1.0)


def actions(fleet: Scenario, action: str) -> dict[str, ExecutionStatus]:
    """How the newest execution of an action stands, by the agent that it is about."""
    return {e.target: e.status for e in fleet.loop.store.select(Execution) if e.action == action}


def test_a_directive_beyond_the_blast_radius_waits_until_the_first_is_undone(scenario: MakeScenario) -> None:
    fleet = scenario(step_s=10)
    one, other, *_ = working(fleet, 10)
    retrying(fleet.at(10), one)
    fleet.expect_directives(one, quality_gate="strict")

    retrying(fleet.at(20), other)

    fleet.expect_directives(other).expect_incident(RETRIES, other, "open")
    fleet.expect_actions(RETRIES, other, resolve_retry_failures="deferred")
    incident = fleet.incident(RETRIES, one)
    fleet.at(100).loop.dismiss(incident.id, "Ada", "a drill")
    fleet.at(101).expect_directives(one).expect_directives(other, quality_gate="strict")
    fleet.expect_incident(RETRIES, other, "verifying", attempts=1)


def test_what_is_deferred_for_fifteen_minutes_escalates(scenario: MakeScenario) -> None:
    fleet = scenario(step_s=60)
    one, other, *_ = working(fleet, 10)
    retrying(fleet.at(10), one)
    retrying(fleet.at(20), other)
    fleet.at(919).expect_incident(RETRIES, other, "open")

    fleet.at(920)

    fleet.expect_incident(RETRIES, other, "escalated").expect_directives(other)


def test_no_more_than_six_actions_go_in_a_minute_and_the_rest_follow(fleet: Scenario) -> None:
    agents = working(fleet, 30)

    slow(fleet.at(10), *agents[:8])

    fleet.at(12)
    stands = list(actions(fleet, "analyze_slow_tasks").values())
    assert stands.count(ExecutionStatus.DISPATCHED) == 6
    assert stands.count(ExecutionStatus.DEFERRED) == 2
    fleet.at(69, step_s=10)
    assert list(actions(fleet, "analyze_slow_tasks").values()).count(ExecutionStatus.DEFERRED) == 2
    fleet.at(75)
    assert set(actions(fleet, "analyze_slow_tasks").values()) == {ExecutionStatus.DISPATCHED}


def test_one_trigger_in_over_two_fifths_of_the_fleet_is_one_incident_for_all_and_nobody_is_shut_down(
    fleet: Scenario,
) -> None:
    agents = working(fleet, 6)

    retrying(fleet.at(10), *agents[:3])

    fleet.at(12)
    assert all(not fleet.directives(agent) for agent in agents)
    [parent] = [incident for incident in fleet.loop.store.select(Incident) if incident.is_parent]
    assert (parent.group, parent.state) == ((("cause", f"trigger={RETRIES}"),), IncidentState.ESCALATED)
    for agent in agents[:3]:
        fleet.expect_incident(RETRIES, agent, "escalated", parent=parent.id)
    assert "share trigger" not in " ".join(note.text for note in parent.notes if note.what == "grouped")
    [notice] = fleet.handoffs("Operator")
    assert notice.incident == parent.id

    retrying(fleet.at(20), agents[3])

    fleet.at(22).expect_incident(RETRIES, agents[3], "escalated", parent=parent.id).expect_directives(agents[3])
    assert fleet.handoffs("Operator") == [notice]


def test_what_is_not_alone_in_its_trigger_joins_those_of_a_known_cause_at_fleet_stop(fleet: Scenario) -> None:
    names = [f"Agent{number:02d}" for number in range(8)]
    for number, name in enumerate(names):
        fleet.finish(f"well-{name}", name, duration_s=1.0, model="m-2" if number < 3 else "m-1")
    for name in names[:3]:
        fleet.at(10).finish(f"retry-{name}", name, attempt=3, duration_s=1.0, model="m-2")
    fleet.at(14)
    retrying(fleet.at(20), names[4])

    fleet.at(24)

    [parent] = [incident for incident in fleet.loop.store.select(Incident) if incident.is_parent]
    assert parent.group == (("cause", "model=m-2"),)
    for name in (*names[:3], names[4]):
        fleet.expect_incident(RETRIES, name, "escalated", parent=parent.id)


def test_the_only_incident_of_its_trigger_escalates_by_itself_at_fleet_stop(fleet: Scenario) -> None:
    agents = working(fleet, 6)
    slow(fleet.at(10), *agents[:3])
    retrying(fleet, agents[4])

    fleet.at(12).expect_incident(RETRIES, agents[4], "escalated", parent=None)


def test_three_open_incidents_bring_one_comprehensive_analysis(fleet: Scenario) -> None:
    agents = working(fleet, 20)
    slow(fleet.at(10), agents[0])
    slow(fleet.at(20), agents[1])
    fleet.at(30)
    assert actions(fleet, ANALYSIS) == {}

    slow(fleet, agents[2])
    fleet.at(40)
    slow(fleet, agents[3])
    fleet.at(50)

    assert actions(fleet, ANALYSIS) == {agents[2]: ExecutionStatus.SUCCEEDED}
    [analysis] = [h for h in fleet.handoffs("ChiefArchitectAgent") if "diagnostic" in h.message["tags"]]
    assert {i["group"]["agent"] for i in analysis.message["context"]["open_incidents"]} >= set(agents[:3])


def test_a_silence_that_ends_brings_the_third_open_incident_and_its_analysis(scenario: MakeScenario) -> None:
    fleet = scenario(step_s=10)
    agents = working(fleet, 20)
    fleet.at(5).loop.silence(SLOW, {"agent": agents[2]}, timedelta(seconds=100), "Ada", "a drill")
    slow(fleet.at(10), *agents[:3])
    fleet.at(90)
    assert actions(fleet, ANALYSIS) == {}

    fleet.at(150)

    assert actions(fleet, ANALYSIS) == {agents[2]: ExecutionStatus.SUCCEEDED}


def test_the_analysis_is_armed_again_below_three(fleet: Scenario) -> None:
    agents = working(fleet, 20)
    slow(fleet.at(10), *agents[:3])
    fleet.at(20)
    for agent in agents[:2]:
        fleet.loop.dismiss(fleet.incident(SLOW, agent).id, "Ada", "a drill")
    fleet.at(100, step_s=10)

    slow(fleet, *agents[4:6])
    fleet.at(120)

    about = [e for e in fleet.loop.store.select(Execution) if e.action == ANALYSIS]
    assert len({e.incident for e in about}) == 2


def test_the_time_for_which_healing_is_stopped_does_not_count_as_waiting_for_an_analysis(
    scenario: MakeScenario,
) -> None:
    fleet = scenario(step_s=60)
    agents = working(fleet, 20)
    stop(fleet.settings.storage.state_dir, "looking", "Ada", fleet.clock.now())
    for agent in agents[:3]:
        fleet.start(f"slow-{agent}", agent)
    fleet.at(1800)
    assert actions(fleet, ANALYSIS) == {}

    resume(fleet.settings.storage.state_dir, "looked", "Ada", fleet.clock.now())
    fleet.at(1980)

    assert list(actions(fleet, ANALYSIS).values()) == [ExecutionStatus.SUCCEEDED]


def test_escalations_close_together_share_one_report_and_one_notification(scenario: MakeScenario) -> None:
    fleet = scenario(step_s=10)
    agents = working(fleet, 20)
    slow(fleet.at(10), *agents[:2])
    for number, agent in enumerate(agents[:2]):
        fleet.at(20 + 60 * number)
        handoff = fleet.expect_handoff(SLOW, agent)
        fleet.start(f"r{agent}", "ChiefArchitectAgent", handoff_id=handoff.id)
        fleet.at(25 + 60 * number).finish(f"r{agent}", "ChiefArchitectAgent", status="failed", handoff_id=handoff.id)

    fleet.at(120)

    for agent in agents[:2]:
        fleet.expect_incident(SLOW, agent, "escalated")
    assert len(actions(fleet, ANALYSIS)) == 1
    assert len(fleet.handoffs("Operator")) == 1


def test_an_agent_is_left_alone_for_the_cool_down_after_an_action_on_it(fleet: Scenario) -> None:
    slow(fleet, "Coder")
    fleet.at(1)

    retrying(fleet, "Coder")

    fleet.at(2).expect_actions(RETRIES, resolve_retry_failures="deferred")
    fleet.at(15).expect_actions(RETRIES, resolve_retry_failures="dispatched")


def test_an_agent_that_stayed_unwell_is_left_alone_twice_as_long_after_the_second_action(
    scenario: MakeScenario,
) -> None:
    fleet = scenario(step_s=20)
    slow(fleet, "Coder")
    fleet.at(700, step_s=60)  # over ten minutes, and its incident is still open
    retrying(fleet, "Coder")
    fleet.at(701).expect_actions(RETRIES, resolve_retry_failures="dispatched")

    fleet.tests(10, 20)

    fleet.at(715).incident("test_failure_spike")
    assert actions(fleet, "enforce_test_standards") == {"Coder": ExecutionStatus.DEFERRED}
    fleet.at(722).incident("test_failure_spike")
    assert actions(fleet, "enforce_test_standards") == {"Coder": ExecutionStatus.DISPATCHED}


def test_an_intent_that_a_person_stops_before_it_begins_counts_for_no_limit_and_no_attempt(fleet: Scenario) -> None:
    def stopping(point: str) -> None:
        if point == "intent.committed" and fleet.now_s < 8:
            stop(fleet.settings.storage.state_dir, "looking", "Ada", fleet.clock.now())

    fleet.loop.close()
    fleet.loop = SelfHealingOrchestrator.open(fleet.settings, clock=fleet.clock, crash=stopping)
    slow(fleet, "Coder")
    for second in (1, 3, 5, 7):
        fleet.at(second).expect_incident(SLOW, "Coder", "open", attempts=0)
        resume(fleet.settings.storage.state_dir, "looked", "Ada", fleet.clock.now())

    fleet.at(9).expect_incident(SLOW, "Coder", "acting", attempts=1)

    stopped = [e for e in fleet.loop.store.select(Execution) if e.status is ExecutionStatus.FAILED]
    assert len(stopped) == 4
    assert len({e.key for e in stopped}) == len(stopped)
    delivered = [h for h in fleet.handoffs("ChiefArchitectAgent") if h.status is HandoffStatus.DELIVERED]
    assert len(delivered) == 1


def test_observe_records_what_it_would_have_done_and_does_nothing(scenario: MakeScenario) -> None:
    fleet = scenario(settings={"actions": {"mode": "observe"}}, step_s=10)
    retrying(fleet, "Coder")

    fleet.expect_incident(RETRIES, "Coder", "open", attempts=0)
    fleet.expect_actions(RETRIES, resolve_retry_failures="would").expect_directives()

    fleet.at(1200).expect_incident(RETRIES, "Coder", "open")
    assert fleet.loop.inbox.list() == []
    assert not (fleet.directory / "logs" / "handoffs").exists()
    assert not any(what in {note.what for note in fleet.incident(RETRIES).notes} for what in ("acting", "verifying"))


def observing(fleet: Scenario, mode: str = "observe") -> None:
    """Start again in another mode."""
    fleet.settings = type(fleet.settings).model_validate({**fleet.settings.model_dump(), "actions": {"mode": mode}})
    fleet.restart()


def test_what_is_under_way_when_the_mode_becomes_observe_is_neither_judged_nor_learnt_nor_escalated(
    scenario: MakeScenario,
) -> None:
    fleet = scenario(step_s=10)
    retrying(fleet, "Coder")
    fleet.at(1).expect_incident(RETRIES, "Coder", "verifying")

    observing(fleet)
    for number in range(5):
        fleet.finish(f"again{number}", "Coder", attempt=3, duration_s=1.0, started_at=fleet.now_s)
    fleet.at(30).expect_incident(RETRIES, "Coder", "open", verification=None)
    fleet.at(1_000).finish("well", "Coder", duration_s=1.0)
    fleet.at(1_200).expect_incident(RETRIES, "Coder", "closed", "recovered")

    [lesson] = fleet.loop.store.select(Lesson)
    assert (lesson.not_healed, lesson.inconclusive, lesson.recent) == (0, 0, ())
    assert fleet.handoffs("Operator") == []


def test_an_intent_that_observe_mode_keeps_from_its_effect_says_so_and_is_no_attempt(fleet: Scenario) -> None:
    def killed(point: str) -> None:
        if point == "intent.committed":
            raise KeyboardInterrupt

    fleet.loop.close()
    fleet.loop = SelfHealingOrchestrator.open(fleet.settings, clock=fleet.clock, crash=killed)
    slow(fleet, "Coder")
    with pytest.raises(KeyboardInterrupt):
        fleet.at(1)

    observing(fleet)

    fleet.at(2).expect_incident(SLOW, "Coder", "open", attempts=0)
    [execution] = [e for e in fleet.loop.store.select(Execution) if e.status is ExecutionStatus.FAILED]
    assert execution.error == "mode is observe"
    observing(fleet, "act")
    fleet.at(4).expect_incident(SLOW, "Coder", "acting", attempts=1)


def test_an_intent_that_a_close_takes_back_has_its_outcome_on_the_audit_log(fleet: Scenario) -> None:
    def dismissing(point: str) -> None:
        if point == "intent.committed":
            raise KeyboardInterrupt

    fleet.loop.close()
    fleet.loop = SelfHealingOrchestrator.open(fleet.settings, clock=fleet.clock, crash=dismissing)
    slow(fleet, "Coder")
    with pytest.raises(KeyboardInterrupt):
        fleet.at(1)
    fleet.loop.close()
    fleet.loop = SelfHealingOrchestrator.open(fleet.settings, clock=fleet.clock)
    [incident] = fleet.loop.register.open.values()

    fleet.loop.dismiss(incident.id, "Ada", "a drill")

    outcomes = [entry.payload for entry in fleet.loop.audit.tail(100) if entry.kind == "outcome"]
    assert [(told["execution"], told["status"]) for told in outcomes] == [(incident.execution, "failed")]
