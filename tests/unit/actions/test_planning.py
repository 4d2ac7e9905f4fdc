"""Planning: a step becomes a proposal, the gate's answer a record, and only what is allowed an intent."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from self_healing.actions.planning import DIAGNOSTIC_STEP, Decide, Planner
from self_healing.actions.registry import ActionRegistry
from self_healing.constitution.audit import Audit
from self_healing.constitution.decisions import Decisions
from self_healing.handoffs.outbox import Outbox
from self_healing.handoffs.router import Route
from self_healing.model import (
    Decision,
    Execution,
    ExecutionStatus,
    Finding,
    Handoff,
    Incident,
    Outcome,
    Proposal,
    affected_agent,
    idempotency_key,
)
from self_healing.storage.store import Store
from tests.unit.constitution.fine import NOW, SPEC, incident

S = ExecutionStatus


class Bench:
    """A planner on a state of its own, and a gate that says what it is told to."""

    def __init__(self, directory: Path, *, observe: bool = False) -> None:
        self.store = Store(directory / "state")
        self.audit = Audit(self.store)
        self.says: tuple[Outcome, str | None] = (Outcome.ALLOW, None)
        self.people: list[Proposal] = []  # what people were asked
        self.proposed: list[tuple[Proposal, dict[str, Any]]] = []
        self.planner = Planner(
            self.store,
            ActionRegistry(SPEC.actions),
            spec_of=lambda _incident: SPEC,
            record=Decisions(self.store, self.audit).record,
            audit=self.audit.append,
            symptom=lambda about: {"incident": about.id},
            context=lambda about, action, settings: {"about": about.id, "settings": settings},
            handoff=Outbox(self.store, directory / "handoffs", lambda _agent: Route("file")).make,
            asks=self,
            fallback="Operator",
            agents=lambda about: {affected_agent(about.group)},
            observe=observe,
        )

    def asked(self, proposal: Proposal) -> bool:
        return any(each.attempt == proposal.attempt for each in self.people)

    def ask(self, decision: Decision, execution: Execution, incident: Incident, at: datetime) -> None:
        self.people.append(decision.proposal)

    def decide(self, proposal: Proposal, incident: Incident, context: dict[str, Any]) -> Decision:
        self.proposed.append((proposal, context))
        outcome, policy = self.says
        findings = () if policy is None else (Finding(article="III", policy=policy, outcome=outcome),)
        id = f"dec-{len(self.proposed)}"
        return Decision(id=id, proposal=proposal, at=NOW, outcome=outcome, findings=findings, facts={})

    def propose(
        self,
        action: str = "pause",
        *,
        about: Incident | None = None,
        step: int = 0,
        at: datetime = NOW,
        before: Execution | None = None,
        says: tuple[Outcome, str | None] = (Outcome.ALLOW, None),
    ) -> Execution:
        self.says = says
        decide: Decide = self.decide
        with self.store.transaction():
            return self.planner.propose(about or incident(), SPEC.action(action), step, decide, at, before)

    def kinds(self) -> list[str]:
        return [entry.kind for entry in self.audit.tail(99)]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.store.close()


DEFER = (Outcome.DEFER, "cool_down")


def test_a_proposal_says_all_that_would_be_done_and_on_what_spec_and_plan(bench: Bench) -> None:
    proposal = bench.planner.proposal(incident(attempts=2), SPEC.action("pause"), 0)
    assert (proposal.settings, proposal.probation, proposal.renews) == ({"paused": True}, {"max_concurrency": 1}, None)
    assert (proposal.spec_version, proposal.plan_version) == (SPEC.version, "plan-1")
    assert (proposal.target, proposal.target_agent, proposal.step, proposal.attempt) == ("Coder", "Auditor", 0, 2)
    assert not proposal.exempt_from_attempts
    assert bench.planner.proposal(incident(), SPEC.action("budget"), 1).probation == {}


def test_no_handoff_goes_to_the_agent_that_it_is_about(bench: Bench) -> None:
    assert bench.planner.proposal(incident(agent="Auditor"), SPEC.action("ask"), 2).target_agent == "Operator"


def test_an_allowed_proposal_is_an_intent_with_its_key_and_handoff_and_the_decision_recorded_before_it(
    bench: Bench,
) -> None:
    done = bench.propose()
    assert (done.status, done.decision, done.settings) == (S.INTENDED, "dec-1", {"paused": True})
    assert done.key == idempotency_key("inc-1", "plan-1", 0, 0, "Coder")
    handoff = bench.store.get(Handoff, done.handoff or "")
    assert (handoff.execution, handoff.target_agent, handoff.about) == (done.id, "Auditor", "Coder")
    assert (handoff.message["prompt"], handoff.message["context"]["about"]) == ("Find out why.", "inc-1")
    assert handoff.deadline == NOW + timedelta(seconds=SPEC.action("pause").handoff_deadline)
    assert bench.kinds() == ["decision", "intent"]
    assert bench.store.get(Decision, "dec-1").entry == 1
    assert bench.audit.tail(1)[0].payload == {
        "execution": done.id,
        "decision": "dec-1",
        "key": done.key,
        "handoff": done.handoff,
    }
    assert Decisions(bench.store, bench.audit).allowing(done).id == "dec-1"


@pytest.mark.parametrize(
    ("says", "status"),
    [
        ((Outcome.DENY, "keeps_failing"), S.DENIED),
        ((Outcome.DEFER, "cool_down"), S.DEFERRED),
        ((Outcome.ASK, "cannot_be_undone"), S.AWAITING_APPROVAL),
    ],
)
def test_what_is_not_allowed_has_a_reason_and_neither_key_nor_handoff(
    bench: Bench, says: tuple[Outcome, str], status: ExecutionStatus
) -> None:
    told = bench.propose(says=says)
    assert (told.status, told.reason, told.key, told.handoff) == (status, says[1], None, None)
    assert (bench.kinds(), bench.store.count(Handoff)) == (["decision"], 0)


def test_in_observe_mode_an_allowed_proposal_is_only_what_would_be_done(tmp_path: Path) -> None:
    bench = Bench(tmp_path, observe=True)
    told = bench.propose()
    assert (told.status, told.key, told.handoff) == (S.WOULD, None, None)
    assert bench.store.count(Handoff) == 0
    bench.store.close()


def test_the_same_answer_again_is_not_recorded_again(bench: Bench) -> None:
    first = bench.propose(says=DEFER)
    assert bench.propose(says=DEFER, before=first, at=NOW + timedelta(seconds=9)) == first
    assert bench.kinds() == ["decision"]


def test_another_reason_is_recorded_and_the_waiting_goes_on_from_its_first_moment(bench: Bench) -> None:
    first = bench.propose(says=DEFER)
    later = NOW + timedelta(seconds=9)
    second = bench.propose(says=(Outcome.DEFER, "rate_limit"), before=first, at=later)
    assert (second.id, second.reason, second.decision) == (first.id, "rate_limit", "dec-2")
    assert (second.created_at, second.updated_at) == (NOW, later)
    assert bench.kinds() == ["decision", "decision"]


def test_what_waited_is_begun_from_the_moment_it_is_allowed(bench: Bench) -> None:
    first = bench.propose(says=DEFER)
    later = NOW + timedelta(seconds=9)
    allowed = bench.propose(before=first, at=later)
    assert (allowed.id, allowed.status, allowed.created_at) == (first.id, S.INTENDED, later)
    assert bench.store.count(Execution) == 1


def test_the_gate_is_shown_what_is_wrong_and_all_the_evidence_is_gathered_for_what_it_allows(bench: Bench) -> None:
    allowed = bench.propose("budget", step=1)
    assert bench.proposed[0][1] == {"incident": "inc-1"}
    handoff = bench.store.get(Handoff, allowed.handoff or "")
    assert handoff.message["context"] == {"about": "inc-1", "settings": {"token_budget": 100}}


def test_each_analysis_of_an_incident_has_a_key_of_its_own_and_is_no_attempt(bench: Bench) -> None:
    first = bench.propose("look", step=DIAGNOSTIC_STEP)
    second = bench.propose("look", step=DIAGNOSTIC_STEP)
    assert (first.attempt, second.attempt) == (0, 1)
    assert first.key != second.key
    assert all(proposal.exempt_from_attempts for proposal, _ in bench.proposed)


def test_a_renewal_is_about_the_same_execution_and_names_the_decision_that_it_renews(bench: Bench) -> None:
    done = bench.propose()
    later = incident(attempts=2)
    again = bench.planner.renewal(later, done, SPEC.action("pause"), {"max_concurrency": 1})
    assert (again.renews, again.settings, again.probation) == ("dec-1", {"max_concurrency": 1}, {})
    assert (again.step, again.attempt, again.target) == (done.step, done.attempt, done.target)
    allowed = Decision(id="dec-9", proposal=again, at=NOW, outcome=Outcome.ALLOW, findings=(), facts={})
    decisions = Decisions(bench.store, bench.audit)
    decisions.record(allowed)
    assert decisions.allowing(done, "dec-9").id == "dec-9"
