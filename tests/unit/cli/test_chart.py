"""The chart in the terminal: what it shows at any width, with and without the finer characters."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from self_healing.cli.chart import FINE, PLAIN, Strokes, chart, strokes

START = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
Json = dict[str, Any]


def at(minute: float) -> str:
    return (START + timedelta(minutes=minute)).isoformat()


def told(values: Sequence[float | None], states: list[str] | None = None, **fields: Any) -> Json:
    """An explanation of an hour with these values, evenly spread."""
    every = 60 / (len(values) - 1)
    states = states or ["inactive"] * len(values)
    threshold = fields.pop("threshold", 60.0)
    points = [
        {"at": at(number * every), "value": value, "threshold": threshold, "state": state}
        for number, (value, state) in enumerate(zip(values, states, strict=True))
    ]
    history = {"from": at(0), "until": at(60), "points": points, "step_s": 30, "transitions": [], "marks": [], **fields}
    return {"unit": "s", "rising": True, "history": history}


def drawn(of: Json, width: int = 80, how: Strokes = FINE) -> list[str]:
    return [line.plain for line in chart(of, width, how)]


def row(lines: list[str], label: str) -> str:
    return next(line for line in lines if line.lstrip().startswith(label))


MARKS = [
    {"at": at(30), "what": "detected", "text": "90s, threshold 1m", "incident": "inc-1"},
    {"at": at(30), "what": "acting", "text": "analyze_slow_tasks for Coder " + "and so on " * 9, "incident": "inc-1"},
    {"at": at(59), "what": "healed", "text": "3s on 3 samples", "incident": "inc-1"},
]
HOUR = told([10.0] * 30 + [90.0] * 31, ["inactive"] * 30 + ["firing"] * 29 + ["recovering"] * 2, marks=MARKS)


@pytest.mark.parametrize("width", [40, 80, 120])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    for how in (FINE, PLAIN):
        assert max(map(len, drawn(HOUR, width, how))) <= width


def test_the_plain_one_has_nothing_but_ascii() -> None:
    assert "".join(drawn(HOUR, how=PLAIN)).isascii()


@pytest.mark.parametrize(("encoding", "how"), [("utf-8", FINE), ("ascii", PLAIN), ("latin-1", PLAIN), (None, PLAIN)])
def test_a_terminal_gets_what_its_encoding_can_show(encoding: str | None, how: Strokes) -> None:
    assert strokes(encoding) is how


def test_the_threshold_is_a_line_across_with_its_amount() -> None:
    line = row(drawn(HOUR), "1m")
    assert set(line.split("│")[1]) == {"─"}


def test_the_value_stands_above_the_threshold_only_where_it_is() -> None:
    lines = drawn(HOUR)
    above = lines[: lines.index(row(lines, "1m"))]
    shown = [line.split("│")[1].ljust(72) for line in above]
    assert all(set(line[:34]) <= {" "} for line in shown)
    assert any("█" in line[36:] for line in shown)


def test_the_band_shows_the_gravest_state_of_each_column_without_a_colour() -> None:
    assert row(drawn(HOUR, how=PLAIN), "state").split("|")[1].lstrip(".").rstrip("R").strip("F") == ""
    short = told([10.0] * 121, ["inactive"] * 60 + ["firing"] + ["inactive"] * 60)
    assert row(drawn(short, how=PLAIN), "state").count("F") == 1


def test_a_burst_between_two_points_is_in_the_band() -> None:
    burst = told([10.0] * 61, transitions=[{"at": at(30.3), "to": "firing"}])
    assert row(drawn(burst, how=PLAIN), "state").count("F") == 1


def test_of_several_values_in_a_column_the_worst_is_shown() -> None:
    peak = told([10.0] * 60 + [90.0] + [10.0] * 60)
    assert any("#" in line for line in drawn(peak, how=PLAIN)[:3])
    low = told([10.0] * 60 + [1.0] + [10.0] * 60, threshold=5.0) | {"rising": False}
    assert drawn(low, how=PLAIN)[1].split("|")[1].strip("#") == " "


@pytest.mark.parametrize("width", [80, 81, 84, 120])
def test_the_last_column_has_the_value_of_the_end_at_any_width(width: int) -> None:
    lines = drawn(told([10.0] * 60 + [90.0], ["inactive"] * 60 + ["firing"]), width)
    assert lines[1].endswith("█")
    assert row(lines, "state").endswith("·█")


def test_what_happened_is_marked_and_told_beneath() -> None:
    lines = drawn(HOUR)
    marks = next(line for line in lines if "1" in line and "2" in line and "│" in line and ":" not in line)
    assert marks.index("1") < marks.index("2")
    assert any(line.strip().startswith("1  10:30:00  detected: 90s") for line in lines)
    assert any(line.strip().startswith("2  10:59:00  healed") for line in lines)


def test_a_value_that_is_missing_leaves_its_column_empty() -> None:
    gap = drawn(told([10.0] * 20 + [None] * 21 + [10.0] * 20), how=PLAIN)
    assert "   " in row(gap, "0s").split("|")[1].strip()


@pytest.mark.parametrize(
    ("step_s", "more"), [(1, ""), (21_600, "; what was between them, a shorter --for shows: they are 6h apart")]
)
def test_without_any_value_it_says_so(step_s: int, more: str) -> None:
    assert drawn(told([None, None, None], step_s=step_s)) == [f"no value at any instant that is shown{more}"]


def test_zero_all_along_can_be_drawn() -> None:
    assert row(drawn(told([0.0] * 61, threshold=None)), "0s")


@pytest.mark.parametrize("value", [-1.1, -1.0, -0.5])
def test_where_everything_is_negative_the_axis_ends_at_zero_with_the_lowest_beneath(value: float) -> None:
    lines = drawn(told([value] * 60, threshold=-1.0))
    assert lines[0].lstrip().startswith("0s")
    assert lines[9].lstrip().startswith(("-1s", "-1.1s"))
