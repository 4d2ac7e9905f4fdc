"""Explaining a verdict in words: why it is what it is, and what it would take to make the series fire."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil, floor
from typing import assert_never

from self_healing.clock import DAY_US, SECOND_US
from self_healing.model import Reason, SeriesState, Verdict
from self_healing.spec import (
    COUNTING,
    Absence,
    Aggregate,
    Baseline,
    Composite,
    NoData,
    Operator,
    RateOfChange,
    Threshold,
    TriggerSpec,
)
from self_healing.triggers.grounds import Grounds
from self_healing.wording import amount, span

_WANTING = (Reason.TOO_FEW_SAMPLES, Reason.NO_DATA, Reason.NO_BASELINE)
_OPPOSITE = {Operator.GE: "below", Operator.GT: "at most", Operator.LE: "above", Operator.LT: "at least"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is known of a series at an instant.

    Args:
        unit: what its value is measured in.
        grounds: what its verdict stands on.
    """

    trigger: TriggerSpec
    unit: str
    verdict: Verdict
    grounds: Grounds

    @property
    def limit(self) -> str:
        """What the value has to be for the condition to be met, such as ``>= 1m``; with the baseline it comes from."""
        condition, unit = self.trigger.condition, self.unit
        match condition:
            case Baseline():
                return self._above_baseline(condition)
            case RateOfChange(op=op, value=value, per=per):
                return f"{op.value} {amount(value, unit)} per {span(per)}"
            case Threshold(op=op, value=value):
                return f"{op.value} {amount(value, unit)}"
            case Absence(silent_for=silent_for):
                return f">= {span(silent_for)}"
            case Composite(needed=needed):
                return f">= {needed}"

    def _above_baseline(self, condition: Baseline) -> str:
        far = f"{condition.times:g}x the baseline"
        if condition.absolute is not None:
            far = f"{amount(condition.plus, self.unit)} above the baseline"
        if self.verdict.threshold is None:
            return f">= {far}"
        return f">= {amount(self.verdict.threshold, self.unit)} ({far} of {amount(self.verdict.baseline, self.unit)})"

    @property
    def value(self) -> str:
        """Its value, with what it is of, such as ``max task.duration_s is 12s``."""
        return f"{self.what} is {amount(self.verdict.value, self.unit)}"

    @property
    def what(self) -> str:
        """What is measured, such as ``max task.duration_s``."""
        match self.trigger.condition:
            case Absence():
                return f"the time without {self.trigger.signal}"
            case Composite(members=members):
                states = self.grounds.members
                told = [f"{name} ({states[name].name.lower()})" if name in states else name for name in members]
                return f"how many fire of {', '.join(told)}"
            case RateOfChange():
                return f"the change of {self.trigger.aggregate.value} {self.trigger.signal}"
        return f"{self.trigger.aggregate.value} {self.trigger.signal}"

    @property
    def window(self) -> str:
        return span(self.trigger.window)


def until(case: Case) -> datetime | None:
    """When the series' timer runs out, if nothing changes; None when none runs."""
    trigger, verdict = case.trigger, case.verdict
    if verdict.since is None or verdict.reason is Reason.DISABLED or _stays(case):
        return None
    match verdict.state:
        case SeriesState.PENDING:
            return verdict.since + timedelta(seconds=trigger.for_s)
        case SeriesState.RECOVERING:
            return verdict.since + timedelta(seconds=trigger.rest_s if verdict.flapping else trigger.keep_firing_for)
    return None


def _stays(case: Case) -> bool:
    """Whether it stays recovering, whatever its timer says, until there is enough to judge it by."""
    trigger, verdict = case.trigger, case.verdict
    wanting = verdict.value is None or verdict.reason in _WANTING
    return verdict.state is SeriesState.RECOVERING and wanting and trigger.no_data is not NoData.CLEAR


