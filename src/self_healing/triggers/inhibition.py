"""Checks by what declared triggers are inhibited: by one that there is, of the same group, and never in a circle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from self_healing.declarations import Mistake, Values
from self_healing.problems import unknown
from self_healing.spec import TriggerSpec


def inhibitions(tables: Mapping[str, Values]) -> Iterator[tuple[str, Mistake]]:
    """What is wrong with `inhibited_by`, by trigger; values of a wrong type are left to the model.

    Args:
        tables: the merged values of each trigger, by name.
    """
    for name, values in tables.items():
        for number, other in enumerate(_inhibitors(values)):
            allowed = _wrong(name, other, tables)
            if allowed is not None:
                yield name, (f"inhibited_by.{number}", other, allowed)


def _wrong(name: str, other: str, tables: Mapping[str, Values]) -> str | None:
    """What is allowed in place of `other`; None when it is."""
    if other not in tables:
        return unknown(other, [each for each in tables if each != name])
    own, its = (groups_by(tables[each]) for each in (name, other))
    if not set(its) <= set(own):
        by = " and ".join(own) or "nothing"
        return f"allowed is a trigger that groups by nothing else than this one, which groups by {by}"
    circle = _circle(name, other, tables)
    if circle is not None:
        return f"allowed is no circle, and this is one: {' by '.join(circle)}"
    return None


def _circle(name: str, other: str, tables: Mapping[str, Values]) -> list[str] | None:
    """The way from `name` by `other` back to `name`; None when there is none."""
    ways = [[name, other]]
    seen: set[str] = set()
    while ways:
        way = ways.pop()
        if way[-1] == name:
            return way
        if way[-1] not in seen and way[-1] in tables:
            seen.add(way[-1])
            ways += [[*way, further] for further in _inhibitors(tables[way[-1]])]
    return None


def _inhibitors(values: Values) -> list[str]:
    given = values.get("inhibited_by")
    return [each for each in given if isinstance(each, str)] if isinstance(given, list | tuple) else []


def groups_by(values: Values) -> list[str]:
    """The columns by which a trigger groups, as far as they are of the right type."""
    given = values.get("group_by", TriggerSpec.model_fields["group_by"].default)
    return [each for each in given if isinstance(each, str)] if isinstance(given, list | tuple) else []
