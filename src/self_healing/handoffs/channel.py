"""The port through which handoffs leave."""

from __future__ import annotations

from typing import Protocol

from self_healing.model import Handoff


class Channel(Protocol):
    """One way to deliver handoffs. Its methods may block, and are called from several threads.

    A handoff's id is its idempotency key: delivering it again must change nothing where `probe` can say False, because
    a delivery that took too long may still arrive after the next one was begun.
    """

    @property
    def name(self) -> str:
        """What people call it: ``file``, ``webhook``, ..."""
        ...

    def deliver(self, handoff: Handoff) -> None:
        """Bring `handoff` to where its recipient looks; it is there, durably, on return.

        Raises:
            EffectError: it is certain that nothing was delivered.
        """
        ...

    def probe(self, handoff: Handoff) -> bool | None:
        """Whether `handoff` was delivered; None when nobody can tell."""
        ...
