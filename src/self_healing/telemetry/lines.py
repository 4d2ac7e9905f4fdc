"""One line of native telemetry: what it may say, what becomes of it alone, and why it is bad when it is."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Sequence
from enum import StrEnum
from functools import cache
from typing import Annotated, Any, Final, cast

import msgspec
import numpy as np
from msgspec import Meta

from self_healing import model
from self_healing.measures import LARGEST
from self_healing.model import Event, Ingested, KindName, StatusName

LINE_MAX_BYTES = 1 << 20
"""The longest line that is read, without its newline."""

SERVICE: Final = "service.name"
"""The attribute that names what a span ran in; it stands for the agent where the span names none."""

DEPTH_MAX = 32
"""How deep a line's objects and arrays may nest; the line's own object is the first level."""


class BadLine(StrEnum):
    """Why a line was quarantined."""

    INVALID_UTF8 = "invalid_utf8"  # bytes that are no text
    INVALID_JSON = "invalid_json"  # text that is no JSON
    INVALID_VALUE = "invalid_value"  # not an object, or a field of a wrong type or out of its range
    NON_FINITE = "non_finite"  # NaN, Infinity, or a number too large to be held, such as 1e999
    TOO_DEEP = "too_deep"  # nested deeper than DEPTH_MAX
    TOO_LONG = "too_long"  # longer than LINE_MAX_BYTES
    UNDATED = "undated"  # no usable time, or one before 1970 or after 9999
    FUTURE = "future"  # more than FUTURE_MAX_US ahead of now
    TORN = "torn"  # the last line of a file that was rotated away, never finished


_YEAR_10000_S: Final = 253_402_300_800

_Count = Annotated[int, Meta(ge=0, le=LARGEST)]
_Amount = Annotated[float, Meta(ge=0, le=LARGEST)]
_Instant = Annotated[float, Meta(ge=0, lt=_YEAR_10000_S)]
_Attempt = Annotated[int, Meta(ge=1, le=LARGEST)]
_Share = Annotated[float, Meta(ge=0, le=1)]
_None = Annotated[dict[str, Any], Meta(max_length=0)]


class _Usage(model.Usage, gc=False):  # noqa: PLW1641 as unhashable as what it derives from
    """A usage whose ranges the decoder checks: that costs next to nothing, and in Python more than all else."""

    prompt_tokens: _Count | None = None
    completion_tokens: _Count | None = None
    total_tokens: _Count | None = None
    total_usd: _Amount | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, model.Usage) and msgspec.to_builtins(self) == msgspec.to_builtins(other)


class _Line(Event, gc=False):  # noqa: PLW1641 as unhashable as what it derives from
    """An event whose ranges the decoder checks; equal to any event with the same fields."""

    attempt: _Attempt | None = None
    status: StatusName | None = None
    started_at: _Instant | None = None
    finished_at: _Instant | None = None
    duration_s: _Amount | None = None
    usage: _Usage | None = None
    passed: _Count | None = None
    failed: _Count | None = None
    quality: _Share | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Event) and msgspec.to_builtins(self) == msgspec.to_builtins(other)


class _KnownLine(_Line, gc=False):
    """A line whose kind we know: the decoder then reuses one text for all of them, which is quicker to look up.

    Without attributes of its own, for those are looked through one by one.
    """

    attributes: _None | None = None

    kind: KindName = "log"


class SegmentLine(Ingested, gc=False):  # noqa: PLW1641 as unhashable as what it derives from
    """A line of our own segments: what came otherwise than in a native file, its ranges checked just as well.

    Also a line that says what became of a batch; see :data:`INTAKE`.
    """

    attempt: _Attempt | None = None
    status: StatusName | None = None
    started_at: _Instant | None = None
    finished_at: _Instant | None = None
    duration_s: _Amount | None = None
    usage: _Usage | None = None
    passed: _Count | None = None
    failed: _Count | None = None
    quality: _Share | None = None
    rejected: dict[str, _Count] | None = None
    dropped: dict[str, _Count] | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ingested) and msgspec.to_builtins(self) == msgspec.to_builtins(other)


class _FoldedLine(SegmentLine, gc=False):
    """A line whose attributes are bytes still; :func:`put_wanted` makes of them what somebody wants."""

    attributes: msgspec.Raw = None  # type: ignore[assignment]


_FIELDS: Final = frozenset(_Line.__struct_encode_fields__)

Lines = tuple[msgspec.json.Decoder[Event], ...]
"""The decoders for one form of lines: the last takes every good line, those before it are quicker."""

KNOWN_KINDS: Final = cast("msgspec.json.Decoder[Event]", msgspec.json.Decoder(_KnownLine))
"""Decodes lines of the kinds that :class:`~self_healing.model.Kind` lists."""

ANY_KIND: Final = cast("msgspec.json.Decoder[Event]", msgspec.json.Decoder(_Line))
"""Decodes lines of any kind."""

NATIVE: Final[Lines] = (KNOWN_KINDS, ANY_KIND)
"""Lines of a native file."""

SEGMENTS: Final[Lines] = (cast("msgspec.json.Decoder[Event]", msgspec.json.Decoder(SegmentLine)),)
"""Lines of our own segments."""

FOLDED: Final[Lines] = (cast("msgspec.json.Decoder[Event]", msgspec.json.Decoder(_FoldedLine)), *SEGMENTS)
"""The same, to be folded: what a part of a trace keeps beside the columns is read by nobody there."""


class _Service(msgspec.Struct, gc=False):
    name: str | None = msgspec.field(name=SERVICE, default=None)


_SERVICE: Final = msgspec.json.Decoder(_Service)
_ATTRIBUTES: Final = msgspec.json.Decoder(dict[str, Any] | None)


def put_wanted(events: Sequence[Event]) -> None:
    """Read the attributes of events that the first of :data:`FOLDED` decoded, as far as somebody wants them there.

    Of a part of a trace that can be no task that is the service which stands for its agent, where that is so: to make
    objects of the others, and to let go of them, takes as long as all else that is done with it.

    Raises:
        ValueError: some cannot be read.
    """
    for event in cast("Sequence[SegmentLine]", events):
        raw = event.attributes
        if raw is None:
            continue
        if event.parent_id is None or event.role not in _PARTS or event.span_id is None or event.trace_id is None:
            event.attributes = _ATTRIBUTES.decode(cast("msgspec.Raw", raw))
        else:
            service = _SERVICE.decode(cast("msgspec.Raw", raw)).name
            event.attributes = {SERVICE: service} if service is not None and service == event.agent else None


_PARTS: Final = frozenset(("model", "tool", "other"))
"""The roles of spans that are no tasks where there is a span above them."""


@cache
def native_asking(attributes: tuple[str, ...]) -> Lines:
    """Native lines of which these fields, which no column holds, are put into the attributes of their events.

    They are decoded like columns, so that no line is decoded twice.
    """
    names = {f"asked_{number}": name for number, name in enumerate(attributes) if name not in _FIELDS}
    if not names:
        return NATIVE
    fields = [(field, Any, None) for field in names]
    kinds = [
        msgspec.defstruct(line.__name__, fields, bases=(line,), namespace={"asked": names}, gc=False, rename=names)
        for line in (_KnownLine, _Line)
    ]
    return tuple(cast("msgspec.json.Decoder[Event]", msgspec.json.Decoder(kind)) for kind in kinds)


def put_asked(event: Event) -> None:
    """Put what was asked for of an event's line into its attributes, where its own ``attributes`` win."""
    found = {name: getattr(event, field) for field, name in getattr(event, "asked", {}).items()}
    found = {name: value for name, value in found.items() if value is not None}
    if found:
        event.attributes = found | (event.attributes or {})


