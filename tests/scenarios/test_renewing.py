"""What an action declared passes the gate again before it is set once more, and each change is on the audit log."""

from __future__ import annotations

from collections.abc import Sequence

from self_healing.actions.runner import InlineExecutor
from self_healing.constitution.stop import resume, stop
from self_healing.model import Decision, ExecutionStatus, Incident, Outcome
from self_healing.orchestrator import SelfHealingOrchestrator
from self_healing.testing import Scenario
from tests.scenarios.conftest import MakeScenario
from tests.scenarios.test_limits import RETRIES, actions, slow, working
from tests.scenarios.test_probation import ERRORS, paused, probes


class Busy(InlineExecutor):
    """An executor all of whose slots are taken: what is submitted waits for its turn."""

    def submit(self, execution_ids: Sequence[str]) -> None:
        """Nothing is begun yet."""


def trail(fleet: Scenario) -> list[tuple[str, str]]:
    """What became of directives, as the audit log has it: what, and of which."""
    entries = fleet.loop.audit.tail(1000)
    return [(e.kind.removeprefix("directive_"), e.payload["name"]) for e in entries if e.kind.startswith("directive_")]


def unwell(fleet: Scenario, *agents: str) -> None:
    """These agents get the same trouble as the one that was paused."""
    for agent in agents:
        for number in range(10):
            fleet.finish(f"bad{number}-{agent}", agent, status="failed")


def test_each_directive_of_a_probation_is_on_the_audit_log_with_a_decision_before_it(scenario: MakeScenario) -> None:
    fleet = scenario(step_s=60)
    paused(fleet)
    fleet.at(300)
    probes(fleet, 310, 1, status="failed")
    fleet.expect_directives(paused=True)

    assert trail(fleet) == [
        ("set", "paused"),
        ("undone", "paused"),
        ("set", "max_concurrency"),
        ("undone", "max_concurrency"),
        ("restored", "paused"),
    ]
    entries = fleet.loop.audit.tail(1000)
    decided = {e.payload["decision"]: e for e in entries if e.kind == "decision" and e.payload["outcome"] == "allow"}
    forced = [e for e in entries if e.kind in ("directive_set", "directive_restored")]
    assert len({e.payload["decision"] for e in forced}) == 3
    assert all(decided[e.payload["decision"]].seq < e.seq for e in forced)


def answered_otherwise(fleet: Scenario, changes: str = "") -> None:
    """Another process goes on, by a spec in which another action answers the trigger."""
    off = fleet.directory / "other.toml"
    off.write_text(f'[[trigger]]\nname = "{ERRORS}"\nactions = ["analyze_slow_tasks"]\n{changes}')
    triggers = fleet.settings.triggers.model_copy(update={"files": (off,)})
    fleet.settings = fleet.settings.model_copy(update={"triggers": triggers})
    fleet.restart()


def test_a_probation_goes_on_by_the_spec_of_its_incident_though_the_loaded_one_declares_it_no_more(
    scenario: MakeScenario,
) -> None:
    fleet = scenario(step_s=60)
    paused(fleet)
    answered_otherwise(fleet)

    fleet.at(300).expect_incident(ERRORS, "Coder", "verifying").expect_directives(max_concurrency=1)


def test_a_probation_that_the_spec_declares_no_more_waits_for_a_person(scenario: MakeScenario) -> None:
    fleet = scenario(step_s=60)
    paused(fleet)
    answered_otherwise(fleet, 'where = { model = "m" }\n')  # what is measured now, its own spec cannot judge

    fleet.at(300).expect_incident(ERRORS, "Coder", "escalated").expect_directives(paused=True)

    assert "action_not_in_plan" in (fleet.incident(ERRORS).escalation or "")


def test_an_agent_on_probation_goes_to_a_person_with_the_fleet_that_gets_the_same_trouble(
    scenario: MakeScenario,
) -> None:
    fleet = scenario(step_s=60)
    for agent in ("A", "B", "C"):
        fleet.finish(f"well-{agent}", agent)
    paused(fleet)
    fleet.at(300).expect_directives(max_concurrency=1)

    unwell(fleet.at(310), "A", "B")
    fleet.at(320)

    [parent] = [incident for incident in fleet.loop.store.select(Incident) if incident.is_parent]
    for agent in ("A", "B", "Coder"):
        fleet.expect_incident(ERRORS, agent, "escalated", parent=parent.id)
    fleet.expect_directives(max_concurrency=1)


def test_an_agent_is_not_paused_again_when_much_of_the_fleet_is_in_trouble(scenario: MakeScenario) -> None:
    fleet = scenario(step_s=60)
    for agent in ("A", "B", "C"):
        fleet.finish(f"well-{agent}", agent)
    paused(fleet)
    fleet.at(300).expect_directives(max_concurrency=1)
    slow(fleet.at(310), "A", "B")

    probes(fleet, 320, 1, status="failed")

    fleet.expect_incident(ERRORS, "Coder", "escalated").expect_directives(max_concurrency=1)
    assert "fleet_stop" in (fleet.incident(ERRORS).escalation or "")
    [denied] = [d for d in fleet.loop.store.select(Decision, outcome=Outcome.DENY.value) if d.proposal.renews]
    assert denied.proposal.settings == {"paused": True}


