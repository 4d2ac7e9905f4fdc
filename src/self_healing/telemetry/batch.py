"""What one reading of the telemetry directory yields."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from self_healing import model
from self_healing.model import Event, Kind
from self_healing.telemetry.attributes import Beyond
from self_healing.telemetry.misnamed import misnamed
from self_healing.telemetry.native import BadLine, Decoded
from self_healing.telemetry.tail import Position, Tail


class Quarantined(model.Record, frozen=True, kw_only=True):
    """One line that could not be used."""

    file: str
    offset: int  # bytes, where it begins
    reason: BadLine


@dataclass(slots=True)
class Batch:
    """What was new in the directory.

    Args:
        events: sorted by time; those of the same time in the order in which they were read.
        ts: when each happened, int64 microseconds since 1970.
        kind: the :class:`~self_healing.model.Kind` of each, uint8.
        received: lines, without empty ones and our own; always ``len(events)`` plus all that is quarantined.
        quarantined: how many lines for each reason.
        bad: those lines.
        caught_up: every file that can be read was read to its end.
        newest_ts_us: the newest event time in it; None without events.
        complete_to_us: up to this event time every file has been read, as far as each is in order; None when caught up,
            or when that cannot be said.
        problems: files that cannot be read, and why, for people.
        positions: where reading stands after it; to be committed together with what is made of it.
        lines: how many of what was received came from each file.
        rejected: items that never became lines because they were bad for good, by reason.
        dropped: items that never became lines though they were good, by reason.
        misnamed: what native lines say under a name that no field has, in words, and where such a line is.
        beyond: what the native lines of ended attempts say that :class:`Event` does not know.
    """

    events: list[Event]
    ts: NDArray[np.int64]
    kind: NDArray[np.uint8]
    received: int
    quarantined: Counter[BadLine]
    bad: list[Quarantined]
    caught_up: bool
    newest_ts_us: int | None
    complete_to_us: int | None
    problems: list[str]
    positions: tuple[Position, ...]
    lines: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    misnamed: dict[str, str] = field(default_factory=dict)
    beyond: Beyond = field(default_factory=Beyond)


@dataclass(slots=True)
class Gathered:
    """What a batch is made of, while it is read."""

    events: list[Event] = field(default_factory=list)
    ts: list[NDArray[np.int64]] = field(default_factory=list)
    kind: list[NDArray[np.uint8]] = field(default_factory=list)
    received: int = 0
    bad: list[Quarantined] = field(default_factory=list)
    lines: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    beyond: Beyond = field(default_factory=Beyond)
    misnamed: dict[str, str] = field(default_factory=dict)

    def add(self, file: Tail, offset: int, decoded: Decoded, lines: bytes) -> None:
        """Take what the `lines` of `file` from `offset` on held."""
        # In our own segments all that is known beside the columns is in the attributes already.
        if not file.segment:
            self._remember(decoded, lines)
            for what, at in misnamed(lines, decoded):
                self.misnamed[what] = f"{file.label}, at byte {offset + at}"
        self.events += decoded.events
        self.ts.append(decoded.ts)
        self.kind.append(decoded.kind)
        self.received += decoded.received
        self.lines[file.label] += decoded.received
        self.rejected.update(decoded.rejected)
        self.dropped.update(decoded.dropped)
        self.bad += [Quarantined(file=file.label, offset=offset + at, reason=reason) for at, reason in decoded.bad]

    def _remember(self, decoded: Decoded, lines: bytes) -> None:
        """Remember the lines of ended attempts."""
        ended = np.flatnonzero(decoded.kind == Kind.TASK_FINISHED)
        if len(ended):
            events, until_us = [decoded.events[place] for place in ended.tolist()], int(decoded.ts[ended].max())
            self.beyond.add(lines, events, decoded.starts[ended], until_us)

    def add_bad(self, file: Tail, offset: int, reason: BadLine) -> None:
        self.received += 1
        self.lines[file.label] += 1
        self.bad.append(Quarantined(file=file.label, offset=offset, reason=reason))

    def batch(self, files: Sequence[Tail], unfinished: Sequence[Tail], problems: list[str]) -> Batch:
        ts = np.concatenate([np.empty(0, np.int64), *self.ts])
        kind = np.concatenate([np.empty(0, np.uint8), *self.kind])
        events = self.events
        if (ts[1:] < ts[:-1]).any():
            order = np.argsort(ts, kind="stable")
            ts, kind, events = ts[order], kind[order], [events[index] for index in order.tolist()]
        stand_at = [file.ts_us for file in unfinished if file.ts_us is not None]
        return Batch(
            events=events,
            ts=ts,
            kind=kind,
            received=self.received,
            quarantined=Counter(line.reason for line in self.bad),
            bad=self.bad,
            caught_up=not unfinished,
            newest_ts_us=int(ts[-1]) if len(ts) else None,
            complete_to_us=min(stand_at) if stand_at and len(stand_at) == len(unfinished) else None,
            problems=problems,
            positions=tuple(file.position() for file in files),
            lines=self.lines,
            rejected=self.rejected,
            dropped=self.dropped,
            misnamed=self.misnamed,
            beyond=self.beyond,
        )
