"""Native telemetry: JSON lines decoded in bulk into :class:`self_healing.model.Event`, with each line accounted for.

Per-event Python work is what costs here. So a chunk is looked at in columns, decoded in one call, and only where that
fails are its lines taken one by one, to find the bad ones and to say why they are bad.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from self_healing.clock import MINUTE_US
from self_healing.model import Event, Kind
from self_healing.telemetry.collector import collector_off
from self_healing.telemetry.encoding import SHORT_LINE, are_held, bounded
from self_healing.telemetry.lines import (
    DEPTH_MAX,
    FOLDED,
    INTAKE,
    LINE_MAX_BYTES,
    NATIVE,
    OWN_PREFIX,
    SEGMENTS,
    BadLine,
    Lines,
    SegmentLine,
    attributes_of,
    put_asked,
    put_wanted,
    read_line,
)
from self_healing.telemetry.metric import POINT, point_of
from self_healing.telemetry.pricing import put_prices
from self_healing.telemetry.timestamps import UNREAD, encode_ts, parse_usual, time_of

__all__ = ["DEPTH_MAX", "FUTURE_MAX_US", "LINE_MAX_BYTES", "BadLine", "Decoded", "attributes_of", "decode", "encode_ts"]

FUTURE_MAX_US = 5 * MINUTE_US
"""How far ahead of now an event may lie."""


@dataclass(slots=True)
class Decoded:
    """What a chunk of lines held.

    Args:
        events: the good ones, in the order of their lines.
        ts: when each happened, int64 microseconds since 1970.
        kind: the :class:`~self_healing.model.Kind` of each, uint8.
        starts: where the line of each begins, in bytes within the chunk.
        received: how many lines there were, without empty ones and our own; always ``len(events) + len(bad)``.
        bad: of each other line its offset in bytes within the chunk, and why.
        rejected: items that never became lines because they were bad for good, by reason; only our own segments tell.
        dropped: items that never became lines though they were good, by reason; only our own segments tell.
    """

    events: list[Event]
    ts: NDArray[np.int64]
    kind: NDArray[np.uint8]
    starts: NDArray[np.int64]
    received: int
    bad: list[tuple[int, BadLine]]
    rejected: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)


Chunk = bytes | memoryview


def decode(lines: Chunk, *, now_us: int, attributes: bool = False, form: Lines = NATIVE) -> Decoded:
    """Decode a chunk of whole lines; never raises for what is in them.

    Args:
        lines: whole lines; the last one may lack its newline.
        now_us: the present, microseconds since 1970.
        attributes: fill each event's ``attributes`` with the fields that :class:`Event` does not know (much slower).
        form: of the lines: of native files, or of our own segments.
    """
    if lines[-1:] != b"\n":
        lines = bytes(lines) + b"\n"
    with collector_off():
        rows = _rows(lines, form)
        if form not in (NATIVE, SEGMENTS, FOLDED):
            for event in rows.events:
                put_asked(event)
                _hold(event)
        if attributes:
            for event, line in zip(rows.events, _lines_at(bytes(lines), rows.starts), strict=True):
                event.attributes = attributes_of(line) or None
        decoded = _columns(rows, parse_usual([event.ts for event in rows.events]), now_us)
        if form not in (SEGMENTS, FOLDED):  # what is in segments was priced on its way in
            put_prices(decoded.events, decoded.ts, decoded.kind)
        return decoded


def _lines_at(lines: bytes, starts: NDArray[np.int64]) -> list[bytes]:
    return [lines[start : lines.index(b"\n", start)] for start in starts.tolist()]


_CODES: Final = {kind.name.lower(): int(kind) for kind in Kind if kind is not Kind.OWN}

# --- lines into events ---------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Rows:
    """Decoded lines: the events with the offsets of their lines, and the bad ones."""

    events: list[Event]
    starts: NDArray[np.int64]
    bad: list[tuple[int, BadLine]]


_NEWLINE, _RETURN, _OPEN, _CLOSE = b"\n\r{}"


def _rows(lines: Chunk, form: Lines) -> _Rows:
    """All of `lines` at once when every one is an event, as nearly always; else piece by piece."""
    data = np.frombuffer(lines, np.uint8)
    starts, ends, doubtful = _split(data)
    if not _is_text(lines, data):
        doubtful[np.searchsorted(ends, np.flatnonzero(data >= 0x80))] = True
    if not doubtful.any():
        events = _events(lines, len(starts), form, longest=int((ends - starts).max(initial=0)))
        if events is not None:
            return _Rows(events, starts, [])
    return _piece_by_piece(bytes(lines), starts, ends, doubtful, form)


def _hold(event: Event) -> None:
    if event.attributes:
        event.attributes = bounded(event.attributes)


def _split(data: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Where each line that is not empty starts and ends, and whether it has to be looked at by itself.

    ``decode_lines`` does not care where lines end. So each has to begin with ``{`` and end with ``}``: then no object
    reaches over a newline, as one cannot follow the other inside it, and as many objects as lines are one in each.
    Brackets that open are counted whether they are nested or not, and in texts too: too many are only a suspicion.
    """
    marks = _brackets_and_newlines(data)
    newlines = np.flatnonzero(data[marks] == _NEWLINE)
    ends = marks[newlines]
    starts = np.empty_like(ends)
    starts[0] = 0
    np.add(ends[:-1], 1, out=starts[1:])
    doubtful = np.empty(len(ends), np.bool_)
    doubtful[0] = newlines[0] > DEPTH_MAX
    np.greater(newlines[1:] - newlines[:-1], DEPTH_MAX + 1, out=doubtful[1:])
    doubtful |= ends - starts > LINE_MAX_BYTES
    framed = (data[starts] == _OPEN) & (data[ends - 1] == _CLOSE)
    if not framed.all():
        ends -= data[ends - 1] == _RETURN
        filled = ends > starts
        starts, ends, doubtful = starts[filled], ends[filled], doubtful[filled]
        framed = (data[starts] == _OPEN) & (data[ends - 1] == _CLOSE)
    doubtful |= ~framed
    return starts, ends, doubtful


