"""Following: asking the recipients that can be asked how the handoffs stand that they have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from self_healing.errors import SelfHealingError
from self_healing.handoffs.aside import Aside
from self_healing.handoffs.channel import Progress
from self_healing.handoffs.router import Router
from self_healing.model import Handoff, HandoffStatus

WITH_RECIPIENT = (HandoffStatus.DELIVERED, HandoffStatus.ACCEPTED)


class Following:
    """Asks again and again until a handoff ends.

    Args:
        router: knows the channels.
        aside: ask in threads; otherwise at once.
    """

    def __init__(self, router: Router, *, aside: bool) -> None:
        self._router = router
        self._aside: Aside[Progress] = Aside(threads=aside)
        self._followed: dict[str, Handoff] = {}
        self._asked_at: dict[str, datetime] = {}

    def heed(self, handoffs: Iterable[Handoff]) -> None:
        """From now on these are the open ones."""
        with_recipient = (each for each in handoffs if each.status in WITH_RECIPIENT)
        self._followed = {each.id: each for each in with_recipient if self._router.follow_s(each) is not None}
        self._asked_at = {id: at for id, at in self._asked_at.items() if id in self._followed}

    def due(self, at: datetime) -> bool:
        """Whether there is somebody to ask at that instant, or an answer to hear."""
        return self._aside.ended or any(self._may_ask(each, at) for each in self._followed.values())

    def ask(self, at: datetime) -> None:
        """Ask whom it is time to ask."""
        for handoff in self._followed.values():
            if self._may_ask(handoff, at):
                self._asked_at[handoff.id] = at
                self._aside.begin(handoff.id, lambda handoff=handoff: self._router.progress(handoff))  # type: ignore[misc]

    def answers(self) -> Iterator[tuple[str, Progress | SelfHealingError]]:
        """What was answered since this was last asked, each with the id of its handoff."""
        return self._aside.outcomes()

    def _may_ask(self, handoff: Handoff, at: datetime) -> bool:
        every_s = self._router.follow_s(handoff)
        if every_s is None or self._aside.busy(handoff.id):
            return False
        asked_at = self._asked_at.get(handoff.id)
        return asked_at is None or at - asked_at >= timedelta(seconds=every_s)
