"""Trimming: old entries leave the audit log, and what is signed in their place says up to which.

The entry ``trimmed`` has the number and the hash of the last entry that left, signed like a checkpoint. So the rest is
verified as before, and whoever takes more away, or the first entries of a log that was never trimmed, is found.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from self_healing.model import Record
from self_healing.storage import schema
from self_healing.storage.store import Store

KIND: Final = "trimmed"

SLACK: Final = timedelta(days=1)
"""The log is trimmed when its first entry is this much too old: each time it takes an entry that says so."""

AT_ONCE: Final = 5000
"""So many entries leave at a time at most, so that no turn waits long for it."""


class Trim(Record, frozen=True, kw_only=True):
    """What was signed: that the log now begins after this entry, with this hash."""

    seq: int  # of the last entry that left
    hash: str  # of that entry, in hex
    at: str  # ISO 8601
    signature: str = ""  # Ed25519, in hex

    def signed(self) -> bytes:
        """The bytes under the signature."""
        return msgspec.json.encode(["self-healing audit trim", self.seq, self.hash, self.at])


def newest(store: Store) -> Trim | None:
    """What the newest entry of that kind says; None when nothing was ever trimmed. Raises msgspec.DecodeError."""
    table = schema.audit
    query = sa.select(table.c.payload).where(table.c.kind == KIND).order_by(table.c.seq.desc()).limit(1)
    rows = store.rows(query)
    return msgspec.json.decode(rows[0].payload, type=Trim) if rows else None


def due(
    store: Store, keep: timedelta, at: datetime, newest_checkpoint: int, needed: Callable[[], int | None]
) -> Trim | None:
    """What is to leave now, not signed yet; None when there is nothing.

    Args:
        store: the state.
        keep: how long an entry is kept.
        at: now.
        newest_checkpoint: the number of its entry, which stays.
        needed: the number of the oldest entry that something still rests on; None where nothing does.
    """
    oldest = _oldest(store, 1)
    if not oldest or at - datetime.fromisoformat(oldest[0].at) < keep + SLACK:
        return None
    rests = needed()
    stays = newest_checkpoint if rests is None else min(rests, newest_checkpoint)
    gone = None
    for row in _oldest(store, AT_ONCE):
        if row.seq >= stays or at - datetime.fromisoformat(row.at) < keep:
            break
        gone = row
    return None if gone is None else Trim(seq=gone.seq, hash=gone.hash, at=at.isoformat())


def _oldest(store: Store, entries: int) -> list[sa.Row[Any]]:
    table = schema.audit
    return store.rows(sa.select(table.c.seq, table.c.at, table.c.hash).order_by(table.c.seq).limit(entries))
