"""The pulse sums what came in each slice of the newest hour, in whatever order it came, and forgets what is older."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from self_healing.clock import HOUR_US
from self_healing.measures import FINE_US
from self_healing.telemetry.pulse import KEPT, SHOWN, Pulse

NOON_US = 1_767_614_400 * 10**6


def ints(*values: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array(values, np.int64)


def test_samples_of_one_slice_are_one_point() -> None:
    pulse = Pulse()
    pulse.add("cost", ints(NOON_US, NOON_US + 1), ints(1, 1), ints(20, 30))
    count, amount = pulse.course("cost", NOON_US)
    assert (count[-1], amount[-1], count.sum()) == (2, 50, 2)


def test_a_figure_that_never_came_is_nothing_at_every_point() -> None:
    count, amount = Pulse().course("cost", NOON_US)
    assert (len(count), count.sum(), amount.sum()) == (SHOWN, 0, 0)


def test_what_lies_after_the_instant_is_not_shown() -> None:
    pulse = Pulse()
    pulse.add("cost", ints(NOON_US + FINE_US), ints(1), ints(1))
    assert pulse.course("cost", NOON_US)[0].sum() == 0


@given(st.lists(st.lists(st.integers(0, 2 * HOUR_US), min_size=1, max_size=30), max_size=6))
def test_the_course_is_what_counting_says(batches: list[list[int]]) -> None:
    pulse, newest = Pulse(), -1
    kept: dict[int, int] = {}
    for batch in batches:
        pulse.add("n", ints(*batch), ints(*[1] * len(batch)), ints(*batch))
        newest = max(newest, *(at // FINE_US for at in batch))
        for at in batch:
            kept[at // FINE_US] = kept.get(at // FINE_US, 0) + 1
        kept = {slot: n for slot, n in kept.items() if slot > newest - KEPT}
    for last in (max(newest, 0), max(newest, 0) - 1):  # the newest may be under way, and the hour before it is whole
        count, _ = pulse.course("n", last * FINE_US)
        shown = {slot: n for slot, n in kept.items() if last - SHOWN < slot <= last}
        assert {last - SHOWN + 1 + int(row): int(count[row]) for row in np.flatnonzero(count)} == shown
