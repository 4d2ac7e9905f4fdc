"""What every way in makes of what it was sent, before anything is stored or acknowledged."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Final

from self_healing.model import Ingested

PROBLEMS_MAX: Final = 10
"""Of so many rejected items of a batch its sender is told what is wrong: enough to see what they have in common."""


@dataclass(slots=True, kw_only=True)
class Normalised:
    """One batch, normalised.

    Args:
        events: what it holds, in its own order.
        rejected: items that are bad for good and that the sender must not send again, by reason.
        key: the batch's idempotency key, by which it is known when it comes again: its sender's, or :func:`key_of`.
        problems: what is wrong with the first of the rejected items, and where, for people.
    """

    events: list[Ingested] = field(default_factory=list)
    rejected: dict[str, int] = field(default_factory=dict)
    key: str | None = None
    problems: list[str] = field(default_factory=list)

    def reject(self, reason: str, problem: str | None = None) -> None:
        """Count one item as bad for good; the first :data:`PROBLEMS_MAX` that say what is wrong are told."""
        self.rejected[reason] = self.rejected.get(reason, 0) + 1
        if problem is not None and len(self.problems) < PROBLEMS_MAX:
            self.problems.append(problem)

    @property
    def received(self) -> int:
        """How many items it held."""
        return len(self.events) + sum(self.rejected.values())


def key_of(body: bytes) -> str:
    """The key of a batch whose sender gives none, and whose items have no identity of their own: its very bytes.

    Who hears of no acknowledgement sends the same bytes again; and what is dated is never the same twice.
    """
    return hashlib.sha256(body).hexdigest()
