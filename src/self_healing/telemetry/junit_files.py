"""Files of JUnit XML on their way in: each one once, whether they are named or found in a watched folder."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from self_healing.errors import Overloaded, StorageError, TelemetryError
from self_healing.telemetry.encoded import encoded
from self_healing.telemetry.intake import Intake, Receipt
from self_healing.telemetry.junit import MAX_BYTES, SOURCE, junit
from self_healing.telemetry.segments import sync_directory

SUFFIX: Final = ".xml"

SETTLED_S: Final = 2.0
"""A file that changed less than this ago may still be written, and waits for the next look."""

WRITTEN_S: Final = 30.0
"""How long a file's events may take to be durable."""

State = tuple[int, int, int]
"""Inode, time of change in nanoseconds, and size of a file."""

Seen = dict[str, State]
"""The state of each file that was taken, by its name."""


def take_file(intake: Intake, path: Path, agent: str | None) -> Receipt:
    """Take one file, and wait until that is durable.

    The same file again, by name, inode, time of change and content, is the same batch. One too large is rejected.

    Args:
        intake: where it goes.
        path: the file.
        agent: whose tests they are where a suite does not say.

    Raises:
        TelemetryError: it cannot be read.
        Overloaded, StorageError: it is not taken, and may be brought again.
    """
    try:
        with path.open("rb") as file:
            # One byte more than is taken tells that it is too large, however large it is.
            info, data = os.fstat(file.fileno()), file.read(MAX_BYTES + 1)
    except OSError as error:
        raise TelemetryError(f"cannot read {path}: {error.strerror}; name a file of JUnit XML") from error
    batch = junit(data, at=datetime.fromtimestamp(info.st_mtime, UTC), agent=agent)
    identity = f"{path.name}\0{info.st_ino}\0{info.st_mtime_ns}\0".encode()
    batch.key = hashlib.sha256(identity + hashlib.sha256(data).digest()).hexdigest()
    try:
        return intake.submit(encoded(batch, SOURCE)).result(WRITTEN_S)
    except TimeoutError as error:
        raise StorageError(f"{path} was not stored within {WRITTEN_S:g} s; bring it again") from error


class JunitFolder:
    """A folder that is looked at now and then; what was taken is known after a restart too.

    Args:
        directory: need not exist yet.
        memory: the file that says what was taken.
        agent: whose tests they are where a suite does not say.
        now: the present instant.
    """

    def __init__(self, directory: Path, memory: Path, *, agent: str | None, now: Callable[[], datetime]) -> None:
        self.problems: list[str] = []  # which files cannot be taken now, or not be used
        self._directory = directory
        self._memory = memory
        self._agent = agent
        self._now = now
        self._seen: Seen | None = None
        self._unusable: dict[str, str] = {}  # of the files that were rejected since the start, by name, why

    def look(self, intake: Intake) -> int:
        """Take what is new or has changed; returns how many files that were.

        Raises:
            StorageError: what was taken cannot be remembered; it is taken again, as the duplicate that it is.
        """
        seen = self._remembered() if self._seen is None else self._seen
        problems: list[str] = []
        files = self._files(problems)
        there = {path.name for path in files}
        # A folder that holds nothing may be a mount that is away: what was taken out of it is not forgotten.
        kept = {name: state for name, state in seen.items() if name in there or not there}
        taken = 0
        for path in files:
            try:
                state = self._whole(path)
                if state is not None and state != kept.get(path.name):
                    receipt = take_file(intake, path, self._agent)
                    kept[path.name] = state
                    self._unusable.pop(path.name, None)
                    if receipt.problems:
                        self._unusable[path.name] = receipt.problems[0]
                    taken += 1
            except FileNotFoundError:
                continue  # it went away just now; the next look forgets it
            except OSError as error:
                problems.append(f"{path.name} is not taken yet: it cannot be looked at: {error.strerror}")
            except (TelemetryError, Overloaded, StorageError) as error:
                problems.append(f"{path.name} is not taken yet: {error}")
        self._unusable = {name: why for name, why in self._unusable.items() if name in there}
        for name, why in self._unusable.items():
            problems.append(f"{name} cannot be used: {why}; write it anew, or remove it")
        self.problems = problems
        if kept != seen:
            self._remember(kept)
        self._seen = kept
        return taken

    def _files(self, problems: list[str]) -> list[Path]:
        try:
            return sorted(path for path in self._directory.iterdir() if path.name.endswith(SUFFIX))
        except FileNotFoundError:
            return []
        except OSError as error:
            problems.append(f"cannot look for JUnit XML in {self._directory}: {error.strerror}")
            return []

    def _whole(self, path: Path) -> State | None:
        """What tells whether a file has changed; None while it may still be written, and of what is no file."""
        info = path.stat()
        if not stat.S_ISREG(info.st_mode) or info.st_mtime > self._now().timestamp() - SETTLED_S:
            return None
        return info.st_ino, info.st_mtime_ns, info.st_size

    def _remembered(self) -> Seen:
        try:
            return msgspec.json.decode(self._memory.read_bytes(), type=Seen)
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise StorageError(f"cannot read {self._memory}: {error}; delete it to take every file anew") from error

    def _remember(self, seen: Seen) -> None:
        part = self._memory.with_name(self._memory.name + ".part")
        try:
            with part.open("wb") as file:
                file.write(msgspec.json.encode(seen))
                file.flush()
                os.fsync(file.fileno())
            part.replace(self._memory)
            sync_directory(self._memory.parent)
        except OSError as error:
            raise StorageError(f"cannot write {self._memory}: {error.strerror or error}") from error
