"""Cells are packed as small as they can be, and come back as they were."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from self_healing.measures import Ints
from self_healing.telemetry.cells import Cells, pack, pack_parts, unpack

amounts = st.one_of(st.integers(-300, 300), st.integers(-(2**62), 2**62))
parts = st.lists(st.lists(st.tuples(st.integers(0, 3), amounts, st.booleans()), min_size=1, max_size=6), min_size=1)


def cells_of(rows: list[tuple[int, int, bool]], first: int = 0) -> Cells:
    count, amount, more = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    columns: tuple[Ints, ...] = (count, amount, amount + more)
    return Cells(np.arange(first, first + len(rows)), columns)


@given(parts=parts)
def test_a_part_is_packed_as_if_it_were_alone_and_comes_back_as_it_was(
    parts: list[list[tuple[int, int, bool]]],
) -> None:
    each = [cells_of(rows) for rows in parts]
    columns = tuple(np.concatenate(column) for column in zip(*(cells.columns for cells in each), strict=True))
    whole = Cells(np.concatenate([cells.places for cells in each]), columns)
    starts = np.cumsum([0, *(len(cells.places) for cells in each[:-1])]).tolist()

    packed = pack_parts(whole, starts)

    assert packed == [pack(cells) for cells in each]
    for before, after in zip(each, map(unpack, packed), strict=True):
        assert before.places.tolist() == after.places.tolist()
        assert [column.tolist() for column in before.columns] == [column.tolist() for column in after.columns]


def test_cells_of_nobody_come_back_too() -> None:
    nothing = Cells(np.zeros(0, np.intp), (np.zeros(0, np.int64), np.zeros(0, np.int64)))

    assert [len(column) for column in unpack(pack(nothing)).columns] == [0, 0]
