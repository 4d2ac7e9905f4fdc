"""Reporting: what stands now in the words of the contract for ``check``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from self_healing.model import Accounting, Execution, ExecutionStatus, Handoff, Incident, group_dict
from self_healing.storage.store import Store


def report(
    store: Store,
    incidents: list[Incident],
    count: Accounting,
    *,
    triggers_evaluated: int,
    triggers_fired: int,
    actions_executed: int,
    violations: int,
    handoffs_dir: Path,
) -> dict[str, Any]:
    """The mapping of ``check --format json``.

    Args:
        store: the state.
        incidents: all that are not closed.
        count: what became of every event.
        triggers_evaluated: enabled triggers.
        triggers_fired: series that fire.
        actions_executed: effects begun in this cycle.
        violations: denials that were new in it.
        handoffs_dir: where handoff files are.
    """
    executions = [each for incident in incidents for each in _newest(store.select(Execution, incident=incident.id))]
    handoffs = [store.get(Handoff, each.handoff) for each in executions if each.handoff is not None]
    return {
        "triggers_evaluated": triggers_evaluated,
        "triggers_fired": triggers_fired,
        "actions_executed": actions_executed,
        "constitutional_violations": violations,
        "incidents": [_incident(incident) for incident in incidents],
        "actions": [_action(execution) for execution in executions],
        "handoffs": [str(handoffs_dir / each.file) for each in handoffs if each.delivered_at is not None],
        "telemetry": accounting(count),
    }


def accounting(count: Accounting) -> dict[str, Any]:
    """The accounting: every fate as ``{reason: n}``."""
    return {
        "received": count.received,
        "accepted": count.accepted,
        "rejected": count.rejected,
        "aggregated": count.aggregated,
        "quarantined": count.quarantined,
        "dropped": count.dropped,
        "in_flight": count.in_flight,
    }


def _incident(incident: Incident) -> dict[str, Any]:
    return {
        "id": incident.id,
        "trigger": incident.trigger,
        "group": group_dict(incident.group),
        "severity": incident.severity.value,
        "value": incident.value,
        "threshold": incident.threshold,
        "state": incident.state.value,
    }


def _action(execution: Execution) -> dict[str, Any]:
    intended = execution.status is ExecutionStatus.INTENDED
    return {
        "action": execution.action,
        "incident": execution.incident,
        "status": ExecutionStatus.DISPATCHED.value if intended else execution.status.value,
        "target_agent": execution.target_agent,
    }


def _newest(executions: list[Execution]) -> list[Execution]:
    """The newest execution of each step, in the order of the steps' first."""
    newest: dict[int, Execution] = {}
    for execution in executions:
        newest[execution.step] = execution
    return list(newest.values())
