"""A proposal that nothing is held against, and ways to change one thing about it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from self_healing.constitution.circumstances import Circumstances, Fleet
from self_healing.constitution.effects import Effects
from self_healing.constitution.facts import Facts, gather
from self_healing.constitution.gate import Gate
from self_healing.model import (
    Decision,
    Directive,
    Execution,
    ExecutionStatus,
    Incident,
    IncidentState,
    Judged,
    Lesson,
    Proposal,
    Reason,
    Result,
    SeriesState,
    Severity,
    Verdict,
)
from self_healing.spec import ActionSpec, Limits, Spec

NOW = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
GATE = Gate()

FINE = Facts(
    incident_seen=True,
    evidence_present=True,
    samples=5,
    samples_needed=3,
    ingest_lag_s=0,
    oldest_in_flight_s=0,
    freshness_limit_s=60,
    has_verification_plan=True,
    spec_tests_passed=True,
    decision_recorded=True,
    stopped=False,
    reversible=True,
    signals_agreeing=2,
    signals_needed=2,
    approved=False,
    approval_refused=False,
    actions_last_minute=0,
    actions_per_minute_limit=6,
    running_actions=0,
    running_actions_limit=5,
    running_of_action=0,
    running_of_action_limit=5,
    running_on_target=0,
    running_on_target_limit=1,
    cool_down_left_s=0,
    changes_agent=True,
    blast_radius_in_use=0,
    blast_radius_limit=2,
    breaker_open=False,
    fleet_size=20,
    unwell_with_one_cause=1,
    fleet_stop_percent=40,
    exempt_from_attempts=False,
    attempts_of_incident=0,
    attempts_of_incident_limit=3,
    attempts_on_target_today=0,
    attempts_on_target_today_limit=5,
    causal_depth=1,
    causal_depth_limit=3,
    handoff_to_itself=False,
    settings_empty_target=False,
    demoted=False,
    trigger_in_spec=True,
    action_in_spec=True,
    action_in_plan=True,
    step_condition_met=True,
    parameters_from_spec=True,
    spec_version_current=True,
    plan_version_current=True,
    condition_still_met=True,
)

SPEC = Spec.model_validate(
    {
        "triggers": [
            {
                "name": "errors",
                "type": "bottleneck",
                "signal": "task.errors",
                "aggregate": "ratio",
                "window": "15m",
                "condition": {"kind": "threshold", "value": 0.2},
                "min_samples": 3,
                "severity": "high",
                "target_agent": "Auditor",
                "actions": ["pause", "budget", "ask", "erase"],
            }
        ],
        "actions": [
            {
                "name": "pause",
                "type": "emergency_shutdown",
                "priority": "emergency",
                "target_agent": "Auditor",
                "prompt": "Find out why.",
                "directives": {"paused": True},
            },
            {
                "name": "budget",
                "type": "cost_optimization",
                "priority": "high",
                "target_agent": "Auditor",
                "prompt": "Find out why.",
                "directives": {"token_budget": 100},
            },
            {
                "name": "ask",
                "type": "agent_handoff",
                "priority": "high",
                "target_agent": "Auditor",
                "prompt": "Find out why.",
            },
            {
                "name": "erase",
                "type": "agent_handoff",
                "priority": "high",
                "target_agent": "Auditor",
                "prompt": "Erase it.",
                "reversible": False,
            },
            {
                "name": "look",
                "type": "diagnostic",
                "priority": "medium",
                "target_agent": "Auditor",
                "prompt": "Look into it.",
            },
        ],
    }
)

GROUP = (("agent", "Coder"),)
AGENTS = ("Coder", "Auditor", *(f"a{number}" for number in range(18)))  # a fleet of 20


def settings_from_spec(action: ActionSpec, _incident: Incident) -> Mapping[str, Any]:
    return action.directives


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def incident(id: str = "inc-1", agent: str = "Coder", trigger: str = "errors", **changes: Any) -> Incident:
    fine = Incident(
        id=id,
        trigger=trigger,
        group=(("agent", agent),),
        severity=Severity.HIGH,
        state=IncidentState.OPEN,
        opened_at=NOW,
        first_opened_at=NOW,
        updated_at=NOW,
        value=0.5,
        threshold=0.2,
        baseline=None,
        peak=0.5,
        spec_version=SPEC.version,
        plan=("pause", "budget", "ask", "erase"),
        plan_version="plan-1",
    )
    return msgspec.structs.replace(fine, **changes)


def proposal(action: str = "pause", **changes: Any) -> Proposal:
    spec = SPEC.action(action)
    plan = ("pause", "budget", "ask", "erase")
    fine = Proposal(
        id="pro-1",
        incident="inc-1",
        trigger="errors",
        group=GROUP,
        action=action,
        action_type=spec.type.value,
        step=plan.index(action) if action in plan else -1,
        attempt=1,
        target="Coder",
        target_agent="Auditor",
        settings=dict(spec.directives),
        spec_version=SPEC.version,
        plan_version="plan-1",
        probation=dict(spec.probation),
        exempt_from_attempts=action == "look",
    )
    return msgspec.structs.replace(fine, **changes)


def verdict(**changes: Any) -> Verdict:
    fine = Verdict(
        trigger="errors",
        group=GROUP,
        at=NOW,
        state=SeriesState.FIRING,
        reason=Reason.CONDITION_MET,
        samples=3,
        value=0.5,
        threshold=0.2,
    )
    return msgspec.structs.replace(fine, **changes)


def execution(number: int, at: datetime, **changes: Any) -> Execution:
    """One about another agent and by another action, unless told otherwise."""
    fine = Execution(
        id=f"exe-{number}",
        incident="inc-9",
        trigger="errors",
        action="ask",
        step=0,
        attempt=1,
        target="a1",
        target_agent="Auditor",
        status=ExecutionStatus.DISPATCHED,
        decision="dec-1",
        tries=1,
        created_at=at,
        updated_at=at,
    )
    return msgspec.structs.replace(fine, **changes)


KINDS = {
    "paused": "emergency_shutdown",
    "token_budget": "cost_optimization",
    "max_output_tokens": "cost_optimization",
}


def directive(agent: str, name: str = "paused", **changes: Any) -> Directive:
    fine = Directive(
        id=f"dir-{agent}-{name}",
        agent=agent,
        name=name,
        value=True,
        owner="inc-9",
        execution="exe-9",
        kind=KINDS.get(name, "another"),
        reason="a test",
        created_at=NOW,
        expires_at=NOW + timedelta(hours=1),
    )
    return msgspec.structs.replace(fine, **changes)


def lesson(
    *recent: Result, last_at: datetime = NOW, trigger: str = "errors", action: str = "pause", agent: str = "Coder"
) -> Lesson:
    """What came of an action, one result a second until `last_at`."""
    since = [last_at - timedelta(seconds=number) for number in reversed(range(len(recent)))]
    return Lesson(
        id=f"{trigger}/{action}/{agent}",
        trigger=trigger,
        action=action,
        agent=agent,
        recent=tuple(Judged(at=at, result=result) for at, result in zip(since, recent, strict=True)),
        last_at=last_at,
    )


def circumstances(**changes: Any) -> Circumstances:
    fine = Circumstances(
        at=NOW,
        spec=SPEC,
        tested_version=SPEC.version,
        fleet=Fleet.of(AGENTS, [incident()]),
        effects=Effects(),
        ingest_lag_s=0.0,
        oldest_in_flight_s=0.0,
        decision_recorded=True,
        stopped=False,
        step_is_for=lambda _incident, _action: True,
        settings_from_spec=settings_from_spec,
        unwell=lambda _agent: (),
        agreeing=lambda _agent: 2,
        began=lambda _incident: NOW,
    )
    return msgspec.structs.replace(fine, **changes)


def limits(**changes: Any) -> Limits:
    return Limits.model_validate(changes)


def gathered(proposed: Proposal | None = None, **changes: Any) -> Facts:
    """The facts when all is fine but for `changes`, to the arguments of `gather` or to the circumstances."""
    given: dict[str, Any] = {"incident": incident(), "verdict": verdict(), "evidence": ["e"], "lessons": []}
    own = {name: changes.pop(name) for name in (*given, "answer", "renewed") if name in changes}
    return gather(proposed or proposal(), circumstances=circumstances(**changes), **(given | own))


def decided(facts: Facts) -> Decision:
    return GATE.decide(proposal(), facts, NOW)


def held(facts: Facts) -> list[str]:
    """The policies that hold against a proposal with these facts."""
    return [finding.policy for finding in decided(facts).findings]
