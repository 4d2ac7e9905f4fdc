"""Telling people by any of the services that Apprise knows: mail, chat, push and many more."""

from __future__ import annotations

import os
import sys

import msgspec

from self_healing.errors import EffectError, EffectRefused, EffectUntold
from self_healing.handoffs import program, telling
from self_healing.handoffs.channel import Receipt
from self_healing.handoffs.declared import AppriseDeclared
from self_healing.handoffs.headline import about, asked, headline
from self_healing.model import Handoff
from self_healing.wording import worded


class AppriseChannel:
    """Sends a title and a text to all services behind one variable.

    Args:
        name: what people call it.
        declared: its settings.
    """

    def __init__(self, name: str, declared: AppriseDeclared) -> None:
        self.name = name
        self._declared = declared

    def deliver(self, handoff: Handoff) -> Receipt | None:
        """As the port says; where one of several services fails, those that were told hear it again."""
        variable, timeout_s = self._declared.urls_env, self._declared.timeout
        told = {
            "urls_env": variable,
            "title": headline(handoff),
            "body": f"{handoff.message['prompt']}\n\n{_listed(handoff)}",
        }
        argv = (sys.executable, "-m", "self_healing.handoffs.telling")
        # It is our own program, and may see what this one sees; what it prints may hold an address, and is not kept.
        code, _ = program.ran(argv, os.environ, msgspec.json.encode(told), timeout_s)
        about = f"channel {self.name}:"
        match code:
            case 0:
                return None
            case telling.WRONG:
                raise EffectRefused(f"{about} variable {variable} holds no address of Apprise, or a wrong one")
            case program.NOT_NOW:
                raise EffectError(f"{about} not every service of {variable} took handoff {handoff.id}")
            case None:
                raise EffectUntold(f"{about} not every service of {variable} answered within {timeout_s} s")
            case _:
                raise EffectUntold(f"{about} a service of {variable} broke off (exit code {code})")

    def probe(self, handoff: Handoff) -> bool | None:
        """Nobody can tell what people were told."""
        return None


def _listed(handoff: Handoff) -> str:
    facts = {"incident": handoff.incident, "handoff": handoff.id, **worded(about(handoff))}
    plain = {name: value for name, value in facts.items() if not isinstance(value, dict | list)}
    asked_for = {f"approval {name}": value for name, value in worded(asked(handoff)).items()}
    return "\n".join(f"{name}: {msgspec.json.encode(value).decode()}" for name, value in (asked_for | plain).items())