INTAKE: Final = "self_healing_intake"
"""The type of the line, in our own segments, that stands before a batch's events where there is more to say of it than
they do."""

OWN_PREFIX: Final = "self_healing_"
"""How the kinds begin that are our own."""


class _NoMore(Event, gc=False, forbid_unknown_fields=True):
    """A line whose every field is a column: nearly all are, and to see that is much quicker than to look for more."""

    attributes: _None | None = None
    errors: None = None  # which the native format has, and hardly ever says anything


_NO_MORE: Final = msgspec.json.Decoder(_NoMore)
_ALL: Final = msgspec.json.Decoder(dict[str, Any])


def attributes_of(line: bytes) -> dict[str, Any]:
    """The fields of a good line that :class:`Event` does not know, merged with its ``attributes``, which win.

    A number that nothing can hold (1e999 in a field that no signal reads) is None, that is unknown.
    """
    try:
        _NO_MORE.decode(line)
    except msgspec.ValidationError:
        pass
    else:
        return {}
    try:
        fields = _ALL.decode(line)
    except msgspec.ValidationError:
        fields = json.loads(line, parse_float=_float_or_none, parse_int=_int_or_none)
    known = fields.get("attributes") or {}
    return {name: value for name, value in fields.items() if name not in _FIELDS} | known


