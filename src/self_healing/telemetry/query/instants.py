"""Instants as people say them."""

from __future__ import annotations

from datetime import datetime, timedelta

from self_healing.clock import to_us
from self_healing.spec import parse_duration


def instant_us(text: str, now: datetime) -> int:
    """What a length of time before `now` such as ``15m``, or a time with its zone, says; microseconds since 1970.

    Raises:
        ValueError: it is neither; says what is allowed.
    """
    try:
        return to_us(now - timedelta(seconds=parse_duration(text)))
    except (OverflowError, ValueError):
        pass
    try:
        return to_us(datetime.fromisoformat(text))
    except ValueError as error:
        raise ValueError(
            f"{text!r}: allowed is a length of time such as 90s, 15m, 24h, 7d, or a time with its zone such as"
            " 2026-01-05T10:00:00Z"
        ) from error
