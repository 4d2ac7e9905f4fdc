"""Directories of telemetry, read as they grow: through rotation, truncation, torn lines and restarts.

There are two: the fleet's native files, and our own segments, which hold whatever arrives otherwise. One reader reads
both, so that what is furthest behind in event time comes first wherever it is.

What was read is known by :class:`Position`; whoever folds the events commits the positions together with them, and a
reader that is given committed positions goes on from there, so each line is read exactly once.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from self_healing.errors import TelemetryError
from self_healing.filenames import OWN_EVENTS, SUFFIX
from self_healing.telemetry.batch import Batch, Gathered, Quarantined
from self_healing.telemetry.lines import FOLDED, Lines, native_asking
from self_healing.telemetry.native import LINE_MAX_BYTES, BadLine, decode
from self_healing.telemetry.tail import Position, Tail

__all__ = ["Batch", "DirectoryReader", "Position", "Quarantined"]

SLICE_BYTES = LINE_MAX_BYTES + 1
"""How much of one file is read before the others get their turn; with no newline in it, a line is too long."""

BATCH_LINES = 200_000
"""A batch ends when it holds so many, however short they are: its memory is bounded by lines as well as bytes."""

_FIRST_BYTES = 1 << 14  # enough for a first line or two
_BOM = b"\xef\xbb\xbf"


Found = dict[tuple[int, int], tuple[str, bool, os.stat_result]]
"""Name, whether it is a segment, and status of each file, by device and inode."""


class DirectoryReader:
    """Reads what is new in a directory of ``*.jsonl`` files, and in our own segments.

    A file that was renamed within the directory is read to its end; one that was emptied, or replaced, from its start.
    A last line without a newline waits for it, unless it is a whole object already. The last line of a file that was
    renamed and has a successor waits no longer than until the next look.

    Args:
        directory: of native files; need not exist yet.
        positions: where an earlier reader stood.
        segments: the directory of our own segments, which need not exist; none is read when left out.
        readable_bytes: how much of a segment is there to stay, by its name; None for all of it.
        attributes: the fields of native lines that somebody asks for beside the columns; asked at each slice.
    """

    def __init__(
        self,
        directory: Path,
        positions: Iterable[Position] = (),
        *,
        segments: Path | None = None,
        readable_bytes: Callable[[str], int | None] = lambda _name: None,
        attributes: Callable[[], tuple[str, ...]] = tuple,
    ) -> None:
        self.directory = directory
        self.segments = segments
        self._readable_bytes = readable_bytes
        self._attributes = attributes
        self._buffer: bytearray | None = bytearray(SLICE_BYTES)
        self._files: list[Tail] = []
        self._problems: list[str] = []  # with what the last look found and is not read
        self.seek(positions)

    def seek(self, positions: Iterable[Position]) -> None:
        """Go on from `positions`, as if nothing had been read since."""
        self._files = [Tail.at(position) for position in positions]

    def close(self) -> None:
        """Give the memory back; safe to call twice. Nothing can be read any more."""
        self._buffer = None
        self._files = []

    def read(self, now_us: int, max_bytes: int = 8 << 20) -> Batch:
        """Read what is new, from the files that are furthest behind in event time first.

        Args:
            now_us: the present, microseconds since 1970; events too far ahead of it are quarantined.
            max_bytes: about how much to read at most; one long line may go beyond.

        Raises:
            TelemetryError: the directory cannot be read; nothing is lost, and the next call looks again.
            ValueError: the reader is closed.
        """
        gathered = Gathered()
        self._problems = self._look(gathered, now_us)
        return self._read(gathered, now_us, max_bytes)

    def read_on(self, now_us: int, max_bytes: int) -> Batch:
        """Read on in what :meth:`read` found, without a look at what is there now.

        Args:
            now_us, max_bytes: as there. Slices that stay in the processor's cache until they are folded take less time.

        Raises:
            ValueError: the reader is closed.
        """
        return self._read(Gathered(), now_us, max_bytes)

    def _read(self, gathered: Gathered, now_us: int, max_bytes: int) -> Batch:
        if self._buffer is None:
            raise ValueError("this reader is closed; make a new one from its last positions")
        unfinished = [file for file in self._files if not file.done]
        while unfinished and max_bytes > 0 and gathered.received < BATCH_LINES:
            file = min(unfinished, key=lambda file: (file.ts_us or 0, file.path))
            max_bytes -= self._advance(file, gathered, now_us, self._buffer, max_bytes)
            unfinished = [file for file in unfinished if not file.done]
        problems = [file.problem for file in self._files if file.problem is not None]
        return gathered.batch(self._files, unfinished, self._problems + problems)

    def unread_since_us(self) -> int | None:
        """How old the oldest event may be that is there and could not be read, microseconds; None when none is."""
        since = [file.ts_us or 0 for file in self._files if file.problem is not None]
        return min(since, default=None)

    def behind_since_us(self) -> int | None:
        """How far the reading is of what is there and not read to its end, microseconds; None when everything is."""
        since = [file.ts_us for file in self._files if file.ts_us is not None and not file.done]
        return min([*since, *([] if (unread := self.unread_since_us()) is None else [unread])], default=None)

    # -- which files there are

    def _look(self, gathered: Gathered, now_us: int) -> list[str]:
        """Find the files that are there and which of them have changed; returns what is wrong with others."""
        found, problems = self._scan()
        known = {file.key: file for file in self._files}
        missing = [file for file in self._files if file.key not in found]
        self._files = []
        names = {name for name, segment, _ in found.values() if not segment}
        for key, (name, segment, info) in found.items():
            file = known.get(key) or self._recovered(name, segment, missing)
            if file is None:
                file = Tail(name, name, key, segment=segment)
                self._first_sight(file, now_us)
            file.path, file.key = name, key
            self._files.append(file)
            if file.problem is not None or file.seen != (info.st_size, info.st_mtime_ns):
                file.done, file.problem = False, None
            elif file.offset < info.st_size and file.path != file.name and file.name in names:
                self._give_up_rest(file, gathered, info.st_size)
        return problems

    def _scan(self) -> tuple[Found, list[str]]:
        """The files to read, and what is wrong with others."""
        found: Found = {}
        problems: list[str] = []
        if self.segments is not None:
            self._scan_segments(self.segments, found)
        try:
            self._scan_native(found, problems)
        except OSError as error:
            # Where nothing was ever read, and something comes in otherwise, there may never be a native file.
            native = [file for file in self._files if not file.segment]
            if not (isinstance(error, FileNotFoundError) and found and not native):
                missing = isinstance(error, FileNotFoundError)
                make = f"`mkdir -p {self.directory}` makes it," if missing else "make it readable"
                raise TelemetryError(
                    f"cannot read the telemetry directory {self.directory}: {error.strerror}; {make} or name another"
                    " one with --telemetry-dir; until then it is looked for again and again"
                ) from error
        return found, problems

    def _scan_segments(self, directory: Path, found: Found) -> None:
        try:
            with os.scandir(directory) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    if entry.name.endswith(SUFFIX):
                        with suppress(FileNotFoundError):  # it was compacted just now
                            info = entry.stat()
                            found[info.st_dev, info.st_ino] = (entry.name, True, info)
        except FileNotFoundError:  # nothing came in yet
            pass
        except OSError as error:
            raise TelemetryError(
                f"cannot read our own segments of telemetry in {directory}: {error.strerror}; make them readable"
            ) from error

    def _scan_native(self, found: Found, problems: list[str]) -> None:
        known = {file.key: file for file in self._files}
        inodes = {inode for _, inode in known}
        with os.scandir(self.directory) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                wanted = entry.name.endswith(SUFFIX)
                if entry.name.startswith(OWN_EVENTS) or not (wanted or entry.inode() in inodes):
                    continue
                try:
                    info = entry.stat()
                except FileNotFoundError:  # it went away just now; the next look tells where to
                    continue
                key = (info.st_dev, info.st_ino)
                if stat.S_ISREG(info.st_mode) and (wanted or (key in known and known[key].head_bytes)):
                    found.setdefault(key, (entry.name, False, info))
                elif wanted:
                    problems.append(f"{entry.name} is not a regular file and is not read; move it away")

    def _recovered(self, name: str, segment: bool, missing: list[Tail]) -> Tail | None:
        """The known file that is now another inode, as after a restored backup or a copy put in its place."""
        for file in missing:
            if (file.name, file.segment) == (name, segment) and file.head_bytes:
                try:
                    with self._opened(name, segment) as fd:
                        same = file.is_in(fd)
                except OSError:  # it is tried again, and named, when it is read
                    return None
                if same:
                    missing.remove(file)
                    file.seen = None
                    return file
        return None

    def _first_sight(self, file: Tail, now_us: int) -> None:
        """Learn by what a new file is known again, and where in time it begins."""
        try:
            with self._opened(file.path, file.segment) as fd:
                size = self._size(file, os.fstat(fd))
                file.remember_head(fd, size)
                start = os.pread(fd, min(_FIRST_BYTES, size), 0).removeprefix(_BOM)
        except OSError:  # it is tried again, and named, when it is read
            return
        ts = decode(start[: start.rfind(b"\n") + 1], now_us=now_us, form=self._form(file)).ts
        file.ts_us = int(ts[0]) if len(ts) else None

    @contextmanager
    def _opened(self, name: str, segment: bool) -> Iterator[int]:
        # Not blocking: a FIFO that takes over a name must not make everything wait for its writer.
        directory = self.segments if segment and self.segments is not None else self.directory
        fd = os.open(directory / name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            yield fd
        finally:
            os.close(fd)

    def _size(self, file: Tail, info: os.stat_result) -> int:
        """How many bytes of a file may be read."""
        readable = self._readable_bytes(file.path) if file.segment else None
        return info.st_size if readable is None else min(readable, info.st_size)

    # -- what is in one file

    def _advance(self, file: Tail, gathered: Gathered, now_us: int, buffer: bytearray, max_bytes: int) -> int:
        """Read the next slice of `file`; returns how many bytes that were. At its end, it is marked as done."""
        try:
            with self._opened(file.path, file.segment) as fd:
                info = os.fstat(fd)
                if (info.st_dev, info.st_ino) != file.key:
                    file.done, file.seen = True, None  # it was renamed just now; the next look finds it
                    return 0
                return self._advance_in(fd, info, file, gathered, now_us, buffer, max_bytes)
        except FileNotFoundError:
            file.done, file.seen = True, None
        except OSError as error:
            file.done, file.problem = True, f"{file.label} cannot be read: {error.strerror}; make it readable"
        return 0

    def _form(self, file: Tail) -> Lines:
        return FOLDED if file.segment else native_asking(self._attributes())

    def _advance_in(
        self,
        fd: int,
        info: os.stat_result,
        file: Tail,
        gathered: Gathered,
        now_us: int,
        buffer: bytearray,
        max_bytes: int,
    ) -> int:
        if not file.is_in(fd):
            if not file.path.endswith(SUFFIX):  # something else took over the inode of a file that was renamed
                self._files.remove(file)
                file.done = True
                return 0
            file.begin_anew()
        whole = self._size(file, info)
        size, at_end = self._read_on_in(fd, whole, file, gathered, now_us, buffer, max_bytes)
        file.remember_head(fd, whole)
        if at_end:
            # What is written but not synced becomes readable without a change that could be seen.
            file.done, file.seen = True, (info.st_size, info.st_mtime_ns) if whole == info.st_size else None
        return size

    def _read_on_in(
        self, fd: int, whole: int, file: Tail, gathered: Gathered, now_us: int, buffer: bytearray, max_bytes: int
    ) -> tuple[int, bool]:
        """Read the next slice of a file of which `whole` bytes may be read: how many that were, and whether all."""
        view = memoryview(buffer)
        most = min(len(buffer), max(whole - file.offset, 0))
        size = os.preadv(fd, [view[: min(most, max_bytes)]], file.offset)
        at_end = size == 0 or file.offset + size >= whole
        if not at_end and size < most and buffer.rfind(b"\n", 0, size) < 0:  # one line that is longer
            size = os.preadv(fd, [view[:most]], file.offset)
            at_end = file.offset + size >= whole
        file.offset += _consume(file, gathered, now_us, buffer, size, at_end, self._form(file))
        return size, at_end

    def _give_up_rest(self, file: Tail, gathered: Gathered, size: int) -> None:
        """The last line of a file that was rotated away, and has not grown since the last look, is never finished."""
        try:
            with self._opened(file.path, file.segment) as fd:
                rest = os.pread(fd, size - file.offset, file.offset)
        except OSError:  # it went away or cannot be read now; the next look tries again
            return
        if rest.strip():
            gathered.add_bad(file, file.offset, BadLine.TORN)
        file.offset = size


def _consume(
    file: Tail, gathered: Gathered, now_us: int, buffer: bytearray, size: int, at_end: bool, form: Lines
) -> int:
    """Take the whole lines of what was read of `file`; returns how many bytes are done with.

    Args:
        buffer: holds what was read, in its first `size` bytes.
        at_end: whether that reaches to the end of the file.
        form: of its lines.
    """
    start = 0
    if file.skipping:
        newline = buffer.find(b"\n", 0, size)
        if newline < 0:
            return size
        file.skipping = False
        start = newline + 1
    elif file.offset == 0 and buffer.startswith(_BOM, 0, size):
        start = len(_BOM)
    end = max(start, buffer.rfind(b"\n", start, size) + 1)
    if size - end > LINE_MAX_BYTES:
        gathered.add_bad(file, file.offset + end, BadLine.TOO_LONG)
        file.skipping = True
        return size
    if at_end and _is_whole(bytes(buffer[end:size])):
        end = size
    if end > start:
        lines = bytes(memoryview(buffer)[start:end])
        decoded = decode(lines, now_us=now_us, form=form)
        gathered.add(file, file.offset + start, decoded, lines)
        if len(decoded.ts):
            file.ts_us = int(decoded.ts.max())
    return end


def _is_whole(tail: bytes) -> bool:
    """Whether a line without a newline is an object already, so that nothing can be missing: no part of one is one."""
    if not tail.rstrip().endswith(b"}"):
        return False
    try:
        msgspec.json.decode(tail, type=dict[str, msgspec.Raw])
    except (ValueError, RecursionError):
        return False
    return True
