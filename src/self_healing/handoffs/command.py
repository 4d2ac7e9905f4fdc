"""Handoffs to a program: argv and no shell, few variables, a time limit, and nothing left behind."""

from __future__ import annotations

from self_healing.handoffs import program
from self_healing.handoffs.channel import Receipt
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
        declared = self._declared
        message = ContextMessageHandoff.from_dict(handoff.message).to_json()
        about = f"channel {self.name}: the program for handoff {handoff.id}"
        said = program.done(declared.argv, declared.environment, message, timeout_s=declared.timeout, about=about)
        return Receipt(said=said or None)

    def probe(self, handoff: Handoff) -> bool | None:
        """Nobody can tell what a program did."""
        return None
