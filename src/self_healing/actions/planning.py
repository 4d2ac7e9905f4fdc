"""Planning: the next step of a plan becomes a proposal, the gate's answer a record, an allowed one an intent."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from typing import Any, Protocol

import msgspec

from self_healing.actions.directing import AuditAppend
from self_healing.actions.registry import ActionRegistry
from self_healing.model import (
    Decision,
    Execution,
    ExecutionStatus,
    Handoff,
    Incident,
    Outcome,
    Proposal,
    affected_agent,
    idempotency_key,
    new_id,
)
from self_healing.spec import ActionSpec, Spec, limit_of
from self_healing.storage.store import Store

DIAGNOSTIC_STEP = -1
"""The step of a diagnostic: it belongs to no plan."""

WAITING = (ExecutionStatus.DEFERRED, ExecutionStatus.AWAITING_APPROVAL)

STATUS_OF = {
    Outcome.ALLOW: ExecutionStatus.INTENDED,
    Outcome.DENY: ExecutionStatus.DENIED,
    Outcome.DEFER: ExecutionStatus.DEFERRED,
    Outcome.ASK: ExecutionStatus.AWAITING_APPROVAL,
}


class Decide(Protocol):
    """The gate, with the facts of the instant."""

    def __call__(self, proposal: Proposal, incident: Incident, context: dict[str, Any]) -> Decision:
        """The decision about `proposal`, with `context` as the evidence that there is for it."""
        ...


class MakeHandoff(Protocol):
    """What makes the handoff that goes with an action."""

    def __call__(
        self,
        incident: Incident,
        *,
        execution: str,
        target_agent: str,
        prompt: str,
        context: dict[str, Any],
        tags: tuple[str, ...],
        at: datetime,
        deadline: datetime,
    ) -> Handoff:
        """A handoff in the state, with its name fixed and nothing delivered yet."""
        ...


class Asks(Protocol):
    """Who asks people for what the gate leaves to them."""

    def asked(self, proposal: Proposal) -> bool:
        """Whether a person was asked about this very plan."""
        ...

    def ask(self, decision: Decision, execution: Execution, incident: Incident, at: datetime) -> None:
        """Ask, in the transaction that is open."""
        ...


class Planner:
    """Turns steps into proposals, and what the gate says of them into executions.

    Args:
        store: the state; written in the transaction that is open.
        registry: the declared actions.
        spec_of: the spec that an incident goes on by.
        record: puts a decision on record.
        audit: puts one entry on the audit log.
        symptom: what is wrong, which is the evidence that a decision needs.
        context: all the evidence for a handoff about an incident.
        handoff: makes a handoff.
        asks: asks people.
        agents: whom an incident is about.
        fallback: the person who gets what no agent may have.
        observe: whether effects are only recorded as ``would``.
    """

    def __init__(
        self,
        store: Store,
        registry: ActionRegistry,
        *,
        spec_of: Callable[[Incident], Spec],
        record: Callable[[Decision], None],
        audit: AuditAppend,
        symptom: Callable[[Incident], dict[str, Any]],
        context: Callable[[Incident, ActionSpec, dict[str, Any]], dict[str, Any]],
        handoff: MakeHandoff,
        asks: Asks,
        agents: Callable[[Incident], Collection[str]],
        fallback: str,
        observe: bool,
    ) -> None:
        self._store = store
        self._registry = registry
        self._spec_of = spec_of
        self._record = record
        self._audit = audit
        self._symptom = symptom
        self._context = context
        self._handoff = handoff
        self._asks = asks
        self._agents = agents
        self._fallback = fallback
        self._observe = observe

    def proposal(self, incident: Incident, action: ActionSpec, step: int) -> Proposal:
        """The proposal to run `action` for `incident`."""
        target = affected_agent(incident.group)
        analysis = step == DIAGNOSTIC_STEP
        recipient = self._fallback if action.target_agent in self._agents(incident) else action.target_agent
        return Proposal(
            id=new_id("pro"),
            incident=incident.id,
            trigger=incident.trigger,
            group=incident.group,
            action=action.name,
            action_type=action.type.value,
            step=step,
            attempt=self._analyses(incident) if analysis else incident.next_attempt,
            target=target,
            target_agent=recipient,
            settings=self.settings(action, incident),
            spec_version=self._spec_of(incident).version,
            plan_version=incident.plan_version,
            probation=action.probation,
            exempt_from_attempts=analysis,
        )

    def renewal(
        self, incident: Incident, execution: Execution, action: ActionSpec, settings: dict[str, Any]
    ) -> Proposal:
        """The proposal to set once more, for an `execution` that was allowed, `settings` that it declared."""
        again = self.proposal(incident, action, execution.step)
        return msgspec.structs.replace(
            again, attempt=execution.attempt, settings=settings, probation={}, renews=execution.decision
        )

    def _analyses(self, incident: Incident) -> int:
        """How often the incident was analysed: an analysis is no attempt, and still needs a key of its own."""
        executions = self._store.select(Execution, incident=incident.id)
        return sum(each.step == DIAGNOSTIC_STEP and each.key is not None for each in executions)

    def settings(self, action: ActionSpec, incident: Incident) -> dict[str, Any]:
        """The directives that `action` would set for `incident`, as the spec says; a parent sets none itself."""
        if incident.is_parent:
            return {}
        triggers = self._spec_of(incident).triggers
        trigger = next((each for each in triggers if each.name == incident.trigger), None)
        limit = incident.threshold if trigger is None else limit_of(trigger, incident.threshold, incident.baseline)
        return self._registry.settings(action, threshold=limit, baseline=incident.baseline)

    def propose(
        self, incident: Incident, action: ActionSpec, step: int, decide: Decide, at: datetime, before: Execution | None
    ) -> Execution:
        """Let the gate judge the next step, and put its answer on record; returns the execution that carries it.

        An answer that is the same as before is not recorded again.

        Args:
            before: the execution of the same step and attempt that waits, if there is one; it is carried on.
        """
        proposal = self.proposal(incident, action, step)
        decision = decide(proposal, incident, self._symptom(incident))
        reason = ", ".join(finding.policy for finding in decision.findings) or None
        status = STATUS_OF[decision.outcome]
        if self._observe and status in (ExecutionStatus.INTENDED, ExecutionStatus.AWAITING_APPROVAL):
            status = ExecutionStatus.WOULD
        asks = status is ExecutionStatus.AWAITING_APPROVAL and not self._asks.asked(proposal)
        if before is not None and (before.status, before.reason) == (status, reason) and not asks:
            return before
        self._record(decision)
        # A person's time to answer does not count as waiting.
        anew = (
            before is None or status is ExecutionStatus.INTENDED or before.status is ExecutionStatus.AWAITING_APPROVAL
        )
        execution = Execution(
            id=before.id if before is not None else new_id("exe"),
            incident=incident.id,
            trigger=incident.trigger,
            action=action.name,
            step=step,
            attempt=proposal.attempt,
            target=proposal.target,
            target_agent=proposal.target_agent,
            status=status,
            decision=decision.id,
            created_at=at if before is None or anew else before.created_at,
            updated_at=at,
            settings=proposal.settings,
            reason=reason,
        )
        if status is ExecutionStatus.INTENDED:
            execution = self._intend(execution, incident, action, at)
        self._store.put(execution)
        if asks:
            self._asks.ask(decision, execution, incident, at)
        return execution

    def _intend(self, execution: Execution, incident: Incident, action: ActionSpec, at: datetime) -> Execution:
        """The execution with its key and its handoff, whose file name is fixed here and now.

        All the evidence is gathered only here: in a storm hundreds of proposals wait, and each may do so for minutes.
        What is beneath a parent gets no handoff of its own: the parent's is about all of it.
        """
        key = idempotency_key(incident.id, incident.plan_version, execution.step, execution.attempt, execution.target)
        if incident.parent is not None and execution.step != DIAGNOSTIC_STEP:
            self._audit("intent", {"execution": execution.id, "key": key, "handoff": None}, at)
            return msgspec.structs.replace(execution, key=key)
        handoff = self._handoff(
            incident,
            execution=execution.id,
            target_agent=execution.target_agent,
            prompt=action.prompt,
            context=self._context(incident, action, execution.settings),
            tags=(action.type.value, action.priority.value, *action.tags),
            at=at,
            deadline=at + timedelta(seconds=action.handoff_deadline),
        )
        self._audit(
            "intent", {"execution": execution.id, "decision": execution.decision, "key": key, "handoff": handoff.id}, at
        )
        return msgspec.structs.replace(execution, key=key, handoff=handoff.id)
