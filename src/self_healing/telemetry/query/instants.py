"""Instants as people say them."""

from __future__ import annotations

from datetime import datetime, timedelta

from self_healing.clock import LATEST, sayable, to_us
from self_healing.spec import parse_duration


def instant_us(text: str, now: datetime) -> int:
    """What a length of time before `now` such as ``15m``, or a time with its zone, says; microseconds since 1970.

    Raises:
        ValueError: it is neither, or none that anybody means; says what is allowed.
    """
    try:
        at = _instant(text, now)
    except (OverflowError, ValueError) as error:
        raise ValueError(
            f"{text!r}: allowed is a length of time such as 90s, 15m, 24h, 7d, or a time with its zone such as"
            " 2026-01-05T10:00:00Z"
        ) from error
    if not sayable(at):
        raise ValueError(f"{text!r}: allowed is a time from 1970 until before {LATEST.year}")
    return to_us(at)


def _instant(text: str, now: datetime) -> datetime:
    try:
        return now - timedelta(seconds=parse_duration(text))
    except ValueError:
        at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError("it has no time zone")
    return at