def read_line(line: bytes, form: Lines = NATIVE) -> Event | BadLine | None:
    """One line without its newline: its event, or why it is bad; None when it is empty or our own."""
    if len(line) > LINE_MAX_BYTES:
        return BadLine.TOO_LONG
    if not line.strip(b" \t\r"):
        return None
    try:
        line.decode()
    except UnicodeDecodeError:
        return BadLine.INVALID_UTF8
    if depth_of(line) > DEPTH_MAX:
        return BadLine.TOO_DEEP
    try:
        return form[-1].decode(line)
    except msgspec.ValidationError:
        return _other_event(line)
    except ValueError:
        return BadLine.NON_FINITE if _NOT_FINITE.search(STRING.sub(b"", line)) else BadLine.INVALID_JSON


_NOT_FINITE = re.compile(rb"\b(NaN|Infinity)\b")
# Nothing in it can be matched in two ways, and an end is not asked for: so no line takes longer than its length.
STRING: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"?')


def depth_of(text: bytes) -> int:
    """How deep objects and arrays nest in JSON; 0 when there are too few of them to nest deeper than DEPTH_MAX."""
    if text.count(b"{") + text.count(b"[") <= DEPTH_MAX:
        return 0
    folded = np.frombuffer(STRING.sub(b"", text), np.uint8) | 0x20  # makes [ a { and ] a }
    deepest = level = 0
    for start in range(0, len(folded), _STRIDE):
        part = folded[start : start + _STRIDE]
        levels = level + np.cumsum((part == ord("{")).astype(np.int64) - (part == ord("}")))
        deepest, level = max(deepest, int(levels.max())), int(levels[-1])
    return deepest


_STRIDE = 1 << 16  # bytes looked at in one go, so that a large body takes no multiple of its size


class _NotFinite(Exception):
    """A number in a line is not one that can be held."""


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise _NotFinite
    return value


def _float_or_none(number: str) -> float | None:
    value = float(number)
    return value if math.isfinite(value) else None


def _int_or_none(number: str) -> int | None:
    return int(number) if len(number) <= sys.int_info.default_max_str_digits else None


def _other_event(line: bytes) -> Event | BadLine | None:
    """A line that is no event as it stands: a log when only its type is null, nothing when it is our own, else bad."""
    try:
        value = json.loads(line, parse_constant=_finite, parse_float=_finite, parse_int=_finite)
    except _NotFinite:
        return BadLine.NON_FINITE
    except ValueError:  # the decoder stopped at a wrong value, before it came to what is no JSON
        return BadLine.INVALID_JSON
    kind = value.get("type", "log") if isinstance(value, dict) else "log"
    if isinstance(kind, str) and kind.startswith(OWN_PREFIX):
        return None
    if kind is not None:
        return BadLine.INVALID_VALUE
    try:
        return msgspec.convert(msgspec.json.decode(line) | {"type": "log"}, _Line)
    except msgspec.ValidationError:
        return BadLine.INVALID_VALUE
    except ValueError:  # Python is laxer with escapes
        return BadLine.INVALID_JSON
