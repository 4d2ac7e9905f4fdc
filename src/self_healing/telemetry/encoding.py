"""Events that did not come in a native file, as lines of our own segments: bounded, and without secrets."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from self_healing.errors import TooMany
from self_healing.model import Ingested
from self_healing.redaction import REDACTED, is_secret, may_hold_secrets, redact
from self_healing.telemetry.lines import DEPTH_MAX, OWN_PREFIX
from self_healing.telemetry.metric import BUCKETS_MAX, POINT
from self_healing.telemetry.suspicion import suspicious

TEXT_MAX: Final = 4_096
"""Characters of a text in an event's attributes; of its other fields a quarter."""

SHORT_LINE: Final = TEXT_MAX // 3
"""In a line that is no longer, attributes are never more than is kept of any event: three bytes of JSON, as a number in
a list, become nine at most with the comma that they take."""

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


LINES_MAX_BYTES: Final = 64 << 20
"""So much may become of one request: three times the largest body and more, for each item says again what is shared."""

_AT_ONCE: Final = 2_048
"""So many events are encoded at once: larger slices are no quicker."""

Shown = Callable[[str, int], str]
"""A text as it is written, with so many characters of it at most."""

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
    secret.

    Raises:
        TooMany: all together they are longer than LINES_MAX_BYTES.
    """
    lines: list[bytes] = []
    left = LINES_MAX_BYTES
    for start in range(0, len(events), _AT_ONCE):
        some = _encoded(events[start : start + _AT_ONCE])
        left -= sum(map(len, some))
        if left < 0:
            raise TooMany(f"the body becomes more than {LINES_MAX_BYTES >> 20} MiB of lines; send smaller batches")
        lines += some
    return lines


def _encoded(events: Sequence[Ingested]) -> list[bytes]:
    try:
        lines = _ENCODER.encode_lines(events).splitlines(keepends=True)
    except _UNHELD:
        lines = [_line_of(event) for event in events]
    joined, sizes = b"".join(lines), np.fromiter(map(len, lines), np.int64, len(events))
    ends = np.cumsum(sizes)
    suspect = set(suspicious(joined, ends).tolist())
    for place in suspect.union(_doubtful(events, joined, sizes, ends)):
        lines[place] = _looked_through(events[place], lines[place], place in suspect)
    return lines


def _doubtful(events: Sequence[Ingested], lines: bytes, sizes: NDArray[np.int64], ends: NDArray[np.int64]) -> list[int]:
    """The numbers of those whose lines are not as they should be, too deep perhaps; see :func:`_is_plain`."""
    doubtful = (sizes < 2) | (sizes > TEXT_MAX)
    opened = np.flatnonzero(np.frombuffer(lines, np.uint8) | 0x20 == ord("{"))  # makes [ a {, and nothing else
    doubtful |= np.bincount(np.searchsorted(ends, opened, side="right"), minlength=len(events)) > DEPTH_MAX
    others = [
        place
        for place, event in enumerate(events)
        if len(event.attributes or ()) > ATTRIBUTES_MAX or event.kind.startswith(OWN_PREFIX)
    ]
    return np.flatnonzero(doubtful).tolist() + others


def bounded(attributes: dict[str, Any]) -> dict[str, Any]:
    """`attributes` as the state can hold them: whole numbers of 64 bits, and no more than is written of any event."""
    try:
        if len(_pack(attributes)) <= TEXT_MAX:
            return attributes
    except OverflowError:  # what is wrong with it, and where, is found one by one
        pass
    return _attributes(attributes, _text)


def are_held(attributes: Sequence[dict[str, Any] | None]) -> bool:
    """Whether the state can hold every number in them, or none of them is looked at one by one for nothing."""
    try:
        _pack(attributes)
    except OverflowError:
        return False
    return True


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


def _looked_through(event: Ingested, line: bytes, suspect: bool) -> bytes:
    """The line of an event that may hold what it must not."""
    known = len(line) > 1  # else it could not be encoded as it is
    harmless = known and not (suspect and may_hold_secrets(line))
    if harmless and _is_plain(event, line):
        return line
    return _fitted(_tidy(event, _cut if harmless else _text)) + b"\n"


def _tidy(event: Ingested, shown: Shown) -> Ingested:
    """`event` with every text as it is `shown`, and its attributes bounded."""
    texts = {}
    for name in _TEXT_FIELDS:
        value = getattr(event, name)
        texts[name] = None if value is None else shown(value, TEXT_MAX // 4)
    if event.kind.startswith(OWN_PREFIX):  # nobody else may speak for us
        texts["kind"] = "log"
    attributes = None if event.attributes is None else _attributes(event.attributes, shown)
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
    return _cut(redact(text[: 4 * limit]), limit)


def _cut(text: str, limit: int) -> str:
    """`text`, for which nobody need look for secrets: the patterns take a hundred times as long as all else."""
    shown = text[: limit + 1].encode(errors="replace").decode()
    return shown if len(shown) <= limit else f"{shown[:limit]}..."


def _value(value: Any, depth: int, shown: Shown) -> Any:
    match value:
        case None | bool():
            return value
        case str():
            return shown(value, TEXT_MAX)
        case int():
            return value if value.bit_length() < 64 else f"(an integer of {value.bit_length()} bits)"
        case float():
            return value if math.isfinite(value) else None
        case Mapping() if depth > 0:
            return _object(value, depth, shown)
        case list() | tuple() if depth > 0:
            return [_value(item, depth - 1, shown) for item in value[:ATTRIBUTES_MAX]]
        case Mapping() | list() | tuple():
            return "(nested too deep)"
        case _:
            return shown(str(value), TEXT_MAX)


def _attributes(attributes: dict[str, Any], shown: Shown) -> dict[str, Any]:
    """`attributes` bounded, but for the buckets of a metric's point: were some cut off, the rest would mean nothing."""
    tidy = _object(attributes, NESTING_MAX, shown)
    point = attributes.get(POINT)
    if isinstance(point, Mapping) and isinstance(tidy.get(POINT), dict):
        tidy[POINT] |= {name: point[name] for name in ("bounds", "buckets") if _are_figures(point.get(name))}
    return tidy


def _are_figures(value: Any) -> bool:
    """Whether it is a list of numbers that can be held, no longer than a point may have one."""
    if not isinstance(value, list | tuple) or len(value) > BUCKETS_MAX:
        return False
    return all(
        math.isfinite(each) if isinstance(each, float) else type(each) is int and each.bit_length() < 64
        for each in value
    )


def _object(value: Mapping[Any, Any], depth: int, shown: Shown) -> dict[str, Any]:
    tidy: dict[str, Any] = {}
    for key, item in list(value.items())[:ATTRIBUTES_MAX]:
        name = shown(str(key), TEXT_MAX // 16)
        tidy[name] = REDACTED if is_secret(str(key), item) else _value(item, depth - 1, shown)
    if len(value) > ATTRIBUTES_MAX:
        tidy["attributes_dropped"] = len(value) - ATTRIBUTES_MAX
    return tidy
