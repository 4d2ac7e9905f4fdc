"""Violations: denials, each counted once."""

from __future__ import annotations

from typing import Any

import msgspec

from self_healing.constitution.facts import Facts
from self_healing.constitution.violations import violations
from self_healing.model import Decision
from tests.unit.constitution.fine import FINE, GATE, NOW, proposal


def decision(incident: str, step: int, facts: Facts) -> Decision:
    return GATE.decide(proposal(incident=incident, step=step), facts, NOW)


def facts(**changes: Any) -> Facts:
    return msgspec.structs.replace(FINE, **changes)


def test_a_denial_counts_once_for_each_incident_step_and_article_however_often_it_is_looked_at() -> None:
    denied = facts(settings_empty_target=True, handoff_to_itself=True, demoted=True, ingest_lag_s=99)
    looked_at = [decision("inc-1", 0, denied)] * 3 + [
        decision("inc-1", 0, facts(settings_empty_target=True)),
        decision("inc-1", 1, facts(settings_empty_target=True)),
        decision("inc-2", 0, facts(trigger_in_spec=False)),
    ]
    assert violations(looked_at) == {
        ("inc-1", 0, "III"),
        ("inc-1", 0, "IV"),
        ("inc-1", 1, "III"),
        ("inc-2", 0, "V"),
    }


def test_waiting_asking_and_allowing_violate_nothing() -> None:
    fine = [FINE, facts(ingest_lag_s=61), facts(reversible=False)]
    assert violations(decision("inc-1", 0, each) for each in fine) == set()
