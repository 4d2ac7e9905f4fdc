"""What every way in makes of what it was sent, before anything is stored or acknowledged."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from self_healing.model import Ingested


@dataclass(slots=True, kw_only=True)
class Normalised:
    """One batch, normalised.

    Args:
        events: what it holds, in its own order.
        rejected: items that are bad for good and that the sender must not send again, by reason.
        key: the batch's idempotency key, by which it is known when it comes again: its sender's, or :func:`key_of`.
    """

    events: list[Ingested] = field(default_factory=list)
    rejected: dict[str, int] = field(default_factory=dict)
    key: str | None = None

    def reject(self, reason: str) -> None:
        """Count one item as bad for good."""
        self.rejected[reason] = self.rejected.get(reason, 0) + 1

    @property
    def received(self) -> int:
        """How many items it held."""
        return len(self.events) + sum(self.rejected.values())


def key_of(body: bytes) -> str:
    """The key of a batch whose sender gives none, and whose items have no identity of their own: its very bytes.

    Who hears of no acknowledgement sends the same bytes again; and what is dated is never the same twice.
    """
    return hashlib.sha256(body).hexdigest()
