"""Which of many lines may hold a secret: one look at all of them, for only few do.

To search a line for each hint takes longer than all else that is done with an event. So each two letters in a row are
looked up in a table, in columns, and where they are found, the letter before them too. It is only a suspicion, and
never is one missed.
"""

from __future__ import annotations

from itertools import product
from typing import Final

import numpy as np
from numpy.typing import NDArray

from self_healing.redaction import HINTS

_SMALL: Final = np.uint32(0x202020)
"""Makes capitals small, and of nothing else a letter of a hint that is none already."""


def _pairs() -> NDArray[np.bool_]:
    """Whether two letters, the first of them in the lower byte, are the last two of a mark, be they capitals or not."""
    found = np.zeros(1 << 16, np.bool_)
    for mark in HINTS.values():
        for pair in product(*({letter, *bytes((letter,)).upper()} for letter in mark[1:])):
            found[int.from_bytes(bytes(pair), "little")] = True
    return found


_PAIRS: Final = _pairs()
_MARKS: Final = np.unique(np.array([int.from_bytes(mark, "little") for mark in HINTS.values()], np.uint32) | _SMALL)


def suspicious(lines: bytes, ends: NDArray[np.int64]) -> NDArray[np.int64]:
    """The numbers of the lines that have to be looked through for secrets, in their order; a No is certain.

    Args:
        lines: of JSON.
        ends: where each of them ends, in bytes.
    """
    found = [_pairs_at(lines, start) for part in range(0, len(lines), _STRIDE) for start in (part, part + 1)]
    at = np.concatenate([*found, np.zeros(0, np.intp)])
    data = np.frombuffer(lines, np.uint8)
    first, second, third = (data[at + place].astype(np.uint32) for place in (-1, 0, 1))
    letters = (first | second << np.uint32(8) | third << np.uint32(16)) | _SMALL
    known = _MARKS[np.minimum(np.searchsorted(_MARKS, letters), len(_MARKS) - 1)] == letters
    return np.unique(np.searchsorted(ends, at[known], side="right"))


def _pairs_at(lines: bytes, start: int) -> NDArray[np.intp]:
    """Where the last two letters of a mark stand: each second place of a stride from `start` on."""
    count = min(_STRIDE, len(lines) - start) // 2
    return np.flatnonzero(_PAIRS.take(np.frombuffer(lines, "<u2", count, start))) * 2 + start


_STRIDE: Final = 1 << 15
"""Bytes looked at in one go, so that what lies between the steps stays in the processor's cache; even."""
