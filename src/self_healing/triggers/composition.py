"""Checks the triggers that look at others: at such as there are, switched on, of the same groups, and no composites."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from self_healing.declarations import Mistake, Values
from self_healing.problems import unknown
from self_healing.triggers.inhibition import groups_by


def compositions(tables: Mapping[str, Values]) -> Iterator[tuple[str, Mistake]]:
    """What is wrong with the triggers that composites name, by trigger; values of a wrong type are left to the model.

    Args:
        tables: the merged values of each trigger, by name.
    """
    for name, values in tables.items():
        for key, number, member in _members(values):
            allowed = _wrong(name, member, tables)
            if allowed is not None:
                yield name, (f"condition.{key}.{number}", member, allowed)


def _wrong(name: str, member: str, tables: Mapping[str, Values]) -> str | None:
    """What is allowed in place of a member; None when it is."""
    if member not in tables or member == name:
        return unknown(member, [each for each in tables if each != name])
    own, its = tables[name], tables[member]
    if any(_members(its)):
        return "allowed are triggers that look at signals, not at other triggers"
    if groups_by(its) != groups_by(own):
        by = ", ".join(groups_by(own)) or "nothing"
        return f"allowed are triggers that group as this one does, by {by}"
    if its.get("enabled", True) is False and own.get("enabled", True) is not False:
        return f"allowed are triggers that are switched on; enable {member}, or disable {name} as well"
    return None


def _members(values: Values) -> list[tuple[str, int, str]]:
    """Of each trigger that a composite names: under which key, in which place, and its name."""
    condition = values.get("condition")
    if not isinstance(condition, Mapping) or condition.get("kind") != "composite":
        return []
    lists = [(key, condition.get(key)) for key in ("all", "any")]
    named = [(key, given) for key, given in lists if isinstance(given, list | tuple)]
    return [(key, at, each) for key, given in named for at, each in enumerate(given) if isinstance(each, str)]
