"""What native lines say of use under names that no field has: it is not read, and whoever writes it is to hear of it.

The decoder passes over such a name, which costs nothing; so a few lines of what is read at once are looked at again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from self_healing.model import Usage
from self_healing.problems import listed, one_line, suggestion
from self_healing.telemetry.native import Decoded

LINES_MAX: Final = 3
"""So many lines that say something of use are looked at again."""

EVENTS_MAX: Final = 64
"""Among so many events they are looked for: with the lines of a slice, a thousandth of what decoding it takes."""

_NAME_MAX: Final = 80


class _Line(msgspec.Struct):
    usage: dict[str, msgspec.Raw] | None = None


_LINE: Final = msgspec.json.Decoder(_Line)


def misnamed(lines: bytes, decoded: Decoded) -> Iterator[tuple[str, int]]:
    """What of use the first lines say under a name that no field has, in words, with the offset of its line in bytes.

    Only what may stand for a field that the line lacks, or all of a usage of which nothing could be read: a figure
    more than we read, such as tokens from a cache, is no mistake.

    Args:
        lines: of a native file.
        decoded: what they held.
    """
    some = zip(decoded.events[:EVENTS_MAX], decoded.starts[:EVENTS_MAX].tolist(), strict=True)
    using = [start for event, start in some if event.usage is not None]
    for start in using[:LINES_MAX]:
        end = lines.find(b"\n", start)
        names = _LINE.decode(lines[start : end if end >= 0 else len(lines)]).usage or {}
        yield from ((what, start) for what in _misnamed(names))


def _misnamed(names: dict[str, msgspec.Raw]) -> Iterator[str]:
    fields = Usage.__struct_fields__
    missing = [field for field in fields if field not in names]
    if {"prompt_tokens", "completion_tokens"} <= names.keys():
        missing = [field for field in missing if field != "total_tokens"]
    for name in names:
        if name in fields:
            continue
        near = suggestion(name, missing)
        if near or names.keys().isdisjoint(fields):
            yield f"usage.{one_line(name[:_NAME_MAX])} is no field and is not read;{near or f' {listed(fields)}'}"
