"""Attributes: what the native lines of ended attempts say beyond the columns, read of those alone that are kept.

For every event it would take longer than all else that is done with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice, repeat

from self_healing.measures import NONE_MAX, Ints
from self_healing.model import Event
from self_healing.telemetry.lines import attributes_of

MOST_ATTRIBUTES = 32
LONGEST_VALUE = 200  # characters


class Beyond:
    """What the lines of ended attempts say beyond the columns."""

    def __init__(self) -> None:
        self.until_us = NONE_MAX  # when the newest of them ended
        self._lines: dict[int, tuple[bytes, int]] = {}  # by the id of the attempt, of which no other has the same:
        self._ended: list[Event] = []  # they stay as long as this does

    def add(self, lines: bytes, ended: Sequence[Event], starts: Ints, until_us: int) -> None:
        """Take in attempts with their lines.

        Args:
            lines: which they are among.
            starts: where in those each one's line begins.
            until_us: when the newest of them ended, microseconds.
        """
        self.until_us = max(self.until_us, until_us)
        self._ended += ended
        self._lines.update(zip(map(id, ended), zip(repeat(lines), starts.tolist(), strict=False), strict=True))

    def __bool__(self) -> bool:
        return bool(self._lines)

    def describe(self, event: Event) -> bool:
        """Give an attempt the attributes of its line; returns whether it is one that was not given them yet."""
        found = self._lines.pop(id(event), None)
        if found is None:
            return False
        lines, start = found
        end = lines.find(b"\n", start)
        more = attributes_of(lines[start : end if end >= 0 else len(lines)])
        if more:  # hardly ever
            event.attributes = plain(more) | (event.attributes or {}) or None
        return True


def plain(attributes: dict[str, object]) -> dict[str, object]:
    """Those that say something plain, as many as are kept."""
    found = ((name, value) for name, value in attributes.items() if _is_plain(value))
    return dict(islice(found, MOST_ATTRIBUTES))


def _is_plain(value: object) -> bool:
    match value:
        case str():
            return len(value) <= LONGEST_VALUE
        case int():
            return -(1 << 63) <= value < 1 << 63  # the state holds no larger ones
        case _:
            return isinstance(value, float)
