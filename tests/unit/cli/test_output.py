"""Values as people read them."""

from __future__ import annotations

import pytest

from self_healing.cli import output


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "-"), (0.0, "0"), (60.0, "60"), (0.2, "0.2"), (1 / 3, "0.3333"), (12345.678, "12346"), (-2.5, "-2.5")],
)
def test_a_number_has_as_many_digits_as_it_needs(value: float | None, shown: str) -> None:
    assert output.number(value) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, "-"),
        (0, "0s"),
        (90, "90s"),
        (300, "5m"),
        (3600, "1h"),
        (86400, "24h"),
        (2.5, "2.5s"),
        (172, "2m 52s"),
        (885.4, "14m 45s"),
        (7320, "2h 2m"),
        (97.27, "97.27s"),
    ],
)
def test_a_length_of_time_is_in_its_largest_whole_unit(seconds: float | None, shown: str) -> None:
    assert output.span(seconds) == shown


@pytest.mark.parametrize(
    ("group", "shown"), [({}, "all"), ({"agent": "Coder"}, "Coder"), ({"agent": "A", "model": "m"}, "agent=A,model=m")]
)
def test_a_group_is_one_word(group: dict[str, str], shown: str) -> None:
    assert output.group(group) == shown


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (None, "s", "-"),
        (97.27, "s", "97.27s"),
        (300.0, "s", "5m"),
        (0.05179, "%", "5.18 %"),
        (0.2, "%", "20 %"),
        (1.0, "%", "100 %"),
        (0.558, "USD", "0.558 USD"),
        (6297.4, "tokens", "6297 tokens"),
        (3.0, "", "3"),
        (3.0, None, "3"),
    ],
)
def test_an_amount_is_shown_in_its_unit(value: float | None, unit: str | None, shown: str) -> None:
    assert output.amount(value, unit) == shown


def test_an_instant_is_shown_to_the_second() -> None:
    assert output.instant("2026-01-05T10:00:00.123456Z") == "2026-01-05 10:00:00"
    assert output.instant(None) == "-"


def test_counts_leave_out_what_is_none() -> None:
    assert output.counted({"open": 2, "acting": 0, "escalated": 1}) == "open 2, escalated 1"
    assert output.counted({"open": 0}) == "none"


def test_a_cell_says_what_it_is_and_nothing_that_a_terminal_obeys() -> None:
    cells = [output.text(cell) for cell in (None, "", True, False, 3, 0.5, "a\nb\x1b[0m")]
    assert cells == ["-", "-", "yes", "no", "3", "0.5", r"a\nb\x1b[0m"]


def test_a_column_in_which_nothing_is_ever_said_is_left_out_where_that_is_usual(
    capsys: pytest.CaptureFixture[str],
) -> None:
    columns = ("id", output.Column("reason", sparse=True), "result")
    output.table(columns, [("a", None, None), ("b", None, None)], empty="none")
    output.table(columns, [("a", None, None), ("b", "late", None)], empty="none")
    told = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert told[:2] == [["id", "result"], ["a", "-"]]
    assert told[3:5] == [["id", "reason", "result"], ["a", "-", "-"]]


def test_pairs_without_a_value_are_left_out_where_only_what_is_known_is_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    output.known([("by", None), ("status", "pending"), ("pauses", 0)])
    assert capsys.readouterr().out.splitlines() == ["status  pending", "pauses  0"]
