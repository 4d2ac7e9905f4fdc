"""Text from telemetry made harmless: it stays data, stays short, shows what is in it, and gives no secret away.

Published attacks on agents that read operational data succeed by hiding orders in it: in control sequences, in
characters that change the direction of text, in characters that cannot be seen. So each of those is written out, as
Python would write it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from itertools import islice
from typing import Any

import msgspec

from self_healing.redaction import REDACTED, is_secret, redact

MAX_TEXT = 2_000  # characters; an error's whole text fits, with the nearest part of a stack trace
MAX_KEY = 100  # characters
MAX_ITEMS = 50  # of a list or an object
MAX_DEPTH = 8  # lists and objects within each other
SHORT = 64  # characters
MOST_SHORT = 4096  # texts; less than a megabyte
MAX_BYTES = 64 * 1024  # of the whole as JSON: about 16,000 tokens, which every receiving model takes

# Letters and marks that show nothing, though str.isprintable() takes them for visible: fillers and variation selectors.
_UNSEEN = frozenset(
    chr(code)
    for first, last in (
        (0x034F, 0x034F),
        (0x115F, 0x1160),
        (0x17B4, 0x17B5),
        (0x180B, 0x180F),
        (0x2800, 0x2800),
        (0x3164, 0x3164),
        (0xFE00, 0xFE0F),
        (0xFFA0, 0xFFA0),
        (0xE0100, 0xE01EF),
    )
    for code in range(first, last + 1)
)


def escape(text: str) -> str:
    r"""`text` with every character that cannot be seen written out, such as ``\n``, ``\x1b`` or ``\u202e``."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c.isprintable() and c not in _UNSEEN else c.encode("unicode_escape").decode() for c in text)


def clean_text(text: str, limit: int = MAX_TEXT) -> str:
    """One text made harmless: redacted, escaped, and cut to `limit` characters, saying how much was cut off."""
    return _clean_short(text, limit) if len(text) <= SHORT else _clean_text(text, limit)


@lru_cache(maxsize=MOST_SHORT)
def _clean_short(text: str, limit: int) -> str:
    """The same: nearly all short texts are names and keys that come again and again."""
    return _clean_text(text, limit)


def _clean_text(text: str, limit: int) -> str:
    # Cut a first time before the patterns run, so that a text of megabytes costs no more than a long one.
    shown = escape(redact(text[: 4 * limit]))
    if len(shown) <= limit and len(text) <= 4 * limit:
        return shown
    return f"{shown[: limit - 40]} (cut; {len(text)} characters in all)"


def clean(value: Any) -> Any:
    """`value` as harmless JSON data: texts, keys and numbers alike, at most 64 KiB when it is an object.

    An object that is too large loses the longest of its ``examples`` first, then the longest items of its other lists,
    then its largest fields; ``dropped`` says how many of each.

    Args:
        value: anything that came with telemetry: records, objects, lists, texts, numbers, instants.
    """
    cleaned = _clean(value, MAX_DEPTH)
    return fit(cleaned) if isinstance(cleaned, dict) else cleaned


def encode_clean(value: dict[str, Any], own: dict[str, Any]) -> bytes:
    """A line of JSON: `own`, which is harmless already, and after it what :func:`clean` makes of `value`."""
    cleaned = _clean_object(value, MAX_DEPTH)
    line = msgspec.json.encode({**own, **cleaned})
    # Nearly always it fits, and the whole is measured as it is encoded anyway.
    return line if len(line) <= MAX_BYTES else msgspec.json.encode({**own, **fit(cleaned)})


def _clean(value: Any, depth: int) -> Any:
    # Nearly all that there is are these; what inherits from them, and all else, is looked at more closely.
    kind = type(value)
    if kind is str:
        return clean_text(value)
    if value is None or kind is bool:
        return value
    if kind is float and math.isfinite(value):
        return value
    if kind is dict and depth:
        return _clean_object(value, depth)
    return _clean_other(value, depth)


def _clean_other(value: Any, depth: int) -> Any:
    match value:
        case None | bool():
            return value
        case str():
            return clean_text(value)
        case int():
            # More than 64 bits is no JSON number that others could read.
            return int(value) if value.bit_length() < 64 else f"(an integer of {value.bit_length()} bits)"
        case float():
            return value if math.isfinite(value) else str(value)
        case datetime():
            return msgspec.to_builtins(value)
        case bytes():
            return clean_text(value[: 4 * MAX_TEXT].decode("utf-8", "backslashreplace"))
        case msgspec.Struct():
            return _clean(msgspec.structs.asdict(value), depth)
        case Mapping() | list() | tuple() | set() | frozenset() if depth == 0:
            return "(nested too deep)"
        case Mapping():
            return _clean_object(value, depth)
        case list() | tuple() | set() | frozenset():
            return _clean_list(list(value), depth)
        case _:
            return clean_text(str(value))


def _clean_object(value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
    cleaned: dict[str, Any] = {}
    for key, item in islice(value.items(), MAX_ITEMS):
        name, telling = _key(key) if type(key) is str and len(key) <= SHORT else _clean_key(str(key))
        if telling and is_secret(str(key), item):
            cleaned[name] = REDACTED
        elif type(item) is str and len(item) <= SHORT:  # most are, and a call more is felt with every line of a log
            cleaned[name] = _clean_short(item, MAX_TEXT)
        else:
            cleaned[name] = _clean(item, depth - 1)
    if len(value) > MAX_ITEMS:
        cleaned["..."] = f"({len(value) - MAX_ITEMS} more)"
    return cleaned


def _clean_key(key: str) -> tuple[str, bool]:
    """A key made harmless, and whether a text behind it is a secret."""
    return clean_text(key, MAX_KEY), is_secret(key, "")


_key = lru_cache(maxsize=MOST_SHORT)(_clean_key)
"""The same of short keys, nearly all of which come again and again."""


def _clean_list(value: list[Any], depth: int) -> list[Any]:
    cleaned = [_clean(item, depth - 1) for item in value[:MAX_ITEMS]]
    if len(value) > MAX_ITEMS:
        cleaned.append(f"({len(value) - MAX_ITEMS} more)")
    return cleaned


def _size(value: Any) -> int:
    return len(msgspec.json.encode(value))


def fit(value: dict[str, Any]) -> dict[str, Any]:
    """`value` within MAX_BYTES; each piece is measured once, so the work is linear in what there is."""
    excess = _size(value) - MAX_BYTES
    if excess <= 0:
        return value
    fitted = dict(value)
    dropped: dict[str, str] = {}
    excess += 64
    for key in _lists(fitted):
        if excess <= 0:
            break
        items: list[Any] = fitted[key]
        sizes = [_size(item) + 1 for item in items]
        gone: set[int] = set()
        for index in sorted(range(len(items)), key=lambda i: -sizes[i]):
            if excess <= 0:
                break
            excess -= sizes[index] - (0 if gone else len(key) + 40)  # the note costs something too
            gone.add(index)
        fitted[key] = [item for index, item in enumerate(items) if index not in gone]
        dropped[key] = f"{len(gone)} of {len(items)}, the longest"
    for key in sorted(fitted, key=lambda key: -_size(fitted[key])):
        if excess <= 0:
            break
        excess -= _size(fitted.pop(key)) + _size(key) - len(key) - 20
        dropped[key] = "all"
    return {**fitted, "dropped": dropped}


def _lists(value: dict[str, Any]) -> list[str]:
    """The keys whose values are lists: the examples first, then the largest."""
    keys = [key for key, item in value.items() if isinstance(item, list) and item]
    return sorted(keys, key=lambda key: (key != "examples", -_size(value[key])))
