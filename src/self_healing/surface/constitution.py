"""The constitution, its decisions, and the audit log."""

from __future__ import annotations

import msgspec

from self_healing import status, views
from self_healing.constitution import articles
from self_healing.constitution.checkpoints import checkpoints_file, verify
from self_healing.constitution.used import used
from self_healing.explaining.decided import decided
from self_healing.model import (
    Decision,
    Directive,
    Incident,
    Outcome,
)
from self_healing.surface.shared import NOT_CLOSED, Answers
from self_healing.views import Json

RECENT = 10
"""So many of the newest decisions, and of the newest denials, are shown with the constitution."""


class Constitution(Answers):
    """What is allowed, and what was decided."""

    def constitution(self) -> Json:
        decisions = self._store.select(Decision, newest=RECENT)
        denials = self._store.select(Decision, newest=RECENT, outcome=Outcome.DENY.value)
        held_to = articles.load(own=self._loop.spec.articles)
        return {
            "version": held_to.version,
            "articles": [msgspec.to_builtins(each) for each in held_to.infos()],
            "facts": articles.facts(own=bool(self._loop.spec.articles)),
            "limits": self._limits(),
            "violations": status.violations(self._loop.settings),
            "decisions": [views.decision(each) for each in reversed(decisions)],
            "denials": [views.decision(each) for each in reversed(denials)],
        }

    def _limits(self) -> list[Json]:
        """Each limit, and how much of it is used now where it fills up."""
        now = used(
            self._loop.telemetry.agents,
            self._loop.effects,
            self._store.select(Incident, state=NOT_CLOSED),
            self._store.select(Directive, open="yes"),
            self._loop.clock.now(),
        )
        return views.limits(self._loop.spec.limits, now)

    def decision(self, id: str) -> Json:
        return decided(self._store, self._loop.spec.articles, id)

    def audit(self) -> Json:
        told: Json = msgspec.to_builtins(verify(self._store, checkpoints_file(self._loop.settings.storage.logs_dir)))
        return told
