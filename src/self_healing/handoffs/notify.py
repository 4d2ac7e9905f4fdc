"""Telling people by any of the services that Apprise knows: mail, chat, push and many more."""

from __future__ import annotations

import os

import msgspec

from self_healing.errors import EffectError, EffectRefused
from self_healing.handoffs.channel import Receipt
from self_healing.handoffs.declared import AppriseDeclared
from self_healing.handoffs.headline import about, headline
from self_healing.model import Handoff


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
        import apprise

        variable = self._declared.urls_env
        services = apprise.Apprise()
        # Each by itself: add() takes what it knows of a list and says nothing of the rest but False.
        urls = os.environ.get(variable, "").split()
        if not urls or not all([services.add(url) for url in urls]):
            raise EffectRefused(f"channel {self.name}: variable {variable} holds no address of Apprise, or a wrong one")
        told = services.notify(
            title=headline(handoff),
            body=f"{handoff.message['prompt']}\n\n{_listed(handoff)}",
            body_format=apprise.NotifyFormat.TEXT,
            notify_type=apprise.NotifyType.WARNING,
        )
        if not told:
            raise EffectError(f"channel {self.name}: not every service of {variable} took handoff {handoff.id}")
        return None

    def probe(self, handoff: Handoff) -> bool | None:
        """Nobody can tell what people were told."""
        return None


def _listed(handoff: Handoff) -> str:
    facts = {"incident": handoff.incident, "handoff": handoff.id, **about(handoff)}
    plain = {name: value for name, value in facts.items() if not isinstance(value, dict | list)}
    return "\n".join(f"{name}: {msgspec.json.encode(value).decode()}" for name, value in plain.items())
