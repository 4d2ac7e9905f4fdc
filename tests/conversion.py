"""The one process that converts for all servers of a run of tests: to start it takes longer than most of them."""

from __future__ import annotations

import os
import signal
import time
from typing import Final

from self_healing.api.conversion import Conversion
from self_healing.api.worker import Worker
from self_healing.clock import SystemClock
from self_healing.telemetry.normalised import Normalised

WORKER: Final = Worker()


def conversion() -> Conversion:
    """One by that process."""
    return Conversion(SystemClock().now, WORKER)


def deadly(_body: bytes) -> Normalised:
    """What no body does that we know of: it ends the process."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def endless(_body: bytes) -> Normalised:
    """It is at it for ever."""
    while True:
        pass


def hanging(_body: bytes) -> Normalised:
    """It waits for ever."""
    time.sleep(3600)
    raise AssertionError


def starved(_body: bytes) -> Normalised:
    """It waits, and so uses no processor, for longer than it may use one."""
    time.sleep(0.3)
    return Normalised()


def failing(_body: bytes) -> Normalised:
    """It fails as nobody foresaw."""
    raise KeyError("nobody foresaw it")
