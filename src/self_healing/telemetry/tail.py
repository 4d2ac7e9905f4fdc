"""One telemetry file that grows: where its reading stands, and how it is known again."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass

from self_healing import model

_HEAD_BYTES = 256


class Position(model.Record, frozen=True, kw_only=True):
    """Where the reading of one file stands.

    A file is the same one while its first bytes are, whatever it is called; so it is found again after a rename, and
    another one is told from it that took over its name or its inode.
    """

    name: str  # in the directory, when its reading began
    device: int
    inode: int
    offset: int  # bytes that are done with
    head: str  # sha256, in hex, of the first bytes
    head_bytes: int  # how many
    ts_us: int | None  # the event time at which the reading stands; None when that is not known
    skipping: bool = False  # inside a line that is too long, and already counted
    segment: bool = False  # one of our own segments, not a native file

    @property
    def label(self) -> str:
        """What people know the file by."""
        return _label(self.name, segment=self.segment)


def _label(name: str, *, segment: bool) -> str:
    return f"segments/{name}" if segment else name


@dataclass(slots=True)
class Tail:
    """A file in the directory, and how far it was read."""

    path: str  # what it is called now
    name: str  # what it was called when its reading began
    key: tuple[int, int]  # device and inode
    offset: int = 0
    head: str = ""
    head_bytes: int = 0
    ts_us: int | None = None
    skipping: bool = False
    seen: tuple[int, int] | None = None  # size, and mtime in nanoseconds, when its end was reached
    done: bool = False  # its end is reached
    problem: str | None = None
    segment: bool = False  # one of our own segments, not a native file

    @property
    def label(self) -> str:
        """What people know the file by."""
        return _label(self.path, segment=self.segment)

    @classmethod
    def at(cls, position: Position) -> Tail:
        return cls(
            path=position.name,
            name=position.name,
            key=(position.device, position.inode),
            offset=position.offset,
            head=position.head,
            head_bytes=position.head_bytes,
            ts_us=position.ts_us,
            skipping=position.skipping,
            segment=position.segment,
        )

    def position(self) -> Position:
        return Position(
            name=self.name,
            device=self.key[0],
            inode=self.key[1],
            offset=self.offset,
            head=self.head,
            head_bytes=self.head_bytes,
            ts_us=self.ts_us,
            skipping=self.skipping,
            segment=self.segment,
        )

    def is_in(self, fd: int) -> bool:
        """Whether the open file `fd` is the one that was read so far: it begins alike and has not become shorter."""
        if os.fstat(fd).st_size < self.offset:
            return False
        return not self.head_bytes or _fingerprint(os.pread(fd, self.head_bytes, 0)) == self.head

    def remember_head(self, fd: int, size: int) -> None:
        """Learn by what the open file is known again.

        Args:
            size: how many of its bytes are there to stay.
        """
        if self.head_bytes < _HEAD_BYTES:
            head = os.pread(fd, min(_HEAD_BYTES, size), 0)
            self.head, self.head_bytes = _fingerprint(head), len(head)

    def begin_anew(self) -> None:
        """It is another file than the one that was read so far, or was emptied."""
        self.name, self.offset, self.skipping, self.ts_us = self.path, 0, False, None
        self.head, self.head_bytes = "", 0


def _fingerprint(head: bytes) -> str:
    return hashlib.sha256(head).hexdigest()
