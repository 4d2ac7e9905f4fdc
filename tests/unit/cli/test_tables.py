"""Tables in the width that there is."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from self_healing.cli.output import Column, when
from self_healing.cli.tables import laid_out

COLUMNS = [Column("id"), Column("name"), Column("size", rank=2), when("at", rank=1), Column("what", text=True)]
ROW = [
    "inc-0123456789",
    "cost_efficiency_degradation",
    "12",
    "2026-01-05 10:00:00",
    "one two three four five six seven",
]


def lines(width: int | None, columns: list[Column] = COLUMNS, *rows: list[str]) -> list[str]:
    return [line.plain for line in laid_out(columns, list(rows or [ROW]), width)]


def test_without_an_end_to_the_width_each_row_is_one_line_with_every_cell() -> None:
    heading, row = lines(None)
    assert heading.split() == ["id", "name", "size", "at", "(UTC)", "what"]
    assert re.split(r"  +", row) == ROW


def test_a_table_that_fits_is_left_as_it_is() -> None:
    assert lines(200) == lines(None)


def test_instants_lose_their_year_before_anything_else_goes() -> None:
    widest = max(map(len, lines(None)))
    _, row = lines(widest - 1)
    assert "  01-05 10:00:00  " in row
    assert ROW[4] in row


def test_a_text_is_broken_between_words_within_its_column() -> None:
    heading, first, *rest = lines(96)
    assert first.startswith(ROW[0])
    assert [line.strip() for line in rest] == ["seven"]
    assert rest[0].index("seven") == heading.index("what")


def test_a_text_without_room_goes_beneath_its_row() -> None:
    heading, row, beneath = lines(72)
    assert "what" not in heading
    assert row.split() == [*ROW[:3], "01-05", "10:00:00"]
    assert beneath == f"    {ROW[4]}"


def test_nothing_goes_beneath_where_there_is_no_text() -> None:
    assert len(lines(72, COLUMNS, [*ROW[:4], "-"])) == 2


def test_columns_are_left_out_by_rank_and_those_without_one_stay() -> None:
    assert lines(64)[0].split() == ["id", "name", "at", "(UTC)"]
    assert lines(50)[0].split() == ["id", "name"]


def test_only_the_year_of_an_instant_is_left_out() -> None:
    assert lines(64, COLUMNS, ["a" * 14, "b" * 27, "1", "undone", "-"])[1].endswith("undone")


@given(
    st.integers(40, 120),
    st.lists(st.tuples(st.just("inc-0123456789"), st.text(max_size=60), st.text("ab ", max_size=90)), min_size=1),
)
def test_no_line_is_wider_than_the_terminal_and_no_id_is_broken(width: int, rows: list[tuple[str, str, str]]) -> None:
    columns = [Column("id"), Column("name"), Column("what", text=True)]
    cells = [[id, name.encode("unicode_escape").decode() or "-", what or "-"] for id, name, what in rows]
    shown = lines(width, columns, *cells)
    assert max(map(cell_len, shown)) <= width
    assert sum(line.startswith("inc-0123456789") for line in shown) == len(rows)
