"""The port through which handoffs leave."""

from __future__ import annotations

from typing import Protocol

from self_healing.model import Handoff, Record


class Receipt(Record, frozen=True, kw_only=True):
    """What a channel has to tell of a delivery; all of it harmless, as it is kept with the handoff."""

    remote: str | None = None  # what the recipient calls it, such as the id of its task
    said: str | None = None  # what came back: the output of a program, an answer


class Channel(Protocol):
    """One way to deliver handoffs. Its methods may block, and are called from several threads.

    A handoff's id is its idempotency key: delivering it again must change nothing where `probe` can say False, because
    a delivery that took too long may still arrive after the next one was begun.
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