def test_what_is_over_while_a_person_has_said_stop_is_undone_when_it_goes_on(scenario: MakeScenario) -> None:
    fleet = scenario(step_s=20)
    state_dir = fleet.settings.storage.state_dir
    fleet.finish("retried", attempt=3)
    fleet.expect_directives(quality_gate="strict")
    escalate(fleet)
    stop(state_dir, "looking", "Ada", fleet.clock.now())
    fleet.at(1000)
    for number in range(3):
        fleet.finish(f"good{number}")
    fleet.at(1100).expect_incident(RETRIES, "Coder", "closed", "recovered").expect_directives(quality_gate="strict")

    resume(state_dir, "looked", "Ada", fleet.clock.now())

    fleet.at(1101).expect_directives()
    assert trail(fleet) == [("set", "quality_gate"), ("undone", "quality_gate")]


def escalate(fleet: Scenario) -> None:
    """A person takes the incident over, as after too many attempts."""
    fleet.at(10)
    incident: Incident = fleet.incident(RETRIES)
    with fleet.loop.store.transaction():
        fleet.loop.register.escalate(incident, fleet.clock.now(), "a person wants it")


def test_what_a_person_dismisses_is_undone_at_once_stop_or_not(fleet: Scenario) -> None:
    fleet.finish("retried", attempt=3)
    fleet.expect_directives(quality_gate="strict")
    stop(fleet.settings.storage.state_dir, "looking", "Ada", fleet.clock.now())

    fleet.loop.dismiss(fleet.incident(RETRIES).id, "Ada", "a drill")

    fleet.expect_directives()


def test_while_a_person_has_said_stop_a_paused_agent_is_not_let_back(scenario: MakeScenario) -> None:
    fleet = scenario(step_s=60)
    paused(fleet)
    stop(fleet.settings.storage.state_dir, "looking", "Ada", fleet.clock.now())
    fleet.at(400).expect_directives(paused=True)

    resume(fleet.settings.storage.state_dir, "looked", "Ada", fleet.clock.now())

    fleet.at(401).expect_directives(max_concurrency=1)


def relapsed_while_another_is_paused(fleet: Scenario) -> str:
    """At 890 s an agent's trouble is back without its directive, and the blast radius is in use; returns its name."""
    one, other, *_ = working(fleet, 10)
    unwell(fleet, one)
    for number in range(12):
        fleet.at(310 + 10 * number).finish(f"good{number}", one, duration_s=1.0)
    fleet.at(800).expect_incident(ERRORS, one, "mitigated").expect_directives(one)
    unwell(fleet, other)
    fleet.at(860).expect_directives(other, paused=True)
    for number in range(10):
        fleet.at(870 + 2 * number).finish(f"again{number}", one, duration_s=1.0, status="failed")
    fleet.at(890).expect_incident(ERRORS, one, "mitigated").expect_directives(one)
    return one


def test_what_is_to_be_set_again_and_is_deferred_for_fifteen_minutes_escalates(scenario: MakeScenario) -> None:
    fleet = scenario(step_s=10)
    one = relapsed_while_another_is_paused(fleet)
    fleet.at(1770).expect_incident(ERRORS, one, "mitigated")

    fleet.at(1800).expect_incident(ERRORS, one, "escalated").expect_directives(one)

    assert "blast_radius" in (fleet.incident(ERRORS, one).escalation or "")


def test_the_time_of_a_stop_does_not_count_as_waiting_to_be_set_again(scenario: MakeScenario) -> None:
    fleet = scenario(step_s=10)
    one = relapsed_while_another_is_paused(fleet)
    state_dir = fleet.settings.storage.state_dir
    stop(state_dir, "looking", "Ada", fleet.clock.now())
    fleet.at(1750)

    resume(state_dir, "looked", "Ada", fleet.clock.now())

    fleet.at(1850).expect_incident(ERRORS, one, "mitigated")


def test_what_is_escalated_before_its_effect_began_is_not_done(fleet: Scenario) -> None:
    fleet.loop.close()
    fleet.loop = SelfHealingOrchestrator.open(
        fleet.settings, clock=fleet.clock, executor=lambda effect, _: Busy(effect)
    )
    fleet.finish("retried", attempt=3)
    fleet.expect_actions(RETRIES, resolve_retry_failures="intended")
    escalate(fleet)

    fleet.restart()  # as if a slot were free again

    fleet.at(20).expect_directives().expect_incident(RETRIES, "Coder", "escalated")
    assert actions(fleet, "resolve_retry_failures") == {"Coder": ExecutionStatus.FAILED}
