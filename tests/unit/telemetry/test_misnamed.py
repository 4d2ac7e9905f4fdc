"""What a line says of use under a name that no field has is told, where it may stand for one that the line lacks."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from self_healing.clock import to_us
from self_healing.telemetry.misnamed import EVENTS_MAX, LINES_MAX, misnamed
from self_healing.telemetry.native import decode

NOW_US = to_us(datetime(2026, 1, 6, tzinfo=UTC))


def line(usage: object = None) -> bytes:
    event = {"ts": "2026-01-05T10:00:00Z", "type": "llm_call", "agent": "Coder", "usage": usage}
    return msgspec.json.encode(event) + b"\n"


def told(lines: bytes) -> list[tuple[str, int]]:
    decoded = decode(lines, now_us=NOW_US)
    assert not decoded.bad
    return list(misnamed(lines, decoded))


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("cost_usd", "total_usd"),
        ("cost", "total_usd"),
        ("totalUsd", "total_usd"),
        ("input_tokens", "prompt_tokens"),
        ("output_tokens", "completion_tokens"),
    ],
)
def test_a_name_that_no_field_has_is_told_with_the_one_that_was_meant(name: str, meant: str) -> None:
    fields = {"prompt_tokens": 900, "completion_tokens": 100, "total_tokens": 1000, "total_usd": 0.02}
    usage = {each: value for each, value in fields.items() if each != meant} | {name: 1}
    assert told(line() + line(usage)) == [
        (f"usage.{name} is no field and is not read; did you mean {meant}?", len(line()))
    ]


def test_a_usage_of_which_nothing_can_be_read_is_told_with_the_names_of_its_fields() -> None:
    [(what, _)] = told(line({"quota": 3}))
    assert what == (
        "usage.quota is no field and is not read; allowed are prompt_tokens, completion_tokens, total_tokens, total_usd"
    )


@pytest.mark.parametrize(
    "more", [{}, {"cached_tokens": 800}, {"reasoning_tokens": 50}, {"prompt_tokens_details": {"cached_tokens": 800}}]
)
def test_a_figure_more_than_is_read_is_no_mistake(more: dict[str, object]) -> None:
    assert told(line({"prompt_tokens": 900, "completion_tokens": 100} | more)) == []


def test_a_name_cannot_garble_what_is_told_and_is_cut() -> None:
    [(what, _)] = told(line({"a\nb" + "c" * 1000: 3}))
    assert what.startswith("usage.a\\nbccc")
    assert len(what) < 200


def test_a_few_lines_are_looked_at_however_many_there_are() -> None:
    wrong = line({"cost": 1})
    assert len(told(wrong * 100)) == LINES_MAX
    assert told(line() * EVENTS_MAX + wrong) == []
    assert len(told(wrong.rstrip())) == 1
