"""The state table of a series, for all series of a trigger at once.

==================  ==========  =========================================================
from                to          when
==================  ==========  =========================================================
inactive            pending     condition met, ``for`` > 0
inactive, pending   firing      condition met for ``for``
pending             inactive    condition not met, too few samples, or no data
firing              recovering  ``clear`` met, with enough samples
recovering          firing      condition met again
recovering          inactive    ``keep_firing_for`` passed; for a flapping series, its rest
==================  ==========  =========================================================

A series is *flapping* from the instant at which it begins to fire for the ``flap_after``-th time within
``flap_window``, until it is inactive. It begins to fire as it comes from inactive or pending; coming back from
recovering is the same firing gone on. Its rest is a quarter of ``flap_window``, and no less than ``keep_firing_for``.

Too few samples, no data and no baseline while firing or recovering follow ``no_data``: keep stays, clear recovers; with
fire, no data counts as the condition met in every state.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from self_healing.measures import MICRO, Bools, Ints
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


def step(
    trigger: TriggerSpec, state: States, since_us: Ints, flapping: Bools, finding: States, t_us: int
) -> tuple[States, Ints]:
    """The states at `t_us` of all series of `trigger`; pure.

    Args:
        state: :class:`SeriesState` of each series.
        since_us: since when each is in it, microseconds.
        flapping: whether each is flapping.
        finding: :class:`Finding` of each at `t_us`.

    Returns:
        The new states and since when each holds, as new arrays where anything changed.
    """
    met = finding == _MET
    if trigger.no_data is NoData.FIRE:
        met = met | (finding == _NO_DATA)
    if not np.count_nonzero(state) and not met.any():  # all inactive, and staying so
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
    over = recovering & (waited_us >= _keep_us(trigger, flapping))
    stays = silent & (trigger.no_data is not NoData.CLEAR)
    new[over & ~met & ~stays] = _INACTIVE
    new[recovering & met] = _FIRING
    return new, np.where(new != state, t_us, since_us)


def begins(before: States, state: States) -> Bools:
    """Which series begin to fire as they go from `before` to `state`."""
    began: Bools = (state == _FIRING) & (before < _FIRING)
    return began


def flaps(trigger: TriggerSpec, began_us: Ints, t_us: int) -> Bools:
    """Which series are flapping as they begin to fire at `t_us`.

    Args:
        began_us: when each began to fire the last `flap_after` times, that at `t_us` being the last; a row a series,
            0 for none.
    """
    first_us = began_us[:, 0]
    flapping: Bools = (first_us > 0) & (t_us - first_us <= trigger.flap_window * MICRO)
    return flapping


def _keep_us(trigger: TriggerSpec, flapping: Bools) -> Ints | int:
    """How long each series stays recovering, microseconds."""
    if not flapping.any():
        return trigger.keep_firing_for * MICRO
    return np.where(flapping, trigger.rest_s * MICRO, trigger.keep_firing_for * MICRO)


def next_timer_us(trigger: TriggerSpec, state: States, since_us: Ints, flapping: Bools, t_us: int) -> int | None:
    """When the first of the series' timers that still run at `t_us` runs out, microseconds; None when none runs.

    One that ran out before has had its say; what still waits there waits for samples.
    """
    due: list[int] = []
    if not np.count_nonzero(state):  # half as long as any()
        return None
    recovering = state == _RECOVERING
    for held, length_us in (
        (state == _PENDING, trigger.for_s * MICRO),
        (recovering, _keep_us(trigger, flapping[recovering])),
    ):
        # One of no length runs out right after the instant at which it began.
        ends_us = since_us[held] + np.maximum(length_us, 1)
        ends_us = ends_us[ends_us > t_us]
        if len(ends_us):
            due.append(int(ends_us.min()))
    return min(due, default=None)
