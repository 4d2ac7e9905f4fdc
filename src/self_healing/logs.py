"""What the framework says of itself: three logs for people, and telemetry for whatever watches it.

Saying so must never stop the loop: a line that cannot be written is counted, and the problem is told through `problem`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, MutableMapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import UTC, date, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from self_healing.clock import Clock
from self_healing.filenames import OWN_EVENTS, SUFFIX
from self_healing.handoffs.cleaning import clean, encode_clean
from self_healing.labelling import label

if TYPE_CHECKING:
    from structlog.typing import EventDict, FilteringBoundLogger

LOG_NAMES = ("triggers", "actions", "orchestrator")

OwnEvent = Literal["self_healing_trigger", "self_healing_orchestrator", "self_healing_summary"]
"""What we tell of ourselves as telemetry; none of it ever feeds a trigger."""


class DailyLines:
    """Lines appended to one file a day, ``<prefix>YYYYMMDD<suffix>``.

    Args:
        directory: where the files are.
        prefix: how their names begin.
        suffix: how they end.
        make_directory: whether to make it when missing, rather than take that for a problem.
    """

    def __init__(self, directory: Path, prefix: str, suffix: str, *, make_directory: bool) -> None:
        self._directory = directory
        self._prefix = prefix
        self._suffix = suffix
        self._make_directory = make_directory
        self.lost = 0  # lines that could not be written, since the start
        self.problem: str | None = None  # why the last line could not be written
        self._held = False
        self._waiting: list[bytes] = []  # lines of one day, while they are held
        self._day = date.min  # that day

    @contextmanager
    def held(self) -> Iterator[None]:
        """Many lines follow: write them together in the end; in between, rotating the file needs no word to us."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
            self._write()

    def append(self, line: bytes, at: datetime) -> bool:
        """Append one line to the file of `at`'s day in UTC; whether that worked, or may yet while lines are held."""
        day = at.astimezone(UTC).date()
        written = True
        if day != self._day:
            written, self._day = self._write(), day
        self._waiting.append(line)
        return written if self._held else self._write()

    def _write(self) -> bool:
        """Write the lines that wait; whether that worked."""
        if not self._waiting:
            return True
        lines, self._waiting = self._waiting, []
        path = self._directory / f"{self._prefix}{self._day:%Y%m%d}{self._suffix}"
        try:
            if self._make_directory:
                self._directory.mkdir(parents=True, exist_ok=True)
            whole, error = _append(path, b"\n".join((*lines, b"")))
        except OSError as refused:
            whole, error = 0, refused
        if error is None:
            self.problem = None
            return True
        self.lost += len(lines) - whole
        self.problem = f"{path} cannot be written ({error.strerror}); {self.lost} lines are lost"
        return False


