"""Foresight: whether nothing can happen for a while, so that a simulation need not look at every instant of it.

A fleet that nobody directs goes on by itself, so what it will have emitted in an hour is known at once. The look-ahead
of a backtest then says, from the very series of the loop, at which instant anything can come of it.
"""

from __future__ import annotations

from datetime import datetime

import numpy as np

from self_healing.backtest import decoded_lines
from self_healing.clock import SECOND_US, to_us
from self_healing.lookahead import LookAhead
from self_healing.orchestrator import SelfHealingOrchestrator
from self_healing.telemetry.columns import asked_attributes
from self_healing.telemetry.replayed import Replayed


class Foresight:
    """Sees ahead for a loop that is at rest.

    Args:
        loop: that has taken in the past, and nothing since.
    """

    def __init__(self, loop: SelfHealingOrchestrator) -> None:
        spec = loop.spec
        self._loop = loop
        self._asked = asked_attributes(spec.triggers)
        self._grid_us = spec.grid * SECOND_US
        self._telemetry = Replayed(spec.triggers, grid_us=self._grid_us, max_groups=spec.max_groups)
        self._telemetry.number_as(loop.telemetry)
        self._ahead = LookAhead(spec, loop.framework, self._telemetry, lambda _trigger, _place: None)
        self._unseen = [file.read_bytes() for file in sorted(loop.settings.telemetry.dir.glob("events-*.jsonl"))]
        self._seen_us = 0

    def sees(self, now: datetime) -> bool:
        """Whether it can see ahead of the loop, which stands at `now`: it must be at rest, with no window begun anew.

        Nor may it take groups or times for one another.
        """
        restarts = self._loop.telemetry.taps.restarts
        if not self._telemetry.tells_apart or not self._loop.at_rest or any(restarts.values()):
            return False
        self._queue()
        if self._seen_us < to_us(now):
            self._telemetry.gather(self._seen_us, to_us(now))
            self._telemetry.fold(to_us(now))
            self._seen_us = to_us(now)
        return self._telemetry.numbers_as(self._loop.telemetry)

    def hear(self, lines: list[bytes]) -> None:
        """What the fleet emitted; looked at once it matters."""
        self._unseen += lines

    def next_us(self, now: datetime, until: datetime) -> int | None:
        """The first instant after `now`, up to `until`, at which something can happen, microseconds; None for none.

        Args:
            now: from where it sees ahead.
            until: up to where the fleet was heard.
        """
        now_us, until_us = to_us(now), to_us(until)
        self._queue()
        self._telemetry.gather(now_us, until_us)
        self._ahead.begin(now_us, until_us)
        due = [*self._ahead.due_us(now_us).values(), self._loop.framework.next_timer_us(now_us, self._grid_us)]
        self._telemetry.fold(until_us)
        self._seen_us = until_us
        return min((each for each in due if each is not None and each <= until_us), default=None)

    def _queue(self) -> None:
        if self._unseen:
            known = decoded_lines(b"".join(self._unseen), self._asked)
            order = np.argsort(known.ts, kind="stable")
            self._telemetry.queue([known.events[at] for at in order.tolist()], known.kind[order], known.ts[order])
            self._unseen = []
