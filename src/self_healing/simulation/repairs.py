"""The handoffs that reach the fleet, read from their files as any agent would read them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROUTINE_TAGS = frozenset({"notification", "diagnostic"})
"""Handoffs that are to be taken note of; completing them repairs nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a specialist needs to know of a handoff.

    Args:
        id: of the handoff.
        specialist: who is asked.
        agents: the affected ones: several where the handoff is about all that share a cause, none where it says none.
        trigger: what it fell ill with, None when the handoff does not say.
        routine: to be taken note of only.
    """

    id: str
    specialist: str
    agents: tuple[str, ...]
    trigger: str | None
    routine: bool


def request(message: dict[str, Any]) -> Request:
    """What the handoff `message` asks for. Raises KeyError when one of its keys is missing."""
    context = message["context"]
    symptom = context.get("symptom", {})
    return Request(
        id=message["id"],
        specialist=message["target_agent"],
        agents=_agents(context),
        trigger=symptom.get("trigger"),
        routine=not ROUTINE_TAGS.isdisjoint(message["tags"]),
    )


def _agents(context: dict[str, Any]) -> tuple[str, ...]:
    """Whom a handoff is about: those beneath the incident where it has some, else its own."""
    beneath = [each.get("group", {}).get("agent") for each in context.get("incidents_beneath", ())]
    own = context.get("symptom", {}).get("group", {}).get("agent", context.get("affected_agent"))
    return tuple(dict.fromkeys(agent for agent in beneath or [own] if agent is not None))


class Handoffs:
    """Watches a directory for handoffs; each is seen once, in the order of their names, which begin with their time.

    Args:
        directory: need not exist yet; None when nobody hands over anything.
    """

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory
        self._seen: set[str] = set()

    def new(self) -> list[Request]:
        """What came since the last call. Raises OSError, and ValueError or KeyError on a file that is no handoff."""
        if self._directory is None:
            return []
        names = sorted(path.name for path in self._directory.glob("handoff_*.json") if path.name not in self._seen)
        requests = [request(json.loads((self._directory / name).read_bytes())) for name in names]
        self._seen.update(names)
        return requests
