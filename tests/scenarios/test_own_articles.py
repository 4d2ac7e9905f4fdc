"""Own articles in the real loop: what they forbid is not done, and is told and recorded like what the five forbid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from self_healing.errors import NotFound
from self_healing.model import Decision, Outcome
from self_healing.surface import Surface
from self_healing.testing import Scenario
from tests.scenarios.conftest import MakeScenario

SLOW = "slow_tasks"
ACTION = "analyze_slow_tasks"
ABOUT_CODER = 'context.proposal.agent == "Coder"'


def own(directory: Path, annotations: str, condition: str) -> dict[str, Any]:
    """Settings with one own policy."""
    file = directory / "own.cedar"
    file.write_text(
        f'@id("not_here") {annotations} forbid (principal, action == Action::"execute", resource) '
        f"when {{ {condition} }};"
    )
    return {"constitution": {"files": [file]}}


def slow(fleet: Scenario) -> None:
    """Coder and Other are slow, and go on."""
    for agent in ("Coder", "Other"):
        fleet.start(f"slow-{agent}", agent, started_at=fleet.clock.now().timestamp() - 70)


def test_what_an_own_article_denies_is_a_violation_of_it_and_hits_what_it_names_alone(
    scenario: MakeScenario, tmp_path: Path
) -> None:
    fleet = scenario(settings=own(tmp_path, "", ABOUT_CODER))
    slow(fleet)
    fleet.expect_actions(SLOW, "Other", **{ACTION: "dispatched"})
    fleet.at(2).expect_incident(SLOW, "Coder", "escalated")
    told = Surface(fleet.loop).call("constitution", {})
    [denied] = [each for each in told["denials"] if each["target"] == "Coder" and each["action"] == ACTION]
    assert denied["articles"]["VI"] == [{"policy": "not_here", "outcome": "deny"}]
    assert told["articles"][-1]["policies"][0]["text"].endswith(f"when {{ {ABOUT_CODER} }};")
    [decision] = [each for each in fleet.loop.store.select(Decision) if each.id == denied["id"]]
    [entry] = [each for each in fleet.loop.audit.tail(99) if each.payload.get("decision") == decision.id]
    assert entry.payload["constitution"] == decision.constitution == told["version"]
    assert entry.payload["findings"] == ["VI/not_here"]


def test_what_an_own_article_defers_is_looked_at_again_and_done_once_it_holds_no_more(
    scenario: MakeScenario, tmp_path: Path
) -> None:
    fleet = scenario(settings=own(tmp_path, '@outcome("defer")', "context.fleet_size < 2"))
    fleet.start("slow", started_at=fleet.clock.now().timestamp() - 70)
    fleet.expect_actions(SLOW, **{ACTION: "deferred"})
    fleet.at(5).start("t", "Other").at(6).expect_actions(SLOW, **{ACTION: "dispatched"})


def test_what_an_own_article_asks_for_waits_for_a_person_and_is_done_on_a_yes(
    scenario: MakeScenario, tmp_path: Path
) -> None:
    fleet = scenario(settings=own(tmp_path, '@outcome("ask")', ABOUT_CODER))
    slow(fleet)
    fleet.expect_actions(SLOW, **{ACTION: "awaiting_approval"})
    [asked] = Surface(fleet.loop).call("approvals", {})["approvals"]
    Surface(fleet.loop).call("approve", {"id": asked["id"], "by": "Ada", "reason": "go"})
    fleet.at(30).expect_actions(SLOW, **{ACTION: "dispatched"})
    outcomes = [each.outcome for each in fleet.loop.store.select(Decision) if each.proposal.target == "Coder"]
    assert (outcomes[0], outcomes[-1]) == (Outcome.ASK, Outcome.ALLOW)


def test_a_decision_is_explained_by_its_own_id_its_proposal_s_and_its_execution_s(
    scenario: MakeScenario, tmp_path: Path
) -> None:
    fleet = scenario(settings=own(tmp_path, "", ABOUT_CODER))
    slow(fleet)
    incident = fleet.incident(SLOW)
    [decision] = [each for each in fleet.loop.store.select(Decision) if each.proposal.incident == incident.id]
    surface = Surface(fleet.loop)
    told = surface.call("decision", {"id": decision.id})
    assert surface.call("decision", {"id": decision.proposal.id}) == told
    assert surface.call("decision", {"id": str(incident.execution)}) == told
    [held] = told["why"][-1]["held"]
    assert (held["policy"], held["facts"]) == ("not_here", {"proposal.agent": "Coder"})
    assert [way["changes"][0]["needed"] for way in held["passes_if"]] == ['not "Coder"']
    assert told["constitution"] == told["constitution_now"]
    with pytest.raises(NotFound):
        surface.call("decision", {"id": "dec-none"})
