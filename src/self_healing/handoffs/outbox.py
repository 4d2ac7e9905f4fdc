"""Handoffs on their way out: made in the state first, delivered afterwards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec

from self_healing.errors import EffectUntold, SelfHealingError
from self_healing.handoffs.aside import Aside
from self_healing.handoffs.channel import Receipt, delivered
from self_healing.handoffs.message import ContextMessageHandoff, new_handoff, unique_name
from self_healing.handoffs.router import FILE, Route, Router
from self_healing.labelling import label
from self_healing.model import Handoff, HandoffStatus, Incident, affected_agent, new_id
from self_healing.storage.store import Store

NOTIFICATION = "notification"
"""Stands in place of an execution where a person is told something and nothing is done."""

AGAIN_AFTER, AGAIN_AT_MOST = timedelta(seconds=10), timedelta(minutes=5)
"""How long a notification that could not be delivered waits for its next try: at first, and doubling up to this."""

MOST_UNTOLD = 3
"""So often one is sent of which nobody can tell whether it arrived: a person had better hear it twice than never."""


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
        environment: which of several fleets this is, for the recipients; empty where there is only one.
    """

    def __init__(self, store: Store, directory: Path, route: Callable[[str], Route], *, environment: str = "") -> None:
        self._store = store
        self._directory = directory
        self._route = route
        self._label = label(environment)

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
            context=self._label | context,
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

    Those that last are renewed while their incident is open, and taken back when it is closed.

    Args:
        store: the state; written only where :meth:`deliver` is called.
        router: delivers.
        open: whether the incident of that id is open.
        aside: deliver in threads of their own, so that a channel that hangs holds nobody up; their outcome is written
            with a later call. Otherwise at once.
    """

    def __init__(self, store: Store, router: Router, *, open: Callable[[str], bool], aside: bool) -> None:
        self._store = store
        self._router = router
        self._open = open
        self._aside: Aside[Receipt | None] = Aside(threads=aside)
        self._tried_at: dict[str, datetime] = {}
        self._failed = Counter[str]()  # how often in a row
        told = store.select(Handoff, execution=NOTIFICATION)
        self._waiting = {each.id: each for each in told if each.status is HandoffStatus.CREATED}
        self._lasting = {each.id: each for each in told if each.delivered_at is not None and self._lasts(each)}
        self._lost = [each for each in told if each.status is HandoffStatus.FAILED and each.delivered_at is None]
        self._problems: dict[str, str] = {}

    @property
    def problem(self) -> str | None:
        """Why somebody could not be told."""
        lost = (_could_not(each, each.result or "") for each in self._lost if self._open(each.incident))
        return next(chain(self._problems.values(), lost), None)

    def add(self, handoff: Handoff) -> None:
        """Have this one delivered with the next call of :meth:`deliver`."""
        self._waiting[handoff.id] = handoff

    def due(self, at: datetime) -> bool:
        """Whether :meth:`deliver` has anything to do at that instant."""
        waiting = any(self._may_try(id, at) for id in self._waiting)
        return waiting or self._aside.ended or any(self._to_keep(each, at) for each in self._lasting.values())

    def deliver(self, now: Callable[[], datetime]) -> None:
        """Begin to deliver what waits, keep up what lasts, and write down what came of it. Raises StorageError.

        Args:
            now: the present instant.
        """
        for id, handoff in list(self._waiting.items()):
            if self._may_try(id, now()):
                self._begin(handoff, now(), self._told)
        for handoff in list(self._lasting.values()):
            if self._to_keep(handoff, now()):
                self._begin(handoff, now(), self._renewed if self._open(handoff.incident) else self._resolved)
        for id, outcome in self._aside.outcomes():
            self._end(id, outcome, now())

    def _begin(self, handoff: Handoff, at: datetime, call: Callable[[Handoff], Receipt | None]) -> None:
        self._tried_at[handoff.id] = at
        self._aside.begin(handoff.id, lambda: call(handoff))

    def _may_try(self, id: str, at: datetime) -> bool:
        tried_at = self._tried_at.get(id)
        after = min(AGAIN_AFTER * 2 ** min(max(self._failed[id] - 1, 0), 9), AGAIN_AT_MOST)
        return not self._aside.busy(id) and (tried_at is None or at - tried_at >= after)

    def _lasts(self, handoff: Handoff) -> bool:
        return handoff.taken_back_at is None and self._router.lasting(handoff) is not None

    def _to_keep(self, handoff: Handoff, at: datetime) -> bool:
        """Whether one that lasts is to be renewed, or taken back."""
        if self._aside.busy(handoff.id):
            return False
        tried_at = self._tried_at.get(handoff.id)
        if not self._open(handoff.incident):
            return handoff.id not in self._problems or self._may_try(handoff.id, at)
        channel = self._router.lasting(handoff)
        renew_s = None if channel is None else channel.renew_s
        return renew_s is not None and (tried_at is None or at - tried_at >= timedelta(seconds=renew_s))

    def _told(self, handoff: Handoff) -> Receipt | None:
        # A process that was killed after the delivery did not write it down; it must not be delivered twice.
        return None if self._router.probe(handoff) else self._router.deliver(handoff)

    def _renewed(self, handoff: Handoff) -> Receipt | None:
        return self._router.deliver(handoff)

    def _resolved(self, handoff: Handoff) -> None:
        channel = self._router.lasting(handoff)
        if channel is not None:  # else it is declared no more, and nobody is left to be told
            channel.resolve(handoff)

    def _end(self, id: str, outcome: Receipt | SelfHealingError | None, at: datetime) -> None:
        handoff = self._store.get(Handoff, id)
        over = handoff.status is not HandoffStatus.CREATED or not self._open(handoff.incident)
        if isinstance(outcome, SelfHealingError) and over and id in self._waiting:
            del self._waiting[id], self._tried_at[id]  # nobody need be told any more
            self._problems.pop(id, None)
            del self._failed[id]
            return
        if isinstance(outcome, SelfHealingError):
            self._failed[id] += 1
            # What waits stays `created`, and is tried again, as what lasts is; until then health says so.
            self._problems[id] = _could_not(handoff, str(outcome))
            if isinstance(outcome, EffectUntold) and id in self._waiting and self._sent_enough(handoff):
                self._give_up(handoff, str(outcome), at)
            return
        self._problems.pop(id, None)
        del self._failed[id]
        if id in self._waiting:
            del self._waiting[id]
            if handoff.status is HandoffStatus.CREATED:  # else it expired meanwhile
                handoff = delivered(handoff, outcome, at)
                self._store.put(handoff)
            if self._lasts(handoff):
                self._lasting[id] = handoff
            else:
                del self._tried_at[id]
        elif not self._open(handoff.incident):
            self._store.put(taken_back(handoff, at))
            del self._lasting[id], self._tried_at[id]

    def _sent_enough(self, handoff: Handoff) -> bool:
        return self._failed[handoff.id] >= MOST_UNTOLD and not self._router.repeatable(handoff)

    def _give_up(self, handoff: Handoff, why: str, at: datetime) -> None:
        """It may have arrived each time; its incident's health says so while that is open."""
        why = f"{why}; it was sent {self._failed[handoff.id]} times, and is not sent again"
        lost = msgspec.structs.replace(handoff, status=HandoffStatus.FAILED, ended_at=at, result=why)
        self._store.put(lost)
        self._lost.append(lost)
        del self._waiting[handoff.id], self._tried_at[handoff.id], self._problems[handoff.id], self._failed[handoff.id]


def _could_not(handoff: Handoff, why: str) -> str:
    return f"a person could not be told of {handoff.incident}: {why}"


def taken_back(handoff: Handoff, at: datetime) -> Handoff:
    """A notification, now that its incident is closed and nobody need look any more."""
    if handoff.ended_at is not None:
        return msgspec.structs.replace(handoff, taken_back_at=at)
    over = "the incident is closed"
    return msgspec.structs.replace(
        handoff, taken_back_at=at, status=HandoffStatus.COMPLETED, ended_at=at, result=over, pause=None
    )
