"""Values in the words of people: numbers with few digits, counts, lengths of time, amounts with their unit."""

from __future__ import annotations

from itertools import pairwise


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


def span(seconds: float | None) -> str:
    """A length of time in its largest whole unit, such as ``5m``, or its two largest, such as ``2m 52s``."""
    if seconds is None:
        return "-"
    for (unit, size), (smaller, part) in pairwise((("h", 3600), ("m", 60), ("s", 1))):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:.0f}{unit}"
        if seconds >= 2 * size:
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


def plain(value: object) -> str:
    """A value of any kind in a word, such as ``yes``, ``0.5`` or ``strict``; ``-`` for none."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return number(value) if isinstance(value, float) else str(value)
