"""What a copy holds, file by file, written last: a copy that was cut short, or changed since, is found by it."""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

import msgspec

from self_healing.constitution import keys
from self_healing.errors import StateError
from self_healing.filenames import SEGMENTS
from self_healing.storage.readonly import DATABASE, HEAD, VERSION_TABLE, VERSIONS

MANIFEST: Final = "copy.json"
FORMAT: Final = 1

UNFINISHED: Final = "unfinished"
"""In a copy that is being made, with what may be in it; locked by whoever makes it."""

MOST_NAMED: Final = 5
"""Files that an error names; it counts the rest."""

_CHUNK: Final = 1 << 20
"""Bytes that are read at once: enough that asking for the next costs nothing beside it."""

Tell = Callable[[str, float], None]
"""Is told what is being done, and how much of it is, 0 to 1."""


class File(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a copy."""

    size_bytes: int
    sha256: str  # in hex


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a copy holds."""

    format: int
    copied_at: datetime
    schema_version: str  # of the database
    files: dict[str, File]  # by path within the copy

    @property
    def size_bytes(self) -> int:
        """Of all files."""
        return sum(file.size_bytes for file in self.files.values())


class Copy(NamedTuple):
    """What was copied, or brought back."""

    manifest: Manifest
    cleared: Path | None  # what one that was interrupted had left there, and which is gone now


class Progress:
    """Says how much of so many bytes is done.

    Args:
        tell: is told.
        what: is being done.
        total: bytes in all.
    """

    def __init__(self, tell: Tell, what: str, total: int) -> None:
        self._tell, self._what, self._total = tell, what, total
        self._done = 0

    def add(self, size: int) -> None:
        """So many bytes more are done."""
        self._done += size
        self._tell(self._what, min(self._done / max(self._total, 1), 1.0))


def copied(source: Path, to: Path, progress: Progress) -> File:
    """Copy one file, as old and with the rights that it has; returns what was copied. Raises OSError."""
    digest, size = hashlib.sha256(), 0
    with source.open("rb") as file, open(to, "wb", opener=_private) as copy:
        for chunk in _chunks(file.read):
            copy.write(chunk)
            digest.update(chunk)
            size += len(chunk)
            progress.add(len(chunk))
    shutil.copystat(source, to)
    return File(size_bytes=size, sha256=digest.hexdigest())


def _private(path: str, flags: int) -> int:
    """A key is nobody else's to read, not even before it has its rights."""
    return os.open(path, flags, 0o600)


def measured(path: Path, progress: Progress) -> File:
    """Size and hash of a file. Raises OSError."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        for chunk in _chunks(file.read):
            digest.update(chunk)
            size += len(chunk)
            progress.add(len(chunk))
    return File(size_bytes=size, sha256=digest.hexdigest())


def _chunks(read: Callable[[int], bytes]) -> Iterator[bytes]:
    while chunk := read(_CHUNK):
        yield chunk


def load(copy: Path) -> Manifest:
    """What `copy` says that it holds. Raises StateError."""
    if (copy / UNFINISHED).exists():
        raise StateError(f"{copy} is a copy that was interrupted while it was made; restore another one")
    try:
        found = msgspec.json.decode((copy / MANIFEST).read_bytes(), type=Manifest)
    except FileNotFoundError as error:
        if not copy.exists():
            raise StateError(f"{copy} is not there; name the directory that `self-healing backup` made") from error
        if not (copy / DATABASE).exists():
            raise StateError(f"{copy} is no copy of a state: it has no {DATABASE}") from error
        raise StateError(
            f"{copy} has no {MANIFEST}, so that nobody can say whether it is whole: it was cut short, or not made by "
            "`self-healing backup` of this release; put it in place by hand if you know that it is"
        ) from error
    except (OSError, msgspec.DecodeError) as error:
        raise StateError(f"{copy / MANIFEST} cannot be used: {error}; restore another copy") from error
    if found.format != FORMAT:
        raise StateError(
            f"{copy} is of format {found.format}, and {FORMAT} is known here; use the release that made it"
        )
    astray = [name for name in found.files if not is_ours(name)]
    if astray:
        raise StateError(f"{copy / MANIFEST} names {astray[0]}, which no copy holds; restore another copy")
    return found


def is_ours(name: str) -> bool:
    """Whether a copy may hold such a path: a file in it, or in its segments."""
    parts = PurePosixPath(name).parts
    inside = len(parts) == 1 or (len(parts) == 2 and parts[0] == SEGMENTS)
    return inside and not {"..", "/"} & set(parts)


def check(copy: Path, manifest: Manifest, tell: Tell) -> None:
    """Look through a whole copy: every file, the database, its schema, the key.

    Raises:
        StateError: something is not as it was copied, or could not be used here.
    """
    progress = Progress(tell, "checking the copy", manifest.size_bytes)
    wrong = [f"{name} {what}" for name, file in manifest.files.items() if (what := _wrong(copy / name, file, progress))]
    if wrong:
        more = f", and {len(wrong) - MOST_NAMED} more" if len(wrong) > MOST_NAMED else ""
        raise StateError(f"{copy} is not whole: {', '.join(wrong[:MOST_NAMED])}{more}; restore another copy")
    usable(copy)


def _wrong(path: Path, file: File, progress: Progress) -> str | None:
    """What is wrong with a file of a copy; None when nothing is."""
    try:
        size = path.stat().st_size
        if size != file.size_bytes:
            return f"has {size:,} bytes of {file.size_bytes:,}"
        return None if measured(path, progress) == file else "is not what was copied"
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read ({error.strerror})"


def usable(copy: Path) -> str:
    """Whether a state could begin with `copy` here; returns the version of its schema.

    Raises:
        StateError: its database is damaged, of a schema that is not known here, or its key is gone.
    """
    version = _schema_version(copy / DATABASE)
    problem = keys.problem(copy)
    if problem:
        raise StateError(f"{copy}: {problem}; a service would not start with it")
    return version


def _schema_version(database: Path) -> str:
    try:
        # Immutable: nothing is ever written beside it, not even where its header says that there are newer commits.
        with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
            found = connection.execute("PRAGMA quick_check").fetchone()[0]
            versioned = connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (VERSION_TABLE,)).fetchone()
            row = versioned and connection.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchone()
    except sqlite3.Error as error:
        raise StateError(f"{database} is damaged: {error}; use another copy") from error
    if found != "ok":
        raise StateError(f"{database} is damaged: {found}; use another copy")
    if row is None:
        raise StateError(f"{database} holds no state: nothing is in it; use another copy")
    version: str = row[0]
    if version not in VERSIONS:
        raise StateError(
            f"{database} has schema version {version}, and {HEAD} is the newest that is known here; use "
            "the release that wrote it"
        )
    return version
