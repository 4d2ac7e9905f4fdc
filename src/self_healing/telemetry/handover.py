"""Events of lines that this process has just written, for its own reader: it need not decode what was encoded here.

The segments stay the only way in, and the reader's offset in them the only cursor. What lies here is found by a
segment's name and the offset of a line, is taken once, and is nothing but a shorter way to the same events: whoever
does not find it reads the file.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from self_healing.model import Event

MOST_BYTES: Final = 24 << 20
"""So much of lines is held at most, with what their events take about 100 MB; of what comes then, the file is read."""


@dataclass(slots=True, frozen=True)
class Written:
    """A stretch of lines, and their events.

    Args:
        events: of each line, as it will be read.
        sizes: how long each line is, in bytes, with its newline.
        ts: when each event happened, microseconds; ``UNREAD`` where the text of its time is none that is usual.
    """

    events: Sequence[Event]
    sizes: NDArray[np.int64]
    ts: NDArray[np.int64]

    @property
    def size_bytes(self) -> int:
        """How long all lines are."""
        return int(self.sizes.sum())


class Handover:
    """What one thread has written and another has not read yet.

    Args:
        most_bytes: how much of lines at most.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._held: dict[str, deque[tuple[int, int, Written]]] = {}  # by file: where each begins and ends
        self._bytes = 0

    def give(self, name: str, offset: int, written: Written) -> None:
        """Hold what stands in the segment `name` from `offset` on; what is given later stands behind it."""
        size = written.size_bytes
        with self._lock:
            # What came first stays: the reader is there sooner, and what it takes makes room for what comes next.
            if self._bytes + size <= self._most_bytes:
                self._held.setdefault(name, deque()).append((offset, offset + size, written))
                self._bytes += size

    def take(self, name: str, offset: int, most_bytes: int) -> Written | None:
        """What stands in the segment `name` from `offset` on, for its reader, who goes on behind it.

        Args:
            most_bytes: about how much at most.

        Returns:
            None where the reader has to read the file.
        """
        found: list[Written] = []
        with self._lock:
            held = self._held.get(name, _NOTHING)
            while held and held[0][0] < offset:  # it was read
                self._drop(held)
            while held and held[0][0] == offset and most_bytes > 0:
                offset, most_bytes = held[0][1], most_bytes - (held[0][1] - held[0][0])
                found.append(self._drop(held))
        return _joined(found) if found else None

    def next_after(self, name: str, offset: int) -> int | None:
        """Up to where the segment `name` has to be read from its file; None for all of it."""
        with self._lock:
            held = self._held.get(name, _NOTHING)
            return held[0][0] if held and held[0][0] > offset else None

    def keep(self, names: Collection[str]) -> None:
        """Let go of what stands in other segments than these."""
        with self._lock:
            for name in [name for name, held in self._held.items() if not held or name not in names]:
                held = self._held.pop(name)
                while held:
                    self._drop(held)

    def _drop(self, held: deque[tuple[int, int, Written]]) -> Written:
        start, end, written = held.popleft()
        self._bytes -= end - start
        return written


_NOTHING: Final[deque[tuple[int, int, Written]]] = deque()


def _joined(several: list[Written]) -> Written:
    if len(several) == 1:
        return several[0]
    events = [event for each in several for event in each.events]
    sizes = np.concatenate([each.sizes for each in several])
    return Written(events, sizes, np.concatenate([each.ts for each in several]))
