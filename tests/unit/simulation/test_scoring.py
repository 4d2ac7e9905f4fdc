"""Scoring: what a run is said to be worth, on records made by hand."""

from __future__ import annotations

from datetime import timedelta

from self_healing.model import Directive
from self_healing.simulation.scenario import Scenario
from self_healing.simulation.scoring import Records, Trouble, score
from tests.unit.constitution.fine import NOW, SPEC, directive, execution

LONG_AGO = NOW - timedelta(minutes=30)
PAST = Trouble(
    kind="error_burst",
    members=(),
    one_cause=False,
    onset=NOW - timedelta(hours=1),
    ended={"a1": NOW - timedelta(minutes=20)},
    alone={"a1": NOW - timedelta(minutes=20)},
    repaired=frozenset(),
)
"""It is over for longer than the trigger's window of 15 minutes."""

PAUSED = directive("a1", "paused", created_at=LONG_AGO, undone_at=NOW)


def harmful(*directives: Directive) -> int:
    records = Records(incidents=[], executions=[execution(9, LONG_AGO)], directives=directives, verifications=[])
    told = score(records, [PAST], SPEC, NOW - timedelta(hours=1), Scenario(lasts=7200))
    count: int = told["run"]["harmful_actions"]
    return count


def test_to_restrain_an_agent_that_is_well_is_harmful() -> None:
    assert harmful(directive("a1", "max_concurrency", created_at=NOW)) == 1


def test_to_let_an_agent_back_from_a_pause_is_no_harm_though_its_fault_is_over_by_then() -> None:
    assert harmful(PAUSED, directive("a1", "max_concurrency", created_at=NOW)) == 0


def test_to_pause_an_agent_again_that_is_well_is_harmful() -> None:
    assert harmful(PAUSED, directive("a1", "paused", id="dir-again", created_at=NOW)) == 1
