"""Which of a trace's spans is the task, what its parts add to it, and that it does not matter how they come."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from self_healing.measures import MICRO
from self_healing.model import Ingested
from self_healing.telemetry.lines import SEGMENTS
from self_healing.telemetry.traces import MOST_SPANS, Traces
from self_healing.verification import growing
from tests.unit.telemetry.fleet import SIGNALS, START_S, TRIGGERS, Fleet, Line, at_us, event, trigger, unaccounted

KINDS = {"model": "llm_call", "tool": "tool_call"}


def span(
    end: float,
    id: str,
    parent: str | None = None,
    role: str = "agent",
    *,
    trace: str = "T",
    lasts: float = 1.0,
    tokens: int | None = None,
    usd: float | None = None,
    agent: str = "A",
    **fields: Any,
) -> Line:
    """A span that ends `end` seconds after the start."""
    usage = None if tokens is None and usd is None else {"total_tokens": tokens, "total_usd": usd}
    times = {"started_at": START_S + end - lasts, "finished_at": START_S + end, "duration_s": lasts}
    ids = {"source": "otlp/genai", "trace_id": trace, "span_id": id, "parent_id": parent, "role": role}
    fields = {"status": "success", **fields}
    return event(end, KINDS.get(role, "span"), trace, agent, usage=usage, **times, **ids, **fields)


def model(end: float, id: str, parent: str | None, tokens: int = 100, **fields: Any) -> Line:
    return span(end, id, parent, "model", tokens=tokens, usd=tokens / 1000, **fields)


def tool(end: float, id: str, parent: str | None = "a", **fields: Any) -> Line:
    return span(end, id, parent, "tool", tool="search", **fields)


@pytest.fixture
def fleet() -> Fleet:
    return Fleet(form=SEGMENTS)


def at(fleet: Fleet, seconds: float, *lines: Line) -> None:
    """Lines that come in time, folded up to the instant `seconds`."""
    fleet.push(*lines)
    fleet.fold(seconds)


def tasks(fleet: Fleet, agent: str = "A") -> tuple[int, float]:
    """How many tasks of an agent ended, and what they used in tokens."""
    return fleet.samples("task.errors", agent)[0], fleet.samples("task.tokens", agent)[1]


# --- which span is the task ----------------------------------------------------------------------------------------


def test_a_root_agent_span_is_a_task_at_once_with_its_own_usage(fleet: Fleet) -> None:
    at(fleet, 10, model(5, "m", "a", 70), span(10, "a", lasts=8.0, tokens=1000, usd=0.5, status="failed"))
    assert fleet.samples("task.duration_s") == (1, 8)
    assert fleet.samples("task.tokens") == (1, 1000)
    assert fleet.samples("task.cost_usd") == (1, 0.5)
    assert fleet.samples("task.errors") == (1, 1)


def test_a_root_agent_span_that_comes_late_is_a_task_at_once_though_no_later_instant_is_evaluated(fleet: Fleet) -> None:
    fleet.push(model(5, "m", "a", 70), span(10, "a"))
    fleet.fold(10, evaluated=60)
    assert tasks(fleet) == (1, 70)


def test_a_task_without_usage_of_its_own_used_what_its_model_calls_did(fleet: Fleet) -> None:
    at(fleet, 10, model(5, "m1", "a", 70), model(6, "m2", "t", 30), tool(7, "t"), span(10, "a"))
    assert (fleet.samples("task.tokens"), fleet.samples("task.cost_usd")) == ((1, 100), (1, 0.1))


def test_agent_spans_in_between_repeat_the_usage_of_their_calls_and_do_not_count(fleet: Fleet) -> None:
    at(fleet, 10, model(5, "m", "b", 70), span(6, "b", "a", tokens=70, usd=0.07), span(10, "a"))
    at(fleet, 20)
    assert (tasks(fleet), fleet.samples("task.tokens")) == ((1, 70), (1, 70))


def test_what_a_tasks_own_usage_does_not_say_is_the_sum_of_its_calls(fleet: Fleet) -> None:
    at(fleet, 10, model(5, "m", "a", 70), span(10, "a", tokens=71))
    assert (fleet.samples("task.tokens"), fleet.samples("task.cost_usd")) == ((1, 71), (1, 0.07))


def test_another_agent_span_waits_two_seconds_and_is_a_task_when_no_agent_above_it_came(fleet: Fleet) -> None:
    at(fleet, 10, model(9, "m", "b", 70), span(10, "b", "elsewhere"))
    at(fleet, 11.9)
    assert tasks(fleet) == (0, 0)
    assert fleet.telemetry.next_due_us() == at_us(12)
    at(fleet, 12)
    assert tasks(fleet) == (1, 70)
    assert fleet.telemetry.next_due_us() is None


@pytest.mark.parametrize("between", [[], [tool(10.5, "t", "a")]])
def test_an_agent_span_below_another_is_a_part_of_it(fleet: Fleet, between: list[Line]) -> None:
    below = span(10, "b", "t" if between else "a", agent="B")
    at(fleet, 12, model(9, "m", "b", 70), below, *between, span(11.5, "a", "elsewhere"))
    at(fleet, 20)
    assert (tasks(fleet), tasks(fleet, "B")) == ((1, 70), (0, 0))


def test_spans_that_come_late_wait_from_when_they_came(fleet: Fleet) -> None:
    fleet.push(span(10, "b", "a", agent="B"))
    fleet.fold(61, evaluated=60)
    assert fleet.telemetry.next_due_us() == at_us(62)
    fleet.push(span(11, "a"))
    fleet.fold(62, evaluated=61)
    assert (tasks(fleet), tasks(fleet, "B")) == ((1, 0), (0, 0))


def test_an_agent_span_that_was_a_task_before_the_one_above_it_came_keeps_its_calls(fleet: Fleet) -> None:
    at(fleet, 15, model(9, "m1", "b", 70), span(10, "b", "a", agent="B"))
    assert tasks(fleet, "B") == (1, 70)
    at(fleet, 21, model(20, "m2", "a", 5), span(21, "a"))
    assert (tasks(fleet), tasks(fleet, "B")) == ((1, 5), (1, 70))


def test_an_agent_span_that_came_together_with_the_one_above_it_is_a_part_however_much_later_that_ended(
    fleet: Fleet,
) -> None:
    at(fleet, 30, model(5, "m", "b", 70), span(6, "b", "a", agent="B"), span(300, "a", lasts=299.0))
    assert (tasks(fleet), tasks(fleet, "B")) == ((0, 0), (0, 0))
    fleet = fleet.restarted()
    at(fleet, 300)
    assert (tasks(fleet), tasks(fleet, "B")) == ((1, 70), (0, 0))


def test_a_root_span_that_is_no_agent_is_the_task_when_its_trace_holds_such_work(fleet: Fleet) -> None:
    at(fleet, 10, model(9, "m", "r", 70), span(10, "r", role="other", lasts=5.0))
    assert tasks(fleet) == (0, 0)  # its work may still come
    at(fleet, 12)
    assert (tasks(fleet), fleet.samples("task.duration_s")) == ((1, 70), (1, 5))


def test_a_root_span_around_the_work_of_one_agent_is_that_agents_task(fleet: Fleet) -> None:
    at(fleet, 12, model(8, "m", "b", 70), span(9, "b", "r", agent="B"), span(10, "r", role="other", agent="service"))
    assert (tasks(fleet, "B"), tasks(fleet, "service")) == ((1, 70), (0, 0))


ENDINGS = pytest.mark.parametrize(
    ("statuses", "root", "failed"),
    [
        (("failed",), "success", 1),
        (("timeout",), None, 1),
        (("failed", "success"), "success", 0),
        (("success", "failed"), "success", 1),
        (("success",), "failed", 1),
        (("success",), "success", 0),
    ],
)
"""How what is within a root span ended in turn, how the root says that it did, and whether the task failed."""


@ENDINGS
def test_a_root_span_around_agents_failed_when_it_says_so_or_the_last_of_them_did(
    fleet: Fleet, statuses: tuple[str, ...], root: str | None, failed: int
) -> None:
    runs = [span(9 + n / 10, f"a{n}", "root", status=status) for n, status in enumerate(statuses)]
    at(fleet, 10, *runs, span(10, "root", None, "other", agent="service", status=root))
    at(fleet, 12)
    assert fleet.samples("task.errors")[1] == failed
    assert fleet.samples("task.duration_s")[0] == 1


@ENDINGS
def test_a_root_span_around_calls_alone_failed_when_it_says_so_or_the_last_call_of_a_model_did(
    fleet: Fleet, statuses: tuple[str, ...], root: str | None, failed: int
) -> None:
    calls = [model(9 + n / 10, f"m{n}", "root", status=status) for n, status in enumerate(statuses)]
    failed_tool = tool(9.9, "t", "root", status="failed")
    at(fleet, 10, *calls, failed_tool, span(10, "root", None, "other", agent="gateway", status=root))
    at(fleet, 12)
    assert fleet.samples("task.errors", "gateway") == (1, failed)


def test_a_root_span_around_an_agent_that_got_over_a_failed_call_did_not_fail(fleet: Fleet) -> None:
    agent = span(9, "a", "root", status="success")
    at(fleet, 10, model(8, "m", "a", status="failed"), agent, span(10, "root", None, "other", agent="service"))
    at(fleet, 12)
    assert fleet.samples("task.errors") == (1, 0)


def test_an_agent_that_says_its_tokens_and_no_cost_costs_what_its_calls_did(fleet: Fleet) -> None:
    calls = [model(5, "m1", "a", 70), model(6, "m2", "a", 30)]
    at(fleet, 20, *calls, span(8, "a", "r", tokens=100), span(10, "r", role="other", agent="service"))
    assert (fleet.samples("task.tokens"), fleet.samples("task.cost_usd")) == ((1, 100), (1, 0.1))


def test_a_trace_without_any_such_work_is_merely_aggregated(fleet: Fleet) -> None:
    at(fleet, 10, span(9, "o", "r", "other"), span(10, "r", role="other"))
    at(fleet, 20)
    assert (tasks(fleet), fleet.accounting.aggregated) == ((0, 0), 2)


def test_a_lone_model_call_is_a_task_and_its_own_call(fleet: Fleet) -> None:
    at(fleet, 10, model(10, "m", None, 70))
    assert (fleet.samples("task.tokens"), fleet.samples("task.duration_s")) == ((1, 70), (1, 1))


def test_traces_are_kept_apart(fleet: Fleet) -> None:
    at(fleet, 10, *[model(9, "m", "a", 7, trace=trace) for trace in "UV"], span(10, "a", trace="U"))
    assert tasks(fleet) == (1, 7)


def test_the_task_has_the_id_that_its_span_has_else_that_of_its_trace(fleet: Fleet) -> None:
    at(fleet, 10, {**span(9, "a"), "id": "mine"}, {**span(10, "a", trace="U"), "id": None})
    assert [each.task_id for each in fleet.telemetry.examples.of("A")] == ["mine", "U"]


def test_work_for_a_handoff_feeds_no_trigger_when_any_span_says_so(fleet: Fleet) -> None:
    at(fleet, 10, model(9, "m", "a", 70, handoff_id="h"), span(10, "a", status="failed"))
    assert tasks(fleet) == (0, 0)
    assert [(each.handoff, each.status) for each in fleet.telemetry.repairs] == [("h", "failed")]


# --- attempts ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "attempt"),
    [
        ([span(10, "a", attempt=4), tool(5, "t", attempt=7)], 4),
        ([span(10, "a"), tool(5, "t", attempt=3), tool(6, "u")], 3),
        ([span(10, "a"), model(5, "m", "a", attempt=2)], 2),
        ([span(10, "a"), *[tool(number, f"t{number}") for number in range(5)]], 1),
        ([span(10, "a"), *[tool(number, f"t{number}", status="failed") for number in range(5)]], 1),
        ([span(10, "a"), *[tool(number, f"t{number}", status="failed", call_id="c") for number in range(3)]], 3),
        ([span(10, "a"), *[tool(number, f"t{number}", call_id="c") for number in range(3)]], 1),
        ([span(10, "a"), tool(1, "t1", status="failed", call_id="c"), tool(2, "t2", call_id="d")], 1),
        ([span(10, "a"), span(5, "b", "a", attempt=3)], 3),
    ],
)
def test_a_tasks_attempts_are_its_own_word_else_the_most_of_its_parts_and_never_mere_siblings(
    fleet: Fleet, lines: list[Line], attempt: int
) -> None:
    at(fleet, 10, *lines)
    assert fleet.samples("task.attempts") == (1, attempt)


# --- late parts ----------------------------------------------------------------------------------------------------


def test_a_call_that_comes_after_its_task_adds_to_the_sum_and_not_to_the_count(fleet: Fleet) -> None:
    at(fleet, 10, model(5, "m1", "a", 70), span(10, "a"))
    at(fleet, 20, model(6, "m2", "t", 30))
    assert (fleet.samples("task.tokens"), fleet.samples("task.cost_usd")) == ((1, 100), (1, 0.1))


def test_a_late_call_of_a_task_that_said_what_it_used_counts_nothing(fleet: Fleet) -> None:
    at(fleet, 10, span(10, "a", tokens=1000, usd=0.5))
    at(fleet, 20, model(6, "m", "a", 30))
    assert fleet.samples("task.tokens") == (1, 1000)


def test_a_late_call_goes_to_the_nearest_task_above_it_once_that_is_known(fleet: Fleet) -> None:
    at(fleet, 15, span(10, "b", "a", agent="B"))
    at(fleet, 16, model(9, "m1", "t", 70))
    assert tasks(fleet, "B") == (1, 0)
    at(fleet, 17, tool(9.5, "t", "b"))
    assert tasks(fleet, "B") == (1, 70)


# --- bounds --------------------------------------------------------------------------------------------------------


def test_a_trace_is_forgotten_ten_minutes_after_its_newest_span(fleet: Fleet) -> None:
    at(fleet, 10, model(9, "m", "a", 70))
    at(fleet, 611, span(611, "a", trace="U"))
    assert fleet.telemetry.accounting.traces_lost == 1
    at(fleet, 612, span(612, "a"))
    assert fleet.samples("task.tokens") == (0, 0)


def test_beyond_a_hundred_thousand_spans_the_oldest_traces_are_forgotten(fleet: Fleet) -> None:
    fleet.take(*[model(9, "m", "a", 70, trace=f"T{number:06}") for number in range(100_001)])
    assert fleet.telemetry.accounting.traces_lost == 1
    fleet.take(span(10, "a", trace="T000000"), span(10, "a", trace="T000001"))
    assert tasks(fleet) == (2, 70)


def test_the_roots_of_one_trace_count_as_spans_so_that_it_too_is_forgotten() -> None:
    traces, root = Traces(), Ingested(kind="span", trace_id="T", span_id="0", role="agent")
    traces.add(root, 1, 1, [])
    traces.decide(1, [])  # it is done: of what comes now, nothing is remembered but which are roots, and their tasks
    for number in range(1, MOST_SPANS + 2):
        root.span_id = str(number)
        traces.learn(root, 1)
    traces.forget(1, [])
    assert msgspec.msgpack.decode(traces.pack()) == [{}, 0]


def test_what_comes_late_belongs_to_the_first_of_several_roots_also_after_a_restart(fleet: Fleet) -> None:
    at(fleet, 10, span(1, "b", tokens=None), span(2, "a", agent="B"))
    fleet = fleet.restarted()
    at(fleet, 20, model(9, "m", "nobody", 70))
    assert (tasks(fleet), tasks(fleet, "B")) == ((1, 70), (1, 0))


def test_spans_whose_parents_go_round_in_a_circle_are_a_task_each_or_none_and_nothing_hangs(fleet: Fleet) -> None:
    at(fleet, 10, span(9, "a", "b", "other"), span(10, "b", "a", "other"), model(8, "m", "a", 7), span(7, "c", "a"))
    at(fleet, 20)
    assert tasks(fleet) == (1, 0)


# --- however they come ---------------------------------------------------------------------------------------------

TREE: list[list[Line]] = [
    [model(3, "m1", "b", 70), tool(4, "t", "b", call_id="c", status="failed"), tool(4.5, "t2", "b", call_id="c")],
    [span(5, "b", "x", agent="B", tokens=70, usd=0.07), span(5.5, "x", "a", "other"), model(5.7, "m2", "a", 30)],
]
AGENT_AT_TOP = [*TREE[0], *TREE[1], span(6, "a", "elsewhere")]
ROOT_AT_TOP = [*TREE[0], *TREE[1], span(6, "a", "r"), span(6.2, "r", role="other")]


def worth(fleet: Fleet) -> dict[str, Any]:
    assert unaccounted(fleet.accounting) == (0, 0)
    found: dict[str, Any] = fleet.all_samples(["A", "B", "service"])
    extremes = [fleet.extremes(signal) for signal in SIGNALS[:5] if signal != "task.errors"]
    return {"samples": found, "extremes": extremes, "aggregated": fleet.accounting.aggregated}


def cut(lines: list[Line], sizes: Iterable[int]) -> list[list[Line]]:
    batches, rest = [], lines
    for size in sizes:
        batches.append(rest[:size])
        rest = rest[size:]
    return [*batches, rest]


@pytest.mark.parametrize("trace", [AGENT_AT_TOP, ROOT_AT_TOP], ids=["agent", "root"])
@given(st.data())
def test_any_order_and_any_batches_within_the_wait_and_any_restarts_give_the_same_samples(
    trace: list[Line], data: st.DataObject
) -> None:
    whole = Fleet(form=SEGMENTS)
    whole.take(*trace)
    whole.fold(30)
    fleet = Fleet(form=SEGMENTS)
    shuffled = data.draw(st.permutations(trace))
    batches = cut(shuffled, data.draw(st.lists(st.integers(0, 4), max_size=6)))
    for number, batch in enumerate(batches):
        fleet.push(*batch)
        fleet.fold(7 + number / 10, evaluated=7)
        if data.draw(st.booleans()):
            fleet = fleet.restarted()
    fleet.fold(30, evaluated=8)
    assert worth(fleet) == worth(whole)
    assert tasks(fleet)[0] + tasks(fleet, "B")[0] == 1


SIZES = st.lists(st.integers(0, 3), max_size=4)


@given(st.data())
def test_calls_of_a_root_agent_may_come_before_or_after_it(data: st.DataObject) -> None:
    calls = [model(number, f"m{number}", "a", 10 * number) for number in range(1, 5)]
    trace = data.draw(st.permutations([*calls, span(6, "a")]))
    fleet = Fleet(form=SEGMENTS)
    for number, batch in enumerate(cut(trace, data.draw(SIZES))):
        fleet.push(*batch)
        fleet.fold(7 + number, evaluated=6 + number)
        if data.draw(st.booleans()):
            fleet = fleet.restarted()
    assert fleet.samples("task.tokens") == (1, 100)
    assert fleet.samples("task.cost_usd") == (1, 0.1)


RETRIED = [
    tool(1, "t1", call_id="c", status="failed"),
    tool(2, "t2", call_id="c", status="failed"),
    tool(3, "t3", call_id="c"),
    tool(4, "t4", call_id="d", status="failed"),
    model(5, "m", "a", 10),
]
"""The calls of a root agent, one of which took three attempts."""

ASKED = [*TRIGGERS, trigger("usual_attempts", "task.attempts", aggregate="p50", group_by=["model"])]


@pytest.mark.parametrize("own", [None, 70], ids=["sum", "own"])
@given(st.data())
def test_a_task_took_as_many_attempts_whether_its_calls_come_before_or_after_it(
    own: int | None, data: st.DataObject
) -> None:
    root = span(6, "a", tokens=own, model="m")
    fleet = Fleet(ASKED, form=SEGMENTS)
    for number, batch in enumerate(cut(data.draw(st.permutations([*RETRIED, root])), data.draw(SIZES))):
        fleet.push(*batch)
        fleet.fold(7 + number, evaluated=6 + number)
        if data.draw(st.booleans()):
            fleet = fleet.restarted()
    assert fleet.samples("task.attempts") == (1, 3)
    assert fleet.extremes("task.attempts")[1] == 3
    assert fleet.samples("task.tokens") == (1, own or 10)
    assert fleet.quantile("usual_attempts", 50, (("model", "m"),)) == pytest.approx(3, rel=0.03)


def test_a_verification_judges_a_task_by_the_attempts_that_are_known_by_now(fleet: Fleet) -> None:
    at(fleet, 1, span(1, "z", trace="U"))
    fleet.telemetry.watch("v", "each_attempts", (("agent", "A"),), at_us(2))
    at(fleet, 7, tool(5, "t1", call_id="c", status="failed"), span(6, "a"))
    at(fleet, 8, tool(5.5, "t2", call_id="c"))
    gathered = fleet.telemetry.unwatch("v")
    assert gathered is not None
    totals = growing(list(gathered.tasks.values()), len(gathered.tasks), quantiles=False)
    assert (int(totals.count[0]), int(totals.amount[0]), int(totals.maximum[0])) == (1, 2 * MICRO, 2 * MICRO)


roles = st.sampled_from(["agent", "model", "tool", "other"])
names = st.sampled_from("abcdef")
any_span = st.builds(span, st.integers(0, 30), names, st.none() | names, roles, trace=st.sampled_from("TU"))


@given(st.lists(any_span, max_size=12, unique_by=lambda line: (line["trace_id"], line["span_id"])), st.data())
def test_whatever_spans_say_of_each_other_a_restart_changes_nothing_and_all_are_accounted_for(
    lines: list[Line], data: st.DataObject
) -> None:
    batches = cut(lines, data.draw(st.lists(st.integers(0, 5), max_size=4)))
    going_on, restarting = Fleet(form=SEGMENTS), Fleet(form=SEGMENTS)
    for number, batch in enumerate(batches):
        for fleet in (going_on, restarting):
            fleet.push(*batch)
            fleet.fold(7.0 * (number + 1), evaluated=7.0 * number)
        restarting = restarting.restarted()
        assert restarting.telemetry.next_due_us() == going_on.telemetry.next_due_us()
        assert unaccounted(restarting.accounting) == (0, 0)
    for fleet in (going_on, restarting):
        fleet.fold(100)
    assert going_on.telemetry.next_due_us() is None
    assert restarting.all_samples("A") == going_on.all_samples("A")


def test_several_roots_of_one_trace_are_the_same_tasks_after_a_restart() -> None:
    lines = [span(0, "c"), span(6, "b", role="other"), span(9, "a")]
    going_on, restarting = Fleet(form=SEGMENTS), Fleet(form=SEGMENTS)
    for fleet in (going_on, restarting):
        fleet.push(*lines)
        fleet.fold(7)
    restarting = restarting.restarted()
    for fleet in (going_on, restarting):
        fleet.fold(100)
    assert restarting.all_samples("A") == going_on.all_samples("A")


# --- sessions ------------------------------------------------------------------------------------------------------

SESSION = {"source": "otlp/claude_code"}


def said(second: float, type: str = "log", id: str = "p", **fields: Any) -> Line:
    return event(second, type, id, **SESSION, **fields)


def api(second: float, tokens: int | None = 10, status: str = "success", **fields: Any) -> Line:
    usage = {"total_tokens": tokens, "total_usd": 0.1} if tokens is not None else None
    return said(second, "llm_call", status=status, usage=usage, **fields)


def test_a_session_ends_after_ten_idle_minutes_and_lasted_from_its_first_to_its_last_event(fleet: Fleet) -> None:
    at(fleet, 60, said(0), api(10), said(20, "tool_call"), api(50))
    assert fleet.oldest() is None
    assert fleet.telemetry.next_due_us() == at_us(650)
    at(fleet, 649)
    assert tasks(fleet) == (0, 0)
    at(fleet, 650)
    assert fleet.samples("task.duration_s", at=655, window=10) == (1, 50)
    assert (fleet.samples("task.tokens"), fleet.samples("task.cost_usd")) == ((1, 20), (1, 0.2))
    assert fleet.samples("task.errors") == (1, 0)
    assert fleet.telemetry.next_due_us() is None


def test_an_event_keeps_a_session_open(fleet: Fleet) -> None:
    at(fleet, 10, api(0))
    at(fleet, 590, api(590))
    at(fleet, 700)
    assert tasks(fleet) == (0, 0)
    at(fleet, 1190)
    assert tasks(fleet) == (1, 20)


@pytest.mark.parametrize(
    ("lines", "errors"),
    [
        ([api(1, None, "failed", attempt=1), api(2, attempt=2)], 0),
        ([api(1), api(2, None, "failed", attempt=2), said(3, status="failed")], 1),
        ([api(1), said(2, "tool_call", status="failed")], 0),
        ([said(1)], 0),
    ],
)
def test_a_session_failed_when_its_last_call_of_the_model_did(fleet: Fleet, lines: list[Line], errors: int) -> None:
    at(fleet, 10, *lines)
    at(fleet, 700)
    assert fleet.samples("task.errors") == (1, errors)


def test_the_attempts_of_a_session_are_the_most_that_an_event_names(fleet: Fleet) -> None:
    at(fleet, 10, api(1, attempt=1), api(2, attempt=4), api(3, attempt=2))
    at(fleet, 700)
    assert fleet.samples("task.attempts") == (1, 4)


def test_sessions_are_told_apart_and_a_session_that_goes_on_after_its_end_is_another(fleet: Fleet) -> None:
    at(fleet, 10, api(1), api(2, id="q", agent=None) | {"agent": "B"})
    at(fleet, 700)
    assert (tasks(fleet), tasks(fleet, "B")) == ((1, 10), (1, 10))
    at(fleet, 801, api(800))
    at(fleet, 1500)
    assert tasks(fleet) == (2, 20)


def test_an_agent_with_an_open_session_is_at_work(fleet: Fleet) -> None:
    at(fleet, 10, api(1))
    assert fleet.telemetry.agents == {"A": at_us(1)}


@given(st.permutations([api(1, attempt=2), api(5), said(9), api(12, None, "failed"), said(12.5)]), st.data())
def test_a_session_is_the_same_in_any_order_and_any_batches_and_through_restarts(
    lines: list[Line], data: st.DataObject
) -> None:
    whole, fleet = Fleet(form=SEGMENTS), Fleet(form=SEGMENTS)
    whole.take(*lines)
    whole.fold(2000)
    for batch in cut(lines, data.draw(st.lists(st.integers(0, 3), max_size=4))):
        fleet.push(*batch)
        fleet.fold(20, evaluated=13)
        if data.draw(st.booleans()):
            fleet = fleet.restarted()
    fleet.fold(2000, evaluated=20)
    assert fleet.all_samples("A") == whole.all_samples("A")
    assert tasks(fleet) == (1, 20)


def test_native_lines_of_the_same_types_are_none_of_this(fleet: Fleet) -> None:
    native = Fleet()
    native.take(span(10, "a"), model(10, "m", None, 70), said(1))
    native.fold(2000)
    assert tasks(native) == (0, 0)
    assert (native.telemetry.next_due_us(), native.accounting.aggregated) == (None, 3)


@given(
    ends=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 40), st.booleans()), max_size=12),
    looks=st.lists(st.integers(0, 45), max_size=4),
)
def test_what_is_stored_is_the_same_however_often_it_was_stored_before(
    ends: list[tuple[int, int, bool]], looks: list[int]
) -> None:
    ended = sorted({(trace, second): root for trace, second, root in ends}.items(), key=lambda each: each[0][1])
    stored = []
    for stores in (looks, []):
        fleet = Fleet(form=SEGMENTS)
        for second in range(46):
            for (trace, at_s), root in ended:
                if at_s == second:
                    parent, role = (None, "agent") if root else ("above", "model")
                    fleet.push(span(at_s, f"{trace}-{at_s}", parent, role, trace=f"T{trace}"))
            fleet.fold(second)
            if second in stores:
                fleet.telemetry.assembly.traces.pack()
        stored.append(msgspec.msgpack.decode(fleet.telemetry.assembly.traces.pack()))
    assert stored[0] == stored[1]
