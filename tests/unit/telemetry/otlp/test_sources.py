"""Each source's own names become the same columns: a hand-written request of each, and what it says."""

from __future__ import annotations

from typing import Any

import pytest

from self_healing.model import Ingested
from self_healing.telemetry.otlp.names import COLUMNS, CONTENT, ROLES
from tests.unit.telemetry.otlp.bodies import FIXTURES, TRACE, fixture, in_protobuf, normalised

NAMES = sorted(path.stem for path in FIXTURES.glob("*.json"))

WORK = ("kind", "role", "task_id", "agent", "model", "provider", "attempt", "status", "duration_s")
SAID = ("error_type", "tool", "call_id", "quality")


def told(event: Ingested, columns: tuple[str, ...]) -> tuple[Any, ...]:
    return tuple(getattr(event, column) for column in columns)


def used(event: Ingested) -> tuple[Any, ...] | None:
    """Input, output, total and cost."""
    if event.usage is None:
        return None
    cost = event.usage.total_usd
    tokens = (event.usage.prompt_tokens, event.usage.completion_tokens, event.usage.total_tokens)
    return (*tokens, cost if cost is None else round(cost, 9))


EXPECTED: dict[str, list[tuple[tuple[Any, ...], tuple[Any, ...] | None, tuple[Any, ...]]]] = {
    "genai": [
        (
            ("llm_call", "model", "conv-1", "Coder", "gpt-4o-2024-08-06", "openai", None, "success", 2.0),
            (1000, 100, 1100, 0.003),  # 600 fresh, 400 from the cache at half the price
            (None, None, None, None),
        ),
        (
            ("tool_call", "tool", "conv-1", "Coder", None, None, None, "timeout", 0.5),
            None,
            ("httpx.ReadTimeout", "search", "call-1", None),
        ),
        (
            ("llm_call", "model", "task-7", "agents", "a-model-nobody-sells", "openai", 3, "success", 1.0),
            (10, 5, 15, None),  # euros are not dollars, and nobody knows the price
            (None, None, None, None),
        ),
        (("span", "agent", "conv-1", "Coder", None, None, None, "success", 6.0), None, (None, None, None, None)),
        (("quality_score", "score 1", "conv-1", "Coder", None, None, None, None, None), None, (None, None, None, 0.8)),
    ],
    "openinference": [
        (("span", "agent", "sess-1", "Planner", None, None, None, "success", 9.0), None, (None, None, None, None)),
        (
            ("llm_call", "model", "sess-1", "Planner", "gpt-4o", "openai", None, "success", 1.0),
            (100, 20, 120, 0.25),
            (None, None, None, None),
        ),
        (
            ("tool_call", "tool", "sess-1", "agents", None, None, None, "failed", 1.0),
            None,
            ("ValueError", "lookup", "tc-1", None),
        ),
        (
            ("llm_call", "model", "sess-1", "agents", "text-embedding-3-small", None, None, "success", 1.0),
            (None, None, 7, None),
            (None, None, None, None),
        ),
        (("span", "other", "sess-1", "agents", None, None, None, "success", 1.0), None, (None, None, None, None)),
        (
            ("quality_score", "score 1", "sess-1", "agents", None, None, None, None, None),
            None,
            (None, None, None, 0.25),
        ),
        (("span", "other", "sess-1", "agents", None, None, None, "success", 1.0), None, (None, None, None, None)),
    ],
    "openllmetry": [
        (("span", "agent", TRACE, "joke", None, None, None, "success", 5.0), None, (None, None, None, None)),
        (("span", "other", TRACE, "joke", None, None, None, "success", 4.0), None, (None, None, None, None)),
        (
            ("llm_call", "model", "s-9", "joke", "gpt-4o", "openai", None, "success", 2.0),
            (30, 10, 50, 0.000175),  # the source's own total is more than input and output
            (None, None, None, None),
        ),
        (("tool_call", "tool", TRACE, "joke", None, None, None, "success", 1.0), None, (None, "laugh", None, None)),
        (
            ("llm_call", "model", TRACE, "joke", "gpt-4o-2024-08-06", "Langchain", None, "success", 1.0),
            (1000, 100, 1100, 0.00275),  # of LangChain alone nobody knows a price, of the model's maker they do
            (None, None, None, None),
        ),
    ],
    "claude_code": [
        (("log", None, "p1", "claude-code", None, "anthropic", None, None, None), None, (None, None, None, None)),
        (
            ("llm_call", None, "p1", "reviewer", "claude-sonnet-4-5", "anthropic", None, "success", 3.5),
            (5310, 200, 5510, 0.0123),  # what the cache held is counted apart, and added
            (None, None, None, None),
        ),
        (
            ("llm_call", None, "p1", "claude-code", "claude-sonnet-4-5", "anthropic", 3, "failed", 0.9005),
            None,
            ("529", None, None, None),
        ),
        (
            ("log", None, "p1", "claude-code", "claude-sonnet-4-5", "anthropic", 3, "failed", None),
            None,
            ("529", None, None, None),  # told a second time
        ),
        (
            ("tool_call", None, "p1", "claude-code", None, "anthropic", None, "failed", 0.12),
            None,
            ("ShellError", "Bash", "tu1", None),
        ),
        (
            ("tool_call", None, "s1", "claude-code", None, "anthropic", None, "success", 0.005),
            None,
            (None, "Read", None, None),
        ),
        (
            ("log", None, "p1", "claude-code", "claude-sonnet-4-5", "anthropic", None, None, None),
            None,  # the text of a response whose call has its own event
            (None, None, None, None),
        ),
        (
            ("log", None, "p1", "claude-code", "claude-sonnet-4-5", "anthropic", None, None, None),
            None,
            (None, None, None, None),
        ),
        (
            ("log", None, "p1", "reviewer", "claude-sonnet-4-5", "anthropic", 1, "failed", None),
            None,  # a refusal is a call that was answered, and told of as one
            (None, None, None, None),
        ),
    ],
    "claude_code_spans": [
        (("log", "other", "s1", "claude-code", None, None, None, "success", 8.0), None, (None, None, None, None)),
        (
            ("log", "other", "s1", "claude-code", "claude-sonnet-4-5", None, 1, "success", 3.0),
            None,  # its log said so already
            (None, None, None, None),
        ),
    ],
    "codex": [
        (("log", None, "c1", "codex_cli_rs", "gpt-5-codex", "openai", None, None, None), None, (None,) * 4),
        (
            ("llm_call", None, "c1", "codex_cli_rs", "gpt-5-codex", "openai", 1, "failed", 0.2),
            None,
            ("503", None, None, None),
        ),
        (("llm_call", None, "c1", "codex_cli_rs", "gpt-5-codex", "openai", 2, "failed", 0.09), None, (None,) * 4),
        (("log", None, "c1", "codex_cli_rs", "gpt-5-codex", "openai", 3, None, 1.8), None, (None,) * 4),
        (("log", None, "c1", "codex_cli_rs", "gpt-5-codex", "openai", None, None, None), None, (None,) * 4),
        (("log", None, "c1", "codex_cli_rs", "gpt-5-codex", "openai", None, None, None), None, (None,) * 4),
        (
            ("llm_call", None, "c1", "codex_cli_rs", "gpt-5-codex", "openai", None, "success", None),
            (1000, 50, 1050, 0.001075),
            (None, None, None, None),
        ),
        (
            ("tool_call", None, "c1", "codex_cli_rs", "gpt-5-codex", "openai", None, "success", 0.04),
            None,
            (None, "shell", "call-9", None),
        ),
        (("llm_call", None, "c1", "codex_cli_rs", "gpt-5-codex", "openai", None, "failed", None), None, (None,) * 4),
        (("llm_call", None, "c1", "codex_cli_rs", "gpt-5-codex", "openai", None, "failed", 0.03), None, (None,) * 4),
    ],
    "pydantic_ai": [
        (
            ("span", "agent", "conv-2", "support", None, None, None, "success", 5.0),
            (300, 40, 340, None),
            (None, None, None, None),
        ),
        (
            ("llm_call", "model", "conv-2", "support", "gpt-4o", "openai", None, "success", 1.0),
            (300, 40, 340, 0.00115),
            (None, None, None, None),
        ),
        (
            ("tool_call", "tool", TRACE, "support", None, None, 2, "failed", 1.0),
            None,
            ("pydantic_ai.exceptions.ToolRetryError", "refund", "c-2", None),
        ),
    ],
    "openai_agents": [
        (("span", "agent", "thread-3", "Triage", None, None, None, "success", 5.0), None, (None,) * 4),
        (
            ("llm_call", "model", "thread-3", "Triage", "gpt-4.1", "openai", None, "success", 1.0),
            (1000, 100, 1100, 0.0028),
            (None, None, None, None),
        ),
        (
            ("tool_call", "tool", "thread-3", "support", None, None, None, "success", 1.0),
            None,
            (None, "get_weather", None, None),
        ),
    ],
    "langsmith": [
        (("span", "other", "th-1", "graph", None, "langchain", None, "success", 5.0), None, (None,) * 4),
        (
            ("llm_call", "model", "th-1", "graph", "gemini-2.5-flash", "google_genai", None, "success", 1.0),
            (40, 4, 44, 0.000022),
            (None, None, None, None),
        ),
        (
            ("tool_call", "tool", "th-1", "graph", None, "langchain", None, "timeout", 1.0),
            None,
            ("ReadTimeout", "search", None, None),
        ),
    ],
    "crewai": [
        (("span", "agent", "crew-1", "newsroom", None, "crewai", None, "success", 9.0), None, (None,) * 4),
        (("span", "agent", "ct-1", "Writer", None, "crewai", None, "success", 8.0), None, (None,) * 4),
        (("span", "agent", TRACE, "Writer", "gpt-4o", "crewai", None, "success", 7.0), None, (None,) * 4),
        (("llm_call", "model", TRACE, "agents", "gpt-4o", "crewai", None, "success", 1.0), None, (None,) * 4),
        (("tool_call", "tool", TRACE, "agents", None, None, None, "success", 1.0), None, (None, "scrape", None, None)),
    ],
    "litellm": [
        (
            ("llm_call", "model", "ls-1", "billing-bot", "gpt-4o-mini-2024-07-18", "openai", 3, "success", 2.0),
            (20, 10, 30, 0.003),
            (None, None, None, None),
        ),
        (
            ("llm_call", "model", TRACE, "billing-bot", "gpt-4o-mini", "openai", None, "failed", 1.0),
            None,
            ("RateLimitError", None, None, None),
        ),
        (
            ("llm_call", "model", "ls-2", "gateway", "gateway-model-1", "openai", None, "success", 1.0),
            (900, 100, 1000, 0.5),
            (None, None, None, None),
        ),
    ],
}


