"""Exemplifying: which of an agent's tasks show a trouble best, and what is shown of them to whoever gets it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any, Final

from self_healing.model import Event
from self_healing.telemetry.examples import plain
from self_healing.telemetry.samples import duration_of, tokens_of

MOST_EXAMPLES: Final = 5

MOST_ATTRIBUTES: Final = 12
"""Of each example: with five of them, a few thousand characters of the message at the very most."""

_COLUMNS: Final = ("model", "provider", "tool", "error_type", "run_id", "trace_id")

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


def _shown(event: Event) -> dict[str, Any]:
    shown = {
        "task": event.task_id,
        "agent": event.agent,
        "ended_at": event.ts,
        "status": event.status,
        "duration_s": duration_of(event),
        "attempt": event.attempt,
        "tokens": tokens_of(event.usage),
        "cost_usd": _cost(event),
        **{column: getattr(event, column) for column in _COLUMNS},
        "attributes": dict(islice(plain(event.attributes or {}).items(), MOST_ATTRIBUTES)) or None,
    }
    return {name: value for name, value in shown.items() if value is not None}
