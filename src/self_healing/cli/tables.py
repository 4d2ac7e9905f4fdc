"""Lays a table out within a terminal's width: the least important columns go first, and no id is ever broken."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence

from rich.cells import cell_len, chop_cells
from rich.text import Text

from self_healing.cli.columns import Column

GAP = 2
"""Spaces between two columns."""

TEXT_AT_LEAST = 28
"""With less room than this, a text goes beneath its row."""

_INDENT = 4
_YEAR = re.compile(r"^\d{4}-(?=\d\d-\d\d )")
_STYLES = {
    "healthy": "green",
    "healed": "green",
    "degraded": "yellow",
    "deferred": "yellow",
    "high": "yellow",
    "unhealthy": "red",
    "critical": "red",
    "escalated": "red",
    "failed": "red",
    "handoff_failed": "red",
    "handoff_expired": "yellow",
    "denied": "red",
    "unknown": "red",
    "firing": "red",
    "open": "red",
    "acting": "yellow",
    "verifying": "cyan",
    "mitigated": "blue",
}


def laid_out(columns: Sequence[Column], cells: list[list[str]], width: int | None) -> Iterator[Text]:
    """The lines of the table.

    Args:
        columns: one for each cell of a row.
        cells: row by row, each as it is to be shown.
        width: of the terminal, in columns; None when there is no end to it.
    """
    widths = _widths(columns, cells)
    shown, beneath = list(range(len(columns))), None
    if width is not None and _total(widths) > width:
        cells = [
            [_YEAR.sub("", cell) if column.instant else cell for cell, column in zip(row, columns, strict=True)]
            for row in cells
        ]
        widths = _widths(columns, cells)
        shown, beneath = _fitted(columns, widths, width)
    yield _line([columns[at].heading for at in shown], [widths[at] for at in shown], heading=True)
    for row in cells:
        folded = [_folded(row[at], widths[at], text=columns[at].text) for at in shown]
        for number in range(max(map(len, folded))):
            parts = [cell[number] if number < len(cell) else "" for cell in folded]
            yield _line(parts, [widths[at] for at in shown])
        if beneath is not None and width is not None and row[beneath] != "-":
            for part in textwrap.wrap(row[beneath], max(width - _INDENT, TEXT_AT_LEAST), break_on_hyphens=False):
                yield Text(" " * _INDENT + part, style="dim")


def _widths(columns: Sequence[Column], cells: list[list[str]]) -> list[int]:
    """What each column takes when nothing is broken."""
    headings = [cell_len(column.heading) for column in columns]
    return [max(heading, *(cell_len(row[at]) for row in cells)) for at, heading in enumerate(headings)]


def _fitted(columns: Sequence[Column], widths: list[int], width: int) -> tuple[list[int], int | None]:
    """Which columns are shown, and which one beneath the rows; `widths` is changed to what they may take."""
    shown, beneath = list(range(len(columns))), None
    words = next((at for at in shown if columns[at].text), None)
    while _total([widths[at] for at in shown]) > width:
        if words is not None and words in shown:
            room = width - _total([*(widths[at] for at in shown if at != words), 0])
            if room >= TEXT_AT_LEAST:
                widths[words] = room
            else:
                beneath = words
                shown.remove(words)
            continue
        least = max(shown, key=lambda at: (columns[at].rank, at))
        if columns[least].rank == 0:
            break
        shown.remove(least)
    over = _total([widths[at] for at in shown]) - width
    if over > 0:  # nothing more can be left out: the longest names are broken after all
        widest = max(shown[1:] or shown, key=lambda at: widths[at])
        widths[widest] = max(widths[widest] - over, 8)
    return shown, beneath


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + GAP * (len(widths) - 1)


def _folded(cell: str, width: int, *, text: bool) -> list[str]:
    if cell_len(cell) <= width:
        return [cell]
    return textwrap.wrap(cell, width, break_on_hyphens=False) if text else chop_cells(cell, width)


def _line(parts: Sequence[str], widths: Sequence[int], *, heading: bool = False) -> Text:
    line = Text()
    for part, width in zip(parts, widths, strict=True):
        line.append(part, style="bold" if heading else _STYLES.get(part, ""))
        line.append(" " * (width - cell_len(part) + GAP))
    line.rstrip()
    return line
