"""Events that did not come in a native file, as lines of our own segments: bounded, and without secrets."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np

from self_healing.model import Ingested
from self_healing.redaction import REDACTED, is_secret, may_hold_secrets, redact
from self_healing.telemetry.lines import DEPTH_MAX, OWN_PREFIX
from self_healing.telemetry.suspicion import suspicious

TEXT_MAX: Final = 4_096
"""Characters of a text in an event's attributes; of its other fields a quarter."""

ATTRIBUTES_MAX: Final = 128
"""Attributes of an event, and items of an object or a list among them: what OpenTelemetry keeps by default."""

NESTING_MAX: Final = 8
"""Objects and lists within each other in an attribute."""

EVENT_MAX_BYTES: Final = 256 * 1024
"""One event's line; a quarter of the longest that is read."""


class IntakeLine(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """What became of a batch, for the accounting; its events follow it.

    Args:
        ts: when it came.
        source: the way in.
        key: its idempotency key.
        events: how many lines of it follow.
        rejected: items that were bad for good, by reason.
        dropped: good events that were not written, by reason.
    """

    ts: str
    type: str
    source: str
    events: int
    key: str | None = None
    rejected: dict[str, int] = {}
    dropped: dict[str, int] = {}


_pack = msgspec.msgpack.Encoder().encode
_ENCODER: Final = msgspec.json.Encoder()
_TEXT_FIELDS: Final = tuple(
    field.name for field in msgspec.structs.fields(Ingested) if field.type == (str | None) or field.name == "kind"
)


def encode_intake(line: IntakeLine) -> bytes:
    """The line, with its newline."""
    return _ENCODER.encode(line) + b"\n"


def encode_events(events: Sequence[Ingested]) -> list[bytes]:
    """The line of each of `events`, with its newline: no longer than EVENT_MAX_BYTES, and free of what looks like a
    secret."""
    lines, doubtful = _encoded(events)
    ends = np.cumsum(np.fromiter(map(len, lines), np.int64, len(lines)))
    for place in {*doubtful, *suspicious(b"".join(lines), ends).tolist()}:
        lines[place] = _looked_through(events[place], lines[place])
    return lines


def _encoded(events: Sequence[Ingested]) -> tuple[list[bytes], list[int]]:
    """The lines as they are, and the numbers of those that are too large, too deep, or missing."""
    try:
        lines = _ENCODER.encode_lines(events).splitlines(keepends=True)
    except _UNHELD:
        lines = [_line_of(event) for event in events]
    both = enumerate(zip(events, lines, strict=True))
    return lines, [place for place, (event, line) in both if not _is_plain(event, line)]


def bounded(attributes: dict[str, Any]) -> dict[str, Any]:
    """`attributes` as the state can hold them: whole numbers of 64 bits, and no more than is written of any event."""
    try:
        if len(_pack(attributes)) <= TEXT_MAX:
            return attributes
    except OverflowError:  # what is wrong with it, and where, is found one by one
        pass
    return _object(attributes, NESTING_MAX)


def _line_of(event: Ingested) -> bytes:
    try:
        return _ENCODER.encode(event) + b"\n"
    except _UNHELD:
        return b"\n"


_UNHELD: Final = (OverflowError, RecursionError, TypeError, ValueError)
"""What is raised for a value that JSON, or nobody else, can hold."""


def _is_plain(event: Ingested, line: bytes) -> bool:
    return (
        1 < len(line) <= TEXT_MAX
        and len(event.attributes or ()) <= ATTRIBUTES_MAX
        and line.count(b"{") + line.count(b"[") <= DEPTH_MAX
        and not event.kind.startswith(OWN_PREFIX)
    )


def _looked_through(event: Ingested, line: bytes) -> bytes:
    """The line of an event that may hold what it must not."""
    if _is_plain(event, line) and not may_hold_secrets(line):
        return line
    return _fitted(_tidy(event)) + b"\n"


def _tidy(event: Ingested) -> Ingested:
    """`event` with every text looked through and cut, and its attributes bounded."""
    texts = {}
    for name in _TEXT_FIELDS:
        value = getattr(event, name)
        texts[name] = None if value is None else _text(value, TEXT_MAX // 4)
    if event.kind.startswith(OWN_PREFIX):  # nobody else may speak for us
        texts["kind"] = "log"
    attributes = None if event.attributes is None else _object(event.attributes, NESTING_MAX)
    return msgspec.structs.replace(event, **texts, attributes=attributes)


def _fitted(event: Ingested) -> bytes:
    """The line of `event`, without its largest attributes where it is too long."""
    line = _ENCODER.encode(event)
    if len(line) <= EVENT_MAX_BYTES:
        return line
    attributes = dict(event.attributes or {})
    excess, dropped = len(line) - EVENT_MAX_BYTES + 64, 0
    for name, size in sorted(((n, len(_ENCODER.encode(v))) for n, v in attributes.items()), key=lambda each: -each[1]):
        if excess <= 0:
            break
        excess -= size
        del attributes[name]
        dropped += 1
    return _ENCODER.encode(msgspec.structs.replace(event, attributes={**attributes, "attributes_dropped": dropped}))


def _text(text: str, limit: int) -> str:
    # Cut a first time before the patterns run, and a second time after: a secret at the cut is seen whole.
    shown = redact(text[: 4 * limit]).encode(errors="replace").decode()
    return shown if len(shown) <= limit else f"{shown[:limit]}..."


def _value(value: Any, depth: int) -> Any:
    match value:
        case None | bool():
            return value
        case str():
            return _text(value, TEXT_MAX)
        case int():
            return value if value.bit_length() < 64 else f"(an integer of {value.bit_length()} bits)"
        case float():
            return value if math.isfinite(value) else None
        case Mapping() if depth > 0:
            return _object(value, depth)
        case list() | tuple() if depth > 0:
            return [_value(item, depth - 1) for item in value[:ATTRIBUTES_MAX]]
        case Mapping() | list() | tuple():
            return "(nested too deep)"
        case _:
            return _text(str(value), TEXT_MAX)


def _object(value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
    tidy: dict[str, Any] = {}
    for key, item in list(value.items())[:ATTRIBUTES_MAX]:
        name = _text(str(key), TEXT_MAX // 16)
        tidy[name] = REDACTED if is_secret(str(key), item) else _value(item, depth - 1)
    if len(value) > ATTRIBUTES_MAX:
        tidy["attributes_dropped"] = len(value) - ATTRIBUTES_MAX
    return tidy
