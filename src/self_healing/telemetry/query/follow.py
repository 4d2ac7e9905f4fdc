"""Following events as they are written, in the order in which they come."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from self_healing.errors import TelemetryError
from self_healing.telemetry.query.files import EventFile, Form, Places, list_files
from self_healing.telemetry.query.rows import Row, Wanted, rows

CHUNK_BYTES: Final = 8 << 20
"""So much of a file is read at once."""

_BOM: Final = b"\xef\xbb\xbf"


class Follower:
    """Tells what is new since it was made; close it at the end.

    Only whole lines are told. A file that was emptied is read from its start. A file that has grown, and a segment,
    stay open, so that what a rotation or a compaction takes away is read to its end.

    Args:
        places: where to look; they need not exist yet.
        wanted: which events are.
    """

    def __init__(self, places: Places, wanted: Wanted) -> None:
        self._places = places
        self._wanted = wanted
        self._tails: dict[tuple[int, int], _Tail] = {}
        self._told: Counter[tuple[str, bytes]] = Counter()
        self._look(at_end=True)

    def leave_out(self, told: Iterable[Row]) -> None:
        """These were told otherwise: what was written after this was made may have been found before its first look."""
        self._told.update((row.file, row.line) for row in told)

    def new(self) -> list[Row]:
        """What was written since the last time, sorted by time."""
        self._look(at_end=False)
        found: list[Row] = []
        for key, tail in list(self._tails.items()):
            lines = tail.read()
            found += [row for row in rows([(line, tail.path) for line in lines], tail.form) if self._is_new(row)]
            if tail.gone:
                tail.close()
                del self._tails[key]
        self._told.clear()
        return sorted(found, key=lambda row: row.at_us)

    def _is_new(self, row: Row) -> bool:
        if not self._wanted.admits(row):
            return False
        key = (row.file, row.line)
        if self._told[key]:
            self._told[key] -= 1
            return False
        return True

    def _look(self, *, at_end: bool) -> None:
        try:
            files = list_files(self._places).files
        except TelemetryError:  # nothing was written yet
            files = []
        lines = {file.key: file for file in files if file.form is not Form.COMPACTED}
        for key, tail in self._tails.items():
            tail.gone = key not in lines
        for key, file in lines.items():
            if key not in self._tails:
                self._tails[key] = _Tail(file, at_end=at_end)

    def close(self) -> None:
        """Let go of the files; safe to call twice."""
        for tail in self._tails.values():
            tail.close()
        self._tails.clear()


class _Tail:
    """One file, and how far it was read."""

    def __init__(self, file: EventFile, *, at_end: bool) -> None:
        self.path = str(file.path)
        self.form = file.form
        self.gone = False
        self._key = file.key
        self._fd = -1
        self._offset = 0
        with suppress(OSError):  # it went away just now
            if at_end:
                self._offset = _whole_bytes(self.path)
            if not at_end or self.form is Form.SEGMENT:
                self._open()

    def _open(self) -> None:
        # Not blocking: a FIFO that takes over a name must not make everything wait for its writer.
        self._fd = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        info = os.fstat(self._fd)
        if (info.st_dev, info.st_ino) != self._key:  # another took its name just now
            self.close()

    def read(self) -> list[bytes]:
        """The whole lines that are new."""
        try:
            size = os.stat(self.path).st_size if self._fd < 0 else os.fstat(self._fd).st_size
            if size < self._offset:
                self._offset = 0
            if size == self._offset:
                return []
            if self._fd < 0:
                self._open()
            return self._lines() if self._fd >= 0 else []
        except OSError:  # it went away, or cannot be read any more; the next look tells
            return []

    def _lines(self) -> list[bytes]:
        data = b""
        while chunk := os.pread(self._fd, CHUNK_BYTES, self._offset + len(data)):
            data += chunk
        end = data.rfind(b"\n") + 1
        start = len(_BOM) if self._offset == 0 and data.startswith(_BOM) else 0
        self._offset += end
        return data[start:end].splitlines()

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _whole_bytes(path: str) -> int:
    """Where the last whole line of a file ends."""
    with open(path, "rb") as opened:
        end = opened.seek(0, os.SEEK_END)
        while end > 0:
            start = max(0, end - (1 << 16))
            opened.seek(start)
            newline = opened.read(end - start).rfind(b"\n")
            if newline >= 0:
                return start + newline + 1
            end = start
    return 0
