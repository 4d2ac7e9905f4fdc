"""Real frameworks at work with fake models: their spans, as the SDK encodes them, become the right events."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from self_healing.model import Ingested
from self_healing.telemetry.normalised import Normalised
from self_healing.telemetry.otlp import traces
from tests.e2e.frameworks.program import SERVICE

ROOT = Path(__file__).parents[3]

FLEETS = ("pydantic_ai_fleet", "openai_agents_fleet", "litellm_fleet")


@cache
def normalised(fleet: str) -> Normalised:
    """What becomes of what a fleet exports; it runs in a process of its own, as frameworks instrument for good."""
    with TemporaryDirectory() as directory:
        out = Path(directory) / "request"
        command = [sys.executable, "-m", "tests.e2e.frameworks.program", fleet, str(out)]
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
        assert ran.returncode == 0, ran.stderr
        return traces(out.read_bytes())


def of_kind(fleet: str, kind: str) -> list[Ingested]:
    return [event for event in normalised(fleet).events if event.kind == kind]


def used(event: Ingested) -> tuple[int | None, int | None, float | None]:
    assert event.usage is not None
    cost = event.usage.total_usd
    return event.usage.prompt_tokens, event.usage.completion_tokens, cost if cost is None else round(cost, 9)


@pytest.mark.parametrize("fleet", FLEETS)
def test_nothing_of_a_framework_is_rejected_and_no_content_is_kept(fleet: str) -> None:
    found = normalised(fleet)
    assert found.rejected == {}
    assert found.events
    assert "a secret" not in repr(found)


@pytest.mark.parametrize("fleet", FLEETS)
def test_no_framework_floods_an_event_with_attributes(fleet: str) -> None:
    assert max(len(event.attributes or {}) for event in normalised(fleet).events) <= 24


def test_pydantic_ai_is_read_with_its_agents_its_usage_and_its_retries() -> None:
    fleet = "pydantic_ai_fleet"
    agents = [(event.agent, event.role, event.status) for event in of_kind(fleet, "span")]
    assert agents == [("support", "agent", "success"), ("broken", "agent", "timeout"), ("broken", "agent", "timeout")]
    assert used(of_kind(fleet, "span")[0])[:2] == (3000, 300)
    calls = [event for event in of_kind(fleet, "llm_call") if event.status == "success"]
    assert [used(call) for call in calls] == [(1000, 100, 0.0035)] * 3
    assert {(call.agent, call.model, call.task_id) for call in calls} == {("support", "gpt-4o", "conv-1")}
    assert Counter(event.status for event in of_kind(fleet, "llm_call")) == {"success": 3, "timeout": 2}
    assert [(tool.tool, tool.status, tool.attempt) for tool in of_kind(fleet, "tool_call")] == [
        ("lookup", "failed", 1),
        ("lookup", "success", None),
    ]
    assert {event.source for event in normalised(fleet).events} == {"otlp/pydantic_ai"}


def test_the_openai_agents_sdk_is_read_with_its_agents_its_usage_and_its_prices() -> None:
    fleet = "openai_agents_fleet"
    agents = {(event.agent, event.status) for event in of_kind(fleet, "span") if event.role == "agent"}
    assert agents == {("Triage", "success"), ("Broken", "failed")}
    calls = of_kind(fleet, "llm_call")
    assert [used(call) for call in calls if call.status == "success"] == [(100, 20, 0.00045)] * 2
    assert Counter((call.model, call.status) for call in calls) == {
        ("gpt-4o", "success"): 2,
        ("broken-model", "failed"): 1,
    }
    assert [(tool.tool, tool.status) for tool in of_kind(fleet, "tool_call")] == [("weather", "success")]
    assert {event.source for event in normalised(fleet).events} == {"otlp/openinference"}


def test_the_spans_around_an_agent_of_the_openai_agents_sdk_are_nobodys() -> None:
    roots = [event for event in normalised("openai_agents_fleet").events if event.parent_id is None]
    assert [(root.role, root.agent) for root in roots] == [("other", SERVICE)] * 2


def test_litellm_is_read_with_its_costs_and_its_errors() -> None:
    calls = {call.status: call for call in of_kind("litellm_fleet", "llm_call")}
    assert set(calls) == {"success", "failed"}
    assert used(calls["success"]) == (10, 20, 0.0000135)
    assert (calls["success"].model, calls["success"].provider, calls["success"].agent) == (
        "gpt-4o-mini",
        "openai",
        SERVICE,
    )
    assert calls["failed"].error_type == "RateLimitError"
    assert {event.source for event in normalised("litellm_fleet").events} == {"otlp/litellm"}
