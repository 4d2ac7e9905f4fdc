"""The times of many events at once: ISO 8601 texts to microseconds since 1970, in columns."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Final, cast

import numpy as np
from numpy.typing import NDArray

from self_healing.clock import SECOND_US, from_us, to_us
from self_healing.model import Event

UNREAD: Final = int(np.iinfo(np.int64).min)
"""Stands for a time that is not known."""

END_US: Final = 253_402_300_800 * SECOND_US
"""The first instant of the year 10000, which no datetime can say."""

_MONTHS: Final = np.arange("1970-01", "10000-02", dtype="datetime64[M]").astype("datetime64[D]").astype(np.int64)
"""Days from 1970 to the first of each month; up to the next one's is the month's length, leap years and all."""


def encode_ts(us: int) -> str:
    """The `ts` of an event at `us` microseconds since 1970, exact, such as ``2026-01-05T10:00:00.000Z``."""
    precision = "microseconds" if us % 1000 else "milliseconds"
    return from_us(us).isoformat(timespec=precision).removesuffix("+00:00") + "Z"


def encode_micros(us: int) -> str:
    """The `ts` of an event at `us` microseconds since 1970, with six digits: texts all alike are read quicker."""
    second, fraction = divmod(us, SECOND_US)
    return f"{_second(second)}.{fraction:06d}Z"


def encode_all_micros(us: Sequence[int]) -> list[str]:
    """What :func:`encode_micros` gives of each."""
    if len(us) < _FEW:
        return [*map(encode_micros, us)]
    texts: list[str] = np.datetime_as_string(np.array(us, "datetime64[us]"), timezone="UTC").tolist()
    return texts


_FEW: Final = 16
"""Fewer times than that are told one by one in less time than in a column."""


@lru_cache(maxsize=4096)
def _second(seconds: int) -> str:
    return from_us(seconds * SECOND_US).isoformat().removesuffix("+00:00")


def parse_one(text: str) -> int:
    """Microseconds since 1970 of any ISO 8601 text that names its time zone; UNREAD when it is none.

    Raises:
        ValueError: a time outside 1970 to 9999, in UTC.
    """
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return UNREAD
    if at.tzinfo is None:
        return UNREAD
    us = to_us(at)
    if not 0 <= us < END_US:
        raise ValueError(f"{text!r} is not within 1970 to 9999")
    return us


def time_of(event: Event) -> int:
    """An event's `ts`; where that is missing, unreadable or without a zone, when it finished, else when it started."""
    if event.ts is not None:
        try:
            at = parse_one(event.ts)
        except ValueError:  # a clock that is wrong has no better time elsewhere
            return UNREAD
        if at != UNREAD:
            return at
    seconds = event.finished_at if event.finished_at is not None else event.started_at
    return UNREAD if seconds is None else round(seconds * SECOND_US)


def parse_usual(texts: Sequence[str | None]) -> NDArray[np.int64]:
    """Microseconds since 1970 of the texts in a usual form, such as ``2026-01-05T10:00:00.000Z``; UNREAD for the rest.

    The usual forms have a ``T``, no fraction or one of three or six digits, and end in ``Z`` or ``+00:00``.
    """
    alike = _parse_alike(texts)
    if alike is not None:
        return alike
    times = np.full(len(texts), UNREAD, np.int64)
    for form in _FORMS.values():
        chosen = {i: text for i, text in enumerate(texts) if text is not None and form.fits(text)}
        if chosen:
            times[list(chosen)] = form.parse(_joined(list(chosen.values())))
    return times


def _parse_alike(texts: Sequence[str | None]) -> NDArray[np.int64] | None:
    """What :func:`parse_usual` gives when all texts are in one and the same usual form, as nearly always; else None."""
    form = _FORMS.get(len(texts[0] or "")) if texts else None
    if form is None:
        return None
    try:
        joined = _joined(cast("Sequence[str]", texts))
    except TypeError:  # there is a None among them
        return None
    if len(joined) != len(texts) * form.width:
        return None
    times = form.parse(joined)
    # One newline follows each text. So when no row is wrong, no text has one inside, and each row is one text.
    return times if times.min() != UNREAD else None


