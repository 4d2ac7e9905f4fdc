"""The stop: one file in the state directory that keeps every effect from happening, until a person takes it away.

It needs no lock, no socket and no service. Only the standard library is used here, so that asking costs next to
nothing.

Where there is any doubt it counts as stopped: a stop that cannot be read is a stop.
"""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from self_healing.errors import StateError

STOP = "stop"
"""The name of the file in the state directory."""

RESUMED = "resumed"
"""The name of the file that says who took the last one away, until there is another: the audit log is not to be
written by who does not own the state."""


@dataclass(frozen=True, kw_only=True)
class StopRecord:
    """Why everything is stopped, or goes on; None where the file does not say."""

    reason: str
    by: str | None
    at: datetime | None

    @property
    def said(self) -> dict[str, str | None]:
        """What the audit log is told of it."""
        return {"by": self.by, "reason": self.reason}


def stop(state_dir: Path, reason: str, by: str, at: datetime) -> StopRecord:
    """Stop every effect, durably: once this returns, a power cut does not start them again.

    Stopping again replaces the reason. On a full disk it still stops, and the reason is lost.

    Args:
        state_dir: made when missing.
        reason: in plain words, for whoever wonders.
        by: the person.
        at: now, aware.

    Raises:
        StateError: nothing is stopped.
    """
    record = StopRecord(reason=reason, by=by, at=at)
    try:
        state_dir.mkdir(parents=True, exist_ok=True)
        (state_dir / RESUMED).unlink(missing_ok=True)  # or it would be taken for the end of this one
        try:
            _write(state_dir, STOP, record)
        except OSError:
            # An empty file needs no space, and stops just as well.
            os.close(os.open(state_dir / STOP, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        _sync(state_dir)
        _sync(state_dir.parent)
    except OSError as error:
        raise StateError(
            f"could not stop: {state_dir / STOP} cannot be written: {error.strerror}; make that file by hand"
        ) from error
    return record


def resume(state_dir: Path, reason: str, by: str, at: datetime) -> bool:
    """Let effects happen again, durably; whether anything was stopped.

    On a full disk they still do, and the reason is lost.

    Args:
        reason: in plain words, for whoever wonders.
        by: the person.
        at: now, aware.

    Raises:
        StateError: it is still stopped.
    """
    path = state_dir / STOP
    if not os.path.lexists(path):
        return False
    with suppress(OSError):  # a full disk; what counts is that the stop is gone
        _write(state_dir, RESUMED, StopRecord(reason=reason, by=by, at=at))
    try:
        path.unlink()
        _sync(state_dir)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise StateError(f"still stopped: {path} cannot be removed: {error.strerror}; remove it by hand") from error
    return True


def stopped(state_dir: Path) -> StopRecord | None:
    """Who stopped every effect, and why; None when nobody did."""
    path = state_dir / STOP
    try:
        return _read(path)
    except FileNotFoundError:
        if not os.path.lexists(path):
            return None
        return _unreadable("it is a link that leads nowhere")
    except OSError as error:
        return _unreadable(str(error.strerror))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        return _unreadable(f"it is not what a stop looks like ({type(error).__name__})")


def resumed(state_dir: Path) -> StopRecord | None:
    """Who took the last stop away, and why; None where nobody said so, as when its file was removed by hand."""
    try:
        return _read(state_dir / RESUMED)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None  # nothing depends on it


def _read(path: Path) -> StopRecord:
    found = json.loads(path.read_bytes())
    at = datetime.fromisoformat(found["at"])
    return StopRecord(reason=str(found["reason"]), by=str(found["by"]), at=at)


def _unreadable(why: str) -> StopRecord:
    return StopRecord(reason=f"the stop file cannot be read: {why}", by=None, at=None)


def _write(state_dir: Path, name: str, record: StopRecord) -> None:
    """The whole file or none: written beside, synced, then renamed."""
    at = None if record.at is None else record.at.isoformat()
    text = json.dumps({"reason": record.reason, "by": record.by, "at": at}) + "\n"
    descriptor, beside = tempfile.mkstemp(prefix=f".{name}-", dir=state_dir)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, state_dir / name)
    except OSError:
        os.unlink(beside)
        raise


def _sync(directory: Path) -> None:
    """Make the names in `directory` durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
