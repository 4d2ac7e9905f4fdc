"""Cumulative series: each measurement counts once, through restarts of either side, and coarser buckets."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from self_healing.clock import SECOND_US
from self_healing.telemetry.differences import Differences, LeftOut
from self_healing.telemetry.metric import MetricPoint

NEW, OLD = 100.0, 50.0  # a series that began after we did, and one that began before
SINCE_US = 99 * SECOND_US


def total(sum_: float, *, series: str = "s", started_at: float | None = NEW, **fields: Any) -> MetricPoint:
    fields = {"temporality": "cumulative", "count": None} | fields
    return MetricPoint(name="m", series=series, started_at=started_at, sum=sum_, **fields)


def added(differences: Differences, *points: tuple[int, MetricPoint]) -> list[float | None]:
    """What each point adds to the sum, None for nothing at all."""
    found = [differences.added(point, at * SECOND_US) for at, point in points]
    assert all(each is None or each.temporality != "cumulative" for each in found)
    return [None if each is None else each.sum for each in found]


@pytest.mark.parametrize("temporality", ["delta", "instant"])
def test_what_is_no_total_is_left_as_it_is(temporality: str) -> None:
    point = total(5.0, temporality=temporality)
    assert Differences(SINCE_US).added(point, 0) is point


def test_a_series_that_began_since_counts_from_its_first_point() -> None:
    assert added(Differences(SINCE_US), (110, total(5)), (120, total(7)), (130, total(7))) == [5, 2, 0]


@pytest.mark.parametrize("started_at", [OLD, None])
def test_a_series_that_may_have_been_counted_before_counts_from_its_second_point(started_at: float | None) -> None:
    points = [(110, total(5, started_at=started_at)), (120, total(7, started_at=started_at))]
    assert added(Differences(SINCE_US), *points) == [None, 2]


def test_a_point_that_is_sent_again_or_comes_late_adds_nothing() -> None:
    points = [(110, total(5)), (110, total(5)), (120, total(9)), (115, total(7)), (130, total(10))]
    assert added(Differences(SINCE_US), *points) == [5, None, 4, None, 1]


def test_a_sender_that_starts_anew_counts_from_zero() -> None:
    points = [(110, total(5)), (120, total(6, started_at=115.0)), (130, total(2, started_at=115.0))]
    assert added(Differences(SINCE_US), *points) == [5, 6, 2]


def test_series_do_not_mix() -> None:
    assert added(Differences(SINCE_US), (110, total(5)), (111, total(3, series="other")), (120, total(6))) == [5, 3, 1]


def test_a_forgotten_series_does_not_count_whole_again() -> None:
    differences = Differences(SINCE_US, most=1)
    points = [(110, total(5)), (710, total(3, series="other", started_at=700.0)), (1310, total(6)), (1370, total(8))]
    assert added(differences, *points) == [5, 3, None, 2]


def test_while_there_is_no_place_for_more_those_that_are_known_go_on_to_count() -> None:
    differences = Differences(SINCE_US, most=2)
    for at in range(110, 1310, 60):
        for series in ("a", "b"):
            assert differences.added(total(at - NEW, series=series), at * SECOND_US) is not None
        for series in ("c", "d"):
            with pytest.raises(LeftOut):
                differences.added(total(at - NEW, series=series), at * SECOND_US)
    assert differences.crowded


def test_a_series_that_ended_gives_its_place_to_a_new_one_and_then_nothing_is_left_out() -> None:
    differences = Differences(SINCE_US, most=2)
    differences.added(total(5, series="a"), 110 * SECOND_US)
    differences.added(total(5, series="b"), 400 * SECOND_US)
    with pytest.raises(LeftOut):
        differences.added(total(7, series="c"), 709 * SECOND_US)
    assert added(differences, (710, total(8, series="c", started_at=705.0)), (720, total(6, series="b"))) == [8, 1]
    assert differences.crowded
    assert added(differences, (1310, total(9, series="c", started_at=705.0))) == [1]
    assert not differences.crowded


def test_nothing_is_forgotten_in_the_state() -> None:
    before, after = Differences(SINCE_US), Differences(10**15)
    added(before, (110, total(5)))
    after.unpack(before.pack())
    assert added(after, (120, total(7)), (120, total(3, series="new"))) == [2, 3]


def test_a_stored_point_that_cannot_be_used_any_more_costs_no_other_its_place() -> None:
    before, after = Differences(SINCE_US), Differences(10**15)
    added(before, (110, total(5)), (110, total(5, series="odd", count=-1)))
    after.unpack(before.pack())
    assert added(after, (120, total(7))) == [2]


def test_an_explicit_histogram_grows_bucket_by_bucket() -> None:
    differences = Differences(SINCE_US)
    differences.added(total(3, count=2, bounds=(1.0,), buckets=(1, 1), min=0.5, max=2.5), 110 * SECOND_US)
    grown = differences.added(total(9, count=5, bounds=(1.0,), buckets=(1, 4), min=0.5, max=9.0), 120 * SECOND_US)
    assert grown == MetricPoint(name="m", series="s", started_at=110.0, count=3, sum=6.0, bounds=(1.0,), buckets=(0, 3))


def test_of_a_histogram_whose_bounds_changed_count_and_sum_are_still_known() -> None:
    differences = Differences(SINCE_US)
    differences.added(total(3, count=2, bounds=(1.0,), buckets=(1, 1)), 110 * SECOND_US)
    grown = differences.added(total(9, count=5, bounds=(2.0,), buckets=(1, 4)), 120 * SECOND_US)
    assert grown is not None
    assert (grown.count, grown.sum, grown.buckets) == (3, 6.0, ())


def coarser(counts: dict[int, int], by: int) -> dict[int, int]:
    merged: dict[int, int] = {}
    for place, count in counts.items():
        merged[place >> by] = merged.get(place >> by, 0) + count
    return merged


def exponential(counts: dict[int, int], scale: int, zeros: int) -> MetricPoint:
    offset = min(counts, default=0)
    buckets = tuple(counts.get(place, 0) for place in range(offset, max(counts, default=-1) + 1))
    count = sum(buckets) + zeros
    return total(float(count), count=count, scale=scale, zero_count=zeros, offset=offset, buckets=buckets)


COUNTS = st.dictionaries(st.integers(-20, 20), st.integers(1, 5), max_size=6)


@given(steps=st.lists(st.tuples(COUNTS, st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=6))
def test_what_an_exponential_histogram_adds_sums_up_to_it_as_its_buckets_grow_coarser(
    steps: list[tuple[dict[int, int], int, int]],
) -> None:
    differences = Differences(SINCE_US)
    sums: dict[int, int] = {}
    found: dict[int, int] = {}
    zeros, scale = 0, 8
    for at, (new, new_zeros, by) in enumerate(steps, 110):
        scale -= by
        sums, found = coarser(sums, by), coarser(found, by)
        for place, count in new.items():
            sums[place] = sums.get(place, 0) + count
        zeros += new_zeros
        grown = differences.added(exponential(sums, scale, zeros), at * SECOND_US)
        assert grown is not None
        assert grown.count == sum(new.values()) + new_zeros
        assert grown.zero_count == new_zeros
        for place, count in enumerate(grown.buckets, grown.offset):
            found[place] = found.get(place, 0) + count
    assert {place: count for place, count in found.items() if count} == sums
