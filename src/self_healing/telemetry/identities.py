"""What tells a batch or a span that came before from a new one: small, and bounded in time and number."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from self_healing.clock import DAY_US, HOUR_US

KEPT_US = DAY_US
"""How long an identity is remembered."""

MOST = 2_000_000
"""How many are remembered at most; in sorted columns they take 8 bytes each."""

KEYS_PART = 10
"""One in so many of these is for the keys of batches, so that spans, however many come, push out none."""

SEALED_PART = 16
"""One in so many is gathered before they become a sorted column: few columns to search, and little that is not one."""


def identity(known_by: str) -> int:
    """A number for what is known by that, within this process: 64 bits, so that of two million one is mistaken in 10^13
    looks."""
    return hash(known_by)


class Identities:
    """The identities of what came, each with about when it came.

    Args:
        most: how many are kept.
        kept_us: how long.
        sealed: how many become one column; by default, so that a few hold all.
    """

    def __init__(self, *, most: int = MOST, kept_us: int = KEPT_US, sealed: int | None = None) -> None:
        self.forgotten_us = 0  # what came up to here may be forgotten, microseconds; 0 while nothing is
        self._most = most
        self._kept_us = kept_us
        self._seal_at = max(most // SEALED_PART, 1) if sealed is None else sealed
        self._recent: set[int] = set()
        self._recent_from_us = 0
        self._recent_to_us = 0
        self._columns: deque[tuple[NDArray[np.int64], int]] = deque()

    def __len__(self) -> int:
        return len(self._recent) + sum(len(column) for column, _ in self._columns)

    def known(self, ids: Sequence[int]) -> list[bool]:
        """Which of `ids` came before."""
        recent = [*map(self._recent.__contains__, ids)]
        if not self._columns or not recent:
            return recent
        found, asked = np.array(recent, np.bool_), np.array(ids, np.int64)
        for column, _ in self._columns:
            places = np.minimum(np.searchsorted(column, asked), len(column) - 1)
            found |= column[places] == asked
        before: list[bool] = found.tolist()
        return before

    def add(self, ids: Iterable[int], at_us: int) -> None:
        """Remember `ids`, which came at `at_us`; what is too old or too much is forgotten."""
        if not self._recent:
            self._recent_from_us = at_us
        self._recent.update(ids)
        self._recent_to_us = max(self._recent_to_us, at_us)
        if len(self._recent) >= self._seal_at or at_us - self._recent_from_us >= HOUR_US:
            self._seal()
        while self._columns and (self._columns[0][1] < at_us - self._kept_us or len(self) > self._most):
            _, newest_us = self._columns.popleft()
            self.forgotten_us = max(self.forgotten_us, newest_us)

    def _seal(self) -> None:
        if self._recent:
            column = np.sort(np.fromiter(self._recent, np.int64, len(self._recent)))
            self._columns.append((column, self._recent_to_us))
            self._recent = set()


class Remembered:
    """What came before.

    Args:
        most: how many spans and keys are kept together.
        kept_us: how long.
    """

    def __init__(self, *, most: int = MOST, kept_us: int = KEPT_US) -> None:
        self.keys = Identities(most=most // KEYS_PART, kept_us=kept_us)
        self.spans = Identities(most=most - most // KEYS_PART, kept_us=kept_us)

    def forget(self, until_us: int) -> None:
        """What came up to then is not known."""
        for each in (self.keys, self.spans):
            each.forgotten_us = max(each.forgotten_us, until_us)
