"""Causes: what ill series have in common and well agents have not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable

Attribute = tuple[str, str]
"""A name and its value."""

SHARED_BY = 80
"""At least so many percent of the ill series have it."""

RARE_AMONG = 20
"""Fewer than so many percent of the well agents have it."""


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
        if 100 * count >= SHARED_BY * len(ill) and 100 * among_well[attribute] < RARE_AMONG * len(well)
    ]
    return sorted(telling, key=lambda attribute: (-among_ill[attribute], among_well[attribute], attribute))


def _counted(each: Iterable[frozenset[Attribute]]) -> Counter[Attribute]:
    return Counter(attribute for attributes in each for attribute in attributes)
