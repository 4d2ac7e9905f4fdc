"""What a column of a table is; beside what lays tables out, for that needs rich and this is asked for at once."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table, and what becomes of it where the terminal is too narrow for all.

    Args:
        heading: its first line.
        rank: columns are left out by rank, the highest first; those of rank 0 stay.
        instant: its cells are instants, which a narrow terminal shows without the year.
        sparse: most rows have nothing in it, and where none has it is left out.
        text: several words, which may be broken over lines, or put beneath the row where hardly any room is left.
    """

    heading: str
    rank: int = 0
    instant: bool = False
    sparse: bool = False
    text: bool = False
