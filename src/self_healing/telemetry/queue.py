"""Events in flight: read, and waiting for the instant up to which they are folded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from self_healing.measures import Ints
from self_healing.model import Event, Ingested, Kind
from self_healing.telemetry.examples import hushed


@dataclass(slots=True)
class Queue:
    """Events in flight, sorted by time.

    Args:
        ts: when each happened, microseconds.
        at: how many of them were folded already; they stay until all are, for cutting off the front of a long list
            again and again would take longer than folding it.
    """

    events: list[Event] = field(default_factory=list)
    kind: NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, np.uint8))
    ts: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    at: int = 0

    def __len__(self) -> int:
        return len(self.events) - self.at

    def merged(self, events: list[Event], kind: NDArray[np.uint8], ts: Ints) -> Queue:
        """What waits and a batch, sorted by time; of the same time, what waits goes first."""
        if not len(self):
            return Queue(events, kind, ts)
        rest = self._rest()
        all_ts = np.concatenate([rest.ts, ts])
        order = np.argsort(all_ts, kind="stable")
        both = rest.events + events
        return Queue([both[place] for place in order.tolist()], np.concatenate([rest.kind, kind])[order], all_ts[order])

    def _rest(self) -> Queue:
        """What waits, alone."""
        return Queue(self.events[self.at :], self.kind[self.at :], self.ts[self.at :]) if self.at else self

    def newest(self, kind: Kind, most: int) -> list[Event]:
        """The newest of one kind that wait, so many at most."""
        return [self.events[self.at + place] for place in np.flatnonzero(self.kind[self.at :] == kind)[-most:].tolist()]

    def pack(self) -> list[Any]:
        """What waits, for the state, without what looks like a secret."""
        rest = self._rest()
        return [[hushed(event) for event in rest.events], rest.kind.tolist(), rest.ts.tolist()]

    @staticmethod
    def unpack(packed: list[Any]) -> Queue:
        """What :meth:`pack` gave."""
        events, kind, ts = packed
        return Queue([_event(each) for each in events], np.array(kind, np.uint8), np.array(ts, np.int64))


def _event(stored: dict[str, Any]) -> Event:
    # Only what did not come in a native file says where it came from.
    return msgspec.convert(stored, Ingested if stored.get("source") is not None else Event)
