"""Exemplifying: which of an agent's tasks show a trouble best, and what is shown of them to whoever gets it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any, Final

from self_healing.model import Event
from self_healing.telemetry.attributes import plain
from self_healing.telemetry.examples import pairs
from self_healing.telemetry.samples import duration_of, tokens_of
from self_healing.telemetry.timestamps import UNREAD, encode_ts, time_of

MOST_EXAMPLES: Final = 5

MOST_ATTRIBUTES: Final = 12
"""Of each example: with five of them, a few thousand characters of the message at the very most."""

_COLUMNS: Final = ("model", "provider", "tool", "error_type", "run_id", "trace_id")

MOST_DIFFERENCES: Final = 10

LEAST_DIFFERENCE: Final = 0.5
"""Of two shares: what half of the bad attempts have more often than the others is worth a look; less may be chance."""

_FAILURES: Final = ("failed", "timeout")


def _cost(event: Event) -> float | None:
    return event.usage.total_usd if event.usage else None


_WORST: Final[dict[str, Callable[[Event], float | None]]] = {
    "task.duration_s": duration_of,
    "task.attempts": lambda event: event.attempt,
    "task.tokens": lambda event: tokens_of(event.usage),
    "task.cost_usd": _cost,
}
"""Of the signals that a single task is the worse for the more it has of it, how much that is."""


def telling(signal: str, ended: Iterable[Event]) -> list[dict[str, Any]]:
    """The attempts that show a trouble best, the most telling first.

    Args:
        signal: what the trouble is about: the attempts with the most of it come first; where that cannot be said of
            one, as of errors and tests, those that failed; then the slow ones, then the newest.
        ended: attempts, the oldest first.
    """
    measure = _WORST.get(signal)

    def worst(event: Event) -> tuple[float, bool, float]:
        value = None if measure is None else measure(event)
        return (-1.0 if value is None else value, event.status in _FAILURES, duration_of(event) or 0.0)

    newest_first = list(ended)[::-1]
    return [_shown(event) for event in sorted(newest_first, key=worst, reverse=True)[:MOST_EXAMPLES]]


def differing(signal: str, limit: float | None, own: Sequence[Event], others: Iterable[Event]) -> list[dict[str, Any]]:
    """What the attempts that show a trouble have in common and others have not, the greatest difference first.

    Args:
        signal: what the trouble is about.
        limit: from which on a single attempt shows it, in the signal's unit; where none is known, those that failed do.
        own: attempts of the affected agents.
        others: attempts of other agents.
    """
    bad = [event for event in own if _shows(signal, limit, event)]
    normal = [event for event in own if not _shows(signal, limit, event)] + list(others)
    if not bad or not normal:
        return []
    of_bad, of_normal = (Counter(pair for event in events for pair in set(pairs(event))) for events in (bad, normal))
    shares = ((pair, n / len(bad), of_normal[pair] / len(normal)) for pair, n in of_bad.items())
    telling = sorted(
        (each for each in shares if each[1] - each[2] >= LEAST_DIFFERENCE), key=lambda e: (e[2] - e[1], e[0])
    )
    return [
        {"name": name, "value": value, "share_here": round(here, 3), "share_elsewhere": round(elsewhere, 3)}
        for (name, value), here, elsewhere in telling[:MOST_DIFFERENCES]
    ]


def _shows(signal: str, limit: float | None, event: Event) -> bool:
    measure = _WORST.get(signal)
    value = None if measure is None or limit is None else measure(event)
    return event.status in _FAILURES if value is None or limit is None else value >= limit


def _ended_at(event: Event) -> str | None:
    """In one form and in UTC, in whichever its sender said it."""
    at_us = time_of(event)
    return None if at_us == UNREAD else encode_ts(at_us)


def _shown(event: Event) -> dict[str, Any]:
    shown = {
        # First what shows the trouble: a narrow terminal leaves the last away.
        "task": event.task_id,
        "status": event.status,
        "duration_s": duration_of(event),
        "attempt": event.attempt,
        "tokens": tokens_of(event.usage),
        "cost_usd": _cost(event),
        **{column: getattr(event, column) for column in _COLUMNS},
        "ended_at": _ended_at(event),
        "agent": event.agent,
        "attributes": dict(islice(plain(event.attributes or {}).items(), MOST_ATTRIBUTES)) or None,
    }
    return {name: value for name, value in shown.items() if value is not None}
