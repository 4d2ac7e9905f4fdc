"""What every way in makes of what it was sent, before anything is stored or acknowledged."""

from __future__ import annotations

from dataclasses import dataclass, field

from self_healing.model import Ingested


@dataclass(slots=True, kw_only=True)
class Normalised:
    """One batch, normalised.

    Args:
        events: what it holds, in its own order.
        rejected: items that are bad for good and that the sender must not send again, by reason.
        key: the batch's idempotency key, where its sender gave one.
        as_read: each event is what will be read of its line, unless something has to be left out of that.
    """

    events: list[Ingested] = field(default_factory=list)
    rejected: dict[str, int] = field(default_factory=dict)
    key: str | None = None
    as_read: bool = False

    def reject(self, reason: str) -> None:
        """Count one item as bad for good."""
        self.rejected[reason] = self.rejected.get(reason, 0) + 1

    @property
    def received(self) -> int:
        """How many items it held."""
        return len(self.events) + sum(self.rejected.values())
