"""Handoffs to a program: argv and no shell, few variables, a time limit, and nothing left behind."""

from __future__ import annotations

import os

from self_healing.errors import EffectError, EffectRefused, EffectUntold
from self_healing.handoffs import program
from self_healing.handoffs.channel import Receipt
from self_healing.handoffs.cleaning import clean_text
from self_healing.handoffs.declared import CommandDeclared
from self_healing.handoffs.message import ContextMessageHandoff
from self_healing.model import Handoff


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
            code, output = program.ran(self._declared.argv, environment, message, self._declared.timeout)
        except OSError as error:
            raise EffectRefused(f"{self._of(handoff)} cannot be started: {error.strerror}") from error
        said = clean_text(output)
        told = f"; it said: {said}" if said else ""
        match code:
            case None:
                raise EffectUntold(f"{self._of(handoff)} was killed after {self._declared.timeout} s{told}")
            case 0:
                return Receipt(said=said or None)
            case int() if code < 0:
                raise EffectUntold(f"{self._of(handoff)} was ended by signal {-code}{told}")
            case program.NOT_NOW:
                raise EffectError(f"{self._of(handoff)} asks to be tried again (exit code {program.NOT_NOW}){told}")
            case _:
                raise EffectRefused(f"{self._of(handoff)} failed with exit code {code}{told}")

    def probe(self, handoff: Handoff) -> bool | None:
        """Nobody can tell what a program did."""
        return None

    def _of(self, handoff: Handoff) -> str:
        return f"channel {self.name}: the program for handoff {handoff.id}"
