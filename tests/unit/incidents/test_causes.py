"""Causes: at least 80 % of the ill, fewer than 20 % of the well, and nothing where nobody is well."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from self_healing.incidents.causes import Attribute, shared

MODEL, TOOL = ("model", "m-2"), ("tool", "search")


def having(attribute: Attribute, count: int, of: int) -> list[frozenset[Attribute]]:
    return [frozenset({attribute} if number < count else ()) for number in range(of)]


@pytest.mark.parametrize(
    ("ill", "of_ill", "well", "of_well", "tells"),
    [
        (3, 3, 0, 1, True),
        (4, 5, 0, 1, True),  # 80 %
        (3, 4, 0, 1, False),
        (3, 3, 1, 6, True),
        (3, 3, 1, 5, False),  # 20 %
        (3, 3, 0, 0, False),
        (0, 0, 0, 3, False),
    ],
)
def test_an_attribute_tells_the_ill_from_the_well(ill: int, of_ill: int, well: int, of_well: int, tells: bool) -> None:
    assert shared(having(MODEL, ill, of_ill), having(MODEL, well, of_well)) == ([MODEL] if tells else [])


def test_the_one_that_most_of_the_ill_and_fewest_of_the_well_have_comes_first() -> None:
    ill = [frozenset({MODEL, TOOL})] * 4 + [frozenset({TOOL})]
    assert shared(ill, [frozenset()] * 9 + [frozenset({TOOL})]) == [TOOL, MODEL]


ATTRIBUTES = st.frozensets(st.tuples(st.sampled_from("ab"), st.sampled_from("12")))


@given(st.lists(ATTRIBUTES, max_size=8), st.lists(ATTRIBUTES, max_size=8))
def test_whatever_is_found_is_in_most_of_the_ill_and_in_few_of_the_well(
    ill: list[frozenset[Attribute]], well: list[frozenset[Attribute]]
) -> None:
    for attribute in shared(ill, well):
        assert 5 * sum(attribute in each for each in ill) >= 4 * len(ill)
        assert 5 * sum(attribute in each for each in well) < len(well)
