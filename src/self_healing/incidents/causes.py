"""Causes: what ill series have in common and well agents have not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable

Attribute = tuple[str, str]
"""A name and its value."""

SHARED_BY = 0.8
"""At least this part of the ill series has it."""

RARE_AMONG = 0.2
"""Fewer than this part of the well agents have it."""


def shared(ill: Collection[frozenset[Attribute]], well: Collection[frozenset[Attribute]]) -> list[Attribute]:
    """The attributes that tell the ill from the well, the most telling first; none where nobody is well.

    What all of a fleet have tells nothing, and without anyone who is well nobody knows what that is.

    Args:
        ill: the attributes of each ill series.
        well: those of each well agent.
    """
    if not ill or not well:
        return []
    among_ill, among_well = _counted(ill), _counted(well)
    telling = [
        attribute
        for attribute, count in among_ill.items()
        if count >= SHARED_BY * len(ill) and among_well[attribute] < RARE_AMONG * len(well)
    ]
    return sorted(telling, key=lambda attribute: (-among_ill[attribute], among_well[attribute], attribute))


def _counted(each: Iterable[frozenset[Attribute]]) -> Counter[Attribute]:
    return Counter(attribute for attributes in each for attribute in attributes)
