"""Which way a handoff goes: by the channel of its recipient, beside the file that every handoff has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, assert_never

from self_healing.errors import EffectError, EffectUntold, SelfHealingError
from self_healing.handoffs.a2a import A2aChannel
from self_healing.handoffs.alertmanager import AlertmanagerChannel
from self_healing.handoffs.channel import Channel, Followed, Lasting, Progress, Receipt, repeatable
from self_healing.handoffs.cleaning import clean_text
from self_healing.handoffs.command import CommandChannel
from self_healing.handoffs.declared import (
    A2aDeclared,
    AlertmanagerDeclared,
    AppriseDeclared,
    ChannelSettings,
    CommandDeclared,
    FileDeclared,
    PagerDutyDeclared,
    PythonDeclared,
    WebhookDeclared,
)
from self_healing.handoffs.function import FunctionChannel
from self_healing.handoffs.notify import AppriseChannel
from self_healing.handoffs.pagerduty import PagerDutyChannel
from self_healing.handoffs.webhook import WebhookChannel
from self_healing.model import Handoff

FILE = "file"
"""The channel that is always there."""


class Route(NamedTuple):
    """The way to a recipient.

    Args:
        channel: its name.
        served: whether it is the recipient's own, rather than the fallback for whoever has none.
    """

    channel: str
    served: bool = True


class Router:
    """Delivers each handoff by the channel that was chosen when it was made, and always as a file first.

    So a file that is not there says that nothing was delivered in any other way either.

    Args:
        file: writes the files.
        declared: the channels by name.
        fallback: the name of the channel for recipients that none of them serves.
    """

    name = "router"

    def __init__(self, file: Channel, declared: Mapping[str, ChannelSettings], fallback: str) -> None:
        self._file = file
        self.follow(declared, fallback)

    def follow(self, declared: Mapping[str, ChannelSettings], fallback: str) -> None:
        """Go on by another configuration; what is on its way goes on by the channel that it began with."""
        self._declared = dict(declared)
        self._fallback = fallback
        self._channels: dict[str, Channel] = {}

    def route(self, agent: str) -> Route:
        """The way to `agent`: by the first channel that serves it."""
        own = self.routes(agent)
        # Where no channel is declared at all, files are what everybody has.
        return own[0] if own else Route(self._fallback, served=not self._declared)

    def routes(self, agent: str) -> list[Route]:
        """The ways to `agent` by all channels that serve it, in the order of the configuration."""
        return [Route(name) for name, each in self._declared.items() if agent in each.agents]

    def deliver(self, handoff: Handoff) -> Receipt | None:
        """As the port says."""
        receipt = self._file.deliver(handoff)
        channel = self._channel(handoff)
        if channel is self._file:
            return receipt
        try:
            return channel.deliver(handoff)
        except SelfHealingError:
            raise
        except Exception as error:  # an answer that nobody foresaw costs this handoff, not the loop
            what = clean_text(repr(error))
            raise EffectUntold(f"channel {channel.name} broke over handoff {handoff.id}: {what}") from error

    def probe(self, handoff: Handoff) -> bool | None:
        """As the port says."""
        there = self._file.probe(handoff)
        channel = self._channel(handoff)
        return there if not there or channel is self._file else channel.probe(handoff)

    def repeatable(self, handoff: Handoff) -> bool:
        """As the port says."""
        return repeatable(self._known(handoff), handoff)

    def follow_s(self, handoff: Handoff) -> float | None:
        """How often it is worth asking how `handoff` stands, in seconds; None where nobody can be asked."""
        channel = self._known(handoff)
        # Asked of every open handoff each turn, and a protocol takes ten times as long to look for.
        every_s: float | None = getattr(channel, "follow_s", None)
        return every_s

    def progress(self, handoff: Handoff) -> Progress:
        """How `handoff` stands. Raises EffectError when there is no answer to be had."""
        channel = self._channel(handoff)
        if not isinstance(channel, Followed):
            raise EffectError(f"nobody can be asked by channel {channel.name}")
        return channel.follow(handoff)

    def lasting(self, handoff: Handoff) -> Lasting | None:
        """The channel of a notification that lasts as long as its incident; None for what is told once."""
        channel = self._known(handoff)
        return channel if isinstance(channel, Lasting) else None

    def _known(self, handoff: Handoff) -> Channel | None:
        return self._channel(handoff) if handoff.channel in self._declared else None

    def _channel(self, handoff: Handoff) -> Channel:
        """The channel that was chosen for it. Raises EffectError when it is declared no more."""
        name = handoff.channel
        if name == FILE:
            return self._file
        if name not in self._channels:
            if name not in self._declared:
                raise EffectError(f"channel {name} of handoff {handoff.id} is no longer declared in actions.channels")
            self._channels[name] = self._made(name, self._declared[name])
        return self._channels[name]

    def _made(self, name: str, declared: ChannelSettings) -> Channel:
        match declared:
            case FileDeclared():
                return self._file
            case CommandDeclared():
                return CommandChannel(name, declared)
            case PythonDeclared():
                return FunctionChannel(name, declared)
            case WebhookDeclared():
                return WebhookChannel(name, declared)
            case A2aDeclared():
                return A2aChannel(name, declared)
            case AppriseDeclared():
                return AppriseChannel(name, declared)
            case PagerDutyDeclared():
                return PagerDutyChannel(name, declared)
            case AlertmanagerDeclared():
                return AlertmanagerChannel(name, declared)
            case _:
                assert_never(declared)
