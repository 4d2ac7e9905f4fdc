"""Quantiles from buckets are the nearest rank to 2.2 %, and histograms merge in any order."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from self_healing.clock import SECOND_US
from self_healing.histograms import CODES, Histograms, bucket_of, buckets_of
from self_healing.measures import COARSE_US, FINE_US, LARGEST, MICRO, MOST, Measure, begins_us
from self_healing.spec import PERCENT
from self_healing.telemetry.table import PaneTable

amounts = st.one_of(
    st.integers(-LARGEST * MICRO, LARGEST * MICRO), st.integers(-300, 300), st.floats(-15, 15).map(lambda e: int(10**e))
)
percents = st.sampled_from(sorted(PERCENT.values()))


def nearest_rank(values: Sequence[int], percent: int) -> int:
    return sorted(values)[max(math.ceil(len(values) * percent / 100), 1) - 1]


def is_close(found: float, exact: int) -> bool:
    return abs(found - exact) <= 0.022 * abs(exact)


@given(st.lists(amounts, min_size=1, max_size=60), percents)
def test_a_quantile_is_the_nearest_rank_to_within_2_2_percent(values: list[int], percent: int) -> None:
    histogram = Histograms.single(Counter(bucket_of(value) for value in values))
    assert is_close(float(histogram.quantile(percent)[0]), nearest_rank(values, percent))


@given(st.lists(amounts, max_size=40))
def test_buckets_ascend_with_what_is_in_them(values: list[int]) -> None:
    codes = buckets_of(np.array(sorted([*values, MOST, -MOST, 1, -1, 0]), np.int64))
    assert (np.diff(codes) >= 0).all()
    assert codes.min() >= 0
    assert codes.max() < CODES


@pytest.mark.parametrize("scale_4_index", [-30, -1, 0, 1, 16, 40])
def test_buckets_are_those_of_opentelemetry_at_scale_4(scale_4_index: int) -> None:
    inside = [round(2 ** ((scale_4_index + part) / 16) * MICRO) for part in (0.01, 0.5, 0.99)]
    above = round(2 ** ((scale_4_index + 1.01) / 16) * MICRO)
    assert len({bucket_of(amount) for amount in inside}) == 1
    assert bucket_of(above) == bucket_of(inside[0]) + 1


def test_the_upper_bound_of_a_bucket_is_in_it_and_the_lower_is_not() -> None:
    assert bucket_of(2 * MICRO) == bucket_of(round(1.99 * MICRO)) == bucket_of(round(2.01 * MICRO)) - 1


counted = st.dictionaries(st.integers(0, CODES - 1), st.integers(1, 5), max_size=5)


@given(st.lists(counted, min_size=1, max_size=5), st.data())
def test_groups_are_taken_and_replaced_one_by_one(groups: list[dict[int, int]], data: st.DataObject) -> None:
    nothing = Histograms(np.zeros(len(groups) + 1, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64))
    whole = nothing.replaced({place: Histograms.single(each) for place, each in enumerate(groups)})
    places = data.draw(st.lists(st.integers(0, len(groups) - 1), max_size=4))
    own = data.draw(st.dictionaries(st.integers(0, len(groups) - 1), counted, max_size=3))
    replaced = whole.replaced({place: Histograms.single(each) for place, each in own.items()})

    def lists(found: Histograms) -> list[dict[int, int]]:
        bounds = found.starts.tolist()
        pairs = list(zip(found.codes.tolist(), found.counts.tolist(), strict=True))
        return [dict(pairs[start:end]) for start, end in pairwise(bounds)]

    assert lists(whole) == groups
    assert lists(whole.at(places)) == [groups[place] for place in places]
    assert lists(replaced) == [own.get(place, each) for place, each in enumerate(groups)]
    assert whole.samples.tolist() == [sum(each.values()) for each in groups]


def test_of_nothing_there_is_no_quantile() -> None:
    assert np.isnan(Histograms.single({}).quantile(50)[0])


# --- in panes --------------------------------------------------------------------------------------------------------

START_US = 1_767_607_200 * SECOND_US
WINDOWS_S = (60, 3600, 7200)
GROUPS = 4
Sample = tuple[int, int, int]
"""Seconds after the start, group, amount."""

samples = st.lists(
    st.tuples(st.integers(0, 8000), st.integers(0, GROUPS - 1), st.integers(0, 10**9)), min_size=1, max_size=25
)


def table() -> PaneTable:
    windows = [each * SECOND_US for each in WINDOWS_S]
    return PaneTable(Measure("task.duration_s", (), ("agent",)), max(windows), 0, extremes=(), quantiles=windows)


def put(into: PaneTable, batch: list[Sample]) -> None:
    seconds, places, found = (np.array(column, np.int64) for column in zip(*batch, strict=True))
    into.add(START_US + seconds * SECOND_US, places, np.ones_like(places), found)


Disk = dict[tuple[int, int, str], bytes]


def moved(stored: PaneTable, disk: Disk) -> PaneTable:
    """The same in another life, which has what this one and those before it stored."""
    disk.update({(slot, pane_us, key): packed for key, pane_us, slot, packed in stored.pack()})
    other = table()
    for (slot, pane_us, key), packed in sorted(disk.items()):
        other.unpack(key, pane_us, slot, packed)
    return other


@given(samples, st.integers(0, 25), st.integers(0, 25), st.booleans(), percents)
def test_a_window_tells_the_quantile_of_its_own_samples_whatever_their_order(
    given_: list[Sample], cut: int, again: int, restart: bool, percent: int
) -> None:
    found, disk = table(), Disk()
    newest_us = START_US + max(at for at, _, _ in given_) * SECOND_US
    for batch in (given_[cut:], given_[:cut]):  # what comes late comes last
        if batch:
            put(found, batch)
            found.window(60 * SECOND_US, newest_us, GROUPS)
        if restart:
            found = moved(found, disk)
    for t_us in (newest_us, newest_us + again * 60 * SECOND_US):
        for window_s in WINDOWS_S:
            from_us = begins_us(window_s * SECOND_US, t_us)
            until_us = (t_us // FINE_US + 1) * FINE_US
            told = found.window(window_s * SECOND_US, t_us, GROUPS).quantile(percent)
            for place in range(GROUPS):
                inside = [
                    amount
                    for at, whose, amount in given_
                    if whose == place and from_us <= START_US + at * SECOND_US < until_us
                ]
                if not inside:
                    assert np.isnan(told[place])
                else:
                    assert is_close(float(told[place]), nearest_rank(inside, percent))
                    assert min(inside) <= told[place] <= max(inside)


@given(samples, samples, percents)
def test_merging_commutes(one: list[Sample], other: list[Sample], percent: int) -> None:
    first, second = table(), table()
    for into, batches in ((first, (one, other)), (second, (other, one))):
        for batch in batches:
            put(into, batch)
    t_us = START_US + 8000 * SECOND_US
    for window_s in WINDOWS_S:
        told, also = (each.window(window_s * SECOND_US, t_us, GROUPS).quantile(percent) for each in (first, second))
        np.testing.assert_array_equal(told, also)


def test_no_bucket_is_kept_where_no_quantile_is_asked() -> None:
    bare = PaneTable(Measure("task.duration_s", (), ("agent",)), COARSE_US, 0, extremes=[COARSE_US])
    put(bare, [(0, 0, 5)])
    assert {key for key, *_ in bare.pack()} == {bare.measure.key}
    with pytest.raises(ValueError, match="no quantile was asked"):
        bare.window(COARSE_US, START_US, 1).quantile(50)
