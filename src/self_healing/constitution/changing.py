"""Changing: what would have to be otherwise so that a policy no longer holds against a proposal.

A policy's condition is walked from its top: of what is joined by *and* one part must fail, of what is joined by *or*
all that hold. The gate then tries each way out on the articles themselves, so that none is told that leads nowhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import product
from typing import Any

import msgspec

Facts = Mapping[str, Any]
Expression = Mapping[str, Any]
"""A part of a policy, as Cedar has it in JSON."""

MOST_WAYS = 20
"""No policy is told more ways out than that."""

_INVERSE = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "==": "!=", "!=": "=="}
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
    "==": lambda left, right: left == right,
    "!=": lambda left, right: left != right,
}
_COUNT: dict[str, Callable[[int, int], int]] = {
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
}


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One fact that would have to be otherwise."""

    fact: str  # such as running_actions, or proposal.hour
    now: Any
    needed: str  # in words, such as "at most 4"
    value: Any  # one that would do


Way = tuple[Change, ...]
"""What would have to change together."""


class _Unclear(Exception):
    """A part of a policy that nobody here can turn around."""


def read(conditions: list[dict[str, Any]]) -> list[str]:
    """The facts that a policy looks at, in their order."""
    found: dict[str, None] = {}

    def walk(part: Any) -> None:
        name = _fact(part) if isinstance(part, Mapping) else None
        if name is not None:
            found[name] = None
        elif isinstance(part, Mapping | list):
            for each in part.values() if isinstance(part, Mapping) else part:
                walk(each)

    walk(conditions)
    return list(found)


def value(facts: Facts, name: str) -> Any:
    """The fact of that name, such as ``proposal.hour``."""
    for part in name.split("."):
        facts = facts[part]
    return facts


def changed(facts: Facts, way: Way) -> dict[str, Any]:
    """The facts with a way out taken."""
    made: dict[str, Any] = dict(facts)
    for each in way:
        above, _, name = each.fact.rpartition(".")
        if above:
            made[above] = {**made[above], name: each.value}
        else:
            made[name] = each.value
    return made


def ways_out(conditions: list[dict[str, Any]], facts: Facts) -> list[Way]:
    """How a policy that holds against these facts could come not to, each way by itself enough.

    Args:
        conditions: its ``when`` and ``unless``, in Cedar's JSON.
        facts: what it was held to.
    """
    found: list[Way] = []
    for each in conditions:
        try:
            found += _ways(each["body"], facts, each["kind"] == "unless")
        except _Unclear:
            continue
    return found[:MOST_WAYS]


def _ways(part: Expression, facts: Facts, wanted: bool) -> list[Way]:
    """How an expression comes to be `wanted`, which it is not."""
    name = _fact(part)
    if name is not None:
        return [(Change(fact=name, now=not wanted, needed=str(wanted).lower(), value=wanted),)]
    [(operator, inner)] = part.items()
    match operator:
        case "!":
            return _ways(inner["arg"], facts, not wanted)
        case "&&" | "||":
            return _joined((inner["left"], inner["right"]), facts, wanted, alone=wanted is (operator == "||"))
        case "Value":
            return []  # nothing makes it another one
        case _ if operator in _COMPARE:
            return _compared(operator if wanted else _INVERSE[operator], inner["left"], inner["right"], facts)
    raise _Unclear


def _joined(parts: tuple[Expression, Expression], facts: Facts, wanted: bool, *, alone: bool) -> list[Way]:
    """Of two parts: how one of them `alone` comes to be `wanted`, or all of them that are not."""
    if alone:
        found: list[Way] = []
        for part in parts:
            try:
                found += _ways(part, facts, wanted)
            except _Unclear:
                continue
        return found
    each = [_ways(part, facts, wanted) for part in parts if _worth(part, facts) is not wanted]
    return [sum(ways, ()) for ways in product(*each)]


def _compared(operator: str, left: Expression, right: Expression, facts: Facts) -> list[Way]:
    """How a comparison comes to hold: by another value of the first fact in it that is no limit of its own."""
    for fact in read([left, right]):  # type: ignore[list-item] # parts are walked like whole conditions
        now = value(facts, fact)
        better = _better(operator, left, right, facts, fact, now)
        if better is not None:
            return [(Change(fact=fact, now=now, needed=better[0], value=better[1]),)]
    raise _Unclear


def _better(
    operator: str, left: Expression, right: Expression, facts: Facts, fact: str, now: Any
) -> tuple[str, Any] | None:
    """What a fact must be for the comparison to hold, in words and as the nearest such value; None where none is."""

    def holds(tried: Any) -> bool:
        change = Change(fact=fact, now=now, needed="", value=tried)
        made = changed(facts, (change,))
        return _COMPARE[operator](_worth(left, made), _worth(right, made))

    if isinstance(now, str):
        other = next((each for each in _texts(left, right) if each != now), None)
        if operator == "==":
            return None if other is None else (f'"{other}"', other)
        return f'not "{now}"', ""
    if isinstance(now, bool) or not isinstance(now, int):
        return None
    if operator == "==":
        equal = _worth(right if _fact(left) == fact else left, facts)
        return (str(equal), equal) if holds(equal) else None
    for words, sign in (("at most", -1), ("at least", 1)):
        nearest = _nearest(holds, now, sign)
        if nearest is not None:
            return f"{words} {nearest}", nearest
    return None


def _nearest(holds: Callable[[int], bool], now: int, sign: int) -> int | None:
    """The nearest whole number on one side at which a comparison holds, none below zero; None where there is none."""
    far = 1
    while not holds(now + sign * far):
        if (sign < 0 and now <= far) or far > 2**40:
            return None
        far = min(2 * far, now) if sign < 0 else 2 * far
    near = far // 2
    while far - near > 1:  # it holds at far, and not at near
        middle = (far + near) // 2
        far, near = (middle, near) if holds(now + sign * middle) else (far, middle)
    return now + sign * far


def _texts(*parts: Any) -> Iterator[str]:
    for part in parts:
        match part:
            case {"Value": str(text)}:
                yield text
            case _:
                pass


def _fact(part: Expression) -> str | None:
    """The name of the fact that an expression is; None where it is something else."""
    match part:
        case {".": {"left": {"Var": "context"}, "attr": str(name)}}:
            return name
        case {".": {"left": inner, "attr": str(name)}}:
            above = _fact(inner)
            return None if above is None else f"{above}.{name}"
    return None


def _worth(part: Expression, facts: Facts) -> Any:
    """What an expression comes to. Raises _Unclear."""
    name = _fact(part)
    if name is not None:
        return value(facts, name)
    [(operator, inner)] = part.items()
    match operator:
        case "Value":
            return inner
        case "Set":
            return [_worth(each, facts) for each in inner]
        case "!":
            return not _worth(inner["arg"], facts)
        case "&&":
            return _worth(inner["left"], facts) and _worth(inner["right"], facts)
        case "||":
            return _worth(inner["left"], facts) or _worth(inner["right"], facts)
        case "contains":
            return _worth(inner["right"], facts) in _worth(inner["left"], facts)
        case _ if operator in _COMPARE:
            return _COMPARE[operator](_worth(inner["left"], facts), _worth(inner["right"], facts))
        case _ if operator in _COUNT:
            return _COUNT[operator](_worth(inner["left"], facts), _worth(inner["right"], facts))
    raise _Unclear
