"""What several answers are made of."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Annotated, Any

import msgspec

from self_healing import views
from self_healing.loop.asking import shown
from self_healing.model import (
    Approval,
    Execution,
    Handoff,
    Incident,
    IncidentState,
    Verification,
)
from self_healing.orchestrator import SelfHealingOrchestrator
from self_healing.views import Json

Aware = Annotated[datetime, msgspec.Meta(tz=True)]
AtLeastOne = Annotated[int, msgspec.Meta(ge=1)]
Said = Annotated[str, msgspec.Meta(pattern=r"\S")]
"""Who somebody is, or why they do something: never nothing."""

NOT_CLOSED = tuple(state for state in IncidentState if state is not IncidentState.CLOSED)


class Answers:
    """What every part of the surface stands on.

    Args:
        orchestrator: whose state it is.
        serving: whether a service runs it; then the time is the service's own.
        refused: how many requests with telemetry the service refused whole, by reason.
    """

    def __init__(
        self,
        orchestrator: SelfHealingOrchestrator,
        *,
        serving: bool = True,
        refused: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        self._loop = orchestrator
        self._store = orchestrator.store
        self._serving = serving
        self._refused = refused

    def _incident(self, incident: Incident) -> Json:
        return views.incident(incident, self._loop.spec.triggers)

    def _past(self, incidents: list[Incident]) -> list[Json]:
        """What was done about each, and what came of it."""
        ids = [incident.id for incident in incidents]
        made = self._store.select(Execution, incident=ids)
        told = dict(zip((each.id for each in made), self._executions(made), strict=True))
        executions, verifications = _by_incident(made), _by_incident(self._store.select(Verification, incident=ids))
        return [
            views.past(each, [told[own.id] for own in executions[each.id]], verifications[each.id])
            for each in incidents
        ]

    def _executions(self, executions: Sequence[Execution]) -> list[Json]:
        """Each with how its handoff stands; those are looked up at once, for a list of them may be long."""
        ids = [each.handoff for each in executions if each.handoff is not None]
        handoffs = {each.id: each for each in self._store.select(Handoff, id=ids)}
        return [views.execution(each, handoffs.get(each.handoff or "")) for each in executions]

    def _approval(self, approval: Approval) -> Json:
        return shown(approval, self._loop.spec_of(approval.proposal.incident))

    def _handoff(self, handoff: Handoff) -> Json:
        path = self._loop.settings.storage.logs_dir / "handoffs" / handoff.file
        execution = self._store.find(Execution, handoff.execution)
        tries = None if execution is None else execution.tries
        return {**views.handoff(handoff), "path": str(path), "tries": tries}


def _by_incident(records: list[Any]) -> defaultdict[str, list[Any]]:
    found: defaultdict[str, list[Any]] = defaultdict(list)
    for record in records:
        found[record.incident].append(record)
    return found
