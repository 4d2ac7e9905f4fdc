"""Similar: the past incidents that say most about one: of its trigger, those of its own series first."""

from __future__ import annotations

from self_healing.model import Incident, IncidentState
from self_healing.storage.store import Store

LOOKED_THROUGH = 50
SHOWN = 5
"""So many of the newest past incidents of a trigger are looked through, and so many are told."""


def similar(store: Store, incident: Incident) -> list[Incident]:
    """Past incidents of the same trigger: those of the same group first, then what shares a part of it, newest first.

    Args:
        store: the state.
        incident: whatever its own state.
    """
    past = store.select(Incident, trigger=incident.trigger, state=IncidentState.CLOSED.value, newest=LOOKED_THROUGH)
    others = [each for each in reversed(past) if each.id != incident.id and each.is_parent == incident.is_parent]
    return sorted(others, key=lambda each: -len(set(each.group) & set(incident.group)))[:SHOWN]
