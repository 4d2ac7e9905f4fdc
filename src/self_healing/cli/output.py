"""Prints what a command found: JSON for programs, tables for people, data only on stdout."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from self_healing.cli.columns import Column
from self_healing.cli.options import Format, Shown
from self_healing.handoffs.cleaning import escape
from self_healing.wording import amount, number, plain, span

__all__ = [
    "Column",
    "amount",
    "change",
    "counted",
    "group",
    "instant",
    "known",
    "line",
    "number",
    "pairs",
    "paragraph",
    "show",
    "span",
    "table",
    "text",
    "title",
    "when",
]

Json = dict[str, Any]


def show(data: Json, shown: Shown, people: Callable[[Json], None]) -> None:
    """Print `data` as it is to be shown: as JSON that says which of several fleets it is about, or by `people`."""
    show_in(shown.format, shown.label() | data if shown.format is Format.JSON else data, people)


def show_in(format: Format, data: Json, people: Callable[[Json], None]) -> None:
    """Print what is about no fleet, as JSON or by `people`."""
    if format is Format.JSON:
        # ASCII only: whatever the terminal's encoding, it stays JSON, and no control character reaches it.
        print(json.dumps(data, indent=2))
    else:
        people(data)


def when(what: str, rank: int = 0) -> Column:
    """The column of the instant at which `what`; a narrow terminal shows it without the year."""
    return Column(f"{what} (UTC)", rank=rank, instant=True)


def table(columns: Sequence[str | Column], rows: Iterable[Sequence[Any]], *, empty: str) -> None:
    """Print a table: within the terminal's width, and one line a row through a pipe. Ids and names are never broken.

    Args:
        columns: their headings, or more than that.
        rows: of cells; None is shown as ``-``.
        empty: printed when there are no rows.
    """
    cells = [[text(cell) for cell in row] for row in rows]
    if not cells:
        print(empty)
        return
    from self_healing.cli.tables import laid_out
    from self_healing.terminal import Terminal

    console = Terminal()
    # A pipe has no width; there, cells that are broken over lines would only be in the way.
    width = console.width if sys.stdout.isatty() else None
    declared = [Column(each) if isinstance(each, str) else each for each in columns]
    told = [at for at, column in enumerate(declared) if not column.sparse or any(row[at] != "-" for row in cells)]
    declared, cells = [declared[at] for at in told], [[row[at] for at in told] for row in cells]
    with console.capture() as captured:
        for line in laid_out(declared, cells, width):
            console.print(line, soft_wrap=True)
    print(captured.get(), end="")


def paragraph(words: str, indent: int = 0) -> None:
    """Print a text: broken between words within the terminal's width, in one line through a pipe."""
    margin = " " * indent
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize
    print(textwrap.fill(text(words), width, initial_indent=margin, subsequent_indent=margin, break_on_hyphens=False))


def line(words: str) -> None:
    """Print one line as it is, with nothing in it that a terminal would obey."""
    print(escape(words))


def change(one: Json) -> str:
    """What a reload changed, such as ``trigger slow_tasks: window: 300 -> 600``."""
    if one["key"] is None:
        return f"{one['what']}: {'removed' if one['after'] is None else 'added'}"
    before, after = (json.dumps(one[name]) for name in ("before", "after"))
    return f"{one['what']}: {one['key']}: {before} -> {after}"


def pairs(rows: Iterable[tuple[str, Any]]) -> None:
    """Print a name and a value a line."""
    lines = [(name, text(value)) for name, value in rows]
    width = max((len(name) for name, _ in lines), default=0)
    for name, value in lines:
        print(f"{name:<{width}}  {value}".rstrip())


def known(rows: Iterable[tuple[str, Any]]) -> None:
    """Print a name and a value a line, but where there is nothing to say."""
    pairs((name, value) for name, value in rows if text(value) != "-")


def title(heading: str) -> None:
    """Print a heading with a line free above it."""
    print(f"\n{escape(heading)}")


def text(cell: Any) -> str:
    """`cell` in one line, with nothing in it that a terminal would obey."""
    return escape(plain(cell))


def instant(at: str | None) -> str:
    """An instant out of JSON, to the second."""
    return "-" if at is None else at[:19].replace("T", " ")


def reason(verdict: dict[str, Any]) -> str:
    """Why a verdict is what it is: by what it is muted, and whether it is flapping."""
    muted = verdict["muted"]
    told = verdict["reason"] if muted is None else f"{verdict['reason']} by {muted['what']}"
    return f"{told}, flapping" if verdict["flapping"] and verdict["reason"] != "flapping" else told


def verdict(verdict: dict[str, Any]) -> str:
    """Where a series stands, why, and until when it is muted where that is known."""
    muted = verdict["muted"]
    until = "" if muted is None or muted["until"] is None else f" until {instant(muted['until'])}"
    return f"{verdict['state']}: {reason(verdict)}{until}"


def group(of: Json) -> str:
    """A group in one word, such as ``Coder``; with the keys when there are several."""
    if len(of) == 1:
        return str(next(iter(of.values())))
    return ",".join(f"{key}={value}" for key, value in of.items()) or "all"


def counted(counts: Json) -> str:
    """Names with their numbers, such as ``open 2, acting 1``; those that are none are left out."""
    return ", ".join(f"{name} {count}" for name, count in counts.items() if count) or "none"
