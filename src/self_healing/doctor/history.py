"""The stored history, as the engine takes it in, and what of it says whether telemetry arrives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from self_healing.clock import DAY_US, HOUR_US, SECOND_US, from_us, to_us
from self_healing.config import Settings
from self_healing.doctor.findings import Finding, Tell, ok, problem, warn
from self_healing.errors import TelemetryError
from self_healing.filenames import SEGMENTS as SEGMENT_DIR
from self_healing.loop.health import CLOCK_OFF_US, QUARANTINE_SHARE
from self_healing.model import Event
from self_healing.telemetry.lines import SEGMENTS, attributes_of, native_asking, read_line
from self_healing.telemetry.native import decode
from self_healing.telemetry.query.files import EventFile, Form, Places, list_files
from self_healing.wording import span

DAYS: Final = 14
"""So far back history is looked at: two of the weeks in which agents' work repeats itself."""

QUIET_US: Final = HOUR_US
"""No event at all for longer is worth a look."""

_LOOKED_THROUGH: Final = 2_000
"""So many lines are looked through for the names of what they carry."""

_CHUNK_BYTES: Final = 16 * 2**20
_CHUNK_LINES: Final = 50_000
"""So much of a file is decoded at once: some tens of megabytes are held beside the history."""


@dataclass(slots=True)
class History:
    """The stored events of the last days, sorted by time.

    Args:
        kind, ts: of each event; microseconds.
        newest: the time of the newest event of each source, microseconds.
        received, bad: lines, and those of them that could not be used, by reason.
        attributes: the names of what events have beside columns, where one that was asked for was found in none.
        warnings: what of it could not be read.
    """

    events: list[Event] = field(default_factory=list)
    kind: NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, np.uint8))
    ts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    newest: dict[str, int] = field(default_factory=dict)
    received: int = 0
    bad: Counter[str] = field(default_factory=Counter)
    attributes: set[str] = field(default_factory=set)
    warnings: list[str] = field(default_factory=list)

    @property
    def span_us(self) -> int:
        """From the first event to the last."""
        return int(self.ts[-1] - self.ts[0]) if len(self.ts) else 0


def read_history(settings: Settings, at: datetime, tell: Tell, attributes: tuple[str, ...] = ()) -> History:
    """What is stored of the last :data:`DAYS` days up to `at`; empty when nothing is.

    Args:
        attributes: the fields of native lines, no columns, that triggers group by or filter on.
    """
    since_us, until_us = to_us(at) - DAYS * DAY_US, to_us(at)
    history = History()
    try:
        places = Places(telemetry=settings.telemetry.dir, segments=settings.storage.state_dir / SEGMENT_DIR)
        listing = list_files(places, since_us)
    except TelemetryError:
        return history
    history.warnings += listing.problems
    kinds, stamps = [history.kind], [history.ts]
    native = native_asking(attributes)
    for number, file in enumerate(listing.files):
        tell("reading history", number / len(listing.files))
        for chunk in _chunks(file, history):
            decoded = decode(chunk, now_us=until_us, form=native if file.form is Form.NATIVE else SEGMENTS)
            history.received += decoded.received
            history.bad.update(reason.value for _, reason in decoded.bad)
            wanted = np.flatnonzero(decoded.ts >= since_us)
            events = [decoded.events[place] for place in wanted.tolist()]
            _note_sources(history, events, decoded.ts[wanted])
            history.events += events
            kinds.append(decoded.kind[wanted])
            stamps.append(decoded.ts[wanted])
    ts = np.concatenate(stamps)
    order = np.argsort(ts, kind="stable")
    history.events = [history.events[place] for place in order.tolist()]
    history.kind, history.ts = np.concatenate(kinds)[order], ts[order]
    found = {name for event in history.events for name in event.attributes or ()}
    if not found.issuperset(attributes):
        history.attributes = found | _names(listing.files)
    return history


def _names(files: Sequence[EventFile]) -> set[str]:
    """What the newest native lines name beside columns: it is decoded where it is asked for alone."""
    native = [file for file in files if file.form is Form.NATIVE][-1:]
    lines = [line for file in native for chunk in islice(_chunks(file, History()), 1) for line in chunk.splitlines()]
    good = (line for line in lines[-_LOOKED_THROUGH:] if isinstance(read_line(line), Event))
    return {name for line in good for name in attributes_of(line)}


def _note_sources(history: History, events: list[Event], ts: NDArray[np.int64]) -> None:
    for event, at_us in zip(events, ts.tolist(), strict=True):
        source = getattr(event, "source", None) or "native files"
        if at_us > history.newest.get(source, 0):
            history.newest[source] = at_us


def _chunks(file: EventFile, history: History) -> Iterator[bytes]:
    """Whole lines of a file, some at a time; what cannot be read is told among the warnings."""
    try:
        yield from _columns(file.path) if file.form is Form.COMPACTED else _lines(file.path)
    except OSError as error:
        history.warnings.append(f"{file.path} is skipped: {error.strerror or error}")


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as opened:
        while lines := opened.readlines(_CHUNK_BYTES):
            yield b"".join(lines)


def _columns(path: Path) -> Iterator[bytes]:
    import duckdb  # most commands do without its 30 MB

    try:
        with duckdb.connect() as connection:
            asked = connection.execute("SELECT CAST(to_json(s) AS VARCHAR) FROM read_parquet(?) AS s", [str(path)])
            while rows := asked.fetchmany(_CHUNK_LINES):
                yield "\n".join(line for (line,) in rows).encode()
    except duckdb.Error as error:
        raise OSError(str(error).splitlines()[0]) from error


def arrival(settings: Settings, history: History, at: datetime) -> Iterator[Finding]:
    """Whether telemetry arrives, of each source, and how much of it cannot be used."""
    now_us = to_us(at)
    for warning in history.warnings:
        yield problem("telemetry", warning, "make it readable, or move it away")
    if not history.newest:
        says = f"no event in the last {DAYS} days, in {settings.telemetry.dir} or otherwise"
        yield warn("telemetry", says, "let the fleet send: docs/how-to/connect-your-agents.md")
    spoke_us = max(history.newest.values(), default=0)
    for source, newest_us in sorted(history.newest.items()):
        check, says = f"telemetry of {source}", f"the newest event is of {from_us(newest_us):%Y-%m-%d %H:%M:%S} UTC"
        age_us = now_us - newest_us
        if age_us < -CLOCK_OFF_US:
            yield warn(check, f"{says}, {span(round(-age_us / SECOND_US))} ahead", "set the clock of what writes it")
        elif age_us > QUIET_US and (newest_us == spoke_us or age_us > DAY_US):
            yield warn(check, f"{says}, {span(round(age_us / SECOND_US))} ago", "see whether it still sends")
        else:
            yield ok(check, f"{says}, {span(max(round(age_us / SECOND_US), 0))} ago")
    if history.received:
        share = history.bad.total() / history.received
        reasons = ", ".join(f"{reason} {count}" for reason, count in history.bad.most_common(3))
        says = f"{history.bad.total()} of {history.received} lines cannot be used" + (
            f" ({reasons})" if reasons else ""
        )
        if share > QUARANTINE_SHARE:
            yield warn("quarantine", says, "self-healing status shows the newest of them: see what writes them")
        else:
            yield ok("quarantine", says)
