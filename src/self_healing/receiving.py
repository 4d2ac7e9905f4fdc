"""Telemetry that is no native file, on its way in: what takes it, what tends it, and what is wrong with it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path

from self_healing.config import Settings
from self_healing.errors import StorageError
from self_healing.filenames import SEGMENTS
from self_healing.telemetry.intake import Intake
from self_healing.telemetry.junit_files import JunitFolder
from self_healing.telemetry.retention import Retention
from self_healing.telemetry.segments import Segments
from self_healing.telemetry.tail import Position

LOOK_EVERY = timedelta(seconds=5)
"""How often a folder of JUnit XML is looked at."""

TEND_EVERY = timedelta(minutes=10)
"""How often segments are compacted and deleted."""


class Receiving:
    """The segments of one state and all that stands around them; only for the process that owns the state.

    Making one mends what a crash left. Nothing is written before :attr:`intake` is asked for.

    Args:
        settings: the configuration.
        now: the present instant.

    Raises:
        StorageError: the directory of the segments cannot be used.
    """

    def __init__(self, settings: Settings, *, now: Callable[[], datetime]) -> None:
        state_dir, telemetry = settings.storage.state_dir, settings.telemetry
        self.segments = Segments(state_dir / SEGMENTS, now=now)
        self.notes = list(self.segments.notes)  # what was mended, deleted or set aside; for whoever logs to take
        self._now = now
        self._intake: Intake | None = None
        self._opening = threading.Lock()  # a look and a file that is brought may both be the first to ask for it
        self._looking: str | None = None  # why what lies in the folders cannot be taken now
        self._tending: str | None = None  # why segments cannot be tended now
        self._retention = Retention(
            self.segments.directory, keep=timedelta(seconds=telemetry.keep), keep_bytes=telemetry.keep_bytes
        )
        self._folders = [
            JunitFolder(folder, _memory(state_dir, folder), agent=telemetry.junit_agent or None, now=now)
            for folder in telemetry.junit_dirs
        ]
        self._look_at = self._tend_at = now()

    def open(self) -> None:
        """Begin to take batches. Raises StorageError: a segment cannot be read."""
        _ = self.intake

    @property
    def intake(self) -> Intake:
        """Takes batches; started when it is first asked for. Raises StorageError: a segment cannot be read."""
        with self._opening:
            if self._intake is None:
                self._intake = Intake(self.segments, now=self._now)
                self._intake.start()
            return self._intake

    @property
    def problems(self) -> list[str]:
        """What is wrong now, for people."""
        told = [self.segments.problem, self._looking, self._tending, self._retention.problem]
        damaged = [] if self._intake is None else self._intake.damaged
        folders = [problem for folder in self._folders for problem in folder.problems]
        return [each for each in told if each is not None] + damaged + folders

    @property
    def due(self) -> bool:
        """Whether there is something to look at."""
        now = self._now()
        return now >= self._tend_at or (bool(self._folders) and now >= self._look_at)

    def look(self, positions: Iterable[Position]) -> None:
        """Look at the folders of JUnit XML and tend the segments, each where it is due. May take seconds.

        Args:
            positions: where the reading of each file stands, as it is committed.
        """
        now = self._now()
        if self._folders and now >= self._look_at:
            self._look_at = now + LOOK_EVERY
            self._looking = self._look()
        if now >= self._tend_at:
            self._tend_at = now + TEND_EVERY
            self._tending = self._tend({each.name: each.offset for each in positions if each.segment}, now)

    def _look(self) -> str | None:
        """Take what is new in the folders; why that cannot be done, or None."""
        try:
            for folder in self._folders:
                folder.look(self.intake)
        except StorageError as error:
            return str(error)
        return None

    def _tend(self, folded: Mapping[str, int], now: datetime) -> str | None:
        """Tend the segments; why that cannot be done, or None."""
        self.segments.look_at_age()
        try:
            self.notes += self._retention.tend(folded, active=self.segments.active, now=now)
        except StorageError as error:
            return str(error)
        return None

    def close(self) -> None:
        """Write what was taken, and end; safe to call twice."""
        self.segments.stop()


def _memory(state_dir: Path, folder: Path) -> Path:
    """The file that says what was taken out of `folder`."""
    return state_dir / f"junit-{sha256(str(folder.absolute()).encode()).hexdigest()[:12]}.json"
