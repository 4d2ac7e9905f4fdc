"""What is under way: the executions that are intended and have no outcome yet, beside what was done lately."""

from __future__ import annotations

from datetime import datetime, timedelta

from self_healing.actions.planning import DIAGNOSTIC_STEP
from self_healing.constitution.effects import WITH_EFFECT, Effects
from self_healing.model import Decision, Directive, Execution, ExecutionStatus
from self_healing.storage.lately import lately
from self_healing.storage.store import Store

LOOKED_BACK = timedelta(days=1)
"""How far the limits look back at most."""


class Underway:
    """The executions that the gate allowed.

    Args:
        store: the state.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        recent = _recent(store)
        self.effects = Effects(recent)
        # An analysis is over with its delivery; where the process ended in between, nobody has heard of it yet.
        dispatched = ExecutionStatus.DISPATCHED
        self._unheard = [e for e in recent if e.step == DIAGNOSTIC_STEP and e.status is dispatched]
        self._intended: dict[str, Execution] = {}
        self._about_to_be: dict[str, tuple[Directive, ...]] = {}  # by execution
        for execution in store.select(Execution, status=ExecutionStatus.INTENDED.value):
            self.add(execution)

    def __len__(self) -> int:
        return len(self._intended) + len(self._unheard)

    def add(self, execution: Execution) -> None:
        """One more is intended."""
        self.effects.add(execution)
        self._intended[execution.id] = execution
        self._about_to_be[execution.id] = self._directives(execution)

    def hear(self, at: datetime) -> list[Execution]:
        """Those that came to an outcome since this was last asked."""
        ended, self._unheard = self._unheard, []
        for id in list(self._intended):
            execution = self._store.get(Execution, id)
            self.effects.add(execution)
            if execution.status is ExecutionStatus.INTENDED:
                self._intended[id] = execution
            else:
                del self._intended[id], self._about_to_be[id]
                ended.append(execution)
        self.effects.forget(at)
        return ended

    def about_to_be(self) -> list[Directive]:
        """The directives that intended executions will set: what is decided next has to reckon with them."""
        return [directive for directives in self._about_to_be.values() for directive in directives]

    def _directives(self, execution: Execution) -> tuple[Directive, ...]:
        decision = self._store.find(Decision, execution.decision)
        if decision is None:
            return ()  # somebody wrote it past the gate; it is refused, and sets nothing
        return tuple(
            Directive(
                id=f"{execution.id}/{name}",
                agent=execution.target,
                name=name,
                value=value,
                owner=execution.incident,
                execution=execution.id,
                kind=decision.proposal.action_type,
                reason="intended",
                created_at=execution.created_at,
                expires_at=datetime.max.replace(tzinfo=execution.created_at.tzinfo),
            )
            for name, value in execution.settings.items()
        )


def _recent(store: Store) -> list[Execution]:
    """All that count against the limits, of the day before the newest of them, however many there were that do not."""
    statuses = sorted(status.value for status in WITH_EFFECT)
    return lately(store, Execution, by="updated_at", span=LOOKED_BACK, at=lambda each: each.updated_at, status=statuses)