def why(case: Case) -> str:
    """Why the verdict is what it is, in a sentence or two."""
    trigger, verdict = case.trigger, case.verdict
    match verdict.reason:
        case Reason.CONDITION_MET:
            return f"fires: {case.value}, {case.limit}"
        case Reason.BELOW_THRESHOLD:
            return f"quiet: {case.value}; it fires at {case.limit}"
        case Reason.PENDING:
            return f"not yet: {case.value}, {case.limit}, but it has to hold for {span(trigger.for_s)}; {_left(case)}"
        case Reason.NOT_CLEARED:
            return f"still fires: {case.value}, no longer {case.limit}, but it recovers only {_clears(case)}"
        case Reason.RECOVERING:
            return f"recovers: {case.value}, which is well; {_left(case)}"
        case Reason.FLAPPING:
            often = f"it began to fire {trigger.flap_after} times within {span(trigger.flap_window)}"
            return f"flaps: {often}, so it rests before it is over: {case.value}; {_left(case)}"
        case Reason.TOO_FEW_SAMPLES | Reason.NO_BASELINE if case.grounds.whole_at is not None:
            return f"{_silent(case)} {_not_whole(case.grounds.whole_at, case)}"
        case Reason.TOO_FEW_SAMPLES:
            return f"{_silent(case)} {_too_few(case)}"
        case Reason.NO_DATA:
            return f"{_silent(case)} {_nothing(case)}{_however(case)}"
        case Reason.NO_BASELINE:
            return f"{_silent(case)} {_no_baseline(case)}"
        case Reason.SILENCED | Reason.MAINTENANCE | Reason.INHIBITED | Reason.WARMING_UP:
            return f"muted, {verdict.muted or verdict.reason}; it opens no incident; {_beneath(case)}"
        case Reason.DISABLED:
            return f"off: `self-healing triggers enable {trigger.name}` switches it on"
        case _ as never:
            assert_never(never)


def _left(case: Case) -> str:
    """What becomes of a series whose timer runs."""
    ends = until(case)
    then = "it fires" if case.verdict.state is SeriesState.PENDING else "it is inactive"
    if ends is None:
        return f"then {then}"
    left_s = (ends - case.verdict.at).total_seconds()
    return f"{then} in {span(left_s)}, at {ends:%H:%M:%S}, if that holds" if left_s > 0 else f"{then} at the next look"


def _clears(case: Case) -> str:
    condition, clear = case.trigger.condition, case.trigger.clear
    if isinstance(condition, Threshold | RateOfChange):
        return f"{_OPPOSITE[condition.op]} {amount(condition.value if clear is None else clear, case.unit)}"
    return f"below {amount(case.verdict.threshold, case.unit)}"


def _silent(case: Case) -> str:
    """How a series begins to be explained that says nothing for want of something."""
    state, no_data = case.verdict.state, case.trigger.no_data
    if state in (SeriesState.INACTIVE, SeriesState.PENDING):
        return "silent because:"
    fires = state is SeriesState.FIRING and no_data is not NoData.CLEAR
    does = "still fires" if fires else "stays recovering" if _stays(case) else "recovers"
    return f"{does} (no_data is {no_data.value}):"


def _nothing(case: Case) -> str:
    """What there is nothing of; a silence and a composite have no window of samples."""
    match case.trigger.condition:
        case Absence():
            within = span(DAY_US / SECOND_US)
            return f"no {case.trigger.signal} that counts within {within}, after which none is expected any more"
        case Composite(members=members):
            return f"none of {', '.join(members)} has a sample, or fires"
    return f"not one sample within {case.window}" if not case.grounds.untold else _untold(case)


def _untold(case: Case) -> str:
    """What there is that says nothing of the value."""
    came = f"{_samples(case.grounds.untold)} within {case.window} came before"
    return f"{came} anybody asked for their {case.trigger.aggregate}, and it cannot be told of them"


def _too_few(case: Case) -> str:
    few = f"{_samples(case.verdict.samples)} within {case.window}, {case.trigger.min_samples} needed"
    return f"{few}; {_untold(case)}" if case.grounds.untold else few


def _however(case: Case) -> str:
    if case.trigger.aggregate in COUNTING and not isinstance(case.trigger.condition, Absence | Composite):
        return "; that counts as 0 for a series that once had some"
    if case.trigger.no_data is NoData.FIRE:
        return "; with no_data = fire that counts as the condition met, for a series that once had some"
    return ""


def _samples(count: int) -> str:
    return f"{count} sample{'' if count == 1 else 's'}"


