"""What conditions look at that are about no samples: how long a group was silent, and how many other triggers fire.

Both are told as the totals of a window are, so that everything beyond them is as for any other condition.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from self_healing.clock import DAY_US
from self_healing.measures import MICRO, NONE_MAX, NONE_MIN, NOT_SILENT, Bools, Ints, Totals
from self_healing.model import SeriesState
from self_healing.spec import Composite, Spec, TriggerSpec
from self_healing.triggers.series import Series
from self_healing.triggers.states import States

FIRES = (np.uint8(SeriesState.FIRING), np.uint8(SeriesState.RECOVERING))


def silence(last_us: Ints, t_us: int) -> Totals:
    """How long each group has been silent at `t_us`; after a day nobody expects anything of it any more.

    Args:
        last_us: its last sign of life, microseconds; 0 where there is none.
    """
    # What says that it happens in the future is no older than now.
    silent_us = np.maximum(t_us - last_us, 0)
    return _told((last_us > 0) & (silent_us < DAY_US), silent_us)


def signs_that_count(series: Series, last_us: Ints, since: Callable[[int, int], int]) -> Ints:
    """The last signs of life, but for what was silent already when the series' last incident closed.

    Args:
        since: the same of one group, by its place, after an instant.
    """
    closed = last_us <= series.restarted_us
    if not (closed & (last_us > 0)).any():
        return last_us
    counting = last_us.copy()
    for place in np.flatnonzero(closed & (last_us > 0)).tolist():
        counting[place] = since(place, int(series.restarted_us[place]))
    return counting


def next_silence_us(silent_for_s: int, last_us: Ints, t_us: int) -> Iterator[int]:
    """When the next group will have been silent for so long, or for a day, right after which lost tasks go."""
    for length_us in (silent_for_s * MICRO, DAY_US, DAY_US + 1):
        ends_us = last_us[(last_us > 0) & (last_us < NOT_SILENT)] + length_us
        ends_us = ends_us[ends_us > t_us]
        if len(ends_us):
            yield int(ends_us.min())


def firing(series: Series, members: Sequence[tuple[Series, Ints]]) -> Totals:
    """How many of some triggers fire for each group of the one that looks at them.

    Nothing where none fires and none has had a sample; but once it fires, what missing data means is for them to say.

    Args:
        series: of the one that looks.
        members: each with the places of its groups among those of the one that looks, -1 for one that it has not.
    """
    fire = np.zeros(len(series), np.int64)
    heard = series.state != SeriesState.INACTIVE
    for member, places in members:
        fires = fires_of(member.state)
        known = (places >= 0) & (places < len(series))
        fire[places[known]] += fires[known]
        heard[places[known]] |= (member.sampled | fires)[known]
    return _told(heard, fire * MICRO)


def fires_of(state: States) -> Bools:
    """Which series have fired and not recovered yet."""
    return np.isin(state, FIRES)


def in_order(spec: Spec) -> list[TriggerSpec]:
    """The triggers as they are judged: those that look at others after those."""
    return sorted(spec.triggers, key=lambda trigger: isinstance(trigger.condition, Composite))


def _told(known: Bools, amount: Ints) -> Totals:
    told = np.where(known, amount, 0)
    return Totals(known.astype(np.int64), told, np.where(known, amount, NONE_MAX), np.where(known, amount, NONE_MIN))
