"""Whose work the parts of a trace are, found in real files, and beside what the framework folds of the same spans."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from self_healing.clock import to_us
from self_healing.model import Ingested, Kind, Usage
from self_healing.telemetry.assembly import Assembly
from self_healing.telemetry.query.find import find
from self_healing.telemetry.query.rows import Wanted
from tests.unit.telemetry.query.test_find import ALL, AT, native, places, segment, ts

SERVICE = "shop"
KINDS = {"model": "llm_call", "tool": "tool_call"}


def span(
    id: str, role: str, parent: str | None = None, *, at: float = 0, agent: str = SERVICE, **more: str
) -> Ingested:
    """A span as it is written: one that does not say whose it is bears its service's name, and its trace for a task."""
    return Ingested(
        ts=ts(at),
        kind=KINDS.get(role, "span"),
        trace_id=more.get("trace", "T"),
        span_id=id,
        parent_id=parent,
        role=role,
        agent=agent,
        task_id=more.get("task", more.get("trace", "T")),
        status=more.get("status", "success"),
        source="otlp",
        attributes={"service.name": SERVICE},
    )


def told(directory: Path, wanted: Wanted = ALL) -> dict[str, tuple[str | None, str | None]]:
    """Agent and task of each span that is found."""
    rows = [row.told for row in find(places(directory), wanted, 50).rows]
    return {row["attributes"]["span_id"]: (row["agent"], row["task_id"]) for row in rows}


TRACE = (
    span("call", "model", "sub", at=1),
    span("sub", "agent", "tool", at=2, agent="Researcher"),
    span("tool", "tool", "root", at=3, status="failed"),
    span("root", "agent", at=4, agent="Coder", task="t1"),
)


@pytest.mark.parametrize("compacted", [False, True], ids=["segment", "compacted"])
def test_calls_in_a_trace_are_found_by_the_agent_and_the_task_of_it(compacted: bool, tmp_path: Path) -> None:
    segment(tmp_path, *TRACE, span("other", "model", trace="U"), compacted=compacted)
    assert told(tmp_path, Wanted(tasks=("t1",))) == {
        "call": ("Researcher", "t1"),
        "sub": ("Researcher", "t1"),
        "tool": ("Coder", "t1"),
        "root": ("Coder", "t1"),
    }
    assert set(told(tmp_path, Wanted(agents=("Coder",)))) == {"tool", "root"}
    assert set(told(tmp_path, Wanted(agents=("Coder",), kinds=("tool_call",), statuses=("failed",)))) == {"tool"}
    assert set(told(tmp_path, Wanted(agents=("Researcher",), tasks=("t1",)))) == {"call", "sub"}


def test_what_a_line_says_itself_finds_it_too(tmp_path: Path) -> None:
    segment(tmp_path, *TRACE, span("other", "model", trace="U"))
    assert told(tmp_path, Wanted(agents=(SERVICE,))) == {
        "call": ("Researcher", "t1"),
        "tool": ("Coder", "t1"),
        "other": (SERVICE, "U"),
    }


def test_a_trace_that_stands_in_several_files_is_one(tmp_path: Path) -> None:
    segment(tmp_path, *TRACE[:2], compacted=True)
    segment(tmp_path, *TRACE[2:])
    assert told(tmp_path, Wanted(tasks=("t1",)))["call"] == ("Researcher", "t1")


def test_a_call_is_its_tasks_though_that_ended_after_what_is_looked_at(tmp_path: Path) -> None:
    segment(tmp_path, *TRACE)
    assert set(told(tmp_path, Wanted(tasks=("t1",), until_us=to_us(AT) + 1_500_000))) == {"call"}


def test_what_wraps_the_work_of_one_agent_is_that_agents(tmp_path: Path) -> None:
    segment(tmp_path, span("root", "other", task="t2"), span("agent", "agent", "root", agent="Coder"))
    assert told(tmp_path) == {"root": ("Coder", "t2"), "agent": ("Coder", "t2")}


def test_without_work_that_is_known_of_everything_says_what_it_said(tmp_path: Path) -> None:
    segment(tmp_path, span("root", "other"), span("inside", "other", "root"), span("lost", "model", "gone", trace="U"))
    native(tmp_path, {"ts": ts(0), "type": "llm_call", "id": "n", "agent": "A", "trace_id": "T", "span_id": "n"})
    assert told(tmp_path) == {
        "root": (SERVICE, "T"),
        "inside": (SERVICE, "T"),
        "lost": (SERVICE, "U"),
        "n": ("A", "n"),
    }


def test_a_score_is_the_tasks_whose_span_it_hangs_on(tmp_path: Path) -> None:
    score = Ingested(ts=ts(5), kind="quality_score", quality=0.5, agent=SERVICE, trace_id="T", parent_id="tool")
    score.attributes = {"service.name": SERVICE}
    segment(tmp_path, *TRACE, score)
    (row,) = find(places(tmp_path), Wanted(tasks=("t1",), kinds=("quality_score",)), 50).rows
    assert row.told["agent"] == "Coder"


def test_ids_that_go_round_in_a_circle_end(tmp_path: Path) -> None:
    segment(tmp_path, span("a", "agent", "b", agent="A", task="a"), span("b", "model", "a"))
    assert set(told(tmp_path, Wanted(tasks=("a",)))) == {"a", "b"}


TREES = st.lists(st.tuples(st.sampled_from(["agent", "model", "tool", "other"]), st.integers(0, 9)), max_size=10)


@settings(max_examples=60, deadline=None)
@given(TREES, st.sampled_from(["agent", "other", None]))
def test_the_calls_of_a_task_are_those_that_its_usage_is_the_sum_of(
    tree: list[tuple[str, int]], root: str | None
) -> None:
    """`root` is None where the root never came; each span ends before the one it lies under."""
    names = ["root", *(f"s{number}" for number in range(len(tree)))]
    spans = [] if root is None else [span("root", root, at=len(tree), task="root")]
    for number, (role, above) in enumerate(tree):
        name = names[number + 1]
        spans.append(span(name, role, names[above % (number + 1)], at=len(tree) - number - 1, task=name))
        if role == "model":
            spans[-1].usage = Usage(total_tokens=2**number)
    spans.reverse()
    with TemporaryDirectory() as directory:
        segment(Path(directory), *spans)
        found = [row.told for row in find(places(Path(directory)), ALL, 50).rows]
    shown: dict[str, int] = {}
    ids = {each.span_id or "": each.role for each in spans}
    for row in found:
        belongs = row["task_id"] != row["attributes"]["span_id"] or ids[row["task_id"]] == "agent"
        if row["kind"] == "llm_call" and belongs:
            shown[row["task_id"]] = shown.get(row["task_id"], 0) + row["total_tokens"]
    assert shown == _folded(spans)


def _folded(spans: list[Ingested]) -> dict[str, int]:
    """The tokens of each task, as the framework adds them up."""
    at_us = np.arange(len(spans)) * 1_000_000 + to_us(AT)
    kind = np.array([Kind[each.kind.upper()] for each in spans], np.uint8)
    assembly = Assembly()
    assembly.learn(spans, kind, at_us)
    events, kinds, _ = assembly.put((spans, kind, at_us), to_us(AT) + 3_600_000_000, 0)
    tokens: dict[str, int] = {}
    for event, each in zip(events, kinds.tolist(), strict=True):
        if each == Kind.LLM_CALL and event.usage is not None:
            tokens[event.task_id or ""] = tokens.get(event.task_id or "", 0) + (event.usage.total_tokens or 0)
    return tokens
