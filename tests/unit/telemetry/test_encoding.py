"""Events as lines of our own segments."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from self_healing.model import Ingested, Usage
from self_healing.telemetry.encoding import (
    ATTRIBUTES_MAX,
    EVENT_MAX_BYTES,
    TEXT_MAX,
    IntakeLine,
    encode_events,
    encode_intake,
)
from self_healing.telemetry.lines import BadLine, read_line

AT = "2026-01-05T10:00:00.000Z"
SECRET = "sk-abcdefghijklmnopqrstuvwxyz"


def encode_event(event: Ingested) -> bytes:
    (line,) = encode_events([event])
    return line


def attributes(given: Any) -> Any:
    return json.loads(encode_event(Ingested(ts=AT, attributes=given)))["attributes"]


def test_a_line_says_what_is_known_and_no_more() -> None:
    event = Ingested(ts=AT, kind="llm_call", agent="Coder", usage=Usage(prompt_tokens=0), span_id="ab", role="model")
    assert json.loads(encode_event(event)) == {
        "ts": AT,
        "type": "llm_call",
        "agent": "Coder",
        "usage": {"prompt_tokens": 0},
        "span_id": "ab",
        "role": "model",
    }


def test_secrets_are_redacted_in_every_field_and_key() -> None:
    texts = {
        field.name: SECRET
        for field in msgspec.structs.fields(Ingested)
        if field.name not in ("ts", "attempt", "started_at", "finished_at", "duration_s", "usage", "passed", "failed")
        and field.name not in ("quality", "attributes")
    }
    held = {
        "a": SECRET,
        SECRET: 1,
        "list": [SECRET, {"deep": SECRET}],
        "password": "hunter2",
        "token": {"x": "hunter2"},
    }
    line = encode_event(Ingested(ts=AT, **texts, attributes=held))  # type: ignore[arg-type]
    assert SECRET.encode() not in line
    assert b"hunter2" not in line
    assert line.count(b"[redacted]") == len(texts) + 6


def test_counts_of_tokens_pass() -> None:
    held = {"gen_ai.usage.input_tokens": 12, "max_token": 5, "note": "Bearer of news"}
    assert attributes(held) == held


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (float("nan"), None),
        (float("inf"), None),
        (2**70, "(an integer of 71 bits)"),
        (True, True),
        ("lone \ud800", "lone ?"),
        (("a", 1), ["a", 1]),
        ([[[[[[[[[["x"]]]]]]]]]], [[[[[[["(nested too deep)"]]]]]]]),
    ],
)
def test_a_value_that_not_everybody_can_hold_is_said_in_another_way(value: Any, kept: Any) -> None:
    assert attributes({"secret_free": 2**70, "value": value})["value"] == kept


def test_many_attributes_and_long_texts_are_cut_and_the_cut_is_said() -> None:
    held = attributes({f"k{n}": n for n in range(ATTRIBUTES_MAX + 5)})
    assert (len(held), held["attributes_dropped"]) == (ATTRIBUTES_MAX + 1, 5)
    assert attributes({"text": "x" * 10_000})["text"] == "x" * TEXT_MAX + "..."


def test_a_secret_at_the_cut_is_redacted_first() -> None:
    assert "sk-" not in attributes({"text": "x" * (TEXT_MAX - 10) + " " + SECRET})["text"]


def test_an_event_that_is_too_large_loses_its_largest_attributes() -> None:
    line = encode_event(Ingested(ts=AT, attributes={"small": 1, **{f"k{n}": "\x01" * TEXT_MAX for n in range(100)}}))
    assert len(line) <= EVENT_MAX_BYTES
    held = json.loads(line)["attributes"]
    assert held["small"] == 1
    assert held["attributes_dropped"] > 0


def test_nobody_else_speaks_for_us() -> None:
    assert "type" not in json.loads(encode_event(Ingested(ts=AT, kind="self_healing_intake")))


def test_what_is_said_of_a_batch_is_short() -> None:
    line = IntakeLine(ts=AT, type="self_healing_intake", source="http", events=0, dropped={"duplicate": 2})
    assert encode_intake(line) == (
        b'{"ts":"2026-01-05T10:00:00.000Z","type":"self_healing_intake","source":"http","events":0,'
        b'"dropped":{"duplicate":2}}\n'
    )


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), VALUES, max_size=6), st.text())
def test_every_event_is_one_good_line(held: dict[str, Any], agent: str) -> None:
    line = encode_event(Ingested(ts=AT, agent=agent, attributes=held))
    assert line.count(b"\n") == 1
    assert len(line) <= EVENT_MAX_BYTES
    assert not isinstance(read_line(line.rstrip(b"\n")), BadLine)


def test_one_bad_event_among_many_changes_only_its_own_line() -> None:
    usual = Ingested(ts=AT, agent="Coder", attributes={"n": 1})
    odd = [
        Ingested(ts=AT, attributes={"n": 2**70}),
        Ingested(ts=AT, attributes={"text": SECRET}),
        Ingested(ts=AT, attributes={"text": "x" * 10_000}),
        Ingested(ts=AT, kind="self_healing_intake"),
    ]
    mixed = [usual, *(event for each in odd for event in (each, usual))]
    lines = encode_events(mixed)
    assert lines == [encode_event(event) for event in mixed]
    assert set(lines[::2]) == {encode_event(usual)}
    assert SECRET.encode() not in b"".join(lines)
