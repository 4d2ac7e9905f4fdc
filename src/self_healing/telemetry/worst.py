"""Worst: of many attempts the few that show each kind of trouble best, whatever else came after them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

import numpy as np

from self_healing.model import Event
from self_healing.telemetry.samples import Finished, duration_of, tokens_of

PER_MEASURE = 3
"""So many are kept of each kind: the newest that failed, the slowest, those tried most often, the hungriest, the
dearest; of equals the earliest."""

Least = tuple[float, float, float, float]
"""What an attempt must have more of than this: seconds, attempts, tokens, USD. Nearly all are told by that alone."""

ANY: Least = (0.0, 1, 0, 0.0)
"""While fewer are kept: a first attempt shows no trouble."""

_Ranked = list[tuple[float, Event]]


class Worst:
    """The worst of the attempts that were weighed."""

    __slots__ = ("_cost", "_duration", "_failed", "_tokens", "_tries", "least")

    def __init__(self) -> None:
        self._failed: list[Event] = []
        self._duration: _Ranked = []
        self._tries: _Ranked = []
        self._tokens: _Ranked = []
        self._cost: _Ranked = []
        self.least = ANY

    def weigh(self, ended: Finished, places: Sequence[int]) -> None:
        """Keep those that are among the worst so far.

        Args:
            places: of the attempts among those that ended, ascending.
        """
        events, durations, tries = ended.events, ended.duration_s, ended.attempt
        tokens, costs, statuses = ended.tokens, ended.cost_usd, ended.status
        least_s, least_tries, least_tokens, least_usd = self.least
        for place in places:
            value: float | None = durations[place]
            if value is not None and value > least_s:
                least_s = _put(self._duration, value, events[place], least_s)
            value = tries[place]
            if value is not None and value > least_tries:
                least_tries = _put(self._tries, value, events[place], least_tries)
            value = tokens[place]
            if value is not None and value > least_tokens:
                least_tokens = _put(self._tokens, value, events[place], least_tokens)
            value = costs[place]
            if value is not None and value > least_usd:
                least_usd = _put(self._cost, value, events[place], least_usd)
            status = statuses[place]
            if status != "success" and status in ("failed", "timeout"):
                self._failed = [*self._failed[1 - PER_MEASURE :], events[place]]
        self.least = (least_s, least_tries, least_tokens, least_usd)

    def __iter__(self) -> Iterator[Event]:
        """What is kept; what is worst in several ways comes as often."""
        yield from self._failed
        for ranked in (self._duration, self._tries, self._tokens, self._cost):
            for _, event in ranked:
                yield event


FEW = 500


def notable(
    ended: Finished, of: Sequence[Sequence[int]], least: Sequence[Least], *, few: int = FEW
) -> Iterable[Sequence[int]]:
    """Of the places of each agent's attempts those that are worth weighing: that failed, or have more than the least.

    Args:
        least: what each agent's must have more of.
        few: so many in all are not looked at in columns: to weigh them is sooner done.
    """
    if sum(map(len, of)) <= few:
        return of
    count = np.fromiter(map(len, of), np.intp, len(of))
    places = np.fromiter(chain.from_iterable(of), np.intp, int(count.sum()))
    found = ended.failed()[places]
    for figures, floor in zip(ended.figures(), np.array(least, np.float64).reshape(-1, 4).T, strict=True):
        found |= figures[places] > np.repeat(floor, count)
    ends = np.searchsorted(np.flatnonzero(found), np.cumsum(count)).tolist()
    kept = places[found].tolist()
    return (kept[start:end] for start, end in zip([0, *ends], ends, strict=False))


def weighable(events: Sequence[Event]) -> Finished:
    """Attempts that ended as :meth:`Worst.weigh` takes them, by what each says of itself."""
    return Finished(
        events=list(events),
        agent=[event.agent for event in events],
        duration_s=[duration_of(event) for event in events],
        attempt=[event.attempt for event in events],
        status=[event.status for event in events],
        tokens=[tokens_of(event.usage) for event in events],
        cost_usd=[event.usage.total_usd if event.usage else None for event in events],
    )


def _put(ranked: _Ranked, value: float, event: Event, least: float) -> float:
    """Put a value that is above the least; returns the one that the next has to be above."""
    ranked.append((value, event))
    ranked.sort(key=_value, reverse=True)  # which leaves equals in their order
    del ranked[PER_MEASURE:]
    return ranked[-1][0] if len(ranked) == PER_MEASURE else least


def _value(ranked: tuple[float, Event]) -> float:
    return ranked[0]
