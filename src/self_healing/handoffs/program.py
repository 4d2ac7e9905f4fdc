"""Running a program: argv and no shell, only the variables it is given, a time limit, and nothing left behind."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import IO

from self_healing.errors import EffectError, EffectRefused, EffectUntold
from self_healing.handoffs.cleaning import clean_text
from self_healing.redaction import without
from self_healing.spec.outside import VISIBLE

NOT_NOW = 75
"""The exit code (EX_TEMPFAIL of sysexits.h) that says: not delivered, try again."""

PASSING = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.ETXTBSY)
"""Why a program cannot be started now, and may be later: too much else is open or runs, or it is being written."""

MOST_OUTPUT = 8_000
"""Characters that are looked at; what is kept of them is cut further, as all text that is kept."""


def done(argv: Sequence[str], variables: Sequence[str], message: bytes, *, timeout_s: int, about: str) -> str:
    """What a program said that has done its work, which its exit code says; made harmless.

    The values of the variables that it was shown are taken out: it may well say them again.

    Args:
        argv, message, timeout_s: as of :func:`ran`.
        variables: names of those that it sees, where they are set.
        about: what it is, for a message.

    Raises:
        EffectError: it says that nothing was done, and may be tried again; or it cannot be started now.
        EffectRefused: it says that it never will be, or it cannot be started.
        EffectUntold: it was killed, by its time limit or otherwise, and nobody can tell what it did.
    """
    environment = {name: os.environ[name] for name in variables if name in os.environ}
    try:
        code, output = ran(argv, environment, message, timeout_s)
    except OSError as error:
        passes = error.errno in PASSING
        raise (EffectError if passes else EffectRefused)(f"{about} cannot be started: {error.strerror}") from error
    shown = (value for name, value in environment.items() if name not in VISIBLE)
    said = clean_text(without(output, shown))
    told = f"; it said: {said}" if said else ""
    match code:
        case None:
            raise EffectUntold(f"{about} was killed after {timeout_s} s{told}")
        case 0:
            return said
        case int() if code < 0:
            raise EffectUntold(f"{about} was ended by signal {-code}{told}")
        case _ if code == NOT_NOW:
            raise EffectError(f"{about} asks to be tried again (exit code {NOT_NOW}){told}")
        case _:
            raise EffectRefused(f"{about} failed with exit code {code}{told}")


def ran(argv: Sequence[str], environment: Mapping[str, str], message: bytes, timeout_s: int) -> tuple[int | None, str]:
    """Its exit code, None where it did not end in time, and the beginning of what it printed; nothing of it runs on.

    Args:
        argv: the program and its arguments.
        environment: all the variables that it sees.
        message: what it may read from its standard input.
        timeout_s: after so long it is killed, with all that it started.

    Raises:
        OSError: it cannot be started.
    """
    program = subprocess.Popen(
        argv,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # a group of its own, which can be killed as a whole
    )
    assert program.stdin is not None
    assert program.stdout is not None
    kept = bytearray()
    reading = threading.Thread(target=_read, args=(program.stdout, kept), daemon=True)
    writing = threading.Thread(target=_write, args=(program.stdin, message), daemon=True)
    for thread in (reading, writing):
        thread.start()
    in_time = True
    try:
        program.wait(timeout_s)
    except subprocess.TimeoutExpired:
        in_time = False
    # Also what it left running behind it, which would keep its output open.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(program.pid, signal.SIGKILL)
    program.wait()
    for thread in (reading, writing):
        thread.join(1.0)  # one that left the group as well keeps its own pipe, and nobody waits for it
    return program.returncode if in_time else None, kept.decode("utf-8", "backslashreplace")


def _read(output: IO[bytes], kept: bytearray) -> None:
    """Read to the end, so that the program never waits for anybody to read; keep the beginning."""
    with output:
        while chunk := output.read1(64 * 1024):  # type: ignore[attr-defined]  # a pipe is buffered
            kept += chunk[: MOST_OUTPUT - len(kept)]


def _write(stdin: IO[bytes], message: bytes) -> None:
    with suppress(BrokenPipeError), stdin:  # it need not read it
        stdin.write(message)
