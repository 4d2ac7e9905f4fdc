"""Decisions on record: what the gate said, each with its entry on the audit log, and nothing is done without one."""

from __future__ import annotations

from typing import Any

import msgspec

from self_healing.constitution.audit import Audit
from self_healing.errors import ConstitutionBypass
from self_healing.model import Decision, Execution, Outcome, Proposal, idempotency_key
from self_healing.storage.store import Store

ABOUT = ("incident", "trigger", "action", "step", "attempt", "target", "target_agent")
"""What a proposal and its execution must agree on."""


class Decisions:
    """Records decisions, and finds the one by which something may be done.

    Args:
        store: the state.
        audit: takes an entry for each decision, in the same transaction.
    """

    def __init__(self, store: Store, audit: Audit) -> None:
        self._store = store
        self._audit = audit

    def record(self, decision: Decision) -> None:
        """Put a decision on record. Raises StateCorrupt, StorageError: it is not."""
        with self._store.joined():
            entry = self._audit.append("decision", told(decision), decision.at)
            self._store.put(msgspec.structs.replace(decision, entry=entry.seq))

    def allowing(self, execution: Execution, renewal: str | None = None) -> Decision:
        """The decision on record by which `execution` may be done.

        Args:
            renewal: the id of a later decision, by which something that it declared may be set once more.

        Raises:
            ConstitutionBypass: there is none, it is no allow, it is about something else, or the audit log does not
                have it as it stands.
        """
        decision = self._allowed(execution, execution.decision)
        proposal = decision.proposal
        if _canonical(proposal.settings) != _canonical(execution.settings):
            raise ConstitutionBypass(execution.id, f"decision {decision.id} is about another settings")
        if execution.key is None:
            raise ConstitutionBypass(execution.id, "it has no idempotency key")
        parts = (proposal.incident, proposal.plan_version, proposal.step, proposal.attempt, proposal.target)
        if execution.key != idempotency_key(*parts):
            raise ConstitutionBypass(execution.id, "its idempotency key is not that of what was decided")
        if renewal is None:
            return decision
        again = self._allowed(execution, renewal)
        if again.proposal.renews != decision.id:
            raise ConstitutionBypass(execution.id, f"decision {again.id} does not renew decision {decision.id}")
        return again

    def _allowed(self, execution: Execution, id: str) -> Decision:
        decision = self._store.find(Decision, id)
        if decision is None:
            raise ConstitutionBypass(execution.id, f"there is no decision {id}")
        if decision.outcome is not Outcome.ALLOW:
            raise ConstitutionBypass(execution.id, f"decision {id} says {decision.outcome.value}")
        for name in ABOUT:
            if getattr(decision.proposal, name) != getattr(execution, name):
                raise ConstitutionBypass(execution.id, f"decision {id} is about another {name}")
        entry = None if decision.entry is None else self._audit.entry(decision.entry)
        if entry is None or entry.kind != "decision" or _canonical(entry.payload) != _canonical(told(decision)):
            raise ConstitutionBypass(execution.id, f"decision {id} is not what the audit log has")
        return decision


def told(decision: Decision) -> dict[str, Any]:
    """What the audit log takes of a decision: all that says what may be done."""
    said: dict[str, Any] = {
        "decision": decision.id,
        **_proposed(decision.proposal),
        "outcome": decision.outcome.value,
        "findings": [f"{finding.article}/{finding.policy}" for finding in decision.findings],
    }
    if decision.constitution:
        said["constitution"] = decision.constitution
    return said


def _proposed(proposal: Proposal) -> dict[str, Any]:
    said: dict[str, Any] = {name: getattr(proposal, name) for name in ABOUT}
    said |= {
        "settings": proposal.settings,
        "plan_version": proposal.plan_version,
        "spec_version": proposal.spec_version,
    }
    if proposal.probation:
        said["probation"] = proposal.probation
    if proposal.renews is not None:
        said["renews"] = proposal.renews
    return said


def _canonical(payload: dict[str, Any]) -> bytes:
    return msgspec.json.encode(payload, order="sorted")
