"""The values of attributes: as a column wants them, or as they are kept beside the columns."""

from __future__ import annotations

import math
from typing import Protocol

from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from self_healing.measures import LARGEST
from self_healing.telemetry.otlp.rejection import BadItem, Rejection

TEXT_MAX = 1024
"""How many characters of a text are kept."""

LIST_MAX = 64
"""How many values of a list are kept; its texts together are no longer than one text."""

Scalar = str | int | float | bool


class Reader(Protocol):
    """What makes of an attribute's value what a column wants; None when it is no such value."""

    def __call__(self, value: AnyValue, /) -> Scalar | None: ...


def scalar(value: AnyValue) -> Scalar | None:
    """A text, number or boolean as it is; None for anything else."""
    match value.WhichOneof("value"):
        case "string_value":
            return value.string_value
        case "int_value":
            return value.int_value
        case "double_value":
            return value.double_value
        case "bool_value":
            return value.bool_value
        case _:
            return None


def text(value: AnyValue) -> str | None:
    """A text cut at TEXT_MAX, or a number or boolean as one; None when empty."""
    found = value.string_value
    if found:
        return found if len(found) <= TEXT_MAX else found[:TEXT_MAX]
    other = scalar(value)
    if other is None or other == "":
        return None
    return str(other).lower() if isinstance(other, bool) else str(other)


def count(value: AnyValue) -> int | None:
    """A whole number, also when it came as a text or as a float.

    Raises:
        BadItem: it is below zero, too large, or not finite.
    """
    found = value.int_value
    if found:
        if 0 < found <= LARGEST:
            return found
        raise BadItem(Rejection.INVALID_VALUE)
    amount_ = amount(value)
    return None if amount_ is None else int(amount_)


def number(value: AnyValue) -> float | None:
    """Any finite number, also when it came as a text.

    Raises:
        BadItem: it is not finite.
    """
    found = scalar(value)
    if isinstance(found, str):
        try:
            found = float(found)
        except ValueError:
            return None
    if found is None or isinstance(found, bool):
        return None
    if not math.isfinite(found):
        raise BadItem(Rejection.NON_FINITE)
    return float(found)


def amount(value: AnyValue) -> float | None:
    """A number that is not below zero, also when it came as a text.

    Raises:
        BadItem: it is below zero, too large, or not finite.
    """
    found = number(value)
    if found is not None and not 0 <= found <= LARGEST:
        raise BadItem(Rejection.INVALID_VALUE)
    return found


def flag(value: AnyValue) -> bool | None:
    """A boolean, also when it came as a text."""
    found = scalar(value)
    if isinstance(found, str):
        return {"true": True, "false": False}.get(found.lower())
    return found if isinstance(found, bool) else None


def kept(value: AnyValue) -> Scalar | list[Scalar | None] | None:
    """A value as an event keeps it, but for the length of a text: texts, finite numbers, booleans, and lists of these;
    None for the rest."""
    match value.WhichOneof("value"):
        case "string_value":
            return value.string_value
        case "int_value":
            return value.int_value
        case "double_value":
            return value.double_value if math.isfinite(value.double_value) else None
        case "bool_value":
            return value.bool_value
        case "array_value":
            return _kept_list(value)
        case _:
            return None


def _kept_list(value: AnyValue) -> list[Scalar | None]:
    left = TEXT_MAX
    found: list[Scalar | None] = []
    for each in value.array_value.values[:LIST_MAX]:
        one = scalar(each)
        if isinstance(one, str):
            one = one[:left]
            left -= len(one)
        elif isinstance(one, float) and not math.isfinite(one):
            one = None
        found.append(one)
    return found
