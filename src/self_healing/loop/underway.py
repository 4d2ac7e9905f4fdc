"""What is under way: the executions that are intended and have no outcome yet, beside what was done lately."""

from __future__ import annotations

from datetime import datetime

from self_healing.constitution.effects import Effects
from self_healing.model import Directive, Execution, ExecutionStatus
from self_healing.storage.store import Store

REMEMBERED = 20_000
"""So many of the newest executions are looked through at the start; the limits look back a day at most."""


class Underway:
    """The executions that the gate allowed.

    Args:
        store: the state.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.effects = Effects(store.select(Execution, newest=REMEMBERED))
        self._intended = {e.id: e for e in store.select(Execution, status=ExecutionStatus.INTENDED.value)}

    def __len__(self) -> int:
        return len(self._intended)

    @property
    def intended(self) -> list[Execution]:
        """Those without an outcome, as they were when it was last asked for."""
        return list(self._intended.values())

    def add(self, execution: Execution) -> None:
        """One more is intended."""
        self.effects.add(execution)
        self._intended[execution.id] = execution

    def hear(self, at: datetime) -> list[Execution]:
        """Those that came to an outcome since this was last asked."""
        ended = []
        for id in list(self._intended):
            execution = self._store.get(Execution, id)
            self.effects.add(execution)
            if execution.status is ExecutionStatus.INTENDED:
                self._intended[id] = execution
            else:
                del self._intended[id]
                ended.append(execution)
        self.effects.forget(at)
        return ended

    def about_to_be(self, at: datetime) -> list[Directive]:
        """The directives that intended executions will set: what is decided next has to reckon with them."""
        return [
            Directive(
                id=f"{execution.id}/{name}",
                agent=execution.target,
                name=name,
                value=value,
                owner=execution.incident,
                execution=execution.id,
                reason="intended",
                created_at=at,
                expires_at=datetime.max.replace(tzinfo=at.tzinfo),
            )
            for execution in self._intended.values()
            for name, value in execution.settings.items()
        ]
