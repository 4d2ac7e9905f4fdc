"""The past as the engine takes it in: the stored events of a stretch of time, decoded and sorted by their time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from self_healing.model import Event
from self_healing.telemetry.lines import SEGMENTS, native_asking
from self_healing.telemetry.native import decode
from self_healing.telemetry.query.files import Form, Places, list_files
from self_healing.telemetry.query.find import Look, looked
from self_healing.telemetry.query.rows import Wanted
from self_healing.telemetry.timestamps import END_US

MOST_EVENTS: Final = 500_000
"""So many of the newest events are held at once: about 300 MB."""


@dataclass(slots=True)
class Past:
    """The events of a stretch of time, sorted by time; of the same time, as they stand in their files.

    Args:
        kind: the :class:`~self_healing.model.Kind` of each.
        ts: when each happened, microseconds.
        reaches_us: from when on it is whole, microseconds; where nothing older is stored, the oldest event's time.
        warnings: for people, what of it could not be read.
    """

    events: list[Event] = field(default_factory=list)
    kind: NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, np.uint8))
    ts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    reaches_us: int | None = None
    warnings: list[str] = field(default_factory=list)


def past(
    places: Places,
    since_us: int,
    until_us: int,
    *,
    agent: str | None = None,
    attributes: tuple[str, ...] = (),
    most: int = MOST_EVENTS,
) -> Past:
    """The stored events from `since_us` up to and including `until_us`, whatever kind of file they are in.

    Args:
        places: where to look.
        agent: leave out what is certainly another agent's.
        attributes: the fields of native lines that are wanted beside the columns.
        most: so many of the newest at most.

    Raises:
        TelemetryError: there is no telemetry at all, or its files change faster than they can be read.
    """
    wanted = Wanted(since_us=since_us, until_us=until_us + 1)
    older = len(list_files(places).files) > len(list_files(places, since_us).files)

    def taken(look: Look) -> Past:
        found = _gathered(look, since_us, until_us, agent, attributes, most)
        # What was left out for its size reaches back less far than what is stored.
        oldest_us = since_us if older or look.reaches(since_us) else look.oldest_us()
        whole_us = None if oldest_us is None else max(oldest_us, since_us)
        cut_us = int(found.ts[0]) if len(found.events) == most else None
        if cut_us is not None:
            found.warnings.append(f"there are more than {most} events; only the newest of them are looked at")
        found.reaches_us = whole_us if cut_us is None else cut_us
        return found

    return looked(places, wanted, taken)


def _gathered(
    look: Look, since_us: int, until_us: int, agent: str | None, attributes: tuple[str, ...], most: int
) -> Past:
    events: list[Event] = []
    native = native_asking(attributes)
    kinds, stamps = [np.zeros(0, np.uint8)], [np.zeros(0, np.int64)]
    for form, lines in look.within(agent):
        joined = b"\n".join(lines) + b"\n"
        decoded = decode(joined, now_us=END_US, form=native if form is Form.NATIVE else SEGMENTS)
        # To the microsecond, which the database does not promise.
        wanted = np.flatnonzero((decoded.ts >= since_us) & (decoded.ts <= until_us))
        events += [decoded.events[place] for place in wanted.tolist()]
        kinds.append(decoded.kind[wanted])
        stamps.append(decoded.ts[wanted])
    ts = np.concatenate(stamps)
    order = np.argsort(ts, kind="stable")[-most:]
    return Past(
        [events[place] for place in order.tolist()],
        np.concatenate(kinds)[order],
        ts[order],
        warnings=look.warnings,
    )
