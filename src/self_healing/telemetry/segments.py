"""Our own segments: append-only files of native lines, into which goes all telemetry that is not a native file itself.

One thread writes. What waits is written together, and synced together (group commit); only then is it settled. So a
line is either there for good, or whoever brought it is told that it is not.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Protocol

from self_healing.errors import Overloaded, StorageError
from self_healing.filenames import SUFFIX
from self_healing.telemetry.recovery import number_of, recover, segment_files

SEGMENT_BYTES: Final = 64 << 20
"""A segment is closed when it is so large,"""

SEGMENT_AGE: Final = timedelta(hours=1)
"""or so old."""

QUEUE_BYTES: Final = 64 << 20
"""So much may wait to be written; what comes then is refused."""

GROUP_BYTES: Final = 8 << 20
"""About so much is written at once."""

RETRY_AFTER_S: Final = 1.0
"""When whoever was refused may try again: a full queue is written within that on any disk."""

STOP_S: Final = 30.0
"""How long a stop waits for what is still to be written."""

CRASH_POINTS: Final = ("segment.written", "segment.synced")

_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC


class Entry(Protocol):
    """One thing to be written, whole or not at all. Its methods are called on the writer's thread."""

    @property
    def size_bytes(self) -> int:
        """What it counts for in the queue."""
        ...

    def lines(self) -> bytes:
        """Its lines, each with its newline, asked for once, in the order of writing; may be empty."""
        ...

    def settle(self, error: StorageError | None) -> None:
        """It is synced, or `error` says why it is not and that nothing of it was kept."""
        ...


