"""Handoffs on their way out: made in the state first, delivered afterwards."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from self_healing.errors import SelfHealingError
from self_healing.handoffs.channel import Channel
from self_healing.handoffs.message import ContextMessageHandoff, new_handoff, unique_name
from self_healing.handoffs.router import FILE, Route
from self_healing.model import Handoff, HandoffStatus, Incident, affected_agent, new_id
from self_healing.storage.store import Store

NOTIFICATION = "notification"
"""Stands in place of an execution where a person is told something and nothing is done."""

AGAIN_AFTER = timedelta(seconds=10)
"""How long a notification that could not be delivered waits for its next try."""


def handed(handoff: Handoff) -> str:
    """To whom, and which way, for a timeline."""
    if not handoff.served:
        return f"handed to {handoff.target_agent} by {handoff.channel}, as no channel serves it"
    by = "" if handoff.channel == FILE else f" by {handoff.channel}"
    return f"handed to {handoff.target_agent}{by}"


class Outbox:
    """Makes handoffs.

    Args:
        store: the state; written in the transaction that is open.
        directory: where files will be; names are made unique there.
        route: the way to a recipient.
    """

    def __init__(self, store: Store, directory: Path, route: Callable[[str], Route]) -> None:
        self._store = store
        self._directory = directory
        self._route = route

    def make(
        self,
        incident: Incident,
        *,
        execution: str,
        target_agent: str,
        prompt: str,
        context: dict[str, Any],
        tags: tuple[str, ...],
        at: datetime,
        deadline: datetime,
        route: Route | None = None,
    ) -> Handoff:
        """A handoff in the state, with its name and its way fixed and nothing delivered yet; returns it.

        Args:
            route: its way; that of work to its recipient when left out.
        """
        message = ContextMessageHandoff(
            target_agent=target_agent,
            prompt=prompt,
            context=context,
            tags=tags,
            created_at=at,
            id=new_id("han"),
            incident=incident.id,
            execution=execution,
            deadline=deadline,
        )
        intended = {handoff.file for handoff in self._store.select(Handoff, status=HandoffStatus.CREATED.value)}
        name = unique_name(self._directory, intended, at, target_agent)
        way = route or self._route(target_agent)
        created = new_handoff(message, about=affected_agent(incident.group), file=name)
        handoff = msgspec.structs.replace(created, channel=way.channel, served=way.served)
        self._store.put(handoff)
        return handoff


class Notices:
    """Delivers the notifications in the state. They pass no gate: people are told even where nothing may be done.

    Args:
        store: the state; written only where :meth:`deliver` is called.
        channel: delivers.
        aside: deliver in threads of their own, so that a channel that hangs holds nobody up; their outcome is written
            with a later call. Otherwise at once.
    """

    def __init__(self, store: Store, channel: Channel, *, aside: bool) -> None:
        self._store = store
        self._channel = channel
        self._aside = aside
        self._ended: queue.SimpleQueue[tuple[str, str | None]] = queue.SimpleQueue()  # id, and why not
        self._under_way: set[str] = set()
        self._tried_at: dict[str, datetime] = {}
        self._waiting = {handoff.id: handoff for handoff in self._undelivered()}
        self.problem: str | None = None  # why somebody could not be told

    def add(self, handoff: Handoff) -> None:
        """Have this one delivered with the next call of :meth:`deliver`."""
        self._waiting[handoff.id] = handoff

    def due(self, at: datetime) -> bool:
        """Whether :meth:`deliver` has anything to do at that instant."""
        return not self._ended.empty() or any(self._may_try(id, at) for id in self._waiting)

    def deliver(self, now: Callable[[], datetime]) -> None:
        """Begin to deliver what waits, and write down what arrived. Raises StorageError.

        Args:
            now: the present instant.
        """
        for id, handoff in list(self._waiting.items()):
            if self._may_try(id, now()):
                self._tried_at[id] = now()
                self._under_way.add(id)
                if self._aside:
                    threading.Thread(target=self._try, args=(handoff,), name=f"notice {id}", daemon=True).start()
                else:
                    self._try(handoff)
        while not self._ended.empty():
            self._end(*self._ended.get(), now())

    def _may_try(self, id: str, at: datetime) -> bool:
        tried_at = self._tried_at.get(id)
        return id not in self._under_way and (tried_at is None or at - tried_at >= AGAIN_AFTER)

    def _try(self, handoff: Handoff) -> None:
        why = None
        try:
            # A process that was killed after the delivery did not write it down; it must not be delivered twice.
            if not self._channel.probe(handoff):
                self._channel.deliver(handoff)
        except SelfHealingError as error:
            why = f"a person could not be told of {handoff.incident}: {error}"
        self._ended.put((handoff.id, why))

    def _end(self, id: str, why: str | None, at: datetime) -> None:
        self._under_way.discard(id)
        self.problem = why
        if why is not None:
            return  # it stays `created`, and is tried again; until then health says so
        del self._waiting[id], self._tried_at[id]
        handoff = self._store.get(Handoff, id)
        if handoff.status is HandoffStatus.CREATED:  # else it expired meanwhile
            self._store.put(msgspec.structs.replace(handoff, status=HandoffStatus.DELIVERED, delivered_at=at))

    def _undelivered(self) -> list[Handoff]:
        return self._store.select(Handoff, execution=NOTIFICATION, status=HandoffStatus.CREATED.value)
