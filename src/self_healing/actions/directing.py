"""Setting, undoing and restoring directives: the side of the owner of the state."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from self_healing.actions.directives import effective
from self_healing.model import Directive, Execution
from self_healing.storage.store import Store

EXPIRED = "expired"
"""The reason on a directive that ended by itself."""


def directive_id(key: str, name: str) -> str:
    """The id of the directive that the execution with that idempotency key sets under `name`: always the same."""
    return "dir-" + hashlib.sha256(f"{key}/{name}".encode()).hexdigest()[:16]


class Directives:
    """The directives in the state. Each call is one transaction, or joins the one that is open.

    Args:
        store: the state.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def set(
        self, execution: Execution, settings: Mapping[str, Any], *, at: datetime, expires_at: datetime, reason: str
    ) -> list[Directive]:
        """The directives by which `execution` puts `settings` in force for its target.

        Setting them again changes nothing, not even after somebody undid them; that is what :meth:`restore` is for.

        Args:
            execution: it must have its key.
            settings: by name.
            at: now.
            expires_at: when they end by themselves.
            reason: in plain words, for whoever wonders.
        """
        if execution.key is None:
            raise ValueError(f"execution {execution.id} has no key; only an intended one can set directives")
        directives = []
        with self._store.transaction():
            before = effective(self.in_force(execution.target, at=at), at)
            for name, value in settings.items():
                id = directive_id(execution.key, name)
                directive = self._store.find(Directive, id)
                if directive is None:
                    directive = Directive(
                        id=id,
                        agent=execution.target,
                        name=name,
                        value=value,
                        owner=execution.incident,
                        execution=execution.id,
                        reason=reason,
                        created_at=at,
                        expires_at=expires_at,
                        replaced=before.get(name),
                    )
                    self._store.put(directive)
                directives.append(directive)
        return directives

    def in_force(self, agent: str | None = None, *, at: datetime) -> list[Directive]:
        """The directives in force at that instant, for one agent or for all, oldest first."""
        if agent is None:
            found = self._store.select(Directive, open="yes")
        else:
            found = self._store.select(Directive, open="yes", agent=agent)
        return [directive for directive in found if directive.expires_at > at]

    def of(self, execution: Execution) -> list[Directive]:
        """What `execution` ever set, undone or not, oldest first."""
        owned = self._store.select(Directive, owner=execution.incident)
        return [directive for directive in owned if directive.execution == execution.id]

    def undo(self, ids: Iterable[str], *, at: datetime, reason: str) -> list[Directive]:
        """End these at once; returns those that were not over yet. Raises NotFound, with nothing undone."""
        with self._store.transaction():
            found = [self._store.get(Directive, id) for id in ids]
            undone = [_ended(directive, at, reason) for directive in found if directive.undone_at is None]
            self._store.put(*undone)
        return undone

    def undo_owned(self, owner: str, *, at: datetime, reason: str) -> list[Directive]:
        """End at once all that the incident `owner` has in force; returns them."""
        owned = self._store.select(Directive, owner=owner, open="yes")
        return self.undo([directive.id for directive in owned], at=at, reason=reason)

    def restore(self, ids: Iterable[str], *, at: datetime, expires_at: datetime) -> list[Directive]:
        """Put these in force again, from `at` until `expires_at`. Raises NotFound, with nothing restored."""
        with self._store.transaction():
            restored = [
                msgspec.structs.replace(
                    self._store.get(Directive, id),
                    created_at=at,
                    expires_at=expires_at,
                    undone_at=None,
                    undone_reason=None,
                )
                for id in ids
            ]
            self._store.put(*restored)
        return restored

    def expire(self, at: datetime) -> list[Directive]:
        """Close the books on those whose time is over; returns them. They stopped counting at their very instant."""
        over = [directive for directive in self._store.select(Directive, open="yes") if directive.expires_at <= at]
        expired = [_ended(directive, directive.expires_at, EXPIRED) for directive in over]
        self._store.put(*expired)
        return expired


def _ended(directive: Directive, at: datetime, reason: str) -> Directive:
    return msgspec.structs.replace(directive, undone_at=at, undone_reason=reason)
