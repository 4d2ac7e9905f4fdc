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

WORDS = "stops.jsonl"
"""The name of the file beside it with every word of a person that stopped or resumed healing, in their order: the audit
log is not to be written by who does not own the state, and who owns it may not look before both were said."""


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

    @property
    def told(self) -> dict[str, str | None]:
        """All of it as JSON has it; no two words of a person are the same."""
        return {**self.said, "at": None if self.at is None else self.at.isoformat()}


@dataclass(frozen=True, kw_only=True)
class Word:
    """A person's word.

    Args:
        what: stopped or resumed.
        end: where it ends in the file of all words.
    """

    what: str
    record: StopRecord
    end: int


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
        try:
            _write(state_dir, record)
        except OSError:
            # An empty file needs no space, and stops just as well.
            os.close(os.open(state_dir / STOP, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        _sync(state_dir)
        _sync(state_dir.parent)
    except OSError as error:
        raise StateError(
            f"could not stop: {state_dir / STOP} cannot be written: {error.strerror}; make that file by hand"
        ) from error
    _put_down(state_dir, "stopped", record)
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
    # First, so that whoever sees that the stop is gone finds who took it away.
    _put_down(state_dir, "resumed", StopRecord(reason=reason, by=by, at=at))
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


def words(state_dir: Path, after: int) -> list[Word]:
    """What people said since then, oldest first.

    Args:
        after: where the last one ended that was read; from the beginning where the file is not as long any more.
    """
    try:
        with (state_dir / WORDS).open("rb") as file:
            file.seek(after if after <= os.fstat(file.fileno()).st_size else 0)
            found, end = [], file.tell()
            for line in file:
                end += len(line)
                if line.endswith(b"\n"):  # else it is being written
                    found.append((line, end))
    except OSError:
        return []  # nothing depends on it but who is named
    return [word for line, end in found if (word := _word(line, end)) is not None]


def _word(line: bytes, end: int) -> Word | None:
    try:
        found = json.loads(line)
        return Word(what=str(found["what"]), record=_record(found), end=end)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None  # half a line, from a full disk or a crash


def _read(path: Path) -> StopRecord:
    return _record(json.loads(path.read_bytes()))


def _record(found: dict[str, str]) -> StopRecord:
    at = datetime.fromisoformat(found["at"])
    if at.tzinfo is None:
        raise ValueError("nobody can say when that was")
    return StopRecord(reason=str(found["reason"]), by=str(found["by"]), at=at)


def _unreadable(why: str) -> StopRecord:
    return StopRecord(reason=f"the stop file cannot be read: {why}", by=None, at=None)


def _write(state_dir: Path, record: StopRecord) -> None:
    """The whole file or none: written beside, synced, then renamed."""
    descriptor, beside = tempfile.mkstemp(prefix=f".{STOP}-", dir=state_dir)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(json.dumps(record.told) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, state_dir / STOP)
    except OSError:
        os.unlink(beside)
        raise


def _put_down(state_dir: Path, what: str, record: StopRecord) -> None:
    """Add a person's word to all of them; on a full disk it is lost, as what counts is the stop."""
    with suppress(OSError):
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        descriptor = os.open(state_dir / WORDS, flags, 0o600)
        try:
            # The empty line ends what a full disk may have cut off.
            os.write(descriptor, b"\n" + json.dumps({"what": what, **record.told}).encode() + b"\n")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _sync(directory: Path) -> None:
    """Make the names in `directory` durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
