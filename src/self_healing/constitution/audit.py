"""The audit log: every decision, chained by hashes, so that an edit, a gap, a swap or a cut is found.

Each entry's hash covers the one before it. The newest hash is kept a second time, apart from the log, so that cutting
off the end is found too. Somebody who rewrites both consistently is found by :mod:`.checkpoints`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from typing import Any

import msgspec
import sqlalchemy as sa

from self_healing.clock import to_us
from self_healing.constitution.trimming import KIND as TRIMMED
from self_healing.constitution.trimming import Trim, newest
from self_healing.errors import StateCorrupt
from self_healing.model import Record
from self_healing.storage import schema
from self_healing.storage.store import Store

HEAD = "audit_head"
"""The fact that keeps the newest entry's number and hash."""

_FIRST_PREVIOUS = "0" * 64
_CHUNK = 2000  # rows read at a time: a log of years must not be in memory at once


class AuditEntry(Record, frozen=True, kw_only=True):
    """One line of the audit log."""

    seq: int  # 1 is the first
    at: datetime
    kind: str
    payload: dict[str, Any]
    previous: str  # hash of the entry before it, in hex
    hash: str  # in hex


class AuditReport(Record, frozen=True, kw_only=True):
    """Whether the audit log is what was written."""

    ok: bool
    entries: int  # checked and found right
    trimmed: int = 0  # so many older ones left the log, as a signed entry says
    first_bad_seq: int | None = None
    problem: str | None = None


class _Head(Record, frozen=True, kw_only=True):
    seq: int = 0
    hash: str = _FIRST_PREVIOUS


