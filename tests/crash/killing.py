"""A process that is killed at a named point, without starting Python anew each time: forked where nothing runs yet."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from typing import Any

KILLED = 9

_FORKED = multiprocessing.get_context("forkserver")
_FORKED.set_forkserver_preload(
    [f"tests.crash.test_{name}_crash" for name in ("channel", "cycle", "function", "runner")]
)


def crash_at(point: str) -> Callable[[str], None]:
    """What ends the process, as a kill would, when that point is passed."""
    return lambda passed: os._exit(KILLED) if passed == point else None


def killed(doomed: Callable[..., None], *arguments: Any) -> None:
    """Call `doomed`, a function of a module, in a process of its own. Raises AssertionError unless it is killed."""
    process = _FORKED.Process(target=doomed, args=arguments)
    process.start()
    process.join()
    assert process.exitcode == KILLED
