"""Values in the words of people: numbers with few digits, counts, lengths of time, amounts with their unit."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any, Final

INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
"""What a text looks like that is an instant, as JSON has it."""

_MEASURED: Final = {
    **dict.fromkeys(("value", "threshold", "baseline", "peak"), "unit"),
    "value_after": "unit_after",
}
"""What an object measures, and which of its names says in what."""

_ENDINGS: Final = {"_s": "s", "_usd": "USD"}
"""Names that say the unit themselves."""

_SHARE: Final = "share_"
"""So begin the names of parts of a whole."""

_FOREIGN: Final = ("settings", "parameters", "attributes", "group")
"""What is in these has names of its own: those that the fleet reads, or sent."""


def number(value: float | None) -> str:
    """`value` with as many digits as a person wants."""
    if value is None:
        return "-"
    if value == int(value) or abs(value) >= 10_000:
        return f"{value:.0f}"
    return f"{value:.4g}"


def counted(count: int, thing: str) -> str:
    """So many of a thing, such as ``1 incident`` or ``2 incidents``."""
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"


def span(seconds: float | None, *, parted_from: int = 2) -> str:
    """A length of time in its largest whole unit, such as ``5m``, or its two largest, such as ``2m 52s``.

    Args:
        parted_from: so many of a unit are told in two: below that in the smaller one alone, such as ``76s``.
    """
    if seconds is None:
        return "-"
    for (unit, size), (smaller, part) in pairwise((("h", 3600), ("m", 60), ("s", 1))):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:.0f}{unit}"
        if seconds >= parted_from * size:
            whole, rest = divmod(round(seconds / part), size // part)
            return f"{whole}{unit} {rest}{smaller}" if rest else f"{whole}{unit}"
    return f"{number(seconds)}s"


def amount(value: float | None, unit: str | None) -> str:
    """A value with the unit that its trigger measures in, such as ``97.3s``, ``0.54 USD`` or ``20 %``."""
    match value, unit:
        case None, _:
            return "-"
        case _, None | "":
            return number(value)
        case _, "s":
            return span(value)
        case _, "%":
            return f"{100 * value:.3g} %"
    return f"{number(value)} {unit}"


def course(
    values: Sequence[float | None],
    unit: str,
    at: Sequence[datetime] = (),
    limits: Sequence[float | None] = (),
    *,
    rising: bool = True,
) -> str:
    """What a chart shows, for whoever does not see it: newest, least and greatest, and for how long beyond the limit.

    Args:
        values: the oldest first; None where nothing is known.
        unit: of the values.
        at: when each was; left out where that is not to be said.
        limits: the threshold at each of these instants, if there is one.
        rising: whether what is above the limit is bad, or what is below it.
    """
    known = [(value, number) for number, value in enumerate(values) if value is not None]
    if not known:
        return "nothing is known"
    found = (("newest", known[-1]), ("least", min(known)), ("greatest", max(known)))
    told = ", ".join(
        f"{what} {amount(value, unit)}" + (f" at {at[number]:%H:%M:%S}" if at else "")
        for what, (value, number) in found
    )
    limit = next((each for each in reversed(limits) if each is not None), None)
    if limit is None:
        return told
    beyond_s = sum(
        (until - since).total_seconds()
        for value, limit, (since, until) in zip(values, limits, pairwise(at), strict=False)
        if value is not None and limit is not None and (value >= limit if rising else value <= limit)
    )
    lasted = f"reached or passed for {span(round(beyond_s))} in all" if beyond_s else "not reached before the newest"
    return f"{told}; limit {amount(limit, unit)}, {lasted}"


def plain(value: object) -> str:
    """A value of any kind in a word, such as ``yes``, ``0.5`` or ``strict``; ``-`` for none."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return number(value) if isinstance(value, float) else str(value)


def stands(execution: Mapping[str, Any]) -> str:
    """How an execution stands, in a word or two: what was handed over and is not done is no longer to be waited for."""
    status, handoff = str(execution["status"]), execution["handoff_status"]
    return f"handoff_{handoff}" if status == "dispatched" and handoff in ("failed", "expired") else status


def worded(value: Any, unit: str | None = None) -> Any:
    """What is nested, such as the context of a handoff, with the units at its numbers and with the names of people.

    Args:
        value: made of objects and lists.
        unit: what an object measures in that does not say so itself.
    """
    match value:
        case dict():
            units = {_MEASURED[name] for name, each in value.items() if name in _MEASURED and _is_number(each)}
            told = {
                name: _field(name, each, {"unit": unit} | value) for name, each in value.items() if name not in units
            }
            alike = Counter(said for said, _ in told.values())
            return {name if alike[said] > 1 else said: shown for name, (said, shown) in told.items()}
        case list():
            return [worded(each) for each in value]
    return value


def _field(name: str, value: Any, beside: dict[str, Any]) -> tuple[str, Any]:
    """One name with its value, in words."""
    if name in _FOREIGN:
        return name, value
    said, unit = name.replace("_", " "), beside.get(_MEASURED[name]) if name in _MEASURED else None
    if name == "window":  # over what something is measured, and so in the same
        return said, worded(value, beside["unit"])
    if not _is_number(value):
        return said, worded(value)
    if isinstance(unit, str):
        return said, amount(value, unit)
    if name.startswith(_SHARE):
        return said, amount(value, "%")
    for ending, its_unit in _ENDINGS.items():
        if name.endswith(ending):
            return name.removesuffix(ending).replace("_", " "), amount(value, its_unit)
    return said, value


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))
