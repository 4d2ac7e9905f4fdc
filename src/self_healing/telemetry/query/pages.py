"""Events page by page, each of them on exactly one, whatever comes in and is compacted meanwhile.

A page ends at an instant, and the next one begins before it. Only where more events of one instant are wanted than the
page has room for, it ends between two of them: then they are told in an order of their own, which does not depend on
the file that they stand in.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Final

import msgspec

from self_healing.telemetry.query.belonging import place_of
from self_healing.telemetry.query.files import Places
from self_healing.telemetry.query.find import Found, find
from self_healing.telemetry.query.rows import Row, Wanted

MOST_AT_ONCE: Final = 1_000_000
"""So many events of one instant are told apart."""

_CURSOR: Final = re.compile(r"(\d{1,16})(?:-([0-9a-f]{16})-(\d{1,7}))?")


@dataclass(frozen=True, slots=True)
class Page:
    """Some events, the newest first.

    Args:
        rows: the events.
        warnings: what was skipped, and what no event says.
        cursor: where the next page begins; None when this is the last one.
    """

    rows: list[Row]
    warnings: list[str]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class _Cursor:
    """Where a page begins: before an instant, or within it behind so many events with that digest, the last told."""

    at_us: int
    digest: str | None = None
    told: int = 0

    def __str__(self) -> str:
        return str(self.at_us) if self.digest is None else f"{self.at_us}-{self.digest}-{self.told}"


def page(places: Places, wanted: Wanted, limit: int, cursor: str | None = None) -> Page:
    """The newest events that are wanted, or those that come after what was told before.

    Args:
        places: where to look.
        wanted: which.
        limit: so many at most, one at least.
        cursor: what the page before said.

    Raises:
        ValueError: that is no cursor.
        TelemetryError: there is no telemetry at all, or its files change faster than they can be read.
    """
    begin = None if cursor is None else _read(cursor)
    rest: list[Row] = []
    if begin is not None:
        if begin.digest is not None:
            rest = _behind(_all_of(places, wanted, begin.at_us), begin)[: limit + 1]
        wanted = replace(wanted, until_us=min(begin.at_us, wanted.until_us or begin.at_us))
    room = limit + 1 - len(rest)
    found = find(places, wanted, room) if room else Found()
    rows = rest + found.rows
    if len(rows) <= limit:
        return Page(rows, found.warnings, None)
    at_us = rows[limit].at_us
    if rows[limit - 1].at_us != at_us:
        return Page(rows[:limit], found.warnings, str(_Cursor(rows[limit - 1].at_us)))
    # It ends within an instant, whose events come in any order until all of them are known.
    before = [row for row in rows[:limit] if row.at_us != at_us]
    same = rest if len(rest) > limit else _all_of(places, wanted, at_us)
    rows = before + same[: limit - len(before)]
    last = _digest(rows[-1])
    told = sum(_digest(row) == last for row in rows)
    if begin is not None and begin.digest == last:
        told += begin.told
    return Page(rows, found.warnings, str(_Cursor(at_us, last, told)))


def _read(cursor: str) -> _Cursor:
    found = _CURSOR.fullmatch(cursor)
    if found is None:
        raise ValueError(f"cursor {cursor!r}: allowed is what the page before said as next")
    at_us, digest, told = found.groups()
    return _Cursor(int(at_us), digest, int(told or 0))


def _all_of(places: Places, wanted: Wanted, at_us: int) -> list[Row]:
    """All events of one instant, in an order that they have wherever they stand."""
    found = find(places, replace(wanted, since_us=at_us, until_us=at_us + 1), MOST_AT_ONCE)
    return sorted(found.rows, key=_digest)


def _behind(same: list[Row], begin: _Cursor) -> list[Row]:
    """Those behind the ones that were told: of events that say the same, so many."""
    left = begin.told
    behind = []
    for row in same:
        digest = _digest(row)
        if digest == begin.digest and left > 0:
            left -= 1
        elif begin.digest is not None and digest >= begin.digest:
            behind.append(row)
    return behind


def _digest(row: Row) -> str:
    """What an event says; of what is part of a trace not whose work it is: that may be found out between two pages."""
    said = row.told if place_of(row) is None else row.told | {"agent": None, "task_id": None}
    return blake2b(msgspec.json.encode(said, order="deterministic"), digest_size=8).hexdigest()
