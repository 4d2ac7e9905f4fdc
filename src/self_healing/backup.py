"""Copies of the state: made while a service runs on it, and brought back where there is none.

The database is copied first and the segments last. So the copy holds all that its database tells of, and what its
segments hold beyond that is read on from there, as after a crash.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from self_healing.errors import StateBusy, StateCorrupt, StateError, StorageError
from self_healing.filenames import SEGMENTS, SUFFIX
from self_healing.storage.readonly import DATABASE, LOCK

MOST_TRIES = 3
"""Segments are compacted every ten minutes, so that a second try nearly always meets none of it."""


def backup(state_dir: Path, to: Path) -> None:
    """Copy the state, whole, whether or not a service runs on it.

    Args:
        state_dir: the state; only read.
        to: where the copy will be; must not be there yet.

    Raises:
        StateError: there is no state, something is at `to`, or it cannot be written; no copy is made.
        StateCorrupt: the database is damaged.
        StorageError: the state cannot be read now.
    """
    if not (state_dir / DATABASE).exists():
        raise StateError(f"{state_dir} holds no state; name another --state-dir")
    if os.path.lexists(to):
        raise StateError(f"{to} is there already, and nothing is written over; name another directory")
    part = to.with_name(f"{to.name}.part")
    try:
        part.mkdir(mode=0o700, parents=True)
        try:
            if not any(_copied(state_dir, part) for _ in range(MOST_TRIES)):
                raise StorageError(f"the segments in {state_dir} come and go too fast to be copied; try again")
            os.sync()
            part.rename(to)
        except BaseException:
            shutil.rmtree(part)
            raise
    except OSError as error:
        raise StateError(f"no copy is made: {error.filename or to}: {error.strerror}") from error


def restore(state_dir: Path, copy: Path) -> None:
    """Bring a copy back as a state.

    Args:
        state_dir: holds nothing yet; made when missing.
        copy: what :func:`backup` made; only read.

    Raises:
        StateError: `copy` is none, something is in `state_dir`, or it cannot be written.
        StateBusy: a process owns `state_dir`.
    """
    if not (copy / DATABASE).exists():
        raise StateError(f"{copy} is no copy of a state: it has no {DATABASE}")
    try:
        state_dir.mkdir(parents=True, exist_ok=True)
        with (state_dir / LOCK).open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise StateBusy(f"{state_dir} is in use by another self-healing process; stop it first") from error
            there = sorted(each.name for each in state_dir.iterdir() if each.name != LOCK)
            if there:
                raise StateError(f"{state_dir} is not empty ({there[0]}), and nothing is written over; move it away")
            _copy_files(copy, state_dir)
            # Last, and at once: without it there is no state, however far this came.
            part = state_dir / f"{DATABASE}.part"
            shutil.copyfile(copy / DATABASE, part)
            os.sync()
            part.rename(state_dir / DATABASE)
            os.sync()
    except OSError as error:
        raise StateError(f"not restored: {error.filename or state_dir}: {error.strerror}; move it away") from error


def _copied(state_dir: Path, to: Path) -> bool:
    """Copy everything; False when a segment went meanwhile that the copied database may not have seen to its end."""
    before = _unfolded(state_dir)
    shutil.rmtree(to / SEGMENTS, ignore_errors=True)
    _copy_database(state_dir / DATABASE, to / DATABASE)
    try:
        _copy_files(state_dir, to)
    except FileNotFoundError:
        return False
    return before <= _unfolded(state_dir)


def _unfolded(state_dir: Path) -> set[str]:
    return {file.name for file in (state_dir / SEGMENTS).glob(f"*{SUFFIX}")}


def _copy_database(database: Path, to: Path) -> None:
    try:
        with (
            closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True, timeout=5.0)) as source,
            closing(sqlite3.connect(to)) as copy,
        ):
            source.backup(copy)  # of one moment, all of it, however much is written meanwhile
            found = copy.execute("PRAGMA quick_check").fetchone()[0]
    except sqlite3.OperationalError as error:
        raise StorageError(f"{database} could not be copied: {error}") from error
    except sqlite3.DatabaseError as error:
        raise StateCorrupt(f"{database}: {error}") from error
    if found != "ok":
        raise StateCorrupt(f"{database} is damaged: {found}")


def _copy_files(source: Path, to: Path) -> None:
    """All but the database and what belongs to a running process; the segments last, the oldest first, as old as ever.

    What says which files were taken in must not be ahead of the segments, into which they went.
    """
    for file in sorted(source.iterdir()):
        if file.is_file() and file.name != LOCK and not file.name.startswith((DATABASE, ".")):
            shutil.copy2(file, to / file.name)
    if (source / SEGMENTS).is_dir():
        (to / SEGMENTS).mkdir(exist_ok=True)
        for file in sorted((source / SEGMENTS).iterdir()):
            if file.suffix != ".part":
                shutil.copy2(file, to / SEGMENTS / file.name)