def _no_baseline(case: Case) -> str:
    condition = case.trigger.condition
    if not isinstance(condition, Baseline):
        count = 0 if case.grounds.behind is None else case.grounds.behind.samples
        return f"{_samples(count)} in the window before it, {max(case.trigger.min_samples, 1)} needed to see a change"
    if case.grounds.behind is not None and case.grounds.behind.samples >= condition.min_samples:
        return f"{case.value}, and its baseline is 0: nothing is a multiple of that"
    count = 0 if case.grounds.behind is None else case.grounds.behind.samples
    needed = f"the {span(condition.over)} before its window, {condition.min_samples} needed"
    return f"{case.value}, and its baseline has {_samples(count)} in {needed}"


def _not_whole(whole_at: datetime, case: Case) -> str:
    windows = "two windows" if isinstance(case.trigger.condition, RateOfChange) else "a whole window"
    began = f"its window began anew, or it was first heard of, too lately for {windows} of {case.window}"
    return f"{began}; its {case.trigger.aggregate} is judged from {whole_at:%H:%M:%S} on"


def _beneath(case: Case) -> str:
    """What a muted series does all the same."""
    state = case.verdict.state.name.lower()
    if case.verdict.value is None:
        return f"beneath that it is {state}, without a value"
    return f"beneath that it is {state}: {case.value}, and it fires at {case.limit}"


def to_fire(case: Case) -> str | None:
    """What would make the series fire, in words; None where it does already, or nothing can while it is off."""
    trigger, verdict = case.trigger, case.verdict
    if verdict.state is SeriesState.FIRING or verdict.reason is Reason.DISABLED:
        return None
    met = verdict.state is SeriesState.PENDING
    if case.grounds.whole_at is not None:
        return f"{_value(case)}, at {case.grounds.whole_at:%H:%M:%S} or later"
    needs = [_waiting(case)] if met else [*_more_samples(case), _value(case)]
    if verdict.state is SeriesState.INACTIVE and trigger.for_s:  # one that recovers fires again at once
        needs.append(f"for {span(trigger.for_s)} on end")
    return ", ".join(needs)


def _waiting(case: Case) -> str:
    ends = until(case)
    return "the same value" + ("" if ends is None else f" until {ends:%H:%M:%S}")


def _more_samples(case: Case) -> list[str]:
    trigger, needs = case.trigger, []
    counts = trigger.aggregate in COUNTING or isinstance(trigger.condition, Absence | Composite)
    missing = 0 if counts else trigger.min_samples - case.verdict.samples
    if missing > 0:
        needs.append(f"{missing} more sample{'' if missing == 1 else 's'} within {case.window}")
    condition = trigger.condition
    behind = 0 if case.grounds.behind is None else case.grounds.behind.samples
    match condition:
        case Baseline(min_samples=needed, over=over) if behind < needed:
            needs.append(f"{needed - behind} more in the {span(over)} before")
        case RateOfChange() if behind < trigger.min_samples:
            needs.append(f"{trigger.min_samples - behind} more in the {case.window} before")
    return needs


def _value(case: Case) -> str:
    """The value that it would take; where one sample or a few bring it about, which."""
    trigger, verdict, condition = case.trigger, case.verdict, case.trigger.condition
    if trigger.aggregate is Aggregate.RATIO and isinstance(condition, Threshold) and verdict.value is not None:
        more = _more_of_the_bad(verdict.value, verdict.samples, condition)
        if more is not None:
            return f"{case.what} {case.limit}: {more} more that go wrong, with none that goes well between, do it"
    alone = trigger.aggregate in (Aggregate.MAX, Aggregate.MIN) and isinstance(condition, Threshold)
    if alone and trigger.rising == (trigger.aggregate is Aggregate.MAX):
        return f"one {trigger.signal} {case.limit}"
    return f"{case.what} {case.limit}"


def _more_of_the_bad(value: float, samples: int, condition: Threshold) -> int | None:
    """How many more parts of a whole have to be bad; None where bad ones do not help, or it is met."""
    limit, bad = condition.value, value * samples
    if condition.op not in (Operator.GE, Operator.GT) or not 0 <= limit < 1:
        return None
    exact = (limit * samples - bad) / (1 - limit)
    more = ceil(round(exact, 9)) if condition.op is Operator.GE else floor(round(exact, 9)) + 1
    return more if more > 0 else None
