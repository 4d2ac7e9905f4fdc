"""The worker: a process that does one thing after the other, and may end over any of them without harm to this one.

What it is to do is pickled, for it is this process that says it. Its answers are not: it reads what anybody may have
sent, and nothing that it says can have this process run anything.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import pickle
import signal
import subprocess
import sys
import threading
import traceback
from asyncio import wrap_future
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final, Generic, TypeVar

import msgspec

from self_healing.telemetry.encoding import LINES_MAX_BYTES

T = TypeVar("T")

START_S: Final = 30.0
"""A process that is not there by then, is not waited for."""

CLOSE_S: Final = 5.0
"""So long it may finish what it is at when the service ends."""

PIPE_BYTES: Final = 1 << 20
"""So much is passed on without either side waiting for the other, where the system allows it: most bodies."""

ANSWER_MAX_BYTES: Final = 3 * LINES_MAX_BYTES
"""The longest answer: the lines of a body, what they are known by, which is in them as well, and a few numbers each."""

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What a terminal or a supervisor sends to all processes: the service ends this one when it is done with it."""


class Lost(RuntimeError):
    """The process ended before it was done with something.

    Args:
        exitcode: of the process, below zero for the signal that ended it; None where it had ended before.
        begun: it was at that; else that only waited.
        misspoke: what was wrong with what it said, for which it was ended; None where nothing was.
    """

    def __init__(self, exitcode: int | None, *, begun: bool, misspoke: str | None = None) -> None:
        super().__init__(f"the process ended with {exitcode}")
        self.begun = begun
        self.misspoke = misspoke
        self.out_of_time = exitcode == -signal.SIGPROF


class Failed(RuntimeError):
    """What was called in the process raised that error; its cause says where."""


class Elsewhere(Exception):
    """Where an error happened in the process, in its own words."""


class Worker:
    """Has one process, which begins with the first thing that is given to it."""

    def __init__(self) -> None:
        self._process: _Process | None = None
        self._closed = False

    async def give(self, call: Callable[..., T], *arguments: Any, answer: type[T], cpu_s: float) -> asyncio.Future[T]:
        """Have the process call something after what it was given before; returns what becomes of it, once it has that.

        What becomes of it may be :class:`Lost` or :class:`Failed`.

        Args:
            answer: of what type that is, as msgspec knows it.
            cpu_s: so much time of a processor that may take; then the process ends.

        Raises:
            OSError, RuntimeError: there is no process, and none can be started.
        """
        process = self._process
        if process is None or process.ended:
            process = await self._started()
        return wrap_future(process.give(cpu_s, answer, call, *arguments))

    def kill(self) -> None:
        """End the process, whatever it is at; the next thing that is given begins another."""
        process, self._process = self._process, None
        if process is not None:
            process.end(0.0)

    def close(self) -> None:
        """Let it finish what it is at, within a bound, and end; none begins any more. Safe to call twice."""
        self._closed = True
        process, self._process = self._process, None
        if process is not None:
            process.end(CLOSE_S)

    async def _started(self) -> _Process:
        if self._closed:
            raise RuntimeError("the service ends")
        process = self._process = _Process()
        try:
            async with asyncio.timeout(START_S):
                await wrap_future(process.give(START_S, int, os.getpid))
        except BaseException:
            self.kill()
            raise
        return process


class _Process:
    """A process, and what it was given and has not answered yet.

    Raises:
        OSError, RuntimeError: it cannot be started.
    """

    def __init__(self) -> None:
        self.ended = False
        self._changing = threading.Lock()
        self._given: deque[tuple[Future[Any], type[Any]]] = deque()
        self._to_send: SimpleQueue[bytes] = SimpleQueue()
        with ExitStack() as unless_started, ExitStack() as theirs:
            given, self._given_to = _pipe(theirs, unless_started)
            self._answers, answers = _pipe(unless_started, theirs)
            began = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import work; work({given}, {answers})"
            with _held_back():
                self._process = subprocess.Popen(
                    [sys.executable, "-c", began], stdin=subprocess.DEVNULL, pass_fds=(given, answers)
                )
            unless_started.callback(self._process.kill)
            threading.Thread(target=self._send, daemon=True).start()
            threading.Thread(target=self._hear, daemon=True).start()
            unless_started.pop_all()

    def give(self, cpu_s: float, answer: type[T], call: Callable[..., T], *arguments: Any) -> Future[T]:
        """Have it do something after all else that it was given."""
        pickled = pickle.dumps((cpu_s, call, arguments), pickle.HIGHEST_PROTOCOL)
        told: Future[T] = Future()
        told.set_running_or_notify_cancel()  # nobody can take back what it may be at
        with self._changing:
            if self.ended:
                told.set_exception(Lost(None, begun=False))
            else:
                self._given.append((told, answer))
                self._to_send.put(pickled)
        return told

    def end(self, within_s: float) -> None:
        """End it once it is done with what it was given, within a bound."""
        self._to_send.put(_NO_MORE)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(within_s)
        self._process.kill()

    # -- on threads of its own: either side may have to wait for the other

    def _send(self) -> None:
        try:
            with suppress(OSError):  # it ended, as whoever listens hears
                while each := self._to_send.get():
                    _put(each, self._given_to)
                _put(_NO_MORE, self._given_to)
        finally:
            os.close(self._given_to)

    def _hear(self) -> None:
        misspoke: str | None = None
        try:
            for message in _messages(self._answers, ANSWER_MAX_BYTES):
                told, answer = self._given[0]
                said = _decoder(answer).decode(message)  # type: ignore[arg-type] # a type can be hashed
                self._given.popleft()
                if isinstance(said, _Done):
                    told.set_result(said.result)
                else:
                    failed = Failed(said.error)
                    failed.__cause__ = Elsewhere(said.where)
                    told.set_exception(failed)
        except IndexError:
            misspoke = "nothing was asked"  # nobody waits to hear it, and nothing is lost
        except (msgspec.DecodeError, _TooLong) as error:
            misspoke = str(error)
        finally:
            with self._changing:
                self.ended = True
            os.close(self._answers)
            self._to_send.put(_NO_MORE)
            self._process.kill()
            exitcode = self._process.wait()
            for place, (told, _) in enumerate(self._given):
                told.set_exception(Lost(exitcode, begun=not place, misspoke=misspoke))


