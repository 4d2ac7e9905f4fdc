"""Events out of an agent's own process, in one call that waits for nothing.

What is emitted is put into a queue; a thread of its own writes it to a file of this process in the telemetry directory,
which the framework follows. That needs no service: the events are there when one starts. Only the standard library is
used here, so that an agent pays for nothing else.
"""

from __future__ import annotations

import atexit
import json
import logging
import math
import os
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from self_healing.redaction import may_hold_secrets, without_secrets

MOST_WAITING: Final = 10_000
"""So many events may wait to be written; what comes then is dropped and counted, so that an agent never waits."""

GATHER_S: Final = 0.05
"""How long events are gathered before they are written together."""

CLOSE_S: Final = 5.0
"""How long a flush, and the end of the process, wait for what is still to be written."""

DIRECTORY_VARIABLE: Final = "SELF_HEALING_TELEMETRY_DIR"
DIRECTORY: Final = "logs/telemetry"
"""Where :func:`emit` writes when the variable is not set, as the framework reads by default."""


_OWN: Final = {"level": "WARNING", "logger": "self_healing.emitter"}
"""What a line of its own says, which comes with the next events once some were dropped."""


class _Asked:
    """What the writer's thread is asked for: to write and sync what waits, and then perhaps to end."""

    def __init__(self, *, end: bool = False) -> None:
        self.end = end
        self.done = threading.Event()


