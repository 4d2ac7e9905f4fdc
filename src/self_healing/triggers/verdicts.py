"""Verdicts: what a trigger says of each of its series at an instant, with its figures and the one reason."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from self_healing.clock import from_us
from self_healing.measures import Ints
from self_healing.model import Group, Muted, Reason, SeriesState, Verdict
from self_healing.spec import RateOfChange, TriggerSpec
from self_healing.triggers.conditions import look
from self_healing.triggers.series import Gathered, Series
from self_healing.triggers.states import Finding

MutedBy = Callable[[str, Group, datetime], Muted | None]
"""What mutes a series at an instant, by its trigger and its group; None when nothing does."""


def unseen(trigger: TriggerSpec, group: Group, t_us: int, spec_version: str) -> Verdict:
    """What a trigger says of a group that was never seen."""
    return Verdict(
        trigger=trigger.name,
        group=group,
        at=from_us(t_us),
        state=SeriesState.INACTIVE,
        reason=Reason.NO_DATA if trigger.enabled else Reason.DISABLED,
        samples=0,
        value=None,
        threshold=trigger.condition.value if isinstance(trigger.condition, RateOfChange) else _fixed(trigger),
        spec_version=spec_version,
    )


def verdicts(
    series: Series,
    places: Ints,
    found: Gathered,
    t_us: int,
    *,
    groups: Sequence[Group],
    muted_by: MutedBy,
    spec_version: str,
) -> Iterator[Verdict]:
    """What a trigger says at `t_us` of its series in those places.

    Args:
        series: all of the trigger's.
        found: what was looked at.
        groups: all groups, each in its place.
        muted_by: what mutes a series.
        spec_version: that the verdicts carry.
    """
    before = None if found.before is None else found.before.at(places)
    seen = look(series.trigger, found.totals.at(places), before)
    if series.must_have_spoken:  # the count of nothing is none, for who never spoke
        unheard = ~series.spoken[places] & (seen.samples == 0)
        seen.finding[unheard & (seen.finding == Finding.MET)] = Finding.NO_DATA
    seen.finding = series.untold(seen.finding, t_us, places)
    flapping = series.flapping[places]
    columns = (places, series.state[places], series.since_us[places], flapping, seen.finding, seen.samples)
    figures = (seen.value, seen.threshold, seen.baseline)
    name, at = series.trigger.name, from_us(t_us)
    for place, state, since_us, flaps, finding, samples, value, threshold, baseline in zip(
        *(column.tolist() for column in (*columns, *figures)), strict=True
    ):
        muted = muted_by(name, groups[place], at) if series.trigger.enabled else None
        yield Verdict(
            trigger=name,
            group=groups[place],
            at=at,
            state=SeriesState(state),
            reason=_reason(series.trigger, muted, state, finding, flapping=flaps),
            samples=samples,
            value=figure(value),
            threshold=figure(threshold),
            baseline=figure(baseline),
            since=at if since_us == t_us else from_us(since_us) if since_us else None,
            muted=muted,
            flapping=flaps,
            spec_version=spec_version,
        )


def _reason(trigger: TriggerSpec, muted: Muted | None, state: int, finding: int, *, flapping: bool) -> Reason:
    """The one reason of a verdict."""
    if not trigger.enabled:
        return Reason.DISABLED
    if muted is not None:
        return muted.why
    if (state, finding) == _FIRES:
        return Reason.CONDITION_MET
    reason = _QUIET.get(finding) or _OTHERWISE[state]
    return Reason.FLAPPING if flapping and reason is Reason.RECOVERING else reason


def _fixed(trigger: TriggerSpec) -> float | None:
    return None if trigger.fixed is None else trigger.fixed.value


def figure(value: float) -> float | None:
    """A value out of a column; None where there is none."""
    return None if math.isnan(value) else value


# By plain numbers, which are found ten times as fast as an enum's members.
_QUIET = {
    int(Finding.TOO_FEW): Reason.TOO_FEW_SAMPLES,
    int(Finding.NO_DATA): Reason.NO_DATA,
    int(Finding.NO_BASELINE): Reason.NO_BASELINE,
}
_OTHERWISE = {
    int(SeriesState.INACTIVE): Reason.BELOW_THRESHOLD,
    int(SeriesState.PENDING): Reason.PENDING,
    int(SeriesState.FIRING): Reason.NOT_CLEARED,
    int(SeriesState.RECOVERING): Reason.RECOVERING,
}
_FIRES = (int(SeriesState.FIRING), int(Finding.MET))
