"""The notation of a series: what each word says, and what is refused."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from self_healing.spec_tests.notation import MOST, Place, Share, places

CASES = [
    ("5", [5]),
    ("-5 0.25", [-5, Decimal("0.25")]),
    ("10x3", [10, 10, 10]),
    ("10x5 70 _ 3", [10, 10, 10, 10, 10, 70, None, 3]),
    ("5+2x3", [5, 7, 9]),
    ("5-2x3", [5, 3, 1]),
    ("0.1+0.1x3", [Decimal("0.1"), Decimal("0.2"), Decimal("0.3")]),
    ("_x2 1 _", [None, None, 1, None]),
    ("2/10 0/5x2", [Share(2, 10), Share(0, 5), Share(0, 5)]),
]


@pytest.mark.parametrize(("samples", "expected"), CASES)
def test_a_series_is_read_word_by_word(samples: str, expected: list[Place]) -> None:
    assert places(samples) == expected


@pytest.mark.parametrize(
    ("samples", "wrong"),
    [
        ("5 ab", "ab: allowed are"),
        ("5x", "5x: allowed are"),
        ("5+2", r"5\+2: allowed are"),
        ("1e3", "1e3: allowed are"),
        ("3/2", "3/2: allowed is a part of a whole"),
        ("0/0", "0/0: allowed is a part of a whole"),
        ("", "no sample in it"),
        ("_x3", "no sample in it"),
        (f"5x{MOST} 5", f"5: allowed are {MOST} places"),
        ("5x99999999999999", f"allowed are {MOST} places"),
    ],
)
def test_what_is_no_series_is_refused_with_the_word_and_what_is_allowed(samples: str, wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        places(samples)


@given(
    st.lists(st.integers(-1000, 1000) | st.none(), min_size=1).filter(lambda listed: any(v is not None for v in listed))
)
def test_what_is_written_out_is_read_back(values: list[int | None]) -> None:
    assert places(" ".join("_" if value is None else str(value) for value in values)) == values
