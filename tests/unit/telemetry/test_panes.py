"""Panes say at any moment what adding up the samples one by one would say."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from random import Random

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from self_healing.clock import HOUR_US, SECOND_US
from self_healing.measures import (
    COARSE_US,
    FINE_US,
    MICRO,
    MOST,
    NONE_MAX,
    NONE_MIN,
    UNKNOWN_MAX,
    UNKNOWN_MIN,
    Ints,
    Measure,
    begins_us,
)
from self_healing.telemetry.panes import AHEAD_US
from self_healing.telemetry.table import PaneTable

MEASURE = Measure("task.duration_s", (), ("agent",))
START_US = 1_767_607_200 * SECOND_US
GROUPS = 12  # more than a ring has room for at first
WINDOWS_S = (10, 25, 60, 300, 3600, 3610, 7200)
OVERS_S = (180, 3600, 5000)

Sample = tuple[int, int, int, int]
"""When, in which place, how many, and how much."""


@dataclass(frozen=True)
class Look:
    """Ask for everything, so long after (or before) the newest sample."""

    after_us: int


@dataclass(frozen=True)
class Restart:
    """Write all that changed, and begin anew from what was written."""


Op = list[Sample] | Look | Restart


class Table:
    """A table of panes, and all samples that it was ever given."""

    def __init__(self) -> None:
        self.table = self._new()
        self.samples: list[Sample] = []
        self.newest_us = START_US
        self.stored: dict[tuple[int, int], bytes] = {}

    @staticmethod
    def _new() -> PaneTable:
        return PaneTable(
            MEASURE,
            max(WINDOWS_S) * SECOND_US,
            max(OVERS_S) * SECOND_US,
            extremes=[each * SECOND_US for each in WINDOWS_S],
        )

    def do(self, op: Op) -> None:
        match op:
            case Look(after_us):
                self.look(self.newest_us + after_us)
            case Restart():
                self.restart()
            case samples:
                self.add([(self.newest_us + ts, place, count, amount) for ts, place, count, amount in samples])

    def add(self, samples: list[Sample]) -> None:
        ts, places, count, amount = (np.array(column, np.int64) for column in zip(*samples, strict=True))
        self.table.add(ts, places, count, amount)
        self.samples += samples
        self.newest_us = max(self.newest_us, int(ts.max()))

    def restart(self) -> None:
        for ring in self.table.panes.rings:
            self.stored.update({(ring.pane_us, slot): packed for slot, packed in ring.pack()})
        self.table = self._new()
        for (pane_us, slot), packed in sorted(self.stored.items()):
            for ring in self.table.panes.rings:
                if ring.pane_us == pane_us:
                    ring.unpack(slot, packed)

    def look(self, t_us: int) -> None:
        for window_s in WINDOWS_S:
            window_us = window_s * SECOND_US
            begin_us, end_us = begins_us(window_us, t_us), (t_us // FINE_US + 1) * FINE_US
            found = self.table.window(window_us, t_us, GROUPS)
            columns = [column.tolist() for column in (found.count, found.amount, found.maximum, found.minimum)]
            assert columns == self.summed(begin_us, end_us), window_s
            for over_s in OVERS_S:
                from_us = (t_us - window_us - over_s * SECOND_US) // COARSE_US * COARSE_US
                before = self.table.baseline(window_us, over_s * SECOND_US, t_us, GROUPS)
                expected = self.summed(from_us, begin_us)[:2]
                assert [before.count.tolist(), before.amount.tolist()] == expected, (window_s, over_s)
        self.look_at_single_groups(t_us)

    def look_at_single_groups(self, t_us: int) -> None:
        until_us = begins_us(60 * SECOND_US, t_us)
        stretches = [
            (place, until_us // COARSE_US * COARSE_US - place % 3 * COARSE_US, until_us) for place in range(GROUPS)
        ]
        places, from_us, ends_us = np.array(stretches, np.int64).T
        count, amount = self.table.single(places, from_us, ends_us)
        expected = [self.summed(begin_us, end_us) for _, begin_us, end_us in stretches]
        assert count.tolist() == [columns[0][place] for place, columns in enumerate(expected)]
        assert amount.tolist() == [columns[1][place] for place, columns in enumerate(expected)]

    def summed(self, from_us: int, until_us: int) -> list[list[int]]:
        columns = [[0] * GROUPS, [0] * GROUPS, [NONE_MAX] * GROUPS, [NONE_MIN] * GROUPS]
        for ts, place, count, amount in self.samples:
            if from_us <= ts < until_us:
                columns[0][place] += count
                columns[1][place] += amount
                if count:
                    columns[2][place] = max(columns[2][place], amount)
                    columns[3][place] = min(columns[3][place], amount)
        return columns

    @staticmethod
    def extremes(samples: Ints, groups: int) -> list[list[int]]:
        most, least = np.full(groups, NONE_MAX), np.full(groups, NONE_MIN)
        np.maximum.at(most, samples[:, 1], samples[:, 3])
        np.minimum.at(least, samples[:, 1], samples[:, 3])
        return [most.tolist(), least.tolist()]


def samples_from(latest_s: int, ahead_s: int) -> st.SearchStrategy[list[Sample]]:
    """Some samples between so long before the newest and so long after it."""
    return st.lists(
        st.tuples(
            st.integers(-latest_s * SECOND_US, ahead_s * SECOND_US),
            st.integers(0, GROUPS - 1),
            st.sampled_from((1, 1, 1, 0, 7)),
            st.one_of(st.integers(0, 300), st.integers(-(10**6), 10**12)),
        ),
        min_size=1,
        max_size=12,
    )


looks = st.builds(
    Look,
    st.one_of(
        st.integers(-AHEAD_US, 0),
        st.integers(0, 60 * SECOND_US),
        st.integers(0, 3 * HOUR_US),
    ),
)
ops = st.lists(
    st.one_of(
        samples_from(20, 25),  # as they come when all is well
        samples_from(9000, 10),  # late ones, some later than 10 s panes are kept
        samples_from(0, 9000),  # a long batch, and a jump
        looks,
        looks,
        st.just(Restart()),
    ),
    max_size=14,
)


A_JUMP_AFTER_WHICH_A_BASELINE_IS_OF_NOTHING: list[Op] = [
    [(0, 0, 1, 0), (900 * SECOND_US, 0, 1, 0), (9000 * SECOND_US, 0, 1, 0)],
    Look(0),
    [(0, 0, 1, 0), (8280 * SECOND_US, 0, 1, 0)],
]


@settings(max_examples=150, deadline=None)
@example(ops=A_JUMP_AFTER_WHICH_A_BASELINE_IS_OF_NOTHING)
@given(ops=ops)
def test_any_window_and_baseline_is_what_its_samples_add_up_to(ops: list[Op]) -> None:
    table = Table()
    for op in [*ops, Look(0)]:
        table.do(op)


@settings(max_examples=60, deadline=None)
@given(samples=samples_from(3000, 600), cuts=st.lists(st.integers(0, 12), max_size=4), seed=st.randoms())
def test_neither_the_order_of_samples_nor_their_batches_matter(
    samples: list[Sample], cuts: list[int], seed: Random
) -> None:
    placed = [(START_US + ts, place, count, amount) for ts, place, count, amount in samples]
    shuffled = sorted(placed, key=lambda _: seed.random())
    whole, parts = Table(), Table()
    whole.add(placed)
    bounds = sorted({0, *cuts, len(shuffled)} & set(range(len(shuffled) + 1)))
    for start, end in pairwise(bounds):
        parts.add(shuffled[start:end])

    assert whole.newest_us == parts.newest_us
    for window_s in WINDOWS_S:
        one, other = (each.table.window(window_s * SECOND_US, whole.newest_us, GROUPS) for each in (whole, parts))
        for name in ("count", "amount", "maximum", "minimum"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@settings(max_examples=40, deadline=None)
@given(steps=st.lists(st.integers(1, 40), min_size=10, max_size=120))
def test_sums_that_roll_for_long_stay_exact(steps: list[int]) -> None:
    table = Table()
    for number, step in enumerate(steps):
        table.add([(table.newest_us + step * SECOND_US, number % GROUPS, 1, 10**9 + number)])
        table.table.window(60 * SECOND_US, table.newest_us, GROUPS)
        table.table.baseline(60 * SECOND_US, 180 * SECOND_US, table.newest_us, GROUPS)
    table.look(table.newest_us)


Step = tuple[int, int, bool, bool]
"""So many seconds later a sample comes that is late by so many; whether of a new group, and whether after a restart."""

steps = st.tuples(
    st.sampled_from((1, 10, 10, 10, 25, 40, 900)),
    st.sampled_from((0, 0, 0, 0, 5, 30, 70, 400, 3700)),
    st.sampled_from((False,) * 9 + (True,)),
    st.sampled_from((False,) * 19 + (True,)),
)


@settings(max_examples=25, deadline=None)
@given(steps=st.lists(steps, min_size=30, max_size=90), seed=st.randoms())
def test_extremes_that_move_on_for_long_are_those_of_the_samples(steps: list[Step], seed: Random) -> None:
    table, places = Table(), 1
    now_us = START_US
    for step_s, late_s, grown, restarted in steps:
        now_us += step_s * SECOND_US
        places = min(places + grown, GROUPS)
        place = places - 1 if grown else seed.randrange(places)
        table.add([(now_us - late_s * SECOND_US, place, 1, seed.randrange(-100, 100))])
        if restarted:
            table.restart()
        samples = np.array(table.samples)
        for window_s in WINDOWS_S:
            found = table.table.window(window_s * SECOND_US, now_us, places)
            within = samples[begins_us(window_s * SECOND_US, now_us) <= samples[:, 0]]
            expected = Table.extremes(within, places)
            assert [found.maximum.tolist(), found.minimum.tolist()] == expected, window_s


def one_place(ts: list[int], amounts: list[int], extremes: tuple[int, ...] = (60 * SECOND_US,)) -> PaneTable:
    table = PaneTable(MEASURE, 60 * SECOND_US, 0, extremes=extremes)
    for at, amount in zip(ts, amounts, strict=True):
        table.add(np.array([at]), np.array([0]), np.array([1]), np.array([amount]))
    return table


@pytest.mark.parametrize("amount", [0, 1, -1, 127, 128, 255, 256, 2**31 - 1, 2**31, 2**32, -(2**31) - 1, MOST, -MOST])
def test_a_pane_holds_any_amount_exactly_also_once_it_is_packed(amount: int) -> None:
    table = one_place([START_US, START_US + FINE_US], [amount, 1])

    found = table.window(60 * SECOND_US, START_US + FINE_US, 1)

    assert (found.amount[0], found.maximum[0], found.minimum[0]) == (amount + 1, max(amount, 1), min(amount, 1))


def test_what_was_given_out_is_never_changed() -> None:
    table = one_place([START_US], [5])
    before = table.window(60 * SECOND_US, START_US, 1)
    kept = [before.count.copy(), before.amount.copy(), before.maximum.copy(), before.minimum.copy()]

    for at_us in (START_US, START_US + FINE_US, START_US):
        table.add(np.array([at_us]), np.array([0]), np.array([1]), np.array([9]))
        table.window(60 * SECOND_US, START_US + FINE_US, 1)

    assert [before.count, before.amount, before.maximum, before.minimum] == kept


def test_what_is_the_same_is_given_out_as_the_same() -> None:
    table = PaneTable(MEASURE, 60 * SECOND_US, 180 * SECOND_US, extremes=())
    table.add(np.array([START_US]), np.array([0]), np.array([1]), np.array([5]))
    t_us = START_US + 300 * SECOND_US
    before = table.baseline(60 * SECOND_US, 180 * SECOND_US, t_us, 1)
    table.add(np.array([t_us]), np.array([0]), np.array([1]), np.array([5]))

    assert table.baseline(60 * SECOND_US, 180 * SECOND_US, t_us + SECOND_US, 1) is before
    assert table.window(60 * SECOND_US, t_us, 1) is table.window(60 * SECOND_US, t_us, 1)


def test_only_panes_that_changed_are_written() -> None:
    table = one_place([START_US, START_US + FINE_US, START_US], [1, 2, 3])
    first = [slot * FINE_US - START_US for slot, _ in table.panes.fine.pack()]
    table.add(np.array([START_US + FINE_US]), np.array([0]), np.array([1]), np.array([4]))

    assert first == [0, FINE_US]
    assert [slot * FINE_US - START_US for slot, _ in table.panes.fine.pack()] == [FINE_US]
    assert table.panes.fine.pack() == []


def test_panes_from_before_the_extremes_were_asked_for_keep_their_sums_and_know_no_extremes() -> None:
    stored = one_place([START_US], [7], extremes=()).panes.fine.pack()
    table = one_place([], [])
    for slot, packed in stored:
        table.panes.fine.unpack(slot, packed)
    table.add(np.array([START_US + FINE_US] * 2), np.array([0, 1]), np.array([1, 1]), np.array([5, 6]))

    found = table.window(60 * SECOND_US, START_US + FINE_US, 2)
    later = table.window(60 * SECOND_US, START_US + 70 * SECOND_US, 2)

    assert [found.count.tolist(), found.amount.tolist()] == [[2, 1], [12, 6]]
    assert [found.maximum.tolist(), found.minimum.tolist()] == [[UNKNOWN_MAX, 6], [UNKNOWN_MIN, 6]]
    assert [later.maximum.tolist(), later.minimum.tolist()] == [[5, 6], [5, 6]]


def test_panes_from_while_the_extremes_were_asked_for_keep_their_sums() -> None:
    stored = one_place([START_US], [7]).panes.fine.pack()
    table = one_place([], [], extremes=())
    for slot, packed in stored:
        table.panes.fine.unpack(slot, packed)

    assert table.window(60 * SECOND_US, START_US, 1).amount.tolist() == [7]


def test_panes_of_agents_that_are_silent_take_no_room() -> None:
    table = PaneTable(MEASURE, 3600 * SECOND_US, 0, extremes=())
    everyone = np.arange(20_000)
    table.add(np.full(20_000, START_US), everyone, np.ones_like(everyone), everyone * MICRO)
    for number in range(1, 360):
        place = np.array([number % 20_000])
        table.add(np.array([START_US + number * FINE_US]), place, np.array([1]), place * MICRO)
    sizes = [len(packed) for _, packed in table.panes.fine.pack()]

    assert max(sizes) <= 20_000 * (2 + 1 + 8) + 64
    assert sorted(sizes)[-2] < 64
