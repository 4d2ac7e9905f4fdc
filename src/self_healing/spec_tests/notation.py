"""The notation of a series: ``10x5 70 _ 3`` is five samples of 10, one of 70, none, and one of 3."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

MOST = 100_000
"""So many places one series may have."""

_GAP = re.compile(r"_(?:x(?P<times>\d+))?")
_VALUE = re.compile(r"(?P<value>-?\d+(?:\.\d+)?)(?:(?P<step>[+-]\d+(?:\.\d+)?)?x(?P<times>\d+))?")
_SHARE = re.compile(r"(?P<part>\d+)/(?P<whole>\d+)(?:x(?P<times>\d+))?")

ALLOWED = (
    "allowed are 5 (a value), 5x3 (three times 5), 5+2x3 (5 7 9), 2/10 (2 of 10, for a signal that is a part of a "
    "whole), _ (no sample) and _x3 (three times none), with spaces between them"
)


@dataclass(frozen=True, slots=True)
class Share:
    """So many of so many."""

    part: int
    whole: int


Place = Decimal | Share | None
"""What is pushed at one place of a series; None is nothing."""


def places(samples: str) -> list[Place]:
    """The places of a series, in their order.

    Args:
        samples: in the notation.

    Raises:
        ValueError: it is none; says which word is wrong and what is allowed.
    """
    found: list[Place] = []
    for word in samples.split():
        for place in _places(word):
            if len(found) == MOST:
                raise ValueError(f"{word}: allowed are {MOST} places in all")
            found.append(place)
    if not any(place is not None for place in found):
        raise ValueError(f"no sample in it; {ALLOWED}")
    return found


def _places(word: str) -> Iterator[Place]:
    if match := _GAP.fullmatch(word):
        yield from [None] * _times(match["times"])
    elif match := _VALUE.fullmatch(word):
        value, step = Decimal(match["value"]), Decimal(match["step"] or 0)
        yield from (value + step * number for number in range(_times(match["times"])))
    elif match := _SHARE.fullmatch(word):
        share = Share(int(match["part"]), int(match["whole"]))
        if not 0 < share.whole <= MOST or share.part > share.whole:
            raise ValueError(f"{word}: allowed is a part of a whole, up to {MOST} in all")
        yield from [share] * _times(match["times"])
    else:
        raise ValueError(f"{word}: {ALLOWED}")


def _times(told: str | None) -> int:
    return 1 if told is None else min(int(told), MOST + 1)
