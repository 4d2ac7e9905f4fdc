"""A batch as it is written: its lines, and what has to be known to choose among them.

All of it is plain data, made of what came and of nothing else: so it can be made in another process.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from self_healing.model import Ingested
from self_healing.redaction import redact
from self_healing.telemetry.encoding import encode_events
from self_healing.telemetry.normalised import Normalised
from self_healing.telemetry.recovery import span_known_by
from self_healing.telemetry.timestamps import UNREAD, parse_one, parse_usual

_NEWLINE: Final = ord("\n")


class Encoded(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A batch, encoded.

    Args:
        source: the way in, such as ``otlp``.
        lines: of its events, one after the other, each with its newline.
        sizes: how long each of them is, in bytes.
        known_by: what each is known again by when it comes again, None where by nothing.
        times_us: when each happened, microseconds; UNREAD where it does not say.
        rejected: items that are bad for good, by reason.
        key: the batch's idempotency key.
        problems: what is wrong with the first of the rejected items, for people.

    Raises:
        ValueError: what is said of the lines is not so: nothing else would keep one batch out of the lines of another.
    """

    source: str
    lines: bytes
    sizes: list[int]
    known_by: list[str | None]
    times_us: list[int]
    rejected: dict[str, int]
    key: str | None
    problems: list[str] = []

    def __post_init__(self) -> None:
        if not len(self.sizes) == len(self.known_by) == len(self.times_us):
            raise ValueError("sizes, known_by and times_us are not of the same length")
        if min(self.rejected.values(), default=0) < 0:
            raise ValueError("a count of rejected items is below zero")
        if min(self.sizes, default=1) < 1 or sum(self.sizes) != len(self.lines):
            raise ValueError("the sizes are not those of the lines")
        lasts = np.frombuffer(self.lines, np.uint8)[np.cumsum(self.sizes, dtype=np.int64) - 1]
        if self.lines.count(b"\n") != len(self.sizes) or (lasts != _NEWLINE).any():
            raise ValueError("not every line ends with its newline, and has no other")

    def each_line(self) -> list[bytes]:
        """Its lines, apart."""
        ends = np.cumsum(self.sizes, dtype=np.int64).tolist()
        return [self.lines[end - size : end] for end, size in zip(ends, self.sizes, strict=True)]


def encoded(batch: Normalised, source: str) -> Encoded:
    """A batch as it is written: bounded, and free of what looks like a secret.

    Args:
        batch: what came, normalised; its events are not the caller's any more.
        source: the way in; also the `source` of the events that name none.
    """
    events = batch.events
    for event in events:
        event.source = event.source or source
    lines = encode_events(events)
    return Encoded(
        source=source,
        lines=b"".join(lines),
        sizes=[*map(len, lines)],
        known_by=[span_known_by(event.trace_id, event.span_id, event.parent_id, event.role) for event in events],
        times_us=_all_read(events, parse_usual([event.ts for event in events])),
        rejected={reason: count for reason, count in batch.rejected.items() if count},
        key=batch.key,
        problems=[redact(problem) for problem in batch.problems],
    )


def _all_read(events: Sequence[Ingested], usual: NDArray[np.int64]) -> list[int]:
    """When each happened, microseconds, also where it says so in no usual form; UNREAD where it does not say."""
    known: list[int] = usual.tolist()
    if not (usual == UNREAD).any():  # as nearly always
        return known
    return [
        _read(event.ts) if at_us == UNREAD and event.ts is not None else at_us
        for event, at_us in zip(events, known, strict=True)
    ]


def _read(ts: str) -> int:
    try:
        return parse_one(ts)
    except ValueError:  # it is quarantined where it is folded
        return UNREAD
