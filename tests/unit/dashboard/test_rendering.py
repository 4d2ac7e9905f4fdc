"""Rendering: instants, lengths of time and tables as people read them."""

from __future__ import annotations

from typing import Any

import pytest

from self_healing.dashboard.rendering import columns, instant, since, unparted


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ("2026-01-05T10:00:00Z", "+0s"),
        ("2026-01-05T10:01:16Z", "+1m 16s"),
        ("2026-01-05T10:05:48Z", "+5m 48s"),
        ("2026-01-05T11:10:20Z", "+1h 10m"),
    ],
)
def test_a_timeline_says_in_one_form_how_long_after_its_beginning(told: str, says: str) -> None:
    assert f">{says}<" in since(told, "2026-01-05T10:00:00Z")


def test_an_instant_of_any_year_has_all_its_digits() -> None:
    assert 'title="0987-01-05 10:00:00 UTC"' in instant("0987-01-05T10:00:00.5Z")


def test_a_column_of_which_no_row_says_anything_is_left_out() -> None:
    rows: list[dict[str, Any] | str] = [{"a": None, "b": 0, "c": ""}, {"a": None, "b": None, "d": False}, "and 3 more"]
    assert columns(rows) == ["b", "d"]


@pytest.mark.parametrize("text", ["is 1.67_%; it fires at >=_5_%", "0_USD on 20_samples", "at 10:05:00, >_-1"])
def test_no_line_ends_between_a_number_and_its_unit(text: str) -> None:
    assert unparted(text.replace("_", " ")) == text.replace("_", "\N{NO-BREAK SPACE}")
