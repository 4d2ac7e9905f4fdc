"""Reads TOML files: their values, the line of each key, and all that is wrong with their syntax at once.

Files of Cedar policies are read here too, as text: whatever is declared is read once and watched in one way.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

_AT = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
"""How tomllib ends the message of a syntax error."""

_KEY = re.compile(r"""\s*(\[|[\w\-."' ]+=)""")
"""How a statement begins: with a table's header, or a key."""

_BARE = re.compile(r"\s*(?P<key>[\w\-.]+)\s*=\s*(?P<value>\w[\w .:/-]*?)\s*(#.*)?")
"""A key with text for a value that lacks its quotes."""

CEDAR = ".cedar"
"""How the name of a file of policies ends."""

MOST_TOLD = 100
"""After so many syntax errors the rest of a file is not looked at: it is hardly meant to be TOML."""


@dataclass(frozen=True, kw_only=True)
class Document:
    """One file as far as it could be read.

    Args:
        file: its path, as messages name it.
        values: what is in it, without the lines that are no TOML.
        rows: its lines, without those that are no TOML.
        problems: why it could not be read, and each syntax error; a line each.
        text: all of it, where it is Cedar; that has no values and no lines.
    """

    file: str
    values: dict[str, Any] = field(default_factory=dict)
    rows: Sequence[str] = ()
    problems: tuple[str, ...] = ()
    text: str = ""

    @cached_property
    def lines(self) -> Mapping[str, int]:
        """The line, from 1, of each dotted key and table; a table of an array by its place, as ``trigger.0``.

        Found when it is asked for: that takes longer than to read the values.
        """
        return _lines(self.rows)

    def at(self, key: str) -> str:
        """The file with the line of `key`, or of the nearest that it is a part of, such as ``triggers.toml:3``."""
        while key and key not in self.lines:
            key = key.rpartition(".")[0]
        return f"{self.file}:{self.lines[key]}" if key else self.file

    def within(self, table: str) -> dict[str, str]:
        """File and line of each dotted key in `table`."""
        above = f"{table}."
        return {key.removeprefix(above): self.at(key) for key in self.lines if key.startswith(above)}


Read = Callable[[Path], Document]
"""How a file is read."""


Signature = tuple[int, int, int]
"""What a file's change changes: when it was written, its size, and which file it is."""


def signature(path: Path) -> Signature | None:
    """Of the file as it is now; None when there is none that can be looked at."""
    try:
        found = path.stat()
    except (OSError, ValueError):  # ValueError: no file can have such a name
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


class Documents:
    """Reads each file once: what came of them can be merged anew, whatever is on the disk by then."""

    def __init__(self) -> None:
        self._known: dict[Path, Document] = {}
        self.seen: dict[Path, Signature | None] = {}  # how each file was right before it was read

    def __call__(self, path: Path) -> Document:
        """The file as it was when it was first asked for."""
        if path not in self._known:
            self.seen[path] = signature(path)
            self._known[path] = read_document(path)
        return self._known[path]


def read_document(path: Path) -> Document:
    """The file at `path`: Cedar where its name ends so, else TOML. What keeps it from being read is a problem of it."""
    file, kind = str(path), "Cedar" if path.suffix == CEDAR else "TOML"
    try:
        text = path.read_text(encoding="utf-8-sig")  # which some editors begin with a mark
        return Document(file=file, text=text) if kind == "Cedar" else parsed(file, text)
    except FileNotFoundError:
        problem = f"{file}: no such file: allowed is an existing {kind} file"
    except OSError as error:
        problem = f"{file}: cannot be read ({error.strerror}): allowed is a readable {kind} file"
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        problem = f"{file}:{line}: byte {error.start} is not UTF-8: allowed is {kind} in UTF-8"
    except ValueError:
        problem = f"{file}: no file can have such a name: allowed is an existing {kind} file"
    return Document(file=file, problems=(problem,))


def parsed(file: str, text: str) -> Document:
    """The document in `text`. A statement that is no TOML becomes a problem, and the rest is read without it.

    After a table's header that is no TOML nothing more is read: nobody knows where what follows it would belong.
    """
    try:
        return _parsed(file, text)
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, or thousands of brackets
        return Document(file=file, problems=(f"{file}: cannot be read ({error}): allowed is TOML that Python reads",))


def _parsed(file: str, text: str) -> Document:
    rows = text.split("\n")
    problems: list[str] = []
    while True:
        try:
            values = tomllib.loads("\n".join(rows))
        except tomllib.TOMLDecodeError as error:
            where, problem, bad = _told(rows, str(error))
            problems.append(f"{file}:{where}: {problem}: allowed is TOML{_quotes(rows[where - 1])}")
            if rows[bad.start].lstrip().startswith("[") or len(problems) == MOST_TOLD:
                del rows[bad.start :]
            else:
                rows[bad.start : bad.stop] = [""] * len(bad)
        else:
            return Document(file=file, values=values, rows=rows, problems=tuple(problems))


def _told(rows: list[str], message: str) -> tuple[int, str, range]:
    """Of a syntax error: its line, what is wrong there, and the places of the rows to go on without."""
    found = _AT.search(message)
    told = _AT.sub("", message).replace(f"character {chr(10)!r}", "end of the line")
    if found is None or found[1] is None:
        # Something is never closed, or the last line is cut short: told where that statement begins.
        begins = _last_begin(rows)
        return begins + 1, f"{told} before the file ends", range(begins, len(rows))
    at = int(found[1]) - 1
    begins = _last_begin(rows[: at + 1])
    after = at if at > begins and _begins(rows[at]) else at + 1
    while after < len(rows) and not _begins(rows[after]):
        after += 1
    return at + 1, f"{told} (column {found[2]})", range(begins, after)


def _quotes(row: str) -> str:
    """A hint at the quotes that the text in a row lacks, with a comma before it; empty where it lacks none."""
    bare = _BARE.fullmatch(row)
    if bare is None or bare["value"].lower() in ("true", "false"):
        return ""
    try:
        tomllib.loads(f"value = {bare['value']}")
    except tomllib.TOMLDecodeError:
        return f', where text stands in quotes: {bare["key"]} = "{bare["value"]}"'
    return ""


def _begins(row: str) -> bool:
    """Whether a statement seems to begin in that row, rather than to go on."""
    opened, closed = (sum(map(row.count, brackets)) for brackets in ("[{", "]}"))
    return bool(_KEY.match(row)) and opened >= closed and not (opened == closed and row.rstrip().endswith(","))


def _last_begin(rows: list[str]) -> int:
    """The place of the row in which the last statement begins."""
    return max((number - 1 for number, statement in _statements(rows) if statement.strip()), default=0)


def _statements(rows: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Each statement with the line that it begins in; what is not complete at the end is the last."""
    begins, statement = 1, ""
    for number, row in enumerate(rows, start=1):
        statement += row + "\n"
        try:
            tomllib.loads(statement)
        except tomllib.TOMLDecodeError:
            continue  # it goes on in the next row
        yield begins, statement
        begins, statement = number + 1, ""
    if statement:
        yield begins, statement


def _lines(rows: Sequence[str]) -> dict[str, int]:
    """The line of each key of a valid document, and of each table where it is first named."""
    found: dict[str, int] = {}
    counts: dict[str, int] = {}  # how many tables each array of tables has so far
    above = ""
    for number, statement in _statements(rows):
        values, header = tomllib.loads(statement), statement.lstrip()
        if not header.startswith("["):
            for key in _paths(values, above):
                found.setdefault(key, number)
            continue
        above = _header(values, counts)
        for place, char in enumerate(above):
            if char == ".":
                found.setdefault(above[:place], number)
        found.setdefault(above, number)
        if header.startswith("[["):
            counts[above] = counts.get(above, 0) + 1
            above = f"{above}.{counts[above] - 1}"
            found[above] = number
    return found


def _header(values: Any, counts: Mapping[str, int]) -> str:
    """The table that a header names; within an array of tables, the newest of them."""
    path = ""
    while isinstance(values, dict) and values:
        if path in counts:
            path += f".{counts[path] - 1}"
        [(key, values)] = values.items()
        path += f".{key}" if path else key
    return path


def _paths(values: Any, above: str) -> Iterator[str]:
    """The dotted keys of everything in `values`."""
    inside = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    for key, value in inside:
        path = f"{above}.{key}" if above else str(key)
        yield path
        yield from _paths(value, path)
