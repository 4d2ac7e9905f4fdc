"""Worst: of many attempts the few that show each kind of trouble best, whatever else came after them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from self_healing.model import Event
from self_healing.telemetry.samples import Finished, duration_of, tokens_of

PER_MEASURE = 3
"""So many are kept of each kind: the newest that failed, the slowest, those tried most often, the hungriest, the
dearest."""

_Ranked = list[tuple[float, Event]]


class Worst:
    """The worst of the attempts that were weighed."""

    __slots__ = ("_cost", "_duration", "_failed", "_least", "_tokens", "_tries")

    def __init__(self) -> None:
        self._failed: list[Event] = []
        self._duration: _Ranked = []
        self._tries: _Ranked = []
        self._tokens: _Ranked = []
        self._cost: _Ranked = []
        # Of each figure what an attempt must have more of: nearly all are told by that, and this is the hot path.
        self._least: tuple[float, float, float, float] = (0.0, 1, 0, 0.0)

    def weigh(self, ended: Finished, places: Sequence[int]) -> None:
        """Keep those that are among the worst so far.

        Args:
            places: of the attempts among those that ended, ascending.
        """
        events, durations, tries = ended.events, ended.duration_s, ended.attempt
        tokens, costs, statuses = ended.tokens, ended.cost_usd, ended.status
        least_s, least_tries, least_tokens, least_usd = self._least
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
        self._least = (least_s, least_tries, least_tokens, least_usd)

    def __iter__(self) -> Iterator[Event]:
        """What is kept; what is worst in several ways comes as often."""
        yield from self._failed
        for ranked in (self._duration, self._tries, self._tokens, self._cost):
            for _, event in ranked:
                yield event


def weighable(events: Sequence[Event]) -> Finished:
    """Attempts that ended as :meth:`Worst.weigh` takes them, by what each says of itself."""
    return Finished(
        events=list(events),
        duration_s=[duration_of(event) for event in events],
        attempt=[event.attempt for event in events],
        status=[event.status for event in events],
        tokens=[tokens_of(event.usage) for event in events],
        cost_usd=[event.usage.total_usd if event.usage else None for event in events],
    )


def _put(ranked: _Ranked, value: float, event: Event, least: float) -> float:
    """Put a value that is above the least; returns the one that the next has to be above."""
    ranked.append((value, event))
    ranked.sort(key=_value)
    if len(ranked) > PER_MEASURE:
        del ranked[0]
    return ranked[0][0] if len(ranked) == PER_MEASURE else least


def _value(ranked: tuple[float, Event]) -> float:
    return ranked[0]
