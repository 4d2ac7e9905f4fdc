"""Whether anybody watches: what can be seen of a state from the outside, without a cycle and without owning it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from self_healing.errors import StateError
from self_healing.filenames import OWN_EVENTS, SEGMENTS, SUFFIX
from self_healing.storage.readonly import DATABASE

UNREAD_FOR = timedelta(minutes=15)
"""Telemetry that nobody has read for longer is an issue: a check from cron comes more often than that."""

AHEAD = timedelta(minutes=1)
"""A state may be ahead of the clock by a turn on the coarsest grid; further is an issue."""

FAR_AHEAD = timedelta(days=1)
"""Further ahead of the clock no check takes a state that has lived by the clock: it could not be used until then."""

_BLOCK_BYTES = 1 << 16

Positions = Iterable[Mapping[str, Any]]
"""Where the reading of each file stands, as it is stored."""


def unreadable(telemetry_dir: Path, state_dir: Path, positions: Positions) -> str | None:
    """Why the telemetry directory cannot be read now; None when it can.

    Where no native file was ever read, and something comes in otherwise, there need be none.
    """
    try:
        with os.scandir(telemetry_dir):
            return None
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        if missing and all(each.get("segment") for each in positions) and _entries(state_dir / SEGMENTS):
            return None
        return (
            f"telemetry directory {telemetry_dir}: {error.strerror}; create it, make it readable, or name another one"
            " with --telemetry-dir"
        )


def unwatched(telemetry_dir: Path, state_dir: Path, positions: Positions, at: datetime) -> str | None:
    """That telemetry waits since long, and no service runs that would read it; None when it does not.

    Args:
        telemetry_dir: the fleet's.
        state_dir: of the state that no service runs on.
        positions: where reading stands.
        at: now, aware.
    """
    since = _last_written(state_dir) or _changed_at(telemetry_dir)
    if since is None or at - since < UNREAD_FOR:
        return None
    waiting = unread(telemetry_dir, state_dir, positions)
    if not waiting:
        return None
    first = waiting[0] + (f" and {len(waiting) - 1} more" if len(waiting) > 1 else "")
    return (
        f"no service runs, and nothing has been read since {since:%Y-%m-%d %H:%M:%S} UTC, though there is more in"
        f" {first}: `self-healing run` starts a service, `self-healing check` reads once"
    )


def ahead(evaluated_at: datetime, now: datetime) -> str | None:
    """That a state was evaluated further than the clock has come, and so cannot go on; None when it was not."""
    if evaluated_at - now <= AHEAD:
        return None
    return (
        f"the state was evaluated up to {evaluated_at:%Y-%m-%d %H:%M:%S} UTC, which the clock has not reached: nothing"
        " is judged until then; set the clock, or begin with another --state-dir"
    )


def refuse_far_ahead(evaluated_at: datetime | None, asked: datetime, now: datetime) -> None:
    """Keep a state that has lived by the clock from being made useless by a wrong instant.

    A fresh state, and one that is ahead of the clock already, may go anywhere: that is how tests try out the future.

    Args:
        evaluated_at: the newest instant that was evaluated; None for a fresh state.
        asked: the instant that a check was asked to evaluate at.
        now: what the clock shows.

    Raises:
        StateError: it lies too far ahead.
    """
    if evaluated_at is not None and evaluated_at <= now + AHEAD and asked - now > FAR_AHEAD:
        raise StateError(
            f"{asked.isoformat()} is more than a day ahead of the clock, and this state could not be used until then;"
            " give an instant that is not, or try out the future on a state of its own with --state-dir"
        )


def _last_written(state_dir: Path) -> datetime | None:
    """When anything was committed last; None when there is no state."""
    times = [at for name in (DATABASE, f"{DATABASE}-wal") if (at := _changed_at(state_dir / name)) is not None]
    return max(times, default=None)


def _changed_at(path: Path) -> datetime | None:
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except OSError:
        return None


def unread(telemetry_dir: Path, state_dir: Path, positions: Positions) -> list[str]:
    """The native files and the segments (``segments/NAME``) in which whole lines were not read yet."""
    offsets = {(each["device"], each["inode"]): each["offset"] for each in positions}
    native = [entry for entry in _entries(telemetry_dir) if not entry.name.startswith(OWN_EVENTS)]
    found = [entry.name for entry in native if _waits(entry, offsets)]
    return found + [f"{SEGMENTS}/{entry.name}" for entry in _entries(state_dir / SEGMENTS) if _waits(entry, offsets)]


def _entries(directory: Path) -> list[os.DirEntry[str]]:
    """The files of events in a directory, by name; none where there is none."""
    try:
        with os.scandir(directory) as entries:
            return sorted((each for each in entries if each.name.endswith(SUFFIX)), key=lambda entry: entry.name)
    except OSError:  # said by what looks whether it can be read
        return []


def _waits(entry: os.DirEntry[str], offsets: Mapping[tuple[int, int], int]) -> bool:
    try:
        if not entry.is_file():
            return False
        info = entry.stat()
        offset = offsets.get((info.st_dev, info.st_ino), 0)
        return offset < info.st_size and _line_ends(entry.path, offset)
    except FileNotFoundError:  # it was compacted or moved just now
        return False
    except PermissionError:  # why it is not read, the reader says
        return True


def _line_ends(path: str, offset: int) -> bool:
    """Whether a line ends after `offset`; one that is still being written is not waiting for anybody."""
    with open(path, "rb") as file:
        file.seek(offset)
        return any(b"\n" in block for block in iter(lambda: file.read(_BLOCK_BYTES), b""))
