"""What native lines do not say of the cost of a call is priced where they are read."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from self_healing.telemetry.lines import native_asking
from self_healing.telemetry.native import decode
from self_healing.telemetry.native_batch import JSON_TYPE, native_batch
from self_healing.telemetry.prices import price
from self_healing.telemetry.timestamps import END_US

AT = datetime(2026, 1, 5, 12, tzinfo=UTC)
USAGE = {"prompt_tokens": 1000, "completion_tokens": 100}
CALL: dict[str, Any] = {"ts": AT.isoformat(), "type": "llm_call", "id": "t1", "model": "gpt-4o", "usage": USAGE}
COST = price("gpt-4o", None, AT.timestamp(), input_tokens=1000, output_tokens=100)


def cost(line: dict[str, Any]) -> float | None:
    text = json.dumps(line).encode()
    (event,) = decode(text, now_us=END_US).events
    (asked,) = decode(text, now_us=END_US, form=native_asking(("team",))).events
    (sent,) = native_batch(text, JSON_TYPE).events
    assert event.usage is not None
    assert event.usage == asked.usage == sent.usage
    return event.usage.total_usd


def test_a_call_of_a_known_model_costs_what_the_price_list_says() -> None:
    assert COST is not None
    assert cost(CALL) == cost({**CALL, "provider": "openai"}) == COST


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"usage": {**USAGE, "total_usd": 0.5}}, 0.5),
        ({"usage": {**USAGE, "total_usd": 0.0}}, 0.0),
        ({"usage": {"total_tokens": 1100}}, None),
        ({"model": "nobody-knows-it"}, None),
        ({"model": None}, None),
        ({"provider": "a-cloud-of-ours"}, None),
        ({"type": "task_finished"}, None),
        ({"type": "tool_call"}, None),
    ],
)
def test_what_a_line_says_stands_and_what_nobody_knows_is_unknown(
    changed: dict[str, Any], expected: float | None
) -> None:
    assert cost({**CALL, **changed}) == expected
