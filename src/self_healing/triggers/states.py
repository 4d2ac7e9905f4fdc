"""The state table of a series, for all series of a trigger at once.

==================  ==========  =========================================================
from                to          when
==================  ==========  =========================================================
inactive            pending     condition met, ``for`` > 0
inactive, pending   firing      condition met for ``for``
pending             inactive    condition not met, too few samples, or no data
firing              recovering  ``clear`` met, with enough samples
recovering          firing      condition met again
recovering          inactive    ``keep_firing_for`` passed
==================  ==========  =========================================================

Too few samples, no data and no baseline while firing or recovering follow ``no_data``: keep stays, clear recovers; with
fire, no data counts as the condition met in every state.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from self_healing.measures import MICRO, Ints
from self_healing.model import SeriesState
from self_healing.spec import NoData, TriggerSpec

States = NDArray[np.uint8]


class Finding(IntEnum):
    """What one look at a series found; codes in columns."""

    MET = 0  # the condition holds
    CLEARED = 1  # enough samples, and `clear` holds
    BETWEEN = 2  # enough samples; neither holds
    TOO_FEW = 3  # some samples, but fewer than `min_samples`
    NO_DATA = 4  # no sample
    NO_BASELINE = 5  # too little before the window to compare with


# As plain numbers: looking an enum's member up takes as long as comparing thousands of series with it.
_STATES = _INACTIVE, _PENDING, _FIRING, _RECOVERING = tuple(np.uint8(state) for state in SeriesState)
_MET, _CLEARED, _TOO_FEW, _NO_DATA = (
    np.uint8(each) for each in (Finding.MET, Finding.CLEARED, Finding.TOO_FEW, Finding.NO_DATA)
)


def step(trigger: TriggerSpec, state: States, since_us: Ints, finding: States, t_us: int) -> tuple[States, Ints]:
    """The states at `t_us` of all series of `trigger`; pure.

    Args:
        state: :class:`SeriesState` of each series.
        since_us: since when each is in it, microseconds.
        finding: :class:`Finding` of each at `t_us`.

    Returns:
        The new states and since when each holds, as new arrays where anything changed.
    """
    met = finding == _MET
    if trigger.no_data is NoData.FIRE:
        met = met | (finding == _NO_DATA)
    if not state.any() and not met.any():  # all inactive, and staying so
        return state, since_us
    inactive, pending, firing, recovering = (state == each for each in _STATES)
    silent = (finding >= _TOO_FEW) & ~met
    cleared = finding == _CLEARED
    if trigger.no_data is NoData.CLEAR:
        cleared = cleared | silent
    waited_us = t_us - since_us
    held = pending & (waited_us >= trigger.for_s * MICRO)
    new = state.copy()
    new[pending & ~met] = _INACTIVE
    new[inactive & met] = _PENDING if trigger.for_s else _FIRING
    new[held & met] = _FIRING
    new[firing & cleared & ~met] = _RECOVERING
    over = recovering & (waited_us >= trigger.keep_firing_for * MICRO)
    stays = silent & (trigger.no_data is not NoData.CLEAR)
    new[over & ~met & ~stays] = _INACTIVE
    new[recovering & met] = _FIRING
    return new, np.where(new != state, t_us, since_us)


def next_timer_us(trigger: TriggerSpec, state: States, since_us: Ints, t_us: int) -> int | None:
    """When the first of the series' timers that still run at `t_us` runs out, microseconds; None when none runs.

    One that ran out before has had its say; what still waits there waits for samples.
    """
    due: list[int] = []
    if not state.any():
        return None
    for held, length_s in ((_PENDING, trigger.for_s), (_RECOVERING, trigger.keep_firing_for)):
        # One of no length runs out right after the instant at which it began.
        ends_us = since_us[state == held] + max(length_s * MICRO, 1)
        ends_us = ends_us[ends_us > t_us]
        if len(ends_us):
            due.append(int(ends_us.min()))
    return min(due, default=None)
