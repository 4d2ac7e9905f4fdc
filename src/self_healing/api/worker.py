"""The worker: a process that does one thing after the other, and may end over any of them without harm to this one."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import threading
from asyncio import wrap_future
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, Final

START_S: Final = 30.0
"""A process that is not there by then, is not waited for."""

CLOSE_S: Final = 5.0
"""So long it may finish what it is at when the service ends."""

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What a terminal or a supervisor sends to all processes: the service ends this one when it is done with it."""


class Worker:
    """Has one process, which begins with the first thing that is given to it."""

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None
        self._closed = False

    async def give(self, call: Callable[..., Any], *arguments: Any) -> asyncio.Future[Any]:
        """Have the process call something; returns once it has begun, with what becomes of it.

        Raises:
            OSError, RuntimeError: there is no process, and none can be started.
        """
        pool = self._pool or await self._started()
        try:
            return wrap_future(pool.submit(call, *arguments))
        except BrokenProcessPool:  # it ended while it had nothing to do: nothing was given to it
            self.kill()
            return wrap_future((await self._started()).submit(call, *arguments))

    def kill(self) -> None:
        """End the process, whatever it is at; the next thing that is given begins another."""
        self._end(0.0)

    def close(self) -> None:
        """Let it finish what it is at, within a bound, and end; none begins any more. Safe to call twice."""
        self._closed = True
        self._end(CLOSE_S)

    async def _started(self) -> ProcessPoolExecutor:
        if self._closed:
            raise RuntimeError("the service ends")
        # Spawned: a fork would have the locks of threads that it does not have.
        pool = self._pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=_begin)
        try:
            with _held_back():
                there = pool.submit(os.getpid)
            async with asyncio.timeout(START_S):
                await wrap_future(there)
        except BaseException:
            self.kill()
            raise
        return pool

    def _end(self, within_s: float) -> None:
        pool, self._pool = self._pool, None
        if pool is None:
            return
        # As kill_workers of Python 3.14 does: the pool itself only asks, and a process that hangs does not hear.
        processes = [*(pool._processes or {}).values()]
        results = pool._result_queue
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            wait([process.sentinel], within_s)
            process.kill()
        # Else whoever reads waits for ever for the rest of a result in the midst of which the process ended.
        results._writer.close()  # type: ignore[attr-defined]


@contextmanager
def _held_back() -> Iterator[None]:
    """What is started inside gets none of the signals before it says what it does with them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# --- in the process ------------------------------------------------------------------------------------------------


def _begin() -> None:
    for each in _SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with suppress(OSError):  # where memory runs out, and the kernel can be told, it ends this process and not the other
        Path("/proc/self/oom_score_adj").write_text("500")
    import self_healing.telemetry.otlp  # noqa: F401 what is mostly sent; the first need not wait for it longer


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])  # it was killed, for it ends this process before it ends itself
        os._exit(0)
