"""What people write on the command line: pairs, lengths of time and instants, refused with what is allowed."""

from __future__ import annotations

from datetime import datetime

from self_healing.clock import LATEST, sayable
from self_healing.errors import SelfHealingError


def pair(where: str, text: str) -> tuple[str, str]:
    """A key and its value. Raises SelfHealingError.

    Args:
        where: what it was given for, such as ``silences add: --key``.
        text: such as ``agent=Coder``.
    """
    key, equals, value = text.partition("=")
    if not equals or not key or not value:
        raise SelfHealingError(f"{where} {text!r}: allowed is a key and a value, such as agent=Coder")
    return key, value


def seconds(where: str, text: str) -> int:
    """A length of time such as ``30m``, in seconds. Raises SelfHealingError."""
    from self_healing.spec import parse_duration

    try:
        length_s = int(parse_duration(text))
    except ValueError as error:
        raise SelfHealingError(f"{where} {text!r}: {error}") from error
    if length_s < 1:
        raise SelfHealingError(f"{where} {text!r}: allowed is a length above 0")
    return length_s


def instant(where: str, text: str) -> datetime:
    """An aware instant such as ``2026-01-05T22:00:00Z``. Raises SelfHealingError."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise SelfHealingError(f"{where} {text!r}: allowed is a time such as 2026-01-05T22:00:00Z") from error
    if at.tzinfo is None:
        raise SelfHealingError(f"{where} {text!r}: has no time zone; write 2026-01-05T22:00:00Z for UTC")
    if not sayable(at):
        raise SelfHealingError(f"{where} {text!r}: allowed is a time from 1970 until before {LATEST.year}")
    return at
