"""Intended executions, with the decision and the handoff that belong to them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from self_healing import model
from self_healing.actions.directing import Directives
from self_healing.actions.effect import Effect
from self_healing.constitution.audit import Audit
from self_healing.constitution.decisions import Decisions
from self_healing.handoffs.channel import Channel
from self_healing.handoffs.message import ContextMessageHandoff, file_name, new_handoff
from self_healing.spec import ActionSpec, ActionType, Priority
from self_healing.storage.store import Store

START = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)

ACTIONS = {
    "strict": ActionSpec(
        name="strict",
        type=ActionType.QUALITY_ENFORCEMENT,
        priority=Priority.HIGH,
        target_agent="Auditor",
        prompt="Find out why.",
        directives={"quality_gate": "strict"},
        timeout=1,
    ),
    "pause": ActionSpec(
        name="pause",
        type=ActionType.EMERGENCY_SHUTDOWN,
        priority=Priority.EMERGENCY,
        target_agent="Auditor",
        prompt="Find out why.",
        directives={"paused": True},
        timeout=1,
    ),
    "ask": ActionSpec(
        name="ask",
        type=ActionType.AGENT_HANDOFF,
        priority=Priority.MEDIUM,
        target_agent="Auditor",
        prompt="Find out why.",
        timeout=1,
    ),
    "ask_once": ActionSpec(
        name="ask_once",
        type=ActionType.AGENT_HANDOFF,
        priority=Priority.LOW,
        target_agent="Auditor",
        prompt="Find out why.",
        timeout=1,
        tries=1,
    ),
}


def execution(number: int = 1, action: str = "strict", **changes: Any) -> model.Execution:
    """An intended execution of `action` for the agent ``Coder``; `number` tells it from others."""
    incident = f"inc-{number}"
    intended = model.Execution(
        id=f"exe-{number}",
        incident=incident,
        trigger="slow_tasks",
        action=action,
        step=0,
        attempt=1,
        target="Coder",
        target_agent="Auditor",
        status=model.ExecutionStatus.INTENDED,
        decision=f"dec-{number}",
        created_at=START,
        updated_at=START,
        settings=dict(ACTIONS[action].directives) if action in ACTIONS else {},
        key=model.idempotency_key(incident, "plan", 0, 1, "Coder"),
        handoff=f"hnd-{number}",
    )
    return msgspec.structs.replace(intended, **changes)


def decision(of: model.Execution, outcome: model.Outcome = model.Outcome.ALLOW) -> model.Decision:
    """The gate's answer that stands behind `of`."""
    proposal = model.Proposal(
        id=f"pro-{of.id}",
        incident=of.incident,
        trigger=of.trigger,
        group=(("agent", of.target),),
        action=of.action,
        action_type="quality_enforcement",
        step=of.step,
        attempt=of.attempt,
        target=of.target,
        target_agent=of.target_agent,
        settings=of.settings,
        spec_version="v1",
        plan_version="plan",
    )
    return model.Decision(id=of.decision, proposal=proposal, at=START, outcome=outcome, findings=(), facts={})


def handoff(number: int = 1, **changes: Any) -> model.Handoff:
    """The handoff of the execution with that number, not yet delivered."""
    message = ContextMessageHandoff(
        target_agent="Auditor",
        prompt="Find out why.",
        context={"symptom": {"value": 90.0}},
        tags=("slow",),
        created_at=START,
        id=f"hnd-{number}",
        incident=f"inc-{number}",
        execution=f"exe-{number}",
        deadline=START + timedelta(minutes=15),
    )
    created = new_handoff(message, about="Coder", file=file_name(START + timedelta(microseconds=number), "Auditor"))
    return msgspec.structs.replace(created, **changes)


def record(store: Store, decided: model.Decision) -> None:
    """Put a decision on record, as the loop does."""
    Decisions(store, Audit(store)).record(decided)


def directives_in(store: Store) -> Directives:
    """The directives of a state, as the owner of it builds them."""
    audit = Audit(store)
    return Directives(store, allowing=Decisions(store, audit).allowing, audit=audit.append)


def effect_on(store: Store, channel: Channel, **options: Any) -> Effect:
    """The core of effects on a state, as the owner of it builds it."""
    audit = Audit(store)
    given: dict[str, Any] = {
        "allowing": Decisions(store, audit).allowing,
        "fresh": lambda _decision: True,
        "audit": audit.append,
        "action": lambda execution: ACTIONS[execution.action],
        "now": lambda: START,
        "stopped": lambda: False,
        "observe": lambda: False,
        "bypassed": lambda _bypass: None,
    }
    return Effect(store, channel, directives_in(store), **(given | options))


def intend(store: Store, number: int = 1, action: str = "strict", **changes: Any) -> str:
    """Commit an intent as the gate and the orchestrator do, with all that belongs to it. Returns its id."""
    intended = execution(number, action, **changes)
    with store.transaction():
        record(store, decision(intended))
        if intended.handoff is not None:
            store.put(handoff(number))
        store.put(intended)
    return intended.id