class Emitter:
    """Writes events of this process to ``events-YYYYMMDD-PID-N.jsonl`` in a telemetry directory, a file a day (UTC).

    What was written survives the process; it is not synced, so a power cut may take the last seconds. A forked process
    begins with an empty queue and a file of its own.

    Args:
        directory: the fleet's telemetry directory; made with the first event.
        most_waiting: see MOST_WAITING.
        now: the present, seconds since 1970.
    """

    def __init__(
        self, directory: str | Path, *, most_waiting: int = MOST_WAITING, now: Callable[[], float] = time.time
    ) -> None:
        self.directory = Path(directory).absolute()  # wherever the process goes
        self.problem: str | None = None  # why events cannot be written now; None when they can
        self._most = most_waiting
        self._now = now
        self._lost = self._told = 0  # events; and how many of them a line has told of
        self._begin()
        _EMITTERS.add(self)

    def _begin(self) -> None:
        """Everything that belongs to one process."""
        self._queue: deque[tuple[float, str, dict[str, Any]]] = deque()
        self._asked: deque[_Asked] = deque()
        self._wake = threading.Event()
        self._hurry = threading.Event()  # somebody waits: nothing more is gathered
        self._lock = threading.Lock()  # of what is counted and of the thread's life; nothing is written under it
        self._thread: threading.Thread | None = None
        self._fd = -1
        self._day = ""

    def emit(self, type: str, /, **fields: Any) -> None:
        """Emit one event; returns at once, and never raises for what is in it.

        Args:
            type: what happened, such as ``task_finished``.
            fields: the rest of the line, as in a file: `id`, `agent`, `status`, `usage`, ... They are read a moment
                later, so hand over nothing that changes. `ts` is now when left out.
        """
        self._put(self._now(), type, fields)

    def _put(self, at: float, type: str, fields: dict[str, Any]) -> None:
        """Let an event wait for the writer's thread, which makes a line of it."""
        if len(self._queue) >= self._most:
            self._lose(1)
            return
        self._queue.append((at, type, fields))
        if not self._wake.is_set():
            self._wake.set()
        if self._thread is None:
            self._start()

    @property
    def dropped(self) -> int:
        """How many events were dropped: too many waited, the disk took no more, or one cannot be said."""
        return self._lost

    def flush(self) -> None:
        """Wait until all that was emitted before this call is written and synced, but CLOSE_S at most."""
        self._wait_for(_Asked())

    def close(self) -> None:
        """Wait until what waits is written and the file is given back, but CLOSE_S at most.

        Safe to call twice, and events may follow, in another file.
        """
        self._wait_for(_Asked(end=True))

    def _wait_for(self, asked: _Asked) -> None:
        """Have the writer's thread do it: a disk that hangs keeps that, and not whoever asks."""
        if self._thread is threading.current_thread():
            return  # a value's own __str__ asks, and what it is in is being written
        if self._thread is None and not self._queue:
            return
        self._asked.append(asked)
        self._hurry.set()
        self._wake.set()
        if self._thread is None:
            self._start()
        if not asked.done.wait(CLOSE_S):
            self.problem = f"events were not written to {self.directory} within {CLOSE_S:g} s; the disk may hang"

    # -- the writer

    def _start(self) -> None:
        with self._lock:
            if self._thread is not None:
                return
            self._thread = threading.Thread(target=self._write_all, name="self-healing emitter", daemon=True)
            self._thread.start()
        workers = sys.modules.get("multiprocessing.util")
        if workers is not None:  # its processes end past what atexit has
            workers.Finalize(None, self.close, exitpriority=0)

    def _write_all(self) -> None:
        own = threading.current_thread()
        wake, hurry = self._wake, self._hurry
        while True:
            wake.wait()
            hurry.wait(GATHER_S)
            hurry.clear()
            wake.clear()  # before the queue is read: an event that comes meanwhile wakes this thread again
            asked = [self._asked.popleft() for _ in range(len(self._asked))]
            self._write_waiting()
            if asked:
                self._sync()
            if any(each.end for each in asked):
                self._close()
                self._thread = None
            for each in asked:
                each.done.set()
            with self._lock:
                if self._thread is None and not self._queue and not self._asked:
                    return
                if self._thread not in (None, own):
                    return  # whoever emitted meanwhile began another
                self._thread = own

    def _write_waiting(self) -> None:
        lines = list(self._lines())
        if not lines:
            return
        told, text = self._lost, "".join(lines)
        if told > self._told:
            text += _line(self._now(), "log", {**_OWN, "message": f"dropped so far: {told}", "dropped": told})
        try:
            self._write(text.encode(errors="replace"))
            self.problem, self._told = None, told
        except OSError as error:
            self._lose(len(lines))
            self.problem = f"events cannot be written to {self.directory}: {error.strerror or error}"

    def _lose(self, count: int) -> None:
        with self._lock:
            self._lost += count

    def _sync(self) -> None:
        if self._fd >= 0:
            with suppress(OSError):  # what the disk takes is said by the next write
                os.fsync(self._fd)

    def _lines(self) -> Iterator[str]:
        """The lines of what waits now; what cannot be said is dropped."""
        for _ in range(len(self._queue)):
            event = self._queue.popleft()
            try:
                yield _line(*event)
            except Exception:  # a value's own __str__ may raise anything, and must not end the thread for all others
                self._lose(1)

    def _write(self, data: bytes) -> None:
        day = time.strftime("%Y%m%d", time.gmtime(self._now()))
        if day != self._day:
            self._close()
        if self._fd < 0:
            self._fd, self._day = _opened(self.directory, day), day
        size = os.fstat(self._fd).st_size
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._fd, size)  # what is counted as dropped is not there, and no line is torn
            self._close()
            raise

    def _close(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def _forked(self) -> None:
        """In a forked process: what waits is its parent's to write, and so is the file."""
        fd = self._fd
        self._begin()
        if fd >= 0:
            os.close(fd)


def _opened(directory: Path, day: str) -> int:
    """A new file for this process and day; its number makes it one's own, also where a process id comes again."""
    directory.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        path = directory / f"events-{day}-{os.getpid()}-{number}.jsonl"
        try:
            return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except FileExistsError:
            number += 1


def _line(at: float, type: str, fields: dict[str, Any]) -> str:
    event = {"ts": datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds"), "type": type, **fields}
    try:
        line = json.dumps(event, default=_said, allow_nan=False)
        if may_hold_secrets(line.encode()):
            line = json.dumps(without_secrets(json.loads(line)))
    except (ValueError, TypeError, RecursionError):  # a number that is none, a key that is no text, a circle
        line = json.dumps(without_secrets(_plain(event, 8)))
    return line + "\n"


def _said(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _plain(value: Any, depth: int) -> Any:
    """`value` as JSON can say it; what is not a number is unknown."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case dict() if depth:
            return {str(key): _plain(item, depth - 1) for key, item in value.items()}
        case list() | tuple() if depth:
            return [_plain(item, depth - 1) for item in value]
        case dict() | list() | tuple():
            return "(nested too deep)"
        case _:
            return _said(value)


class TelemetryHandler(logging.Handler):
    """Sends what a program logs along as events of the type ``log``.

    Args:
        emitter: where to; the one behind :func:`emit` when left out.
        agent: who logs; a record's own ``agent`` (by ``extra``) goes first.
        level: as every handler takes it.
    """

    def __init__(
        self, emitter: Emitter | None = None, *, agent: str | None = None, level: int | str = logging.NOTSET
    ) -> None:
        super().__init__(level)
        self.emitter = emitter or default_emitter()
        self._agent = agent

    def handle(self, record: logging.LogRecord) -> bool:
        """Emit one record, unless a filter is against it; without the handler's lock, for a queue needs none."""
        kept: Any = self.filter(record)
        if kept:
            self.emit(record if kept is True else kept)  # since Python 3.12 a filter may give another record
        return bool(kept)

    def emit(self, record: logging.LogRecord) -> None:
        """Emit one record. The message is made at once, for what it is made of may change; all else waits."""
        try:
            message = record.getMessage()
        except Exception:  # what a program logs wrongly is its own affair, and logging says so as it always does
            self.handleError(record)
            return
        fields: dict[str, Any] = {"message": message, "level": record.levelname, "logger": record.name}
        # Not by way of __dict__: to look there, Python would have to make one of each record.
        agent = getattr(record, "agent", self._agent)
        if agent is not None:
            fields["agent"] = agent
        task_id = getattr(record, "task_id", None)
        if task_id is not None:
            fields["id"] = task_id
        if record.exc_info and record.exc_info[0] is not None:
            fields["error_type"] = record.exc_info[0].__name__
        self.emitter._put(record.created, "log", fields)

    def flush(self) -> None:
        """Write what waits."""
        self.emitter.flush()


_EMITTERS: weakref.WeakSet[Emitter] = weakref.WeakSet()
_default: Emitter | None = None
_making = threading.Lock()


def default_emitter() -> Emitter:
    """The emitter behind :func:`emit`, made when it is first asked for."""
    global _default  # noqa: PLW0603 one for the process is what it is
    if _default is None:
        with _making:
            if _default is None:
                _default = Emitter(os.environ.get(DIRECTORY_VARIABLE, DIRECTORY))
    return _default


def emit(type: str, /, **fields: Any) -> None:
    """Emit one event to the directory that SELF_HEALING_TELEMETRY_DIR names, else ``logs/telemetry``.

    As :meth:`Emitter.emit`; ``default_emitter().dropped`` says how many could not be kept.
    """
    default_emitter().emit(type, **fields)


def _close_all() -> None:
    for emitter in list(_EMITTERS):
        emitter.close()


def _forked() -> None:
    global _making  # noqa: PLW0603 another thread of the parent may have held it
    _making = threading.Lock()
    for emitter in list(_EMITTERS):
        emitter._forked()


atexit.register(_close_all)
os.register_at_fork(after_in_child=_forked)
