"""The one process that converts for all servers of a run of tests: to start it takes longer than most of them."""

from __future__ import annotations

import fcntl
import os
import pickle
import signal
import stat
import time
from typing import Final, NoReturn

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


def says_it_has_more_than_there_is(_body: bytes) -> Normalised:
    """What hostile bytes could have it do: it says that its answer has so many bytes that no memory holds them."""
    _said(1 << 60, b"")


def says_code(place: str, _body: bytes) -> Normalised:
    """It answers with a pickle that makes a directory wherever that is loaded."""
    message = pickle.dumps((_Loaded(place), None, ""))
    _said(len(message), message)


class _Loaded:
    def __init__(self, place: str) -> None:
        self._place = place

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (self._place,)


def _said(size: int, message: bytes) -> NoReturn:
    for name in os.listdir("/dev/fd"):
        try:
            mode = fcntl.fcntl(int(name), fcntl.F_GETFL) & os.O_ACCMODE
            if int(name) > 2 and mode == os.O_WRONLY and stat.S_ISFIFO(os.fstat(int(name)).st_mode):
                os.write(int(name), size.to_bytes(8, "big") + message)
        except OSError:
            continue  # it was only open to list them
    time.sleep(3600)
    raise AssertionError
