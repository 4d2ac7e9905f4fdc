"""Prints what is nested, such as the context of a handoff, as people read it."""

from __future__ import annotations

from typing import Any

from self_healing.cli import output
from self_healing.cli.output import Column
from self_healing.wording import INSTANT, worded


def tree(value: Any) -> None:
    """Print an object a name and a value a line, objects of one kind as a table, all else as text."""
    match worded(value):
        case dict() as told if told:
            output.pairs((name, in_a_line(each)) for name, each in told.items())
        case [dict(first), *_] as rows if all(isinstance(row, dict) and row.keys() == first.keys() for row in rows):
            columns = [Column(name, rank=at) for at, name in enumerate(first)]
            output.table(columns, ([in_a_line(each) for each in row.values()] for row in rows), empty="none")
        case list() as items:
            for each in items or ["none"]:
                output.paragraph(in_a_line(each))
        case other:
            output.paragraph(in_a_line(other) or "none")


def in_a_line(value: Any) -> str:
    """What is nested in one line, such as ``pool=slow, grace_s=5``."""
    match value:
        case dict():
            return ", ".join(f"{name}={in_a_line(each)}" for name, each in value.items())
        case list():
            return ", ".join(map(in_a_line, value))
        case str() if INSTANT.fullmatch(value):
            return output.instant(value)
    return output.text(value)
