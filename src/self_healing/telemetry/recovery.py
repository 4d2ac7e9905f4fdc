"""What a start finds in the segments: what a crash left is mended, and what came before is remembered."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from self_healing.errors import StorageError
from self_healing.filenames import SUFFIX
from self_healing.telemetry.identities import Remembered, identity
from self_healing.telemetry.lines import INTAKE

PARQUET: Final = ".parquet"
"""How the name of a segment ends once it is compacted."""

DELETED: Final = ".deleted"
"""How the name of a segment ends once it is deleted; the newest of them stays, empty, and says how far that went."""

_CHUNK_BYTES: Final = 8 << 20


def number_of(file: Path) -> int:
    """The number of a segment: they are written in the order of their numbers."""
    return int(file.name.partition(".")[0])


def segment_files(directory: Path) -> list[Path]:
    """All segments in `directory`, also those set aside, the oldest first. Raises OSError."""
    return sorted(file for file in directory.iterdir() if file.name.partition(".")[0].isdigit())


def recover(directory: Path) -> list[str]:
    """Mend what a crash left in `directory`; only for the process that owns the state, before it writes or reads.

    What was not synced was not acknowledged, and its sender brings it again. So a torn last line is cut off, and so is
    a last batch of which not all lines are there: what is brought again is then taken whole.

    Returns:
        What was mended, for people.

    Raises:
        StorageError: the directory cannot be used.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        newest = next((file for file in reversed(segment_files(directory)) if file.suffix == SUFFIX), None)
        return [] if newest is None else _mend(newest)
    except OSError as error:
        raise StorageError(f"cannot use the segments in {directory}: {error.strerror or error}") from error


def _mend(file: Path) -> list[str]:
    with file.open("r+b") as opened:
        data = opened.read()
        whole = _whole_bytes(data)
        if whole < len(data):
            opened.truncate(whole)
        # What a process wrote before it was killed may not be on the disk yet, and will be read from now on.
        os.fsync(opened.fileno())
    if whole == len(data):
        return []
    return [
        f"{file.name}: its last {len(data) - whole} bytes were cut off: they were being written when the process ended,"
        " and were never acknowledged"
    ]


class _Head(msgspec.Struct):
    """What says that a line stands before a batch's events."""

    type: str = ""
    events: int = 0


_MARK: Final = f'"type":"{INTAKE}"'.encode()


def _whole_bytes(data: bytes) -> int:
    """How much of the newest segment is whole lines of whole batches."""
    end = data.rfind(b"\n") + 1
    mark = data.rfind(_MARK, 0, end)
    while mark >= 0:
        start, stop = data.rfind(b"\n", 0, mark) + 1, data.index(b"\n", mark) + 1
        head = _head(data[start:stop])
        if head.type == INTAKE:  # else the words stand in some event's attributes
            return end if data.count(b"\n", stop, end) >= head.events else start
        mark = data.rfind(_MARK, 0, start)
    return end


def _head(line: bytes) -> _Head:
    try:
        return msgspec.json.decode(line, type=_Head)
    except ValueError:
        return _Head()


# --- what came before ----------------------------------------------------------------------------------------------


class _Damaged(Exception):
    """A compacted segment is not as it was written."""


class _Known(msgspec.Struct, gc=False):
    """What tells a line's span or batch from others."""

    type: str = ""
    trace_id: str | None = None
    span_id: str | None = None
    parent_id: str | None = None
    role: str | None = None
    source: str = ""
    key: str | None = None


def span_known_by(trace_id: str | None, span_id: str | None, parent_id: str | None, role: str | None) -> str | None:
    """What a span, or a score that a span carries, is known again by; None for any other event: a log may name the span
    in which it was written.

    One text, for many are passed on to another process; with lengths, for ids may be any texts.
    """
    if not trace_id or not role:
        return None
    if span_id:
        return f"{len(trace_id)} {len(span_id)} {trace_id}{span_id}"
    return f"{len(trace_id)} {len(parent_id)} {trace_id}{parent_id}{role}" if parent_id else None


def key_identity(source: str, key: str) -> int:
    """The identity of a batch."""
    return identity(f"batch {len(source)} {source}{key}")


def remember(directory: Path, remembered: Remembered, now_us: int, kept_us: int, most: int) -> dict[Path, str]:
    """Fill `remembered` with what the segments of the last `kept_us` hold, about `most` at most.

    Returns:
        The compacted segments that are damaged, and what is wrong with each. What they hold is forgotten.

    Raises:
        StorageError: a segment cannot be read.
    """
    damaged: dict[Path, str] = {}
    chosen: list[tuple[_Found, int]] = []
    count = 0
    try:
        for file in reversed(segment_files(directory)):
            at_us = file.stat().st_mtime_ns // 1000
            if file.suffix == DELETED or at_us < now_us - kept_us or count >= most:
                remembered.forget(at_us)
                break
            try:
                found = _found_in(file)
            except _Damaged as error:
                damaged[file] = str(error)
                remembered.forget(at_us)
                continue
            count += len(found.spans) + len(found.keys)
            chosen.append((found, at_us))
    except OSError as error:
        raise StorageError(f"cannot read the segments in {directory}: {error.strerror or error}") from error
    for found, at_us in reversed(chosen):
        remembered.spans.add(found.spans, at_us)
        remembered.keys.add(found.keys, at_us)
    return damaged


class _Found(NamedTuple):
    """The identities that a segment holds."""

    spans: list[int]
    keys: list[int]


def _found_in(file: Path) -> _Found:
    if file.suffix in (SUFFIX, ".corrupt"):
        return _found(_known_lines(file))
    if file.suffix == PARQUET:
        return _found(_known_rows(file))
    return _Found([], [])  # it was being written when a process ended


def _found(lines: Iterable[_Known]) -> _Found:
    found = _Found([], [])
    for line in lines:
        if line.type == INTAKE:
            if line.key is not None:
                found.keys.append(key_identity(line.source, line.key))
        else:
            known_by = span_known_by(line.trace_id, line.span_id, line.parent_id, line.role)
            if known_by is not None:
                found.spans.append(identity(known_by))
    return found


def _known_lines(file: Path) -> Iterator[_Known]:
    decoder = msgspec.json.Decoder(_Known)
    with file.open("rb") as opened:
        while lines := opened.readlines(_CHUNK_BYTES):
            try:
                yield from decoder.decode_lines(b"".join(lines))
            except ValueError:  # one of them is damaged; whoever reads the segment quarantines it
                for line in lines:
                    try:
                        yield decoder.decode(line)
                    except ValueError:
                        continue


def _known_rows(file: Path) -> Iterator[_Known]:
    import duckdb  # a start that finds no compacted segment of the last day does without

    names = [field.name for field in msgspec.structs.fields(_Known)]
    query = f"SELECT {', '.join(names)} FROM read_parquet(?) WHERE key IS NOT NULL OR role IS NOT NULL"
    with duckdb.connect(config={"threads": 1}) as connection:
        try:
            rows: list[tuple[Any, ...]] = connection.execute(query, [str(file)]).fetchall()
        except (duckdb.IOException, duckdb.OutOfMemoryException) as error:
            raise OSError(str(error).splitlines()[0]) from error
        except duckdb.Error as error:
            raise _Damaged(str(error).splitlines()[0]) from error
    for row in rows:
        yield _Known(**{name: value for name, value in zip(names, row, strict=True) if value is not None})
