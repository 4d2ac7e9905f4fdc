"""Constitutional violations: the denials, each counted once however often the proposal was looked at."""

from __future__ import annotations

from collections.abc import Iterable

from self_healing.model import Decision, Outcome


def violations(decisions: Iterable[Decision]) -> set[tuple[str, int, str]]:
    """One ``(incident, step, article)`` for each article that denied a step of an incident."""
    return {
        (decision.proposal.incident, decision.proposal.step, finding.article)
        for decision in decisions
        for finding in decision.findings
        if finding.outcome is Outcome.DENY
    }
