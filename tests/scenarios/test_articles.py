"""Each article stops, alone and in the real loop, an action that is fine otherwise."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
import sqlalchemy as sa

from self_healing.constitution.stop import resume, stop
from self_healing.loop.judging import TESTED_SPEC
from self_healing.model import Decision, Judged, Lesson, Outcome, Result
from self_healing.storage import schema
from self_healing.testing import Scenario

SLOW = "slow_tasks"
ACTION = "analyze_slow_tasks"


def held(fleet: Scenario) -> tuple[str, list[str]]:
    """What the gate says of the action for a slow task that comes now."""
    fleet.finish("slow", duration_s=70.0)
    fleet.incident(SLOW)
    decision = [d for d in fleet.loop.store.select(Decision) if d.proposal.action == ACTION][-1]
    return decision.outcome.value, [f"{finding.article}/{finding.policy}" for finding in decision.findings]


def untested(fleet: Scenario) -> None:
    """The spec whose tests passed last is another one."""
    fleet.loop.store.put_fact(TESTED_SPEC, "another")


def cut_off(fleet: Scenario) -> None:
    """Somebody took the newest entry off the audit log."""
    fleet.finish("retried", "Other", attempt=3)
    fleet.incident("high_retry_rate", "Other")
    newest = fleet.loop.audit.tail(1)[0].seq
    with fleet.loop.store.transaction() as connection:
        connection.execute(sa.delete(schema.audit).where(schema.audit.c.seq == newest))


def failing(fleet: Scenario) -> None:
    """The action did not heal three agents in a row."""
    at = fleet.clock.now()
    for agent in ("Other", "Another", "Third"):
        bad = (Judged(at=at, result=Result.NOT_HEALED),)
        fleet.loop.store.put(Lesson(id=agent, trigger=SLOW, action=ACTION, agent=agent, recent=bad, last_at=at))


def waiting(fleet: Scenario) -> None:
    """An incident is open, and nothing is proposed: a person has said stop."""
    stop(fleet.settings.storage.state_dir, "looking", "Ada", fleet.clock.now())
    fleet.finish("early", duration_s=70.0)
    fleet.expect_incident(SLOW, "Coder", "open")


def silent(fleet: Scenario) -> None:
    """Nobody knows the incident's value."""
    waiting(fleet)
    incident = fleet.incident(SLOW)
    resume(fleet.settings.storage.state_dir, "looked", "Ada", fleet.clock.now())
    with fleet.loop.store.transaction():
        fleet.loop.register.put(msgspec.structs.replace(incident, value=None))


def test_an_incident_whose_plan_is_none_of_the_spec_is_stopped_by_article_five_alone(fleet: Scenario) -> None:
    waiting(fleet)
    incident = fleet.incident(SLOW)
    with fleet.loop.store.transaction():
        fleet.loop.register.put(msgspec.structs.replace(incident, plan=("adjust_cost_policies",)))
    resume(fleet.settings.storage.state_dir, "looked", "Ada", fleet.clock.now())
    fleet.at(10).incident(SLOW)
    [decision] = [d for d in fleet.loop.store.select(Decision) if d.proposal.action == "adjust_cost_policies"]
    assert {finding.article for finding in decision.findings} == {"V"}


def test_the_stop_is_read_at_the_decision_itself(fleet: Scenario) -> None:
    waiting(fleet)
    incident, loop = fleet.incident(SLOW), fleet.loop
    with loop.store.transaction():
        at = fleet.clock.now()
        decide, action = loop._parts.judging.at(at), loop.spec.action(ACTION)
        proposal = loop._parts.judging._planner.proposal(incident, action, 0)
        assert [f.policy for f in decide(proposal, incident, {"e": 1}).findings] == ["stopped"]
        resume(fleet.settings.storage.state_dir, "looked", "Ada", fleet.clock.now())
        assert decide(proposal, incident, {"e": 1}).findings == ()
        stop(fleet.settings.storage.state_dir, "again", "Ada", at)
        assert decide(proposal, incident, {"e": 1}).outcome is Outcome.DEFER


def test_outside_a_transaction_a_decision_would_not_be_recorded_and_is_a_denial(fleet: Scenario) -> None:
    waiting(fleet)
    resume(fleet.settings.storage.state_dir, "looked", "Ada", fleet.clock.now())
    incident, loop = fleet.incident(SLOW), fleet.loop
    proposal = loop._parts.judging._planner.proposal(incident, loop.spec.action(ACTION), 0)
    decision = loop._parts.judging.at(fleet.clock.now())(proposal, incident, {"e": 1})
    assert [finding.policy for finding in decision.findings] == ["decision_not_recorded"]


def test_each_denial_is_counted_once_through_restarts_and_however_many_incidents_there_were(fleet: Scenario) -> None:
    failing(fleet)
    fleet.at(5).finish("slow", duration_s=70.0)
    fleet.at(20)
    assert fleet.loop.violations == 1
    fleet.restart().at(40)
    assert fleet.loop.violations == 1
    incident, loop = fleet.incident(SLOW), fleet.loop
    proposal = loop._parts.judging._planner.proposal(incident, loop.spec.action(ACTION), 0)
    with loop.store.transaction():
        again = loop._parts.judging.at(fleet.clock.now())(proposal, incident, {"e": 1})
    assert (again.outcome, loop.violations) == (Outcome.DENY, 1)
    assert fleet.loop.store.fact("violation_count") == 1


@pytest.mark.parametrize(
    ("amiss", "outcome", "policy"),
    [
        (lambda _fleet: None, "allow", None),
        (silent, "defer", "I/evidence_missing"),
        (untested, "deny", "II/spec_tests_not_passed"),
        (cut_off, "deny", "III/decision_not_recorded"),
        (failing, "deny", "IV/keeps_failing"),
    ],
    ids=["nothing", "I", "II", "III", "IV"],
)
def test_an_article_alone_stops_an_action(
    fleet: Scenario, amiss: Callable[[Scenario], None], outcome: str, policy: str | None
) -> None:
    amiss(fleet)
    assert held(fleet.at(5)) == (outcome, [] if policy is None else [policy])
