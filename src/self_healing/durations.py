"""Durations as people write them: the text of so many seconds, and patterns of the texts within given bounds.

A JSON Schema has bounds for numbers only. So that an editor shows ``"5s"`` where at least 10 s are asked for, the
bounds of a text are patterns, one for either side, of nothing that only some engines of regular expressions know. Of a
text of several units they say nothing: whether that is within its bounds is told when the file is loaded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

UNITS = {"d": 86_400, "h": 3600, "m": 60, "s": 1}
"""The seconds of each unit, the longest first."""

SEVERAL = r"\d+(d ?\d+(h( ?\d+m)?( ?\d+s)?|m( ?\d+s)?|s)|h ?\d+(m( ?\d+s)?|s)|m ?\d+s)"
"""The pattern of several units, each once and the longest first, such as ``1h30m``; people read spaces between."""

TEXT = rf"(\d+[smhd]|{SEVERAL})"
"""The pattern of any duration that is text."""

ALLOWED = "allowed is a whole number and one of s, m, h, d, or several, such as 90s, 5m, 1h30m"

WRITTEN: Mapping[str, Any] = {"type": "string", "pattern": f"^{TEXT}$"}
"""The schema of any duration that is text."""


def duration(seconds: int) -> str:
    """Seconds as they are best written in TOML, such as ``5m``."""
    unit = next((unit for unit, length in UNITS.items() if seconds % length == 0), "s") if seconds else "s"
    return f"{seconds // UNITS[unit]}{unit}"


def written(*, minimum: int = 0, maximum: int | None = None) -> dict[str, Any]:
    """The schema of the texts of durations of at least `minimum` seconds and, unless None, at most `maximum`."""
    bounds = []
    if minimum > 0:
        bounds.append({unit: _at_least(-(-minimum // length)) for unit, length in UNITS.items()})
    if maximum is not None:
        bounds.append({unit: _at_most(maximum // length) for unit, length in UNITS.items()})
    return {**WRITTEN, "allOf": [_either(bound) for bound in bounds]} if bounds else dict(WRITTEN)


def multiples(of: int, *, maximum: int) -> dict[str, Any]:
    """The schema of the texts of the multiples of `of` seconds up to `maximum`, 0 left out."""
    listed = {
        unit: [at // length for at in range(of, maximum + 1, of) if not at % length] for unit, length in UNITS.items()
    }
    return {"type": "string", **_either({unit: "|".join(map(str, numbers)) for unit, numbers in listed.items()})}


def _either(patterns: Mapping[str, str]) -> dict[str, Any]:
    """The schema of the texts of which the number, without zeros before it, is as its unit wants it, or of several."""
    return {"pattern": f"^(0*({'|'.join(f'({numbers}){unit}' for unit, numbers in patterns.items())})|{SEVERAL})$"}


def _at_least(number: int) -> str:
    digits = str(number)
    return "|".join((digits, *_same_length(digits, above=True), rf"[1-9]\d{{{len(digits)},}}"))


def _at_most(number: int) -> str:
    digits = str(number)
    shorter = [rf"[1-9]\d{{0,{len(digits) - 2}}}"] if len(digits) > 1 else []
    return "|".join(("", digits, *_same_length(digits, above=False), *shorter))  # of 0 all digits are zeros before it


def _same_length(digits: str, *, above: bool) -> Iterable[str]:
    """Patterns of the numbers of as many digits that are above, or below, the one that these are."""
    for place, digit in enumerate(map(int, digits)):
        first, last = (digit + 1, 9) if above else (0 if place else 1, digit - 1)
        if first <= last:
            yield rf"{digits[:place]}[{first}-{last}]\d{{{len(digits) - place - 1}}}"
