"""Which of many lines may hold a secret: one look at all of them, for only few do.

To search a line for each hint takes longer than all else that is done with an event. So each three letters in a row are
looked up in a table, in columns; what is found there is only a suspicion, and never is one missed.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from self_healing.redaction import HINTS

_LETTERS, _SMALL = np.uint32(0xFFFFFF), np.uint32(0x202020)
"""Three letters of four; and what makes capitals small, and of nothing else a letter of a hint."""

_MARKS: Final = np.array([int.from_bytes(mark, "little") for mark in HINTS.values()], np.uint32) | _SMALL


class _Table:
    """Knows the marks, and few other letters that share a place with one.

    Args:
        spread: an odd number; its products with different letters differ in their upper halves, as a rule.
    """

    def __init__(self, spread: int) -> None:
        self._spread = np.uint32(spread)
        self._marks = np.zeros(1 << 16, np.bool_)
        self._marks[self._places(_MARKS)] = True

    def _places(self, letters: NDArray[np.uint32]) -> NDArray[np.uint32]:
        places = letters * self._spread
        places >>= np.uint32(16)
        return places

    def marks(self, letters: NDArray[np.uint32]) -> NDArray[np.intp]:
        """Which of `letters` may be a mark."""
        return np.flatnonzero(self._marks.take(self._places(letters)))


_FIRST, _SECOND = _Table(0x9E3779B1), _Table(0x85EBCA77)
"""What passes one by chance does not pass both; the spreads are primes of xxHash."""


def suspicious(lines: bytes, ends: NDArray[np.int64]) -> NDArray[np.int64]:
    """The numbers of the lines that have to be looked through for secrets, in their order; a No is certain.

    Args:
        lines: of JSON.
        ends: where each of them ends, in bytes.
    """
    padded = lines + b" " * (_STRIDE + 4)
    found = [_marks_at(padded, start) for part in range(0, len(lines), _STRIDE) for start in range(part, part + 4)]
    if not found:
        return np.zeros(0, np.int64)
    return np.unique(np.searchsorted(ends, np.concatenate(found), side="right"))


def _marks_at(padded: bytes, start: int) -> NDArray[np.intp]:
    """Where the words of four letters stand that begin with a mark: each fourth place of a stride from `start` on."""
    letters = np.frombuffer(padded, "<u4", _STRIDE // 4, start) & _LETTERS
    letters |= _SMALL
    at = _FIRST.marks(letters)
    return at[_SECOND.marks(letters[at])] * 4 + start


_STRIDE: Final = 1 << 15
"""Bytes looked at in one go, so that what lies between the steps stays in the processor's cache."""
