"""Conversion: what was sent becomes lines in a process of its own.

That is most of the work with a request, and here it takes nothing from the loop, which folds meanwhile. And a body that
nobody thought of can end no more than that process: whoever waits is asked to send again, and another one is made.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from asyncio import wrap_future
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from multiprocessing.connection import wait
from pathlib import Path
from typing import Final

from self_healing.api.bodies import decompressed
from self_healing.errors import ConversionLost
from self_healing.telemetry.collector import collector_off
from self_healing.telemetry.encoded import Encoded, encoded
from self_healing.telemetry.normalised import Normalised

Normalise = Callable[[bytes], Normalised]
"""Makes events of a request's body, in that process: a function of a module, or a partial of one. Raises Undecodable,
BodyError."""

TOLD_FOR: Final = timedelta(minutes=1)
"""So long it is a problem that the process ended unasked: senders come again, so one that ends once loses nothing."""

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
"""What a terminal or a supervisor sends to all processes: the service ends this one when it is done with it."""


class Conversion:
    """Converts bodies one after the other; its process begins with the first of them.

    Args:
        now: the present instant.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.lost = 0  # how often it ended unasked
        self._now = now
        self._lost_at: datetime | None = None
        self._pool: ProcessPoolExecutor | None = None

    async def encoded(self, normalise: Normalise, body: bytes, encoding: str | None, source: str) -> Encoded:
        """What `body` holds, as it is written. Called on one thread.

        Args:
            normalise: makes events of it, decompressed.
            body: as it came.
            encoding: its Content-Encoding, None where it has none.
            source: the way in.

        Raises:
            BodyError, Undecodable: it cannot be used.
            ConversionLost: the process ended; the same may be sent again.
        """
        pool = self._opened()
        try:
            return await wrap_future(_submitted(pool, normalise, body, encoding, source))
        except BrokenProcessPool as error:
            self._lose(pool)
            raise ConversionLost from error

    @property
    def problems(self) -> list[str]:
        """What is wrong, for people."""
        if self._lost_at is None or self._now() - self._lost_at >= TOLD_FOR:
            return []
        return [
            "the process that converts what is sent ended, perhaps for want of memory: what it was given was refused"
            f" and may be sent again, and another one is made ({self.lost} since the start)"
        ]

    def close(self) -> None:
        """Let it finish what it is at, and end; safe to call twice."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(cancel_futures=True)

    def _opened(self) -> ProcessPoolExecutor:
        if self._pool is None:
            # Spawned: a fork would have the locks of threads that it does not have.
            self._pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=_begin)
        return self._pool

    def _lose(self, pool: ProcessPoolExecutor) -> None:
        if pool is self._pool:  # all that was given to it hears of the same end
            self._pool, self._lost_at = None, self._now()
            self.lost += 1
            pool.shutdown(wait=False)


def _submitted(
    pool: ProcessPoolExecutor, normalise: Normalise, body: bytes, encoding: str | None, source: str
) -> Future[Encoded]:
    with _held_back():  # the first starts the process
        return pool.submit(_converted, normalise, body, encoding, source)


@contextmanager
def _held_back() -> Iterator[None]:
    """What is started inside gets none of the signals before it says what it does with them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# --- in the process ------------------------------------------------------------------------------------------------


def _converted(normalise: Normalise, body: bytes, encoding: str | None, source: str) -> Encoded:
    with collector_off():  # what one body becomes is gone before the next
        return encoded(normalise(decompressed(body, encoding)), source)


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