class Audit:
    """The audit log in the state.

    Args:
        store: the state; one that is open for reading only will do for all but `append`.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: _Head | None = None  # up to where it was found whole
        self._written: tuple[int, _Head] | None = None  # what was appended last, and in which transaction

    def trim(self, trim: Trim, at: datetime) -> int:
        """Let the entries up to one leave the log, in the transaction that is open; returns how many left.

        Args:
            trim: says up to which, and is signed.
            at: now.
        """
        with self._store.transaction() as connection:
            left = connection.execute(sa.delete(schema.audit).where(schema.audit.c.seq <= trim.seq)).rowcount
            self.append(TRIMMED, msgspec.to_builtins(trim), at)
        return left

    def append(self, kind: str, payload: dict[str, Any], at: datetime) -> AuditEntry:
        """Write one entry, in the transaction that is open: it is there if and only if what it tells of is.

        Args:
            kind: one word, such as ``decision``.
            payload: anything that JSON can say.
            at: aware.

        Raises:
            StateCorrupt: the log was tampered with, and goes on no more.
            StorageError: nothing was committed.
        """
        to_us(at)
        text = msgspec.json.encode(payload, order="sorted").decode()
        with self._store.joined():
            # From the kept head, never from the last row: on a log that was cut off the gap has to stay.
            head = self._newest()
            if head is None:
                if self._last_seq():
                    raise StateCorrupt("the audit log has entries, but its head is gone; see `audit verify`")
                head = _Head()
            stamp = at.isoformat()
            seq = head.seq + 1
            digest = _hash(head.hash, seq, stamp, kind, text)
            row = {
                "seq": seq,
                "at": stamp,
                "kind": kind,
                "payload": text,
                "previous": head.hash,
                "hash": digest,
            }
            self._store.insert(schema.audit, [row])
            newest = _Head(seq=seq, hash=digest)
            self._store.put_fact(HEAD, newest)
            self._written = self._store.transactions, newest
        return AuditEntry(seq=seq, at=at, kind=kind, payload=payload, previous=head.hash, hash=digest)

    def whole(self) -> bool:
        """Whether every entry since the first time that this was asked is there and follows from the one before it.

        The first time only the newest one is looked at; :meth:`verify` reads them all. Raises StorageError.
        """
        try:
            head = self._head() or _Head()
        except StateCorrupt:
            return False
        at = self._known
        if at is None:
            entry = self.entry(head.seq)
            at = head if head.seq == 0 or (entry is not None and entry.hash == head.hash) else _Head()
        while at.seq < head.seq:
            rows = self._rows(after=at.seq, up_to=head.seq)
            if not rows:
                return False
            for row in rows:
                if _problem(row, at) is not None:
                    return False
                at = _Head(seq=row.seq, hash=row.hash)
        if at != head or self._last_seq() != head.seq:
            return False
        self._known = head
        return True

    def verify(self) -> AuditReport:
        """Whether every entry is as it was written, in its place, and none is missing; from the first to the last.

        Raises StorageError when the state cannot be read.
        """
        try:
            while True:
                begin = self._begin()
                report = self._verified(begin)
                if report.ok or begin == self._begin():  # else it was trimmed meanwhile, and that is no gap
                    return report
        except (StateCorrupt, msgspec.DecodeError) as error:
            return AuditReport(ok=False, entries=0, problem=str(error))

    def _verified(self, begin: _Head) -> AuditReport:
        """The same of what follows `begin`. Raises StorageError, StateCorrupt."""
        head = self._head() or _Head()
        at, bad = begin, partial(_bad, begin.seq)
        while at.seq < head.seq:
            rows = self._rows(after=at.seq, up_to=head.seq)
            if not rows:
                return bad(at.seq, "is missing, and so are all after it")
            for row in rows:
                problem = _problem(row, at)
                if problem is not None:
                    return bad(at.seq, problem)
                at = _Head(seq=row.seq, hash=row.hash)
        if at.hash != head.hash:
            return bad(at.seq - 1, "is not the one that was written last")
        # In this order: a service that writes meanwhile moves both on, and the head is then the newer.
        last = self._last_seq()
        now = self._head() or _Head()
        if last > now.seq:
            return bad(now.seq, "is beyond the kept head of the log: one of the two was tampered with")
        return AuditReport(ok=True, entries=at.seq - begin.seq, trimmed=begin.seq)

    def head(self) -> tuple[int, str]:
        """Number and hash of the newest entry; 0 before the first. Raises StorageError, StateCorrupt."""
        head = self._head() or _Head()
        return head.seq, head.hash

    def entry(self, seq: int) -> AuditEntry | None:
        """The entry with that number; None when there is none whose hash is its own. Raises StorageError."""
        rows = self._store.rows(sa.select(schema.audit).where(schema.audit.c.seq == seq))
        if not rows or rows[0].hash != _hash(rows[0].previous, seq, rows[0].at, rows[0].kind, rows[0].payload):
            return None
        return _decoded(rows[0])

    def tail(self, n: int) -> list[AuditEntry]:
        """The newest `n` entries, oldest first. Raises StorageError, and StateCorrupt when one cannot be read."""
        rows = self._store.rows(sa.select(schema.audit).order_by(schema.audit.c.seq.desc()).limit(n))
        try:
            return [_decoded(row) for row in reversed(rows)]
        except ValueError as error:
            raise StateCorrupt(f"the audit log has an entry that is none: {error}; see `audit verify`") from error

    def stored(self) -> Iterator[sa.Row[Any]]:
        """Every entry as it is stored, from the first to the newest, with its payload as text. Raises StorageError."""
        last, at = self._last_seq(), 0
        while at < last:
            rows = self._rows(after=at, up_to=last)
            yield from rows
            at = rows[-1].seq if rows else last

    def _begin(self) -> _Head:
        """What the first entry has to follow: nothing, or the last of those that left the log."""
        trim = newest(self._store)
        return _Head() if trim is None else _Head(seq=trim.seq, hash=trim.hash)

    def _newest(self) -> _Head | None:
        """The kept head; what was written in the transaction that is open nobody else can have changed."""
        if self._written is not None and self._written[0] == self._store.transactions:
            return self._written[1]
        return self._head()

    def _head(self) -> _Head | None:
        try:
            found: _Head | None = self._store.fact(HEAD, _Head)
        except msgspec.DecodeError as error:
            raise StateCorrupt(f"the head of the audit log is not what was written: {error}") from error
        return found

    def _last_seq(self) -> int:
        return int(self._store.rows(sa.select(sa.func.max(schema.audit.c.seq)))[0][0] or 0)

    def _rows(self, *, after: int, up_to: int) -> list[sa.Row[Any]]:
        seq = schema.audit.c.seq
        return self._store.rows(sa.select(schema.audit).where(seq > after, seq <= up_to).order_by(seq).limit(_CHUNK))


def _decoded(row: sa.Row[Any]) -> AuditEntry:
    """The entry in a row. Raises ValueError."""
    return AuditEntry(
        seq=row.seq,
        at=datetime.fromisoformat(row.at),
        kind=row.kind,
        payload=msgspec.json.decode(row.payload, type=dict[str, Any]),
        previous=row.previous,
        hash=row.hash,
    )


def _hash(previous: str, seq: int, at: str, kind: str, payload: str) -> str:
    """sha256 over the previous hash and the canonical JSON of the rest; `payload` is canonical JSON already."""
    text = msgspec.json.encode([seq, at, kind, msgspec.Raw(payload.encode())])
    return hashlib.sha256(previous.encode() + text).hexdigest()


def _problem(row: sa.Row[Any], before: _Head) -> str | None:
    """What is wrong with the entry that follows `before`."""
    if row.seq != before.seq + 1:
        return "is missing"
    if row.previous != before.hash:
        return "does not follow from the entry before it"
    if row.hash != _hash(row.previous, row.seq, row.at, row.kind, row.payload):
        return "was changed"
    return None


def _bad(trimmed: int, good: int, problem: str) -> AuditReport:
    return AuditReport(
        ok=False,
        entries=good - trimmed,
        trimmed=trimmed,
        first_bad_seq=good + 1,
        problem=f"entry {good + 1} {problem}",
    )
