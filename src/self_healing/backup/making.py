"""Makes a copy of the state while a service may run on it.

The database is copied first and the segments last. So the copy holds all that its database tells of, and what its
segments hold beyond that is read on from there, as after a crash.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from self_healing.backup.manifest import (
    FORMAT,
    MANIFEST,
    UNFINISHED,
    Copy,
    File,
    Manifest,
    Progress,
    Tell,
    copied,
    is_ours,
    measured,
    usable,
)
from self_healing.errors import StateCorrupt, StateError, StorageError
from self_healing.filenames import SEGMENTS, SUFFIX
from self_healing.storage.readonly import DATABASE, LOCK

MOST_TRIES = 3
"""Segments are compacted every ten minutes, so that a second try nearly always meets none of it."""


def backup(state_dir: Path, to: Path, *, at: datetime, tell: Tell = lambda _what, _share: None) -> Copy:
    """Copy the state, whole, whether or not a service runs on it.

    Args:
        state_dir: the state; only read.
        to: where the copy will be; must not be there yet, and not in the state.
        at: now.
        tell: is told how far it has come.

    Raises:
        StateError: there is no state, it could not be begun with, something is at `to`, or it cannot be written; no
            copy is made.
        StateCorrupt: the database is damaged.
        StorageError: the state cannot be read now.
    """
    if not (state_dir / DATABASE).exists():
        raise StateError(f"{state_dir} holds no state; name another --state-dir")
    if os.path.lexists(to):
        raise StateError(f"{to} is there already, and nothing is written over; name another directory")
    if to.resolve().is_relative_to(state_dir.resolve()):
        raise StateError(f"{to} lies in the state itself; name a directory outside {state_dir}")
    part = to.with_name(f"{to.name}.part")
    try:
        cleared = _cleared(part)
        with _unfinished(part) as name:
            files = _files(state_dir, part, name, tell)
            made = Manifest(format=FORMAT, copied_at=at, schema_version=usable(part), files=files)
            (part / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(made)))
            os.sync()
        part.rename(to)
        os.sync()
    except OSError as error:
        raise StateError(f"no copy is made: {error.filename or to}: {error.strerror}") from error
    return Copy(made, cleared)


class _Making(msgspec.Struct, frozen=True, tag="self-healing backup"):
    """A line of what marks a copy as unfinished: what is in it from then on, for the next backup to take away."""

    files: tuple[str, ...]


_BEGINS: Final = msgspec.json.encode(_Making(())).partition(b",")[0]
"""How each of them begins."""

Name = Callable[[Iterable[str]], None]
"""Puts down what is about to be in a copy."""


def _cleared(part: Path) -> Path | None:
    """Take away what a backup left that was interrupted. Raises StateError where that is something else."""
    if not os.path.lexists(part):
        return None
    try:
        with (part / UNFINISHED).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _take_away(part, _made(part, lock))
    except BlockingIOError as error:
        raise StateError(f"another backup is writing {part}; wait for it, or name another directory") from error
    except FileNotFoundError:  # it was only not renamed any more
        _take_away(part, _finished(part))
    return part


def _made(part: Path, lines: Iterable[bytes]) -> set[str]:
    """What a copy that is not finished may hold. Raises StateError when no backup says so."""
    whole = [line for line in lines if line.endswith(b"\n")]  # else it was cut off
    if not whole or not all(line.startswith(_BEGINS) for line in whole):
        raise _foreign(part)
    try:
        told = [msgspec.json.decode(line, type=_Making) for line in whole]
    except msgspec.DecodeError as error:
        raise _foreign(part) from error
    return {UNFINISHED, MANIFEST}.union(*(each.files for each in told))


def _finished(part: Path) -> set[str]:
    try:
        found = msgspec.json.decode((part / MANIFEST).read_bytes(), type=Manifest)
    except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError) as error:
        raise _foreign(part) from error
    return {MANIFEST, *found.files}


def _foreign(part: Path) -> StateError:
    return StateError(f"{part} is there, and no backup of this release left it; move it away, or name another copy")


def _take_away(part: Path, names: set[str]) -> None:
    """All of it, or nothing where something else is there."""
    segments = part / SEGMENTS
    there = [each for each in sorted(part.rglob("*")) if each != segments or each.is_symlink() or each.is_file()]
    for each in there:
        name = each.relative_to(part).as_posix()
        if name not in names or not is_ours(name):
            raise StateError(f"{each} is there, and no backup put it there; move it away, or name another copy")
    for each in sorted(there, key=lambda each: each.name in (UNFINISHED, MANIFEST)):  # they say what the rest is
        each.unlink()
    if segments.is_dir():
        segments.rmdir()
    part.rmdir()


@contextmanager
def _unfinished(part: Path) -> Iterator[Name]:
    """A directory that is marked as unfinished while the block runs, and gone again when it fails."""
    part.mkdir(mode=0o700, parents=True)
    try:
        marker = (part / UNFINISHED).open("xb", buffering=0)
    except BaseException:
        part.rmdir()
        raise
    with marker:
        try:
            fcntl.flock(marker, fcntl.LOCK_EX)

            def name(files: Iterable[str]) -> None:
                marker.write(msgspec.json.encode(_Making(tuple(files))) + b"\n")
                os.fsync(marker)

            name(f"{DATABASE}{of}" for of in ("", "-journal", "-wal", "-shm"))
            yield name
            (part / UNFINISHED).unlink()
        except BaseException:
            shutil.rmtree(part)
            raise


def _files(state_dir: Path, part: Path, name: Name, tell: Tell) -> dict[str, File]:
    for _ in range(MOST_TRIES):
        files = _copied(state_dir, part, name, tell)
        if files is not None:
            return files
    raise StorageError(f"the segments in {state_dir} come and go too fast to be copied; try again")


def _copied(state_dir: Path, to: Path, name: Name, tell: Tell) -> dict[str, File] | None:
    """Copy everything; None when a segment went meanwhile that the copied database may not have seen to its end."""
    before = _unfolded(state_dir)
    shutil.rmtree(to / SEGMENTS, ignore_errors=True)
    tell("copying the database", 0.0)
    _copy_database(state_dir / DATABASE, to / DATABASE)
    try:
        files = _copy_files(state_dir, to, name, tell)
    except FileNotFoundError:
        return None
    return files if before <= _unfolded(state_dir) else None


def _unfolded(state_dir: Path) -> set[str]:
    return {file.name for file in (state_dir / SEGMENTS).glob(f"*{SUFFIX}")}


def _copy_database(database: Path, to: Path) -> None:
    try:
        with (
            closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True, timeout=5.0)) as source,
            closing(sqlite3.connect(to)) as copy,
        ):
            source.backup(copy)  # of one moment, all of it, however much is written meanwhile
    except sqlite3.OperationalError as error:
        raise StorageError(f"{database} could not be copied: {error}") from error
    except sqlite3.DatabaseError as error:
        raise StateCorrupt(f"{database}: {error}") from error


def _copy_files(source: Path, to: Path, name: Name, tell: Tell) -> dict[str, File]:
    """All but what belongs to a running process; the segments last, the oldest first, as old as ever.

    What says which files were taken in must not be ahead of the segments, into which they went.
    """
    names = [
        file.name
        for file in sorted(source.iterdir())
        if file.is_file() and file.name != LOCK and not file.name.startswith((DATABASE, "."))
    ]
    if (source / SEGMENTS).is_dir():
        (to / SEGMENTS).mkdir(exist_ok=True)
        names += [f"{SEGMENTS}/{file.name}" for file in sorted((source / SEGMENTS).iterdir()) if file.suffix != ".part"]
    name(names)
    sizes = [(to / DATABASE).stat().st_size, *((source / each).stat().st_size for each in names)]
    progress = Progress(tell, "copying the state", sum(sizes))
    files = {DATABASE: measured(to / DATABASE, progress)}
    return files | {each: copied(source / each, to / each, progress) for each in names}
