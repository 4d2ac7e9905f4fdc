"""Handoffs to a program: argv and no shell, few variables, a time limit, and nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from contextlib import suppress
from typing import IO

from self_healing.errors import EffectError, EffectRefused, EffectUntold
from self_healing.handoffs.channel import Receipt
from self_healing.handoffs.cleaning import clean_text
from self_healing.handoffs.declared import CommandDeclared
from self_healing.handoffs.message import ContextMessageHandoff
from self_healing.model import Handoff

NOT_NOW = 75
"""The exit code (EX_TEMPFAIL of sysexits.h) that says: not delivered, try again."""

MOST_OUTPUT = 8_000
"""Characters that are looked at; what is kept of them is cut further, as all text that is kept."""


class CommandChannel:
    """Starts a program for each handoff, with the message as JSON on its standard input.

    Exit code 0 says that it was delivered, 75 that it was not and may be tried again, any other that it was not and
    never will be. A program that was killed, by its time limit or otherwise, leaves it open.

    Args:
        name: what people call it.
        declared: its settings.
    """

    def __init__(self, name: str, declared: CommandDeclared) -> None:
        self.name = name
        self._declared = declared

    def deliver(self, handoff: Handoff) -> Receipt | None:
        """As the port says."""
        message = ContextMessageHandoff.from_dict(handoff.message).to_json()
        environment = {name: os.environ[name] for name in self._declared.environment if name in os.environ}
        try:
            program = subprocess.Popen(
                self._declared.argv,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a group of its own, which can be killed as a whole
            )
        except OSError as error:
            raise EffectRefused(f"{self._of(handoff)} cannot be started: {error.strerror}") from error
        output, in_time = _ran(program, message, self._declared.timeout)
        said = clean_text(output)
        told = f"; it said: {said}" if said else ""
        if not in_time:
            raise EffectUntold(f"{self._of(handoff)} was killed after {self._declared.timeout} s{told}")
        match program.returncode:
            case 0:
                return Receipt(said=said or None)
            case code if code < 0:
                raise EffectUntold(f"{self._of(handoff)} was ended by signal {-code}{told}")
            case 75:
                raise EffectError(f"{self._of(handoff)} asks to be tried again (exit code {NOT_NOW}){told}")
            case code:
                raise EffectRefused(f"{self._of(handoff)} failed with exit code {code}{told}")

    def probe(self, handoff: Handoff) -> bool | None:
        """Nobody can tell what a program did."""
        return None

    def _of(self, handoff: Handoff) -> str:
        return f"channel {self.name}: the program for handoff {handoff.id}"


def _ran(program: subprocess.Popen[bytes], message: bytes, timeout_s: int) -> tuple[str, bool]:
    """What it printed, the beginning of it, and whether it ended in time; nothing of it runs any more."""
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
    return kept.decode("utf-8", "backslashreplace"), in_time


def _read(output: IO[bytes], kept: bytearray) -> None:
    """Read to the end, so that the program never waits for anybody to read; keep the beginning."""
    with output:
        while chunk := output.read1(64 * 1024):  # type: ignore[attr-defined]  # a pipe is buffered
            kept += chunk[: MOST_OUTPUT - len(kept)]


def _write(stdin: IO[bytes], message: bytes) -> None:
    with suppress(BrokenPipeError), stdin:  # it need not read it
        stdin.write(message)
