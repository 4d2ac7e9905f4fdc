"""Brings a copy back: nothing is written before all of it was looked through."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from self_healing.backup.manifest import Copy, Manifest, Progress, Tell, check, copied, is_ours, load
from self_healing.errors import StateBusy, StateError
from self_healing.filenames import SEGMENTS
from self_healing.storage.readonly import DATABASE, LOCK

_PART: Final = f"{DATABASE}.part"


class _Restoring(msgspec.Struct, frozen=True, tag="self-healing restore"):
    """Stands for the database until all the rest is there.

    No start takes it for one, so that none begins with a part of a state; and the next restore knows what to take away.
    """

    files: tuple[str, ...]


_BEGINS: Final = msgspec.json.encode(_Restoring(())).partition(b",")[0]
"""How it begins, and no database does."""


def restore(state_dir: Path, copy: Path, *, tell: Tell = lambda _what, _share: None) -> Copy:
    """Bring a copy back as a state.

    Args:
        state_dir: holds nothing yet, or what a restore left that was interrupted; made when missing.
        copy: what :func:`~self_healing.backup.backup` made; only read.
        tell: is told how far it has come.

    Raises:
        StateError: `copy` is none or not whole, something is in `state_dir`, or it cannot be written.
        StateBusy: a process owns `state_dir`.
    """
    manifest = load(copy)
    check(copy, manifest, tell)
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (state_dir / LOCK).open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise StateBusy(f"{state_dir} is in use by another self-healing process; stop it first") from error
            cleared = _cleared(state_dir)
            there = sorted(each.name for each in state_dir.iterdir() if each.name != LOCK)
            if there:
                raise StateError(f"{state_dir} is not empty ({there[0]}), and nothing is written over; move it away")
            try:
                _bring(state_dir, copy, manifest, tell)
            except BaseException:
                _take_away(state_dir, manifest.files)
                raise
    except OSError as error:
        raise StateError(f"not restored: {error.filename or state_dir}: {error.strerror}") from error
    return Copy(manifest, cleared)


def _cleared(state_dir: Path) -> Path | None:
    """Take away what a restore left that was interrupted, and nothing else."""
    try:
        with (state_dir / DATABASE).open("rb") as file:
            begins = file.read(len(_BEGINS))
            if begins != _BEGINS:
                return None
            left = msgspec.json.decode(begins + file.read(), type=_Restoring)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    if not all(map(is_ours, left.files)):
        return None
    _take_away(state_dir, left.files)
    return state_dir


def _take_away(state_dir: Path, names: Iterable[str]) -> None:
    """The database at last: as long as it stands there, it says that the rest is a part."""
    for name in (*(name for name in names if name != DATABASE), _PART, DATABASE):
        (state_dir / name).unlink(missing_ok=True)
    if (state_dir / SEGMENTS).is_dir() and not any((state_dir / SEGMENTS).iterdir()):
        (state_dir / SEGMENTS).rmdir()


def _bring(state_dir: Path, copy: Path, manifest: Manifest, tell: Tell) -> None:
    (state_dir / DATABASE).write_bytes(msgspec.json.encode(_Restoring(tuple(manifest.files))))
    os.sync()
    progress = Progress(tell, "restoring the state", manifest.size_bytes)
    (state_dir / SEGMENTS).mkdir(exist_ok=True)
    for name, file in manifest.files.items():
        to = state_dir / (_PART if name == DATABASE else name)
        if copied(copy / name, to, progress) != file:
            raise StateError(f"{copy / name} changed while it was copied; restore another copy")
    os.sync()
    (state_dir / _PART).rename(state_dir / DATABASE)
    os.sync()
