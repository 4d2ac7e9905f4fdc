"""A chart of one series in the terminal: its value, the threshold, its state beneath, and what happened.

Drawn here and not by a library: none that we know puts a band of states and marks beneath the very columns of a plot,
and that is most of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from string import ascii_lowercase, digits
from textwrap import wrap
from typing import Any

from rich.text import Text

from self_healing.cli.output import amount, span, text
from self_healing.wording import course

Json = dict[str, Any]

ROWS = 10
HEADROOM = 1.1
"""The top stands by so much above the highest value and the threshold, so that either can be seen to be below it."""

_AFTER = datetime.max.replace(tzinfo=UTC)
_EIGHTHS = 8
_MARKS = digits[1:] + ascii_lowercase
_STATES = ("inactive", "pending", "recovering", "firing")  # what a column shows of several is the last of these
_STYLES = {"inactive": "dim", "pending": "yellow", "recovering": "cyan", "firing": "red"}


@dataclass(frozen=True, slots=True)
class Strokes:
    """The characters that it is drawn with.

    Args:
        parts: a cell that is filled by so many eighths, from the bottom.
        states: as ``_STATES`` has them.
    """

    parts: str
    line: str
    axis: str
    states: str


FINE = Strokes(" ▁▂▃▄▅▆▇█", "─", "│", "·░▒█")
PLAIN = Strokes("     ####", "-", "|", ".pRF")


def strokes(encoding: str | None) -> Strokes:
    """Those that a terminal of that encoding can show."""
    try:
        (FINE.parts + FINE.line + FINE.axis + FINE.states).encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return PLAIN
    return FINE


def chart(told: Json, width: int, drawn: Strokes) -> Iterator[Text]:
    """The lines of the chart.

    Args:
        told: an explanation with a history.
        width: of the terminal, in columns.
        drawn: with what.
    """
    history, unit = told["history"], told["unit"]
    values = [each["value"] for each in history["points"] if each["value"] is not None]
    limits = [each["threshold"] for each in history["points"] if each["threshold"] is not None]
    if not values:
        between = f"; what was between them, a shorter --for shows: they are {span(history['step_s'])} apart"
        yield Text(f"no value at any instant that is shown{between if history['step_s'] > 1 else ''}", style="dim")
        return
    low, high = min([0.0, *values, *limits]), max([0.0, *values, *limits]) * HEADROOM
    high = high if low < high else 1.0
    labels = _labels(low, high, limits[-1] if limits else None, unit)
    margin = max(len("state"), *(len(label) for label in labels.values()))
    columns = _columns(history, max(width - margin - 3, 20), rising=told["rising"])
    for row in range(ROWS - 1, -1, -1):
        yield _row(row, labels.get(row, ""), margin, columns, (low, high), drawn)
    yield _styled(
        f"{'state':>{margin}} {drawn.axis}",
        ((drawn.states[_STATES.index(column.state)], _STYLES[column.state]) for column in columns),
    )
    marked = _marked(history, columns)
    if marked:
        marks = "".join(_MARKS[list(marked).index(at)] if at in marked else " " for at in range(len(columns)))
        yield Text(f"{'':{margin}} {drawn.axis}{marks}".rstrip())
    yield Text(f"{'UTC':>{margin}}  {_times(columns)}")
    yield from _wrapped(_in_words(told), width, margin + 2)
    yield from _wrapped(_legend(columns, drawn, limits), width, margin + 2, style="dim")
    for mark, happened in zip(_MARKS, marked.values(), strict=False):
        for each in happened:
            start = f"{mark:>{margin}}  {each['at'][11:19]}"
            yield from _wrapped(f"{text(each['what'])}: {text(each['text'])}", width, margin + 12, start=start)


@dataclass(slots=True)
class Column:
    """What one column of the chart shows: of the values in its time the worst, and of the states the gravest."""

    begins: datetime
    value: float | None
    threshold: float | None
    state: str


def _columns(history: Json, count: int, *, rising: bool) -> list[Column]:
    """The points of the stretch, in as many columns; one without a point shows what the last one before it showed."""
    begins, ends = (datetime.fromisoformat(history[name]) for name in ("from", "until"))
    length = (ends - begins) / count
    points = [(datetime.fromisoformat(each["at"]), each) for each in history["points"]]
    fired = [datetime.fromisoformat(each["at"]) for each in history["transitions"] if each["to"] == "firing"]
    found: list[Column] = []
    for number in range(count):
        # The last one has the end, which so many rounded lengths need not reach.
        start, end = begins + number * length, begins + (number + 1) * length if number < count - 1 else _AFTER
        inside = [each for at, each in points if start <= at < end]
        shown = inside or [each for at, each in points if at < start][-1:]
        values = [each["value"] for each in shown if each["value"] is not None]
        states = [each["state"] for each in shown] + ["firing" for at in fired if start <= at < end]
        found.append(
            Column(
                start,
                (max if rising else min)(values) if values else None,
                shown[-1]["threshold"] if shown else None,
                max(states, key=_STATES.index, default="inactive"),
            )
        )
    return found


def _labels(low: float, high: float, limit: float | None, unit: str) -> dict[int, str]:
    """What stands beside the rows: the highest, the lowest, and the threshold."""
    labels = {ROWS - 1: amount(high, unit), 0: amount(low, unit)}
    if limit is not None:
        labels[_place(limit, low, high) // _EIGHTHS] = amount(limit, unit)
    return labels


def _place(value: float, low: float, high: float) -> int:
    """How high a value stands, in eighths of a row, from 0 to just below the top."""
    most = ROWS * _EIGHTHS - 1
    return min(max(int((value - low) / (high - low) * most), 0), most)


def _row(
    row: int, label: str, margin: int, columns: Sequence[Column], reach: tuple[float, float], drawn: Strokes
) -> Text:
    return _styled(f"{label:>{margin}} {drawn.axis}", (_cell(row, column, reach, drawn) for column in columns))


def _cell(row: int, column: Column, reach: tuple[float, float], drawn: Strokes) -> tuple[str, str]:
    """What a column has in a row, and its style; the line of the threshold cuts through what stands higher."""
    if column.threshold is not None and _place(column.threshold, *reach) // _EIGHTHS == row:
        return drawn.line, "yellow"
    filled = 0 if column.value is None else _place(column.value, *reach) + 1 - row * _EIGHTHS
    part = drawn.parts[min(max(filled, 0), _EIGHTHS)]
    return part, "" if part == " " or column.state == "inactive" else _STYLES[column.state]


def _styled(start: str, cells: Iterable[tuple[str, str]]) -> Text:
    """A line of cells; those of one style side by side are styled as one."""
    line = Text(start)
    for style, same in groupby(cells, key=lambda cell: cell[1]):
        line.append("".join(char for char, _ in same), style=style)
    line.rstrip()
    return line


def _marked(history: Json, columns: Sequence[Column]) -> dict[int, list[Json]]:
    """What happened, by the column in which it is marked; the newest where there is more than there are marks."""
    found: dict[int, list[Json]] = {}
    for each in history["marks"]:
        at = datetime.fromisoformat(each["at"])
        number = max((n for n, column in enumerate(columns) if column.begins <= at), default=0)
        found.setdefault(number, []).append(each)
    return dict(list(found.items())[-len(_MARKS) :])


def _times(columns: Sequence[Column]) -> str:
    """The axis of time: as many instants as have room."""
    line, length = "", columns[1].begins - columns[0].begins
    form = "%H:%M" if length >= timedelta(seconds=5) else "%H:%M:%S"
    every = max(len(columns) // 5, 10)
    for number in range(0, len(columns) - 8, every):
        line = f"{line:<{number}}{columns[number].begins:{form}}"
    return line


def _legend(columns: Sequence[Column], drawn: Strokes, limits: Sequence[float]) -> str:
    shown = [state for state in _STATES if any(column.state == state for column in columns)]
    keys = [f"{drawn.states[_STATES.index(state)]} {state}" for state in shown]
    return "   ".join([*([f"{drawn.line} threshold"] if limits else []), *keys])


def _in_words(told: Json) -> str:
    points = told["history"]["points"]
    at = [datetime.fromisoformat(each["at"]) for each in points]
    values, limits = ([each[name] for each in points] for name in ("value", "threshold"))
    return course(values, told["unit"], at, limits, rising=told["rising"])


def _wrapped(line: str, width: int, margin: int, *, start: str = "", style: str = "") -> Iterator[Text]:
    """A text within the terminal's width, beneath the plot; `start` stands left of its first line."""
    first, others = f"{start:<{margin}}", " " * margin
    for each in wrap(line, width, initial_indent=first, subsequent_indent=others, break_on_hyphens=False):
        yield Text(each, style=style)
