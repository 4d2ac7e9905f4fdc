"""Repair work: tasks that an agent works on for a handoff of its own feed no trigger, whoever else names a handoff.

An agent's word alone makes no task repair work: a fleet that numbers handoffs of its own would be watched no more.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from self_healing.clock import SECOND_US, to_us
from self_healing.model import Event, Handoff

FindHandoff = Callable[[str], Handoff | None]

_OURS: Final = re.compile(r"han-[0-9a-f]{10}")
"""The form of a handoff's id: of what looks otherwise there is none, and nobody need look."""


def named_by(event: Event) -> str | None:
    """The handoff that an event says it is work for."""
    if event.handoff_id is not None:
        return event.handoff_id
    said = event.attributes.get("handoff_id") if event.attributes else None
    return said if isinstance(said, str) else None


class Repairs:
    """Tells which work is done for a handoff by whom it was given to.

    Args:
        find: the handoff of an id. Where nobody can say, as in a history, whose id looks like one of ours is believed.
    """

    def __init__(self, find: FindHandoff | None = None) -> None:
        self._find = find

    def is_for(self, id: str, event: Event, at_us: int) -> bool:
        """Whether an event is of work for the handoff `id`, begun by its recipient before it was over.

        Args:
            at_us: when it happened; its task began no later.
        """
        if _OURS.fullmatch(id) is None:
            return False
        if self._find is None:
            return True
        handoff = self._find(id)
        if handoff is None or event.agent != handoff.target_agent:
            return False
        began_us = at_us if event.started_at is None else min(event.started_at * SECOND_US, at_us)
        return handoff.ended_at is None or began_us <= to_us(handoff.ended_at)
