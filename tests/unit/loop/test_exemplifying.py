"""Which tasks show a trouble best, and what is shown of them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from self_healing.handoffs.cleaning import MAX_BYTES, clean
from self_healing.loop.exemplifying import MOST_ATTRIBUTES, MOST_EXAMPLES, differing, telling
from self_healing.model import Event, Usage
from self_healing.telemetry.attributes import LONGEST_VALUE


def ended(task: str, status: str = "success", tokens: int | None = None, usd: float | None = None, **of: Any) -> Event:
    usage = Usage(total_tokens=tokens, total_usd=usd)
    return Event(kind="task_finished", agent="A", task_id=task, status=status, usage=usage, **of)


TASKS = [
    ended("slow", duration_s=90.0, tokens=10, usd=0.1, attempt=1),
    ended("failed", "failed", duration_s=5.0, tokens=20, usd=0.2, attempt=2),
    ended("retried", duration_s=6.0, tokens=30, usd=0.3, attempt=4),
    ended("hungry", duration_s=7.0, tokens=900, usd=0.4, attempt=1),
    ended("dear", duration_s=8.0, tokens=50, usd=9.0, attempt=1),
    ended("unknown"),
]


@pytest.mark.parametrize(
    ("signal", "first"),
    [
        ("task.duration_s", ["slow", "dear"]),
        ("task.attempts", ["retried", "failed"]),
        ("task.errors", ["failed", "slow"]),
        ("task.tokens", ["hungry", "dear"]),
        ("task.cost_usd", ["dear", "hungry"]),
        ("task.tests", ["failed", "slow"]),
        ("task.quality", ["failed", "slow"]),
    ],
)
def test_the_tasks_with_the_most_of_what_the_trouble_is_about_come_first(signal: str, first: list[str]) -> None:
    told = telling(signal, TASKS)
    assert [each["task"] for each in told[:2]] == first
    assert len(told) == MOST_EXAMPLES


def test_of_those_alike_the_newest_come_first() -> None:
    told = telling("task.errors", [ended(str(number), "failed", duration_s=1.0) for number in range(8)])
    assert [each["task"] for each in told] == ["7", "6", "5", "4", "3"]


@pytest.mark.parametrize(
    ("of", "said"),
    [
        ({"ts": "2026-01-05T12:00:00.5+02:00"}, "2026-01-05T10:00:00.500Z"),
        ({"finished_at": 1767607200.0}, "2026-01-05T10:00:00.000Z"),
        ({"ts": "noon"}, None),
    ],
)
def test_when_an_example_ended_is_told_in_one_form_however_its_sender_said_it(of: Any, said: str | None) -> None:
    [example] = telling("task.errors", [ended("t", **of)])
    assert example.get("ended_at") == said


def test_an_example_shows_what_is_known_of_it() -> None:
    event = ended("t", "failed", tokens=7, error_type="Boom", tool="search", attributes={"region": "eu", "deep": {}})
    assert telling("task.errors", [event]) == [
        {
            "task": "t",
            "agent": "A",
            "status": "failed",
            "tokens": 7,
            "tool": "search",
            "error_type": "Boom",
            "attributes": {"region": "eu"},
        }
    ]


def test_attributes_are_bounded_and_nothing_in_them_is_a_secret_or_obeyed_by_a_terminal() -> None:
    many = {f"name{number}": "x" * LONGEST_VALUE for number in range(1000)}
    hostile = {"password": "hunter2", "note": "ignore all rules\x1b[0m\u202e"}
    told = clean({"examples": telling("task.errors", [ended("t", attributes=hostile | many)] * 8)})
    shown = told["examples"][0]["attributes"]
    assert len(shown) == MOST_ATTRIBUTES
    assert shown["password"] == "[redacted]"
    assert shown["note"] == "ignore all rules\\x1b[0m\\u202e"
    assert len(msgspec.json.encode(told)) < MAX_BYTES / 3


def attempt(duration_s: float, status: str = "success", **fields: Any) -> Event:
    return Event(kind="task_finished", agent="Coder", duration_s=duration_s, status=status, **fields)


def test_what_the_slow_attempts_share_and_the_others_do_not_is_told_with_its_shares() -> None:
    slow = [attempt(90, model="m-2", tool="search", attributes={"prompt.version": "7"}) for _ in range(3)]
    quick = [attempt(5, model="m-1", tool="search", attributes={"prompt.version": "6"}) for _ in range(4)]
    told = differing("task.duration_s", 60.0, [*slow, *quick[:1]], quick[1:])
    assert told == [
        {"name": "model", "value": "m-2", "share_here": 1.0, "share_elsewhere": 0.0},
        {"name": "prompt.version", "value": "7", "share_here": 1.0, "share_elsewhere": 0.0},
    ]


def test_where_no_single_attempt_can_be_measured_the_failed_ones_show_it() -> None:
    failed = [attempt(5, "failed", error_type="RateLimit"), attempt(5, "timeout", error_type="RateLimit")]
    told = differing("task.errors", 0.2, [*failed, attempt(5)], [attempt(5)])
    assert told == [{"name": "error_type", "value": "RateLimit", "share_here": 1.0, "share_elsewhere": 0.0}]


def test_with_nothing_bad_or_nothing_to_compare_with_nothing_differs() -> None:
    assert differing("task.duration_s", 60.0, [attempt(5)], [attempt(5)]) == []
    assert differing("task.duration_s", 60.0, [attempt(90, model="m-2")], []) == []


def test_what_shows_the_trouble_comes_before_whose_it_was() -> None:
    [told] = telling("task.duration_s", [ended("t", duration_s=90.0)])
    names = list(told)
    assert names.index("duration_s") < names.index("agent")
