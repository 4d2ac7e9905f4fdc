"""Cells: what one pane holds, of the groups alone that have samples in it, in as few bytes as hold it exactly.

Most groups have no sample in most panes: twenty thousand agents that end a task every five minutes fill three cells of
a hundred. So a pane that no sample is expected in any more is kept as the places of its groups and their figures, each
column in the smallest type that holds all of it. The same bytes go into the state.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from self_healing.measures import NONE_MAX, NONE_MIN, UNKNOWN_MAX, UNKNOWN_MIN, Ints

Places = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Field:
    """One figure of a cell.

    Args:
        name: of the figure.
        merge: how two panes' figures become one; exact, whatever the order.
        nothing: the figure of no sample.
        unknown: the figure of samples of which it was not kept; merged with any other it stays so.
    """

    name: str
    merge: np.ufunc
    nothing: int
    unknown: int | None = None


COUNT = Field("count", np.add, 0)
AMOUNT = Field("amount", np.add, 0)
MAXIMUM = Field("maximum", np.maximum, NONE_MAX, UNKNOWN_MAX)
MINIMUM = Field("minimum", np.minimum, NONE_MIN, UNKNOWN_MIN)

SUMS = (COUNT, AMOUNT)
EXTREMES = (MAXIMUM, MINIMUM)


@dataclass(frozen=True, slots=True)
class Cells:
    """The figures of some groups.

    Args:
        places: of the groups, ascending, each once.
        columns: a column a field, an element a place.
    """

    places: Places
    columns: tuple[Ints, ...]

    @classmethod
    def gathered(cls, fields: Sequence[Field], places: Places, columns: Sequence[Ints]) -> Cells:
        """Of figures in any order, those of the same place merged."""
        order = np.argsort(places)
        places = places[order]
        starts = np.flatnonzero(np.diff(places, prepend=-1))
        merged = (field.merge.reduceat(column[order], starts) for field, column in zip(fields, columns, strict=True))
        return cls(places[starts], tuple(merged))

    def join(self, how: np.ufunc, into: Ints, column: Ints) -> None:
        """Let a column join, by place, what was worked out of others, by `how` two figures become one."""
        length = len(self.places)
        if length and int(self.places[-1]) == length - 1:  # everybody, as in a busy pane: ten times as quick
            how(into[:length], column, out=into[:length])
        else:
            into[self.places] = how(into[self.places], column)  # each place is there once

    def lack(self, fields: Sequence[Field]) -> bool:
        """Whether some figure is unknown."""
        return any(bool((column == each.unknown).any()) for each, column in zip(fields, self.columns, strict=True))

    def sums_as(self, other: Cells, sums: int) -> bool:
        """Whether so many columns, the first ones, are the same in both."""
        both = zip((self.places, *self.columns[:sums]), (other.places, *other.columns[:sums]), strict=True)
        return all(np.array_equal(one, another) for one, another in both)

    def merged(self, fields: Sequence[Field], other: Cells) -> Cells:
        """Both together."""
        columns = [np.concatenate(both) for both in zip(self.columns, other.columns, strict=True)]
        return self.gathered(fields, np.concatenate([self.places, other.places]), columns)


_HEAD = struct.Struct("<IB")
_WIDEST = np.dtype(np.int64)
_NARROW = tuple(
    (np.dtype(kind), int(np.iinfo(kind).min), int(np.iinfo(kind).max))
    for kind in (np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32)
)
"""The smaller types, the smallest first, with the least and the most that each holds."""

_SAME = b"="
"""In a type's place: the column is the one before it (the maximum of one sample is its amount)."""


def pack(cells: Cells) -> bytes:
    """The cells as bytes; :func:`unpack` makes them again."""
    if not len(cells.places):
        return _HEAD.pack(0, len(cells.columns)) + np.dtype(np.int8).char.encode() + _SAME * len(cells.columns)
    return pack_parts(cells, [0])[0]


def pack_parts(cells: Cells, starts: Sequence[int]) -> list[bytes]:
    """The parts of the cells that begin there, each as bytes; what a part needs is found for all of them in one pass.

    Args:
        starts: ascending, each once; the first is 0. A part ends where the next one begins, and none is empty.
    """
    columns = (cells.places, *cells.columns)
    begins = np.array(starts)
    kinds = [_kinds(column, begins) for column in columns]
    for place in range(1, len(columns)):
        same = np.logical_and.reduceat(columns[place] == columns[place - 1], begins).tolist()
        kinds[place] = [None if alike else kind for alike, kind in zip(same, kinds[place], strict=True)]
    parts = []
    for start, end, wanted in zip(starts, [*starts[1:], len(cells.places)], zip(*kinds, strict=True), strict=True):
        names = b"".join([_SAME if kind is None else kind.char.encode() for kind in wanted])
        own = [column[start:end].astype(kind).tobytes() for column, kind in zip(columns, wanted, strict=True) if kind]
        parts.append(b"".join([_HEAD.pack(end - start, len(cells.columns)), names, *own]))
    return parts


def _kinds(column: Ints, begins: Places) -> list[np.dtype[Any] | None]:
    """For each part of a column the smallest type that holds all of it."""
    lows, highs = np.minimum.reduceat(column, begins).tolist(), np.maximum.reduceat(column, begins).tolist()
    return [_kind(low, high) for low, high in zip(lows, highs, strict=True)]


def _kind(low: int, high: int) -> np.dtype[Any]:
    for kind, least, most in _NARROW:
        if least <= low and high <= most:
            return kind
    return _WIDEST


def width_of(packed: bytes) -> int:
    """How many columns packed cells have, without their places."""
    width: int = _HEAD.unpack_from(packed)[1]
    return width


def places_of(packed: bytes) -> Places:
    """The places of packed cells alone."""
    length, width = _HEAD.unpack_from(packed)
    kind = packed[_HEAD.size : _HEAD.size + 1].decode()
    return np.frombuffer(packed, kind, length, _HEAD.size + width + 1).astype(np.intp)


def fitted(packed: bytes, fields: Sequence[Field]) -> bytes:
    """Packed cells with just these figures: those behind them cut off, and those that they lack unknown."""
    width = width_of(packed)
    if width == len(fields):
        return packed
    cells = unpack(packed)
    lacking = (np.full(len(cells.places), field.unknown, np.int64) for field in fields[width:])
    return pack(Cells(cells.places, (*cells.columns[: len(fields)], *lacking)))


def unpack(packed: bytes) -> Cells:
    """The cells that :func:`pack` made these bytes of."""
    cells = as_packed(packed)
    columns = tuple(column.astype(np.int64) for column in cells.columns)
    return Cells(cells.places.astype(np.intp), columns)


def as_packed(packed: bytes) -> Cells:
    """The same in the small types in which they are packed, to be read only: to :meth:`Cells.join` something wider."""
    length, width = _HEAD.unpack_from(packed)
    at = _HEAD.size + width + 1
    columns: list[NDArray[Any]] = []
    for kind in packed[_HEAD.size : at].decode():
        if kind == _SAME.decode():
            columns.append(columns[-1])
            continue
        columns.append(np.frombuffer(packed, kind, length, at))
        at += columns[-1].nbytes
    return Cells(columns[0], tuple(columns[1:]))
