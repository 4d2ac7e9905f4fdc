"""Native events that come in one piece, as by HTTP: one object, an array of them, or JSON lines."""

from __future__ import annotations

from typing import Final

import msgspec

from self_healing.model import Event, Ingested
from self_healing.telemetry.caps import check_lines, check_values
from self_healing.telemetry.describing import SAYS, described
from self_healing.telemetry.lines import BadLine
from self_healing.telemetry.native import decode
from self_healing.telemetry.normalised import PROBLEMS_MAX, Normalised, key_of
from self_healing.telemetry.timestamps import END_US

JSON_TYPE: Final = "application/json"
"""The content type of one object, or of an array of them."""

LINES_TYPES: Final = ("application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines")
"""The content types of JSON lines."""

_FIELDS: Final = tuple(field.name for field in msgspec.structs.fields(Event))


def native_batch(body: bytes, content_type: str, key: str | None = None) -> Normalised:
    """The events in `body`, by the rules for files; a bad one is rejected with its reason, and rejects no other.

    An event in the future is no bad one: it is quarantined when it is folded, as one in a file is.

    Args:
        body: what was sent, decompressed.
        content_type: JSON_TYPE, one of LINES_TYPES, or none, which is taken for JSON_TYPE; parameters may follow.
        key: the batch's idempotency key; its bytes are, where its sender gives none.

    Raises:
        ValueError: another content type.
        TooMany: it holds too much.
    """
    as_lines = is_lines(content_type)
    check_values(body)
    key = key_of(body) if key is None else key
    lines = body if as_lines else _lines_of(body)
    batch = Normalised(key=key)
    if isinstance(lines, BadLine):
        batch.reject(lines.value, f"the body: {SAYS[lines]}")
        return batch
    check_lines(lines)
    decoded = decode(lines, now_us=END_US, attributes=True)
    batch.events += [_ingested(event) for event in decoded.events]
    called = "line" if as_lines or lines is body else "event"
    for offset, reason in decoded.bad:
        told = len(batch.problems) < PROBLEMS_MAX
        batch.reject(reason.value, _problem(lines, offset, reason, called) if told else None)
    return batch


def is_lines(content_type: str) -> bool:
    """Whether what has that content type is JSON lines; else it is one JSON document.

    Raises:
        ValueError: it is neither.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind not in (*LINES_TYPES, JSON_TYPE, ""):
        raise ValueError(f"content type {kind!r}: allowed is one of {', '.join((JSON_TYPE, *LINES_TYPES))}")
    return kind in LINES_TYPES


def _lines_of(body: bytes) -> bytes | BadLine:
    """The objects of a JSON document as lines, or why it is none."""
    try:
        document = msgspec.json.decode(body, type=msgspec.Raw)
        text = bytes(document).strip()
        items = msgspec.json.decode(text, type=list[msgspec.Raw]) if text.startswith(b"[") else [text]
    except UnicodeDecodeError:
        return BadLine.INVALID_UTF8
    except RecursionError:
        return BadLine.TOO_DEEP
    except ValueError:
        # Many a sender of lines calls them JSON; and what is no JSON, its lines tell best.
        return body
    # In JSON, a newline is never part of a value: so each object fits on a line of its own.
    return b"\n".join(bytes(item).replace(b"\n", b" ").replace(b"\r", b" ") for item in items)


def _problem(lines: bytes, offset: int, reason: BadLine, called: str) -> str:
    """What is wrong with the line at `offset`, and which one that is, from 1."""
    end = lines.find(b"\n", offset)
    place = lines.count(b"\n", 0, offset) + 1
    what = described(lines[offset : None if end < 0 else end], reason) or SAYS[reason]
    return f"{called} {place}: {what}"


def _ingested(event: Event) -> Ingested:
    return Ingested(**{name: getattr(event, name) for name in _FIELDS})
