"""The port through which handoffs leave."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Protocol, runtime_checkable

import msgspec

from self_healing.model import Handoff, HandoffStatus, Note, Record


class Receipt(Record, frozen=True, kw_only=True):
    """What a channel has to tell of a delivery; all of it harmless, as it is kept with the handoff."""

    remote: str | None = None  # what the recipient calls it, such as the id of its task
    said: str | None = None  # what came back: the output of a program, an answer


def delivered(handoff: Handoff, receipt: Receipt | None, at: datetime) -> Handoff:
    """`handoff`, now that it is where its recipient looks, with what the channel had to tell of it."""
    told = receipt or Receipt()
    notes = handoff.notes if told.said is None else (*handoff.notes, Note(at=at, what="answer", text=told.said))
    return msgspec.structs.replace(
        handoff, status=HandoffStatus.DELIVERED, delivered_at=at, remote=told.remote or handoff.remote, notes=notes
    )


class Channel(Protocol):
    """One way to deliver handoffs. Its methods may block, and are called from several threads.

    A handoff's id is its idempotency key: delivering it again must change nothing where `probe` can say False, or where
    it is :class:`Repeatable`, because a delivery that took too long may still arrive after the next one was begun.
    """

    @property
    def name(self) -> str:
        """What people call it: ``file``, or the name that it has in the configuration."""
        ...

    def deliver(self, handoff: Handoff) -> Receipt | None:
        """Bring `handoff` to where its recipient looks; it is there, durably, on return.

        Returns:
            What is worth keeping of it; None where nothing is.

        Raises:
            EffectUntold: nobody can tell whether it was delivered.
            EffectRefused: it was not, and never will be.
            EffectError: it is certain that nothing was delivered; it may be tried again.
        """
        ...

    def probe(self, handoff: Handoff) -> bool | None:
        """Whether `handoff` was delivered; None when nobody can tell."""
        ...


class Stage(StrEnum):
    """How work stands that a recipient was given."""

    WAITING = "waiting"  # it has it, and has not begun
    WORKING = "working"  # it works on it
    PAUSED = "paused"  # it needs something from a person before it can go on
    COMPLETED = "completed"  # it says that it is done
    FAILED = "failed"  # it says that it cannot be done


class Progress(Record, frozen=True, kw_only=True):
    """What a recipient says of its work; all of it harmless, as it is kept with the handoff."""

    stage: Stage
    said: str | None = None  # in its own words
    remote: str | None = None  # what it calls it


@runtime_checkable
class Repeatable(Channel, Protocol):
    """A channel that may be given a handoff again though nobody can tell whether it arrived."""

    def repeatable(self, handoff: Handoff) -> bool:
        """Whether delivering `handoff` again changes nothing for who has it."""
        ...


def repeatable(channel: Channel | None, handoff: Handoff) -> bool:
    """Whether `channel` may be given `handoff` again though nobody can tell whether it arrived."""
    return isinstance(channel, Repeatable) and channel.repeatable(handoff)


@runtime_checkable
class Followed(Channel, Protocol):
    """A channel whose recipients can be asked how their work stands."""

    @property
    def follow_s(self) -> float:
        """How often it is worth asking, in seconds."""
        ...

    def follow(self, handoff: Handoff) -> Progress:
        """How `handoff` stands. Raises EffectError when there is no answer to be had."""
        ...


@runtime_checkable
class Lasting(Channel, Protocol):
    """A channel of notifications that last as long as their incident. Delivering one again renews it."""

    @property
    def renew_s(self) -> float | None:
        """How often it is to be delivered again while the incident is open, in seconds; None: once is enough."""
        ...

    def resolve(self, handoff: Handoff) -> None:
        """Take it back, as the incident is closed. Raises EffectError when that did not come through."""
        ...