def _append(path: Path, text: bytes) -> tuple[int, OSError | None]:
    """Append lines; returns how many are there whole, and why not all. Raises OSError when none is."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        _end_line(descriptor)
        written = os.write(descriptor, text)
        try:
            while written < len(text):  # says what is wrong, or goes on
                written += os.write(descriptor, text[written:])
        except OSError as error:
            return text.count(b"\n", 0, written), error
        return text.count(b"\n"), None
    finally:
        os.close(descriptor)


def _end_line(descriptor: int) -> None:
    """Lets whole lines follow, even where a full disk or a crash left half a line."""
    size = os.fstat(descriptor).st_size
    if size > 0 and os.pread(descriptor, 1, size - 1) != b"\n":
        os.write(descriptor, b"\n")


class Logs:
    """The three logs, ``{triggers,actions,orchestrator}-YYYYMMDD.log``: JSON lines with level, event, at, and fields.

    Each is a structlog logger: ``logs.triggers.info("cleared", trigger="slow_tasks")``. What the fields say is made
    harmless like the context of a handoff: escaped, capped, without secrets.

    Args:
        directory: made when missing.
        clock: says when, and which day's file.
        environment: which of several fleets this is.
    """

    def __init__(self, directory: Path, clock: Clock, environment: str = "") -> None:
        self._clock = clock
        self._label = label(environment)
        self._lines = {name: DailyLines(directory, f"{name}-", ".log", make_directory=True) for name in LOG_NAMES}

    @cached_property
    def triggers(self) -> FilteringBoundLogger:
        """What triggers say: fired, recovered."""
        return self._logger("triggers")

    @cached_property
    def actions(self) -> FilteringBoundLogger:
        """What becomes of proposals, executions, directives and handoffs."""
        return self._logger("actions")

    @cached_property
    def orchestrator(self) -> FilteringBoundLogger:
        """What the loop itself does: starts, reloads, incidents, problems."""
        return self._logger("orchestrator")

    def activated(self, name: Literal["triggers", "actions"], event: str, **fields: Any) -> None:
        """Log an activation (a trigger fired, an action was begun): always at WARNING, whatever the event."""
        logger = self.triggers if name == "triggers" else self.actions
        logger.warning(event, **fields)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Many lines follow: write them together in the end."""
        with ExitStack() as stack:
            for lines in self._lines.values():
                stack.enter_context(lines.held())
            yield

    @property
    def lost(self) -> int:
        """How many lines could not be written."""
        return sum(lines.lost for lines in self._lines.values())

    @property
    def problems(self) -> list[str]:
        """Why lines cannot be written now; empty when they can."""
        return [lines.problem for lines in self._lines.values() if lines.problem is not None]

    def _logger(self, name: str) -> FilteringBoundLogger:
        # Imported with the first line that is logged: it costs 0.2 s and more, which --help and status must not pay.
        import logging

        import structlog

        def line(_logger: object, method: str, fields: EventDict) -> tuple[tuple[bytes, datetime], dict[str, Any]]:
            at = self._clock.now()
            own = {"level": method, "event": clean(fields.pop("event")), "at": at, **self._label}
            return (_line(own, fields), at), {}

        logger: FilteringBoundLogger = structlog.wrap_logger(
            _Sink(self._lines[name]),
            processors=[structlog.processors.format_exc_info, line],
            wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
            context_class=dict,
            cache_logger_on_first_use=True,
        )
        return logger


class _Sink:
    """Where structlog's loggers end: each level's method takes the line and its instant."""

    def __init__(self, lines: DailyLines) -> None:
        self._lines = lines

    def info(self, line: bytes, at: datetime) -> None:
        self._lines.append(line, at)

    warning = error = critical = info


class OwnTelemetry:
    """Our own events in the fleet's telemetry directory, ``events-self-healing-YYYYMMDD.jsonl``, never read back.

    Args:
        telemetry_dir: the fleet's; never made by us, so that a wrong path shows.
        environment: which of several fleets this is.
    """

    def __init__(self, telemetry_dir: Path, environment: str = "") -> None:
        self._label = label(environment)
        self._lines = DailyLines(telemetry_dir, OWN_EVENTS, SUFFIX, make_directory=False)

    def emit(self, kind: OwnEvent, at: datetime, **fields: Any) -> bool:
        """Append one event in the native format; whether that worked."""
        ts = at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return self._lines.append(_line({"ts": ts, "type": kind, **self._label}, fields), at)

    def held(self) -> AbstractContextManager[None]:
        """Many events follow: write them together in the end."""
        return self._lines.held()

    @property
    def lost(self) -> int:
        """How many events could not be written."""
        return self._lines.lost

    @property
    def problem(self) -> str | None:
        """Why events cannot be written now; None when they can."""
        return self._lines.problem


def _line(own: dict[str, Any], fields: MutableMapping[str, Any]) -> bytes:
    """One line of JSON: our `own` fields, and `fields` made harmless but for those that would pass for them."""
    return encode_clean({name: value for name, value in fields.items() if name not in own}, own)