def _joined(texts: Sequence[str]) -> bytes:
    return ("\n".join(texts) + "\n").encode()


class _Form:
    """One usual form, parsed for many texts at once.

    Args:
        fraction: how many digits follow the second.
        zone: the text after them.
    """

    TENS: Final = [0, 2, 5, 8, 11, 14, 17]  # where century, year, month, day, hour, minute and second stand
    ONES: Final = [1, 3, 6, 9, 12, 15, 18]
    LOW: Final = np.array([[19], [0], [1], [1], [0], [0], [0]], np.uint8)
    HIGH: Final = np.array([[99], [99], [12], [31], [23], [59], [59]], np.uint8)

    def __init__(self, fraction: int, zone: str) -> None:
        self.fraction = fraction
        example = "0000-00-00T00:00:00" + ("." + "0" * fraction if fraction else "")
        row = example + zone + "\n"
        self.width = len(row)
        self.zeros = np.frombuffer(row.encode(), np.uint8)[:, None]
        is_digit = [letter == "0" and place < len(example) for place, letter in enumerate(row)]
        self.highest = np.where(is_digit, 9, 0).astype(np.uint8)[:, None]

    def fits(self, text: str) -> bool:
        """Whether `text` has the length of this form and can be given to :meth:`parse`."""
        return len(text) == self.width - 1 and text.isascii()

    def parse(self, joined: bytes) -> NDArray[np.int64]:
        """Microseconds since 1970 of each row of `joined`; UNREAD where it is not a time in this form.

        Args:
            joined: texts of this form's length, each with a newline after it.
        """
        letters = np.frombuffer(joined, np.uint8).reshape(-1, self.width).T
        digits = np.array(letters, order="C")
        digits -= self.zeros  # what is below "0" wraps to a large number; what marks the form becomes 0
        pairs = digits[self.TENS] * np.uint8(10)
        pairs += digits[self.ONES]
        wrong = _columns_with(digits > self.highest) | _columns_with((pairs < self.LOW) | (pairs > self.HIGH))
        days = _days(pairs[:4])
        hour, minute, second = pairs[4:].astype(np.int32)
        times: NDArray[np.int64] = ((hour * 60 + minute) * 60 + second).astype(np.int64)
        times += days * 86_400
        if self.fraction:
            times *= 10**self.fraction
            times += _number(digits[20 : 20 + self.fraction])
        times *= 10 ** (6 - self.fraction)
        wrong = wrong | (days == UNREAD)
        if wrong.any():
            times[np.broadcast_to(wrong, times.shape)] = UNREAD
        return times


def _number(digits: NDArray[np.uint8]) -> NDArray[np.int32]:
    """The numbers that have their digits in the columns."""
    number: NDArray[np.int32] = digits[0].astype(np.int32)
    for row in digits[1:]:
        number *= 10
        number += row
    return number


def _columns_with(found: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which columns hold a True, or one False for all of them, which is what nearly always comes and is quicker."""
    return np.logical_or.reduce(found) if found.any() else np.zeros(1, np.bool_)


def _days(pairs: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Days from 1970 to the dates in `pairs` (century, year, month, day), one for all when all are the same.

    UNREAD, or nonsense in a column that is already known to be wrong, where there is no such date since 1970.
    """
    if (pairs == pairs[:, :1]).all():
        pairs = pairs[:, :1]
    century, year, month, day = pairs.astype(np.int64)
    months = (century * 100 + year - 1970) * 12 + month - 1
    known = (months >= 0) & (months < len(_MONTHS) - 1)
    months[~known] = 0
    days: NDArray[np.int64] = _MONTHS[months] + day - 1
    days[~known | (days >= _MONTHS[months + 1])] = UNREAD
    return days


_FORMS: Final = {
    form.width - 1: form for form in (_Form(fraction, zone) for fraction in (0, 3, 6) for zone in ("Z", "+00:00"))
}
