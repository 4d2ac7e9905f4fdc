"""What was written lately, however much that is: a limit on how many would forget some of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import TypeVar

from self_healing.model import Record
from self_healing.storage.store import Store

R = TypeVar("R", bound=Record)

AT_ONCE = 5_000
"""So many are read, and twice as many where the time before the newest of them has more."""


def lately(
    store: Store, kind: type[R], *, by: str, span: timedelta, at: Callable[[R], datetime], **where: str | Iterable[str]
) -> list[R]:
    """All records of that kind from the time before the newest of them, and perhaps some that are older; oldest first.

    Args:
        store: the state.
        kind: of record.
        by: the column that says when.
        span: how long that time is.
        at: when a record says that it was.
        where: as of :meth:`Store.select`.
    """
    wanted = AT_ONCE
    while True:
        found = store.select(kind, newest=wanted, by=by, **where)
        if len(found) < wanted or at(found[-1]) - at(found[0]) > span:
            return found
        wanted *= 2
