"""Writes `reference/mapping.md` from the tables that the code reads telemetry by: ``python docs/mapping.py``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from self_healing.telemetry.otlp.names import (
    COLUMNS,
    CONTENT,
    EVENTS,
    LOGS_ONLY,
    RAISED_IN_MESSAGE,
    RESOURCE_KEPT,
    ROLES,
)
from self_healing.telemetry.otlp.plan import ATTRIBUTES_MAX, CUT, KEPT_MAX
from self_healing.telemetry.otlp.rejection import SAYS
from self_healing.telemetry.otlp.values import TEXT_MAX

PAGE = Path(__file__).parent / "reference" / "mapping.md"

TITLES = {
    "genai": "OpenTelemetry GenAI",
    "pydantic_ai": "Pydantic AI",
    "openinference": "OpenInference",
    "openllmetry": "OpenLLMetry (Traceloop)",
    "claude_code": "Claude Code",
    "codex": "Codex CLI",
    "langsmith": "LangSmith",
    "crewai": "CrewAI",
    "litellm": "LiteLLM",
    "openai_agents": "OpenAI Agents SDK",
}

WRAPPING = " and ".join(f"{TITLES[source]} (`{name}`)" for source, name in RAISED_IN_MESSAGE.items())

REPEATING = " and ".join(TITLES[source] for source in sorted(LOGS_ONLY))

INTRODUCTION = f"""# OTLP and its names

Spans, log records and metrics of OTLP become [events](signals.md). What each source calls their columns is in
one table of the code, from which this page is written.

## Rules
- **Source.** `source` is `otlp/` and the name of a section below. It is told by the name of the instrumentation
  scope, else by an attribute that only one source has, else by the name of the service; else it is
  `otlp/genai`.
- **Names.** Those of a row are tried in their order, and the first that says something wins. An item's own
  attributes go before its resource's, name by name. After a source's own row comes the row of OpenTelemetry
  GenAI.
- **Kinds.** A span that is a call of a model becomes an `llm_call`, one of a tool a `tool_call`, and any other
  a `span`. Which span is the task is found out when its trace is known.
- **Task.** Where no name says it, the task is the trace.
- **Time.** An event happened when its span ended; a record at its time, else as it says, else when it was
  observed.
- **Attempt.** Said outright, or one more than the resends.
- **Status.** A span failed if its status is an error or it has an error's type. An error whose type speaks of a
  timeout or a deadline, or is 408 or 504, is a `timeout`; one that speaks of cancelling is `canceled`.
- **Errors.** Where no attribute names an error's type, it is that of the last exception that the span recorded.
  A source that gives one type to every error, {WRAPPING}, is read by its message instead, which
  begins with what was raised, such as `TimeoutError('no answer')`.
- **Tokens.** Cached input is part of the input. It is added where the source counts it apart (Claude Code), and
  where it is more than the input. The total is input and output, or the source's own total if that is more.
- **Cost.** As the source says in US dollars, else by the price list of `genai-prices`, offline, for the calls
  of models that it knows. Otherwise it is unknown, never zero.
- **Scores.** A score from 0 to 1, or a label that says pass or fail, becomes a `quality_score`, also from
  within a span. A score on another scale is kept as an attribute only.
- **Once only.** The spans of {REPEATING} repeat what their logs say call by call: the logs are taken, and the
  spans are plain logs. So send their logs.
- **Metrics.** Each point becomes a `metric`, a signal of its own by its name. It never adds to what tasks used,
  since who sends metrics mostly sends the same as spans or logs. What a cumulative point adds is found out by
  series: from the first point of a series that began since, else from its second.
- **Kept.** Up to {KEPT_MAX} other attributes with plain values stay with the event, texts cut at {TEXT_MAX}
  characters; `{CUT}` counts the rest. An item with more than {ATTRIBUTES_MAX} is rejected.
- **Not kept.** What models and tools were told and said, and who said it.
- **Repair work.** The attribute `self_healing.handoff_id` names the handoff that an item is work for.
"""


def table(head: tuple[str, str], rows: Iterable[tuple[str, str]]) -> str:
    lines = [f"| {head[0]} | {head[1]} |", "|---|---|", *(f"| {left} | {right} |" for left, right in rows)]
    return "\n".join(lines) + "\n"


def code(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def by_value(words: Mapping[str, str]) -> list[tuple[str, str]]:
    """Of each value the words that stand for it."""
    values = dict.fromkeys(words.values())
    return [(f"`{value}`", code(word for word, each in words.items() if each == value)) for value in values]


def page() -> str:
    """The whole page."""
    parts = [INTRODUCTION]
    for source, columns in COLUMNS.items():
        rows = ((f"`{column}`", code(names)) for column, names in columns.items())
        parts.append(f"## {TITLES[source]}\n`otlp/{source}`\n\n" + table(("column", "names, in order"), rows))
    parts.append("## Roles of spans\n" + table(("role", "the source's word"), by_value(ROLES)))
    parts.append("## Log events\nAny other is a `log`.\n\n" + table(("kind", "event"), by_value(EVENTS)))
    parts.append(
        "## Kept of a resource\n"
        + code(RESOURCE_KEPT)
        + ".\n\n## Never kept\nAttributes that begin so, and those without a dot that are called so: "
        + code(CONTENT)
        + ".\n"
    )
    reasons = ((f"`{reason}`", f"items {words}") for reason, words in SAYS.items())
    parts.append(
        "## Rejected\nItems that are bad for good are counted, and their sender is told in one sentence not to send "
        "them again. A body that cannot be decoded is refused as a whole.\n\n"
        + table(("reason", "what it counts"), reasons)
    )
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
