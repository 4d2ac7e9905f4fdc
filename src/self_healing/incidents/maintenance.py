"""Maintenance windows: declared times at which series are muted, day by day on the clock of a place."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from self_healing.declarations import Declarations, Mistake, Reader, Values
from self_healing.documents import Read, read_document
from self_healing.model import Group
from self_healing.problems import listed, unknown
from self_healing.spec import Maintenance, TriggerSpec, Weekday

DAY = timedelta(days=1)
AHEAD_DAYS = 8
"""So far ahead the next window is looked for; whoever waits longer looks again then."""


def covers(window: Maintenance, trigger: str, group: Group) -> bool:
    """Whether `window` is about a series."""
    return (not window.triggers or trigger in window.triggers) and window.keys.items() <= dict(group).items()


def in_force(window: Maintenance, at: datetime) -> datetime | None:
    """Until when `window` mutes at an instant, in UTC; None while it does not. Its start belongs to it, its end not."""
    ends = [end for start, end in _spans(window, at - DAY, days=3) if start <= at < end]
    return max(ends, default=None)


def next_change(window: Maintenance, at: datetime) -> datetime:
    """When `window` begins or ends next after an instant, in UTC, or when to look again."""
    changes = [each for span in _spans(window, at - DAY, days=AHEAD_DAYS) for each in span if each > at]
    return min(changes, default=at + DAY)


def _spans(window: Maintenance, first: datetime, *, days: int) -> Iterator[tuple[datetime, datetime]]:
    """Its spans of time that begin on that day or the next ones."""
    day = first.astimezone(ZoneInfo(window.timezone)).date()
    for each in (day + number * DAY for number in range(days)):
        if _begins_on(window, each):
            yield _instant(window, each, window.from_)[0], _instant(window, each + _over(window), window.to)[1]


def _begins_on(window: Maintenance, day: date) -> bool:
    return (
        list(Weekday)[day.weekday()] in window.days
        and (window.starts is None or day >= window.starts)
        and (window.ends is None or day <= window.ends)
    )


def _over(window: Maintenance) -> timedelta:
    """How many days later it ends."""
    return timedelta(days=window.to <= window.from_)


def _instant(window: Maintenance, day: date, clock: str) -> tuple[datetime, datetime]:
    """The first and the last instant at which the clock there shows that time on that day, in UTC.

    Where clocks are set back that is twice. Where they are set forward it may be never; then it is taken for as long
    after midnight as on other days, by which the clock shows an hour more.
    """
    hour, minute = map(int, clock.split(":"))
    local = datetime(day.year, day.month, day.day) + timedelta(hours=hour, minutes=minute)
    zone = ZoneInfo(window.timezone)
    first = local.replace(tzinfo=zone).astimezone(UTC)
    return first, max(first, local.replace(tzinfo=zone, fold=1).astimezone(UTC))


# -- as declared


def read_maintenance(
    files: Sequence[Path], triggers: Sequence[TriggerSpec], names: Collection[str], *, read: Read = read_document
) -> Declarations[Maintenance]:
    """Read the maintenance windows and what is wrong with them.

    Args:
        files: a person's TOML files with ``[[maintenance]]`` tables; later ones win, key by key.
        triggers: the valid ones.
        names: of all that are declared, valid or not.
        read: how each of the files is read.
    """
    columns = {column for trigger in triggers for column in trigger.group_by}
    reader = Reader("maintenance", Maintenance, lambda values: _check(values, columns, names), tells=False)
    reader.files(files, read)
    return reader.result()


def _check(values: Values, columns: Collection[str], names: Collection[str]) -> Iterator[Mistake]:
    for number, name in enumerate(_items(values.get("triggers"))):
        if isinstance(name, str) and name not in names:
            yield f"triggers.{number}", name, unknown(name, names)
    keys = values.get("keys")
    for column, value in keys.items() if isinstance(keys, Mapping) else ():
        if column not in columns:
            yield f"keys.{column}", value, f"no trigger groups by it; {listed(sorted(columns))}"


def _items(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()
