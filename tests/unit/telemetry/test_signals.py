"""The signals are exactly those that the defaults and the documentation name."""

from __future__ import annotations

import msgspec

from self_healing.model import Event, Kind
from self_healing.spec import Aggregate
from self_healing.telemetry.signals import GROUP_COLUMNS, SIGNALS

QUANTILES = ("p50", "p75", "p90", "p95", "p99")
MEASURED = {"count", "sum", "mean", "min", "max", "rate", *QUANTILES}


def test_the_signals_have_exactly_these_units_events_and_aggregates() -> None:
    table = {
        name: (signal.unit, signal.kind, signal.ratio, {aggregate.value for aggregate in signal.aggregates})
        for name, signal in SIGNALS.items()
    }
    assert table == {
        "task.duration_s": ("s", Kind.TASK_FINISHED, False, MEASURED),
        "task.attempts": ("attempts", Kind.TASK_FINISHED, False, MEASURED),
        "task.errors": ("attempts", Kind.TASK_FINISHED, True, {"ratio"}),
        "task.tokens": ("tokens", Kind.TASK_FINISHED, False, MEASURED),
        "task.cost_usd": ("USD", Kind.TASK_FINISHED, False, MEASURED),
        "task.tests": ("tests", Kind.TEST_RUN, True, {"ratio"}),
        "task.quality": ("score", Kind.QUALITY_SCORE, False, {"mean", "min", "max", *QUANTILES}),
        "tool.errors": ("calls", Kind.TOOL_CALL, True, {"ratio"}),
        "tool.duration_s": ("s", Kind.TOOL_CALL, False, MEASURED),
        "llm.duration_s": ("s", Kind.LLM_CALL, False, MEASURED),
        "llm.tokens": ("tokens", Kind.LLM_CALL, False, MEASURED),
        "llm.cost_usd": ("USD", Kind.LLM_CALL, False, MEASURED),
        "agent.events": ("events", None, False, set()),
        "task.heartbeat": ("heartbeats", Kind.HEARTBEAT, False, set()),
    }


def test_a_ratio_is_asked_of_ratio_signals_only() -> None:
    assert all((Aggregate.RATIO in signal.aggregates) == signal.ratio for signal in SIGNALS.values())


def test_every_signal_says_what_it_measures_in_a_sentence() -> None:
    assert all(signal.says.endswith(".") and len(signal.says) > 20 for signal in SIGNALS.values())


def test_each_column_to_group_by_is_a_text_column_of_an_event() -> None:
    texts = {field.name for field in msgspec.structs.fields(Event) if field.type == (str | None)}
    assert set(GROUP_COLUMNS) <= texts