class Segments:
    """Appends to the segments of one state directory; only the process that owns the state may.

    Making one mends what a crash left: see :func:`self_healing.telemetry.recovery.recover`.

    Args:
        directory: made when missing.
        now: the present instant.
        segment_bytes: see SEGMENT_BYTES.
        segment_age: see SEGMENT_AGE.
        queue_bytes: see QUEUE_BYTES.
        crash: called at CRASH_POINTS; for crash tests.

    Raises:
        StorageError: the directory cannot be used.
    """

    def __init__(
        self,
        directory: Path,
        *,
        now: Callable[[], datetime],
        segment_bytes: int = SEGMENT_BYTES,
        segment_age: timedelta = SEGMENT_AGE,
        queue_bytes: int = QUEUE_BYTES,
        crash: Callable[[str], None] = lambda _point: None,
    ) -> None:
        self.directory = directory
        self.notes = recover(directory)  # what was mended, for people
        self.problem: str | None = None  # why nothing can be written now
        self._now = now
        self._segment_bytes = segment_bytes
        self._segment_age = segment_age
        self._queue_bytes = queue_bytes
        self._crash = crash
        self._next = max((number_of(file) for file in segment_files(directory)), default=0) + 1
        self._changed = threading.Condition()
        self._queue: deque[Entry] = deque()
        self._waiting_bytes = 0
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._fd = -1
        self._name = ""
        self._began = now()
        self._synced: dict[str, int] = {}  # of the files that may hold more than is synced: how much is

    # -- for whoever reads

    def readable_bytes(self, name: str) -> int | None:
        """How much of the segment `name` may be read; None for all of it.

        What is beyond is not synced yet: a crash may still take it away, and its sender would then bring it again.
        """
        return self._synced.get(name)

    @property
    def active(self) -> str | None:
        """The name of the segment that may still grow."""
        return self._name or None

    # -- for whoever brings lines

    def append(self, entry: Entry) -> None:
        """Queue `entry`; it is settled once it is synced, or has failed.

        Raises:
            Overloaded: too much waits already.
            StorageError: the segments are not open, so nothing can be written.
        """
        with self._changed:
            if self._thread is None or self._stopping:
                raise StorageError(_CLOSED)
            if self._queue and self._waiting_bytes + entry.size_bytes > self._queue_bytes:
                raise Overloaded(RETRY_AFTER_S)
            self._queue.append(entry)
            self._waiting_bytes += entry.size_bytes
            self._changed.notify()

    @property
    def waiting_bytes(self) -> int:
        """How much waits to be written."""
        return self._waiting_bytes

    def look_at_age(self) -> None:
        """Close the active segment when it is old enough, also when nothing comes; call it now and then."""
        with suppress(Overloaded, StorageError):  # then something comes, or nothing is open
            self.append(_Nothing())

    # -- life

    def start(self) -> None:
        """Begin to write; safe to call twice."""
        with self._changed:
            if self._thread is None:
                self._stopping = False
                self._thread = threading.Thread(target=self._write_all, name="segments", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """Write what waits, within STOP_S, and end; safe to call twice."""
        with self._changed:
            self._stopping = True
            thread = self._thread
            self._changed.notify()
        if thread is not None:
            thread.join(STOP_S)
            if not thread.is_alive():
                self._thread = None

    # -- the writer's thread

    def _write_all(self) -> None:
        while True:
            group = self._take()
            if not group:
                break
            self._commit(group)
        with suppress(OSError):  # what a sync did not say, a close does not say either
            self._close()

    def _take(self) -> list[Entry]:
        """What is to be written next, together; nothing when it is time to end."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._stopping)
            group: list[Entry] = []
            size = 0
            while self._queue and size < GROUP_BYTES:
                size += self._queue[0].size_bytes
                group.append(self._queue.popleft())
            self._waiting_bytes -= size
            return group

    def _commit(self, group: list[Entry]) -> None:
        """Write and sync `group`, and settle it."""
        error = None
        try:
            if self._is_old():
                self._close()
            data = b"".join([entry.lines() for entry in group])
            if data:
                self._write(data)
                self.problem = None
        except OSError as failed:
            error = self._failed(failed.strerror or str(failed))
        except Exception as failed:  # whoever waits must hear of it, and the thread must go on
            error = self._failed(repr(failed))
        for entry in group:
            entry.settle(error)

    def _write(self, data: bytes) -> None:
        if self._name and self._synced[self._name] >= self._segment_bytes:
            self._close()
        if not self._name:
            self._open()
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]
        self._crash("segment.written")
        os.fsync(self._fd)
        self._synced[self._name] += len(data)
        self._crash("segment.synced")

    def _is_old(self) -> bool:
        return bool(self._name) and self._now() - self._began >= self._segment_age

    def _open(self) -> None:
        """Begin the next segment."""
        for name in list(self._synced):  # what an earlier failure left must be gone before anything follows it
            self._cut_back(name)
        name = f"{self._next:010d}{SUFFIX}"
        self._next += 1
        self._synced[name] = 0  # before it is there: nobody may read what is not synced
        try:
            fd = os.open(self.directory / name, _NEW, 0o600)
        except OSError:
            del self._synced[name]
            raise
        self._fd, self._name, self._began = fd, name, self._now()
        sync_directory(self.directory)

    def _close(self) -> None:
        """End the active segment, which is synced."""
        if self._name:
            fd, name = self._fd, self._name
            self._fd, self._name = -1, ""
            del self._synced[name]
            try:
                ended_s = self._now().timestamp()  # how old it is goes by the same clock as all else
                os.utime(fd, (ended_s, ended_s))
            finally:
                os.close(fd)

    def _failed(self, why: str) -> StorageError:
        """Cut the active segment back to what was synced, and begin another one with whatever comes next.

        After a sync that failed nobody knows what the disk has of a file, so nothing is ever added to it again.
        """
        self.problem = (
            f"telemetry that comes in cannot be written to {self.directory}: {why}; none of it is acknowledged, and"
            " writing is tried again with whatever comes next"
        )
        if self._name:
            fd, name = self._fd, self._name
            self._fd, self._name = -1, ""
            with suppress(OSError):  # the next segment cannot begin before it is cut back
                os.close(fd)
            with suppress(OSError):
                self._cut_back(name)
        return StorageError(self.problem)

    def _cut_back(self, name: str) -> None:
        with (self.directory / name).open("r+b") as file:
            file.truncate(self._synced[name])
            os.fsync(file.fileno())
        del self._synced[name]


_CLOSED: Final = "telemetry is not taken now, for the service begins, ends or opens its state anew; send it again"


class _Nothing:
    """Nothing to be written, so that the writer wakes up."""

    size_bytes = 0

    def lines(self) -> bytes:
        return b""

    def settle(self, error: StorageError | None) -> None:
        """Nobody waits for it."""


def sync_directory(directory: Path) -> None:
    """Make the names in `directory` durable. Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
