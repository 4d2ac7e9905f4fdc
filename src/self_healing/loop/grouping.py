"""Grouping: incidents of one trigger that share a cause go beneath a parent, which hands it over once for all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from datetime import datetime

from self_healing.incidents.causes import Attribute, shared
from self_healing.incidents.register import Register
from self_healing.model import CAUSE, Incident, IncidentState, affected_agent
from self_healing.telemetry.telemetry import Telemetry

TOGETHER = 3
"""So many series that share a cause get a parent."""


class Grouping:
    """Finds what incidents have in common.

    Args:
        register: the incidents.
        telemetry: has the newest work of each agent.
    """

    def __init__(self, register: Register, telemetry: Telemetry) -> None:
        self._register = register
        self._telemetry = telemetry
        self._openings: int | None = None  # all of them when last looked at; None before the first time
        self._looked: dict[str, frozenset[tuple[str, int]]] = {}  # a trigger's openings when last looked at

    def group(self, at: datetime) -> None:
        """Put what shares a cause beneath a parent; looked at again only when other incidents are open."""
        if self._register.openings == self._openings:
            return
        self._openings = self._register.openings
        for trigger, ill in self._by_trigger().items():
            ids = frozenset((incident.id, incident.reopened) for incident in ill)
            if len(ill) < TOGETHER or self._looked.get(trigger) == ids:
                continue
            self._looked[trigger] = ids
            for cause in self.shared(ill):
                sharing = [i for i in ill if i.state is not IncidentState.ESCALATED and cause in self._attributes(i)]
                if len(sharing) >= TOGETHER:
                    self._together(trigger, cause, sharing, at)
                    break

    def shared(self, incidents: Collection[Incident]) -> list[Attribute]:
        """The attributes that the agents of these incidents share, and few of those without any incident have."""
        unwell = {affected_agent(incident.group) for incident in self._register.open.values()}
        well = [self._telemetry.examples.attributes(name) for name in self._telemetry.agents if name not in unwell]
        if not well:
            return []  # what all have tells nothing
        return shared([self._attributes(incident) for incident in incidents if not incident.is_parent], well)

    def _by_trigger(self) -> dict[str, list[Incident]]:
        found: defaultdict[str, list[Incident]] = defaultdict(list)
        for incident in self._register.open.values():
            if not incident.is_parent:
                found[incident.trigger].append(incident)
        return found

    def _attributes(self, incident: Incident) -> frozenset[Attribute]:
        """What the newest work of its agent says, and what its own group does."""
        attributes = self._telemetry.examples.attributes(affected_agent(incident.group))
        own = [pair for pair in incident.group if pair[0] != "agent"]
        return attributes.union(own) if own else attributes

    def _together(self, trigger: str, cause: Attribute, sharing: list[Incident], at: datetime) -> None:
        alone = [incident for incident in sharing if incident.parent is None]
        if any(incident.state is IncidentState.OPEN for incident in alone):
            group = ((CAUSE, "=".join(cause)),)
            self._register.join(trigger, group, alone, at)