class _Done(msgspec.Struct, Generic[T], frozen=True, tag="done"):
    """What a call returned."""

    result: T


class _Raised(msgspec.Struct, frozen=True, tag="raised"):
    """What it raised instead, and where."""

    error: str
    where: str


@cache
def _decoder(answer: type[T]) -> msgspec.msgpack.Decoder[_Done[T] | _Raised]:
    return msgspec.msgpack.Decoder(_Done[answer] | _Raised)  # type: ignore[valid-type]


_NO_MORE: Final = b""


def _pipe(theirs: ExitStack, unless_started: ExitStack) -> tuple[int, int]:
    """A pipe from this process, or to it: where it is read, and where it is written."""
    for end, ended in zip(ends := os.pipe(), (theirs, unless_started), strict=True):
        ended.callback(os.close, end)
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        with suppress(OSError):  # nobody may have more than so much of them
            fcntl.fcntl(ends[0], fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    return ends


def _put(message: bytes, to: int) -> None:
    """Pass a message on, in one go: each time that something is written, another thread takes the interpreter."""
    left = memoryview(len(message).to_bytes(_SIZE, "big") + message)
    while left:
        left = left[os.write(to, left) :]


class _TooLong(ValueError):
    """A message is longer than any may be."""


def _messages(coming: int, most_bytes: int | None = None) -> Iterator[bytes]:
    """The messages that are passed on, until there is an end to them, be it in the midst of one.

    Args:
        coming: where they come from.
        most_bytes: that one may have.

    Raises:
        _TooLong: one says that it has more; nothing of it is held.
    """
    held = bytearray()
    while piece := os.read(coming, PIPE_BYTES):
        held += piece
        while len(held) >= _SIZE:
            size = int.from_bytes(held[:_SIZE], "big")
            if most_bytes is not None and size > most_bytes:
                raise _TooLong(f"a message of {size:,} bytes, and {most_bytes:,} are allowed")
            if len(held) < (end := _SIZE + size):
                break
            yield bytes(memoryview(held)[_SIZE:end])
            del held[:end]


_SIZE: Final = 8


@contextmanager
def _held_back() -> Iterator[None]:
    """What is started inside gets none of the signals before it says what it does with them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# --- in the process ------------------------------------------------------------------------------------------------


def work(given: int, answers: int) -> None:
    """Do what comes, one thing after the other.

    Args:
        given: the descriptor that it comes from.
        answers: the one that is told what became of it.
    """
    for each in _SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    with suppress(OSError):  # where memory runs out, and the kernel can be told, it ends this process and not the other
        Path("/proc/self/oom_score_adj").write_text("500")
    waiting: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_read_ahead, args=(given, waiting), daemon=True).start()
    import self_healing.telemetry.otlp  # noqa: F401 what is mostly sent; the first need not wait for it longer

    while pickled := waiting.get():
        _put(_answer(pickled), answers)


def _read_ahead(given: int, waiting: SimpleQueue[bytes]) -> None:
    """Have what is next there when it is wanted."""
    for pickled in _messages(given):
        waiting.put(pickled)
        if not pickled:
            return
    os._exit(0)  # the other process was killed, for it says so when it wants no more


def _answer(pickled: bytes) -> bytes:
    try:
        cpu_s, call, arguments = pickle.loads(pickled)
        # Whatever it is at then, the kernel ends it; and that it has to wait for others on its machine is no reason to.
        signal.setitimer(signal.ITIMER_PROF, cpu_s)
        try:
            return msgspec.msgpack.encode(_Done(call(*arguments)))
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
    except Exception as error:
        return msgspec.msgpack.encode(_Raised(repr(error), traceback.format_exc()))
