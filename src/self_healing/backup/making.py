"""Makes a copy of the state while a service may run on it.

The database is copied first and the segments last. So the copy holds all that its database tells of, and what its
segments hold beyond that is read on from there, as after a crash.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path

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
        with _unfinished(part):
            files = _files(state_dir, part, tell)
            made = Manifest(format=FORMAT, copied_at=at, schema_version=usable(part), files=files)
            (part / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(made)))
            os.sync()
        part.rename(to)
    except OSError as error:
        raise StateError(f"no copy is made: {error.filename or to}: {error.strerror}") from error
    return Copy(made, cleared)


def _cleared(part: Path) -> Path | None:
    """Take away what a backup left that was interrupted. Raises StateError where that is something else."""
    if not os.path.lexists(part):
        return None
    if not any((part / name).exists() for name in (UNFINISHED, MANIFEST)):
        raise StateError(f"{part} is there, and no backup of this release left it; move it away, or name another copy")
    # Without the first it was only not renamed any more.
    with (part / UNFINISHED).open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StateError(f"another backup is writing {part}; wait for it, or name another directory") from error
        shutil.rmtree(part)
    return part


@contextmanager
def _unfinished(part: Path) -> Iterator[None]:
    """A directory that is marked as unfinished while the block runs, and gone again when it fails."""
    part.mkdir(mode=0o700, parents=True)
    with (part / UNFINISHED).open("xb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield
            (part / UNFINISHED).unlink()
        except BaseException:
            shutil.rmtree(part)
            raise


def _files(state_dir: Path, part: Path, tell: Tell) -> dict[str, File]:
    for _ in range(MOST_TRIES):
        files = _copied(state_dir, part, tell)
        if files is not None:
            return files
    raise StorageError(f"the segments in {state_dir} come and go too fast to be copied; try again")


def _copied(state_dir: Path, to: Path, tell: Tell) -> dict[str, File] | None:
    """Copy everything; None when a segment went meanwhile that the copied database may not have seen to its end."""
    before = _unfolded(state_dir)
    shutil.rmtree(to / SEGMENTS, ignore_errors=True)
    tell("copying the database", 0.0)
    _copy_database(state_dir / DATABASE, to / DATABASE)
    try:
        files = _copy_files(state_dir, to, tell)
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


def _copy_files(source: Path, to: Path, tell: Tell) -> dict[str, File]:
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
    sizes = [(to / DATABASE).stat().st_size, *((source / name).stat().st_size for name in names)]
    progress = Progress(tell, "copying the state", sum(sizes))
    files = {DATABASE: measured(to / DATABASE, progress)}
    return files | {name: copied(source / name, to / name, progress) for name in names}
