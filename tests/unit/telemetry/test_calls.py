"""Calls as samples of their own: natively, in traces, in sessions; for whom, and when."""

from __future__ import annotations

import pytest

from self_healing.model import Ingested
from self_healing.telemetry.calls import CALL_SIGNALS, Call
from self_healing.telemetry.lines import NATIVE, SEGMENTS
from tests.unit.telemetry.fleet import Fleet, Line, at_us, call, event, finished, started, trigger, unaccounted
from tests.unit.telemetry.test_traces import at, model, span, tool

TRIGGERS = [trigger(name.replace(".", "_"), name) for name in (*CALL_SIGNALS, "task.tokens")]
BY_TOOL = trigger("by_tool", "tool.errors", group_by=("tool",))


@pytest.fixture
def traced() -> Fleet:
    return Fleet([*TRIGGERS, BY_TOOL], form=SEGMENTS)


def failing(end: float, id: str, parent: str | None = "a", **fields: str) -> Line:
    return tool(end, id, parent, status="failed", **fields)


def calls(fleet: Fleet, agent: str = "A") -> tuple[int, int]:
    """How many tool calls of an agent counted, and how many of them failed."""
    count, errors = fleet.samples("tool.errors", agent)
    return count, int(errors)


def test_native_calls_count_as_they_come_and_their_tasks_use_is_what_it_was() -> None:
    fleet = Fleet([*TRIGGERS, BY_TOOL], form=NATIVE)
    failed = event(3, "tool_call", "t", status="timeout", duration_s=2.0, tool="grep")
    fleet.take(started(0), call(1, 70, 0.25), call(2, 30), failed, event(4, "tool_call", "t", status="canceled"))
    assert fleet.samples("llm.tokens") == (2, 100)
    assert fleet.samples("llm.cost_usd") == (1, 0.25)
    assert fleet.samples("llm.duration_s") == (0, 0)
    assert (calls(fleet), fleet.samples("tool.duration_s")) == ((1, 1), (1, 2))
    assert fleet.telemetry.place(("tool",), (("tool", "grep"),)) is not None
    fleet.take(finished(9))
    assert fleet.samples("task.tokens") == (1, 100)


def test_calls_in_a_trace_count_when_their_task_ends_and_their_sum_is_no_call(traced: Fleet) -> None:
    at(traced, 10, model(5, "m1", "a", 70), model(6, "m2", "a", 30), failing(7, "t1"), tool(8, "t2"))
    assert (traced.samples("llm.tokens"), calls(traced)) == ((0, 0), (0, 0))
    at(traced, 20, span(20, "a"))
    assert (traced.samples("llm.tokens"), traced.samples("llm.cost_usd")) == ((2, 100), (2, 0.1))
    assert traced.samples("llm.duration_s") == (2, 2)
    assert (calls(traced), traced.samples("tool.duration_s")) == ((2, 1), (2, 2))
    assert traced.samples("task.tokens") == (1, 100)
    assert unaccounted(traced.accounting) == (0, 0)


def test_a_task_that_takes_longer_than_a_window_has_its_calls_judged_all_the_same(traced: Fleet) -> None:
    at(traced, 7200, failing(5, "t"), span(7200, "a", lasts=7200.0))
    assert traced.samples("tool.errors", at=7200) == (1, 1)


def test_a_call_is_of_the_agent_it_names_else_of_the_nearest_above_it_else_of_its_task(traced: Fleet) -> None:
    service: Line = {"attributes": {"service.name": "shop"}}
    at(
        traced,
        30,
        tool(1, "t1", "b", agent="shop", **service),
        tool(2, "t2", "r", agent="shop", **service),
        tool(3, "t3", "b", agent="C", **service),
        span(9, "b", "r", agent="B"),
        span(9, "d", "r", agent="D"),
        span(10, "r", role="other", agent="shop", **service),
    )
    assert [calls(traced, agent) for agent in ("B", "shop", "C", "D")] == [(1, 0), (1, 0), (1, 0), (0, 0)]


def test_a_lone_call_is_a_call(traced: Fleet) -> None:
    at(traced, 10, model(5, "m", None, 70))
    assert traced.samples("llm.tokens") == (1, 70)


def test_a_call_that_comes_after_its_task_counts_too(traced: Fleet) -> None:
    at(traced, 10, span(10, "a"))
    at(traced, 20, failing(9, "t"), model(9, "m", "a"))
    assert (calls(traced), traced.samples("llm.tokens")) == ((1, 1), (1, 100))


def test_a_call_waits_for_its_task_through_a_restart(traced: Fleet) -> None:
    at(traced, 10, failing(9, "t"))
    fleet = traced.restarted()
    at(fleet, 20, span(20, "a"))
    assert calls(fleet) == (1, 1)


def test_the_calls_of_a_session_count_as_they_come(traced: Fleet) -> None:
    fields: Line = {"source": "otlp/claude_code", "status": "failed", "duration_s": 2.0}
    at(traced, 10, event(5, "tool_call", "s", **fields), event(6, "llm_call", "s", **fields, usage={"total_tokens": 7}))
    assert (calls(traced), traced.samples("llm.tokens")) == ((1, 1), (1, 7))


def test_calls_of_repair_work_count_nothing(traced: Fleet) -> None:
    at(traced, 20, failing(5, "t"), span(10, "a", handoff_id="h"))
    session: Line = {"source": "otlp/codex", "status": "failed", "handoff_id": "h"}
    at(traced, 30, event(25, "tool_call", "s", **session))
    assert calls(traced) == (0, 0)


@pytest.mark.parametrize(
    ("name", "group"), [("tool_errors", ("agent", "A")), ("by_tool", ("tool", "search"))], ids=["by agent", "by tool"]
)
def test_to_a_verification_each_call_of_a_task_begun_after_the_effect_stands_for_itself(
    name: str, group: tuple[str, str], traced: Fleet
) -> None:
    at(traced, 5, failing(4, "t"), span(5, "a"))
    traced.telemetry.watch("v", name, (group,), at_us(100))
    before = span(190, "a", trace="U", lasts=150.0)
    after = span(195, "a", trace="V", lasts=50.0)
    at(traced, 300, tool(180, "t", trace="U"), before, tool(181, "t1", trace="V"), tool(182, "t2", trace="V"), after)
    accumulator = traced.telemetry.unwatch("v")
    assert accumulator is not None
    seen = [(task.finished, len(task.samples)) for task in accumulator.tasks.values() if task.samples]
    assert seen == [(True, 1), (True, 1)]


def test_where_nobody_asks_for_them_calls_are_not_kept() -> None:
    fleet = Fleet(form=SEGMENTS)
    at(fleet, 10, failing(5, "t"))
    (trace,) = fleet.telemetry.assembly.traces._traces.values()
    assert [part.said for part in trace.parts] == [None]


def test_a_span_names_its_agent_unless_that_is_only_the_service_that_it_ran_in() -> None:
    spans = [Ingested(agent="shop", attributes={"service.name": name}) for name in ("shop", "other")]
    assert [Call.of(each).agent for each in spans] == [None, "shop"]
