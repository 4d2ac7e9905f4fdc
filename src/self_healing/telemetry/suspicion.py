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

_SPREAD, _DOWN = np.uint32(0x9E3779B1), np.uint32(16)
"""Fibonacci hashing: 2^32 divided by the golden ratio, of which the upper half counts."""


def _in_table(letters: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Where each three letters stand in the table."""
    places = letters * _SPREAD
    places >>= _DOWN
    return places


_MARKS: Final = np.array([int.from_bytes(mark, "little") for mark in HINTS.values()], np.uint32) | _SMALL
_TABLE: Final = np.zeros(1 << 16, np.bool_)
_TABLE[_in_table(_MARKS)] = True


def suspicious(lines: bytes, ends: NDArray[np.int64]) -> NDArray[np.int64]:
    """The numbers of the lines that have to be looked through for secrets, in their order; a No is certain.

    Args:
        lines: of JSON.
        ends: where each of them ends, in bytes.
    """
    padded, words = lines + b" " * 8, len(lines) // 4 + 1
    found = []
    for start in range(4):  # words of four letters, from each of the four on
        letters = np.frombuffer(padded, "<u4", words, start) & _LETTERS
        letters |= _SMALL
        at = np.flatnonzero(_TABLE.take(_in_table(letters)))
        found.append(at[np.isin(letters[at], _MARKS)] * 4 + start)  # others share a place in the table
    return np.unique(np.searchsorted(ends, np.concatenate(found), side="right"))