def test_every_source_has_a_request_to_show_for_it() -> None:
    assert set(COLUMNS) | {"claude_code_spans"} == set(EXPECTED) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_source_is_read_by_its_own_names(name: str) -> None:
    found = normalised(fixture(name))
    assert [(told(event, WORK), used(event), told(event, SAID)) for event in found.events] == EXPECTED[name]
    assert {event.source for event in found.events} == {f"otlp/{name.removesuffix('_spans')}"}
    assert found.rejected == {}


@pytest.mark.parametrize("name", NAMES)
def test_both_encodings_of_a_request_say_the_same(name: str) -> None:
    assert in_protobuf(fixture(name)) == normalised(fixture(name))


@pytest.mark.parametrize("name", [name for name in NAMES if "a secret" in (FIXTURES / f"{name}.json").read_text()])
def test_what_models_and_tools_were_told_and_said_is_not_kept(name: str) -> None:
    assert "a secret" not in repr(normalised(fixture(name)))


def test_what_openinference_says_of_a_crew_is_not_kept() -> None:
    content = "crew_agents", "crew_tasks", "task_description", "task_expected_output", "agent.goal", "agent.backstory"
    request = fixture("openinference")
    span = request["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    span["attributes"] += [{"key": name, "value": {"stringValue": "a secret"}} for name in content]
    assert "a secret" not in repr(normalised(request))


def test_the_words_for_roles_are_in_lower_case_as_they_are_looked_up() -> None:
    assert [word for word in ROLES if word != word.lower()] == []


def test_no_column_is_read_from_content() -> None:
    columns = {name for table in COLUMNS.values() for names in table.values() for name in names}
    assert {name for name in columns if name in CONTENT} == set()
