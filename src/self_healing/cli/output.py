"""Prints what a command found: JSON for programs, tables for people, data only on stdout."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from self_healing.cli.options import Format
from self_healing.handoffs.cleaning import escape

Json = dict[str, Any]

_WIDE = 10_000  # characters
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
    "denied": "red",
    "unknown": "red",
    "firing": "red",
}


def show(data: Json, format: Format, people: Callable[[Json], None]) -> None:
    """Print `data` as JSON, or let `people` print it."""
    if format is Format.JSON:
        # ASCII only: whatever the terminal's encoding, it stays JSON, and no control character reaches it.
        print(json.dumps(data, indent=2))
    else:
        people(data)


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, whole: Sequence[str] = (), empty: str) -> None:
    """Print a table: within the terminal's width, and one line a row through a pipe.

    Args:
        columns: their headings.
        rows: of cells; None is shown as ``-``.
        whole: the columns whose cells are never broken, such as ids to copy.
        empty: printed when there are no rows.
    """
    cells = [[text(cell) for cell in row] for row in rows]
    if not cells:
        print(empty)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    printed = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        printed.add_column(Text(column), overflow="fold", no_wrap=column in whole)
    for row in cells:
        printed.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in row))
    # A pipe has no width; there, cells that are broken over lines would only be in the way.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDE)
    with console.capture() as captured:
        console.print(printed)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))


def pairs(rows: Iterable[tuple[str, Any]]) -> None:
    """Print a name and a value a line."""
    lines = [(name, text(value)) for name, value in rows]
    width = max((len(name) for name, _ in lines), default=0)
    for name, value in lines:
        print(f"{name:<{width}}  {value}".rstrip())


def title(heading: str) -> None:
    """Print a heading with a line free above it."""
    print(f"\n{escape(heading)}")


def text(cell: Any) -> str:
    """`cell` in one line, with nothing in it that a terminal would obey."""
    if cell is None or cell == "":
        return "-"
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, float):
        return number(cell)
    return escape(str(cell))


def number(value: float | None) -> str:
    """`value` with as many digits as a person wants."""
    if value is None:
        return "-"
    if value == int(value) or abs(value) >= 10_000:
        return f"{value:.0f}"
    return f"{value:.4g}"


def instant(at: str | None) -> str:
    """An instant out of JSON, to the second."""
    return "-" if at is None else at[:19].replace("T", " ")


def span(seconds: float | None) -> str:
    """A length of time in its largest whole unit, such as ``5m``."""
    if seconds is None:
        return "-"
    for unit, size in (("h", 3600), ("m", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:.0f}{unit}"
    return f"{number(seconds)}s"


def group(of: Json) -> str:
    """A group in one word, such as ``Coder``; with the keys when there are several."""
    if len(of) == 1:
        return str(next(iter(of.values())))
    return ",".join(f"{key}={value}" for key, value in of.items()) or "all"


def counted(counts: Json) -> str:
    """Names with their numbers, such as ``open 2, acting 1``; those that are none are left out."""
    return ", ".join(f"{name} {count}" for name, count in counts.items() if count) or "none"