def _brackets_and_newlines(data: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Where in `data` a ``[``, a ``{`` or a newline stands."""
    found = np.empty(len(data), np.bool_)
    folded = np.empty(min(len(data), _STRIDE), np.uint8)
    newline = folded.view(np.bool_)
    for start in range(0, len(data), _STRIDE):
        part, here = data[start : start + _STRIDE], found[start : start + _STRIDE]
        size = len(part)
        np.bitwise_or(part, 0x20, out=folded[:size])  # makes [ a {, and nothing else
        np.equal(folded[:size], _OPEN, out=here)
        np.equal(part, _NEWLINE, out=newline[:size])
        np.logical_or(here, newline[:size], out=here)
    return np.flatnonzero(found)


_STRIDE = 1 << 16  # bytes looked at in one go, so that what lies between the steps stays in the processor's cache


def _is_text(lines: Chunk, data: NDArray[np.uint8]) -> bool:
    if data.max() < 0x80:
        return True
    try:
        str(lines, "utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _events(lines: Chunk, count: int, form: Lines, longest: int) -> list[Event] | None:
    """The events in `lines`; None when there are not as many as lines, or one of them is not as it should be.

    Args:
        longest: no line has more bytes.
    """
    for decoder in form:
        try:
            events = decoder.decode_lines(lines)
            if decoder is FOLDED[0]:
                put_wanted(events)
        except ValueError:  # what is wrong, and where, is found line by line
            continue
        if len(events) != count:
            return None
        # The decoder before the last takes none of native lines with attributes.
        if (form is FOLDED or decoder is form[-1]) and (
            longest > SHORT_LINE or not are_held([event.attributes for event in events])
        ):
            for event in events:
                _hold(event)
        return events
    return None


def _piece_by_piece(
    lines: bytes, starts: NDArray[np.int64], ends: NDArray[np.int64], doubtful: NDArray[np.bool_], form: Lines
) -> _Rows:
    """Each doubtful line by itself; the stretches between them at once, or halved until the bad lines are found."""
    rows = _Rows([], starts, [])
    begin, end = starts.tolist(), ends.tolist()
    good = np.zeros(len(starts), np.bool_)
    longest = int((ends - starts).max(initial=0))

    def take(first: int, last: int) -> None:
        """The lines from `first` up to, not including, `last`, of which none is doubtful."""
        events = _events(lines[begin[first] : end[last - 1]], last - first, form, longest) if last - first > 1 else None
        if events is not None:
            rows.events += events
            good[first:last] = True
        elif last - first == 1:
            take_one(first)
        elif last > first:
            middle = (first + last) // 2
            take(first, middle)
            take(middle, last)

    def take_one(index: int) -> None:
        match read_line(lines[begin[index] : end[index]], form):
            case BadLine() as reason:
                rows.bad.append((begin[index], reason))
            case Event() as event:
                _hold(event)
                rows.events.append(event)
                good[index] = True

    after = 0
    for index in np.flatnonzero(doubtful).tolist():
        take(after, index)
        take_one(index)
        after = index + 1
    take(after, len(begin))
    rows.starts = starts[good]
    return rows


# --- events into columns -------------------------------------------------------------------------------------------


def _columns(rows: _Rows, usual: NDArray[np.int64], now_us: int) -> Decoded:
    """The events that can be used, in columns, and what is wrong with the others.

    Args:
        usual: what :func:`parse_usual` says of their times.
    """
    events, bad = rows.events, rows.bad
    ts = _times(events, usual)
    kind = _kinds(events)
    own = kind == Kind.OWN
    wrong = ((ts == UNREAD) | (ts > now_us + FUTURE_MAX_US)) & ~own
    pointless = _pointless(events, kind)
    received = len(events) - int(np.count_nonzero(own)) + len(bad)
    if wrong.any() or pointless:
        for index in np.flatnonzero(wrong).tolist():
            bad.append((int(rows.starts[index]), BadLine.UNDATED if ts[index] == UNREAD else BadLine.FUTURE))
        bad += [(int(rows.starts[index]), BadLine.INVALID_VALUE) for index in pointless if not wrong[index]]
        wrong[pointless] = True
        bad.sort()
    decoded = Decoded(events, ts, kind, rows.starts, received, bad)
    if own.any():
        _hear_intake(decoded, [events[index] for index in np.flatnonzero(own).tolist()])
    good = ~(wrong | own)
    if not good.all():
        chosen = np.flatnonzero(good)
        decoded.events = [events[index] for index in chosen.tolist()]
        decoded.ts, decoded.kind, decoded.starts = ts[chosen], kind[chosen], rows.starts[chosen]
    return decoded


def _pointless(events: Sequence[Event], kind: NDArray[np.uint8]) -> list[int]:
    """The places of metrics that carry a point which cannot be used."""
    metrics = np.flatnonzero(kind == Kind.METRIC).tolist()
    return [place for place in metrics if POINT in (events[place].attributes or {}) and point_of(events[place]) is None]


def _hear_intake(decoded: Decoded, own: list[Event]) -> None:
    """What our own segments say of items that never became lines. No other file can say so: nobody speaks for us."""
    for event in own:
        if isinstance(event, SegmentLine) and event.kind == INTAKE:
            decoded.rejected.update(event.rejected or {})
            decoded.dropped.update(event.dropped or {})


def _times(events: Sequence[Event], times: NDArray[np.int64]) -> NDArray[np.int64]:
    """When each event happened, microseconds since 1970, or UNREAD; `times` are those in a usual form."""
    for index in np.flatnonzero(times == UNREAD).tolist():
        times[index] = time_of(events[index])
    return times


def _kinds(events: Sequence[Event]) -> NDArray[np.uint8]:
    """The code of each event's kind."""
    codes = _CODES
    try:
        kinds = [codes[event.kind] for event in events]
    except KeyError:
        kinds = [codes[kind] if kind in codes else _other_kind(kind) for kind in [event.kind for event in events]]
    return np.frombuffer(bytearray(kinds), np.uint8)


def _other_kind(kind: str) -> Kind:
    return Kind.OWN if kind.startswith(OWN_PREFIX) else Kind.LOG
