"""Checkpoints: the end of the audit log, signed now and then, so that rewriting all of it consistently is found too.

Each is an entry of the log, and a line of a file apart from the state: whoever cuts off the log, or makes it anew
with right hashes, must forge a signature and change that file as well. An end that no checkpoint covers yet is missed
where the newest decision or answer says that it was there. What this cannot find is somebody who has the private key,
or who cuts off the log, the file and those records alike after the last checkpoint that is kept: keep copies of the
public key and of the file elsewhere.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import sqlalchemy as sa

from self_healing.constitution import trimming
from self_healing.constitution.audit import Audit, AuditReport
from self_healing.constitution.keys import PUBLIC, private
from self_healing.constitution.keys import public as public_key
from self_healing.errors import StateCorrupt
from self_healing.model import Approval, Decision, Record
from self_healing.storage import schema
from self_healing.storage.store import Store

KIND: Final = "checkpoint"
EVERY: Final = 1000
EVERY_S: Final = 3600
"""After so many entries, or so long after the last one if there are any, the next checkpoint follows."""


class Checkpoint(Record, frozen=True, kw_only=True):
    """What was signed: that the log reached this entry, with this hash."""

    number: int  # 1 is the first
    seq: int  # of the entry that it is about, which is the one before its own
    hash: str  # of that entry, in hex
    at: str  # ISO 8601
    signature: str  # Ed25519, in hex

    def signed(self) -> bytes:
        """The bytes under the signature."""
        return _signed(self.number, self.seq, self.hash, self.at)


def checkpoints_file(logs_dir: Path) -> Path:
    """Where checkpoints are kept apart from the state."""
    return logs_dir / "audit" / "checkpoints.jsonl"


class Checkpoints:
    """Signs the audit log of a state.

    Args:
        store: the state, open for writing.
        audit: its log.
        file: takes each checkpoint as a line.

    Raises:
        StateError: the private key is gone or cannot be used.
    """

    def __init__(self, store: Store, audit: Audit, file: Path) -> None:
        self._store = store
        self._audit = audit
        self._file = file
        self._key = private(store.state_dir)
        self.problem: str | None = None  # why the file lacks the newest checkpoints, for people
        try:
            last = next(_on_record(store, newest=True), None)
        except msgspec.DecodeError as error:
            raise StateCorrupt(
                f"the newest checkpoint of the audit log is none: {error}; see `audit verify`"
            ) from error
        self._last = None if last is None else last.made
        # One short is what a crash between the commit and the line leaves; more than that is to be found.
        short = self._last is not None and _last_number(file) == self._last.number - 1
        self._unwritten = [self._last] if short and self._last is not None else []
        first = audit.entry(1)
        self._since = None if first is None else first.at  # of the first entry that no checkpoint covers

    def take(self, at: datetime, *, closing: bool = False) -> None:
        """Sign the end of the log if it is time to, in the transaction that is open.

        Args:
            at: now.
            closing: nothing follows for a while, so that any new entry is time enough.
        """
        seq, digest = self._audit.head()
        # A checkpoint's own entry is nothing new.
        new = seq - (0 if self._last is None else self._last.seq + 1)
        if new <= 0:
            return
        since = datetime.fromisoformat(self._last.at) if self._last is not None else (self._since or at)
        self._since = since
        if new < EVERY and not closing and (at - since).total_seconds() < EVERY_S:
            return
        number, stamp = 1 if self._last is None else self._last.number + 1, at.isoformat()
        signature = self._key.sign(_signed(number, seq, digest, stamp)).hex()
        made = Checkpoint(number=number, seq=seq, hash=digest, at=stamp, signature=signature)
        self._audit.append(KIND, msgspec.to_builtins(made), at)
        self._last = made
        self._unwritten.append(made)

    def too_old(self, keep: timedelta, at: datetime, needed: Callable[[], int | None]) -> trimming.Trim | None:
        """Which entries are to leave the log; None where none are.

        The newest checkpoint stays, whatever its age: the next one follows it.

        Args:
            keep: how long an entry is kept.
            at: now.
            needed: the number of the oldest entry that something still rests on; None where nothing does.
        """
        return None if self._last is None else trimming.due(self._store, keep, at, self._last.seq + 1, needed)

    def trim(self, trim: trimming.Trim, at: datetime) -> int:
        """Let entries leave the log, in the transaction that is open, and sign up to which; returns how many left."""
        signature = self._key.sign(trim.signed()).hex()
        return self._audit.trim(msgspec.structs.replace(trim, signature=signature), at)

    def publish(self) -> None:
        """Append what was committed to the file; where that fails `problem` says why, and the next call tries again."""
        if not self._unwritten:
            return
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._file.open("ab") as file:
                file.write(b"".join(msgspec.json.encode(each) + b"\n" for each in self._unwritten))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            self.problem = f"{self._file}: cannot take the checkpoints of the audit log: {error.strerror}"
        else:
            self.problem, self._unwritten = None, []


def verified(state_dir: Path, logs_dir: Path) -> dict[str, Any]:
    """What :func:`verify` says of a state that somebody else may own, as JSON. Raises StateError, StorageError."""
    store = Store(state_dir, read_only=True)
    try:
        told: dict[str, Any] = msgspec.to_builtins(verify(store, checkpoints_file(logs_dir)))
    finally:
        store.close()
    return told


def verify(store: Store, file: Path) -> AuditReport:
    """Whether the log is what was written and signed, and the file of checkpoints agrees with it.

    Raises StorageError when the state cannot be read.
    """
    report = Audit(store).verify()
    if not report.ok:
        return report
    try:
        problem = _problem(store, file) or _lacking(store)
    except msgspec.DecodeError as error:
        problem = f"a checkpoint in the log is none: {error}"
    if problem is None:
        return report
    return msgspec.structs.replace(report, ok=False, problem=problem)


def _problem(store: Store, file: Path) -> str | None:
    """What is wrong with the checkpoints, of a log whose chain is whole."""
    recorded, kept, trim = list(_on_record(store)), _in_file(file), trimming.newest(store)
    if isinstance(kept, str):
        return kept
    if not recorded and not kept and trim is None:
        return None
    public = public_key(store.state_dir)
    if isinstance(public, str):
        return public
    if trim is not None and not _good(public, trim):
        return f"that the log begins after entry {trim.seq} is forged: it is not signed by the key in {PUBLIC}"
    first = recorded[0].made.number if recorded and trim is not None else 1  # those before it left the log
    for place, checkpoints, begins in (("log", [each.made for each in recorded], first), ("file", kept, 1)):
        for number, each in enumerate(checkpoints, begins):
            if each.number != number:
                return f"checkpoint {number} is missing from the {place}"
            if not _good(public, each):
                return f"checkpoint {number} in the {place} is forged: it is not signed by the key in {PUBLIC}"
    for entry in recorded:
        made = entry.made
        if (made.seq, made.hash) != (entry.seq - 1, entry.previous):
            return f"checkpoint {made.number} is about another entry {made.seq} than the log has: it was made anew"
    last = first - 1 + len(recorded)
    if len(kept) > last:
        cut = kept[last]
        return f"checkpoint {cut.number} is in the file and not in the log: it was cut off before entry {cut.seq}"
    if last > len(kept) + 1:  # the newest one may be on its way there
        return f"checkpoint {len(kept) + 1} is missing from the file"
    for entry, line in zip(recorded, kept[first - 1 :], strict=False):
        if entry.made != line:
            return f"checkpoint {line.number} is another one in the file than in the log: one of the two was made anew"
    return None


def _lacking(store: Store) -> str | None:
    """What the records say that the log lacks: an end that was cut off after the last checkpoint, with its head."""
    newest = [("decision", each.id, each.entry) for each in store.select(Decision, newest=1)]
    newest += [("approval", each.id, each.entry) for each in store.select(Approval, newest=1)]
    for name, id, seq in newest:
        entry = None if seq is None else Audit(store).entry(seq)
        if seq is None or (entry is not None and entry.payload.get(name) == id):
            continue
        trim = trimming.newest(store)  # looked at last, as it may leave meanwhile
        if trim is None or seq > trim.seq:
            return f"{name} {id} has entry {seq}, which the log lacks: it was cut off before that"
    return None


class _OnRecord(NamedTuple):
    """A checkpoint of the log, with the number of its entry and the hash of the one before that."""

    seq: int
    previous: str
    made: Checkpoint


def _on_record(store: Store, *, newest: bool = False) -> Iterator[_OnRecord]:
    """The checkpoints of the log."""
    table = schema.audit
    wanted = sa.select(table.c.seq, table.c.previous, table.c.payload).where(table.c.kind == KIND)
    for row in store.rows(wanted.order_by(table.c.seq.desc()).limit(1) if newest else wanted.order_by(table.c.seq)):
        yield _OnRecord(row.seq, row.previous, msgspec.json.decode(row.payload, type=Checkpoint))


def _in_file(file: Path) -> list[Checkpoint] | str:
    """The checkpoints in the file; what is wrong where it cannot be read."""
    try:
        lines = file.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        return f"the file of checkpoints cannot be read: {error.strerror}"
    found = []
    for number, line in enumerate(lines, 1):
        try:
            found.append(msgspec.json.decode(line, type=Checkpoint))
        except msgspec.DecodeError as error:
            return f"line {number} of the file of checkpoints is none: {error}"
    return found


def _last_number(file: Path) -> int:
    kept = _in_file(file)
    return kept[-1].number if isinstance(kept, list) and kept else 0


def _signed(number: int, seq: int, digest: str, at: str) -> bytes:
    return msgspec.json.encode(["self-healing audit checkpoint", number, seq, digest, at])


def _good(public: Any, what: Checkpoint | trimming.Trim) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        public.verify(bytes.fromhex(what.signature), what.signed())
    except (InvalidSignature, ValueError):
        return False
    return True
