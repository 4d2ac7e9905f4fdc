"""What a line about a mistake looks like, whatever the mistake holds."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from self_healing.problems import listed, one_line, shown, suggestion, unknown


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (None, "null"),
        (0.5, "0.5"),
        ("a\nb", '"a\\nb"'),
        ({"x": [1, "y"]}, '{"x": [1, "y"]}'),
        (date(2026, 1, 5), '"2026-01-05"'),
        ("x" * 100, '"' + "x" * 76 + "..."),
    ],
)
def test_a_value_is_shown_as_in_toml_and_cut_to_eighty_characters(value: Any, text: str) -> None:
    assert shown(value) == text


@given(st.text())
def test_a_line_stays_one_line_of_printable_characters_and_printable_text_stays_as_it_is(text: str) -> None:
    line = one_line(text)
    assert line.isprintable()
    assert line == text or not text.isprintable()


def test_the_nearest_name_is_suggested_and_a_far_one_is_not() -> None:
    assert suggestion("slow_task", ["fast_tasks", "slow_tasks"]) == " did you mean slow_tasks?"
    assert suggestion("zzz", ["fast_tasks", "slow_tasks"]) == ""


def test_what_is_unknown_is_told_with_all_that_is_known() -> None:
    assert unknown("mod", ["mode", "fallback"]) == "unknown; did you mean mode? allowed are mode, fallback"
    assert unknown("x", []) == "unknown; allowed is none"
    assert listed(["a", "b"]) == "allowed are a, b"


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists, max_leaves=50))
def test_whatever_a_value_is_it_is_shown_in_at_most_eighty_ascii_characters(value: Any) -> None:
    text = shown(value)
    assert text.isascii()
    assert len(text) <= 80
    assert text == json.dumps(value) or text.endswith("...")
