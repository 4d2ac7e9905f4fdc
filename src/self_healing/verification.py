"""Verification: did the symptom go, judged on work that began after the effect and on nothing else.

Judged are the first tasks by start, as many as the verification needs, once all of them have ended, so that quick tasks
don't speak for slow ones. Where they lie between well and ill, one further task after the other is taken in. A maximum
is also judged by the age of a task that still runs. Silence is never good.

What is a number over a time (a count, a sum, a rate) says nothing of so many tasks: it is judged on the time since the
effect, as long as the trigger's window where the deadline leaves so much, and while enough tasks were done in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import accumulate

import msgspec
import numpy as np

from self_healing.clock import to_us
from self_healing.histograms import Histograms, bucket_of
from self_healing.measures import MICRO, NONE_MAX, NONE_MIN, Totals, held, holds, value_of
from self_healing.model import Result, Verification
from self_healing.spec import (
    PERCENT,
    Absence,
    Aggregate,
    Baseline,
    Composite,
    Operator,
    RateOfChange,
    Threshold,
    TriggerSpec,
)
from self_healing.taps import Accumulator, Seen

EXTENSIONS = 2
"""How often an inconclusive verification gets its time again."""

WORSE_SHARE = 0.25
"""Beyond the peak by this share of the threshold is worse."""

OVER_TIME = (Aggregate.COUNT, Aggregate.SUM, Aggregate.RATE)
"""What is a number over a time, rather than one of its samples."""

PROBES = 3
"""How many tasks of an agent that was let back decide whether it is paused again."""


class Judgement(msgspec.Struct, frozen=True):
    """What a look at a verification's samples says.

    Args:
        result: None while it is too early to say.
        value: in the signal's unit.
        samples: judged so far.
        overruled: whether an action's own signal was well, and this is what its trigger says of the same work.
    """

    result: Result | None
    value: float | None
    samples: int
    overruled: bool = False


def growing(tasks: Sequence[Seen], first: int, *, quantiles: bool) -> Totals:
    """The totals of the samples of the `first` tasks, then with one further task after the other; a row each.

    Args:
        quantiles: whether any is asked of them.
    """
    counts = [sum(count for _, count, _ in task.samples) for task in tasks]
    amounts = [sum(amount for _, _, amount in task.samples) for task in tasks]
    each = [[amount // count for _, count, amount in task.samples if count] for task in tasks]
    columns = (
        accumulate(counts, _both, initial=0),
        accumulate(amounts, _both, initial=0),
        accumulate((max(one, default=NONE_MAX) for one in each), max, initial=NONE_MAX),
        accumulate((min(one, default=NONE_MIN) for one in each), min, initial=NONE_MIN),
    )
    histograms = Histograms.of(list(_buckets(tasks))[first:]) if quantiles else None
    return Totals(*(np.array(list(column)[first:], np.int64) for column in columns), histograms=histograms)


def _both(left: int, right: int) -> int:
    return held(left + right)


def _buckets(tasks: Sequence[Seen]) -> Iterator[dict[int, int]]:
    """How many samples each bucket holds, before the first task and after each."""
    buckets: Counter[int] = Counter()
    yield dict(buckets)
    for task in tasks:
        for _, count, amount in task.samples:
            if count:
                buckets[bucket_of(amount // count)] += count
        yield dict(buckets)


class Chosen(msgspec.Struct, frozen=True):
    """The tasks that are judged, by start.

    Args:
        first: of those that together have what is needed, the ones that ended.
        running: the ones of them that still run.
        enough: whether what is needed is there: nothing of it still runs.
        further: what follows and has ended, up to the first that still runs.
        next: that one; none where nothing that follows still runs.
    """

    first: list[Seen]
    running: list[Seen]
    enough: bool
    further: list[Seen]
    next: list[Seen]

    @property
    def open(self) -> list[Seen]:
        """What still runs and is waited for, while what has ended leaves it open."""
        return self.running or self.next


def chosen(accumulator: Accumulator, samples: int, tasks: int) -> Chosen:
    """The first tasks by start that together have so many samples, from so many tasks at least, and what follows.

    A task without any sample speaks for nothing; one that still runs may yet have one.
    """
    found = sorted(accumulator.tasks.values(), key=lambda seen: seen.start_us)
    first: list[Seen] = []
    running: list[Seen] = []
    have = speaking = 0
    for task in found:
        if have + len(running) >= samples and speaking + len(running) >= tasks:
            break
        if not task.finished:
            running.append(task)
            continue
        first.append(task)
        count = sum(count for _, count, _ in task.samples)
        have, speaking = have + count, speaking + (count > 0)
    left = found[len(first) + len(running) :]
    ended = next((place for place, task in enumerate(left) if not task.finished), len(left))
    enough = not running and have >= samples and speaking >= tasks
    return Chosen(first, running, enough, left[:ended], left[ended : ended + 1])


def _limit(trigger: TriggerSpec, verification: Verification) -> tuple[Operator, float, float] | None:
    """The relation, the threshold and the clear value that hold for this verification; None when nobody knows them."""
    match trigger.condition:
        case Threshold() as condition:
            clear = condition.value if trigger.clear is None else trigger.clear
            return condition.op, condition.value, clear
        case Baseline():
            # Frozen when the incident opened: the baseline of before the trouble. There was none where silence fired.
            threshold = verification.threshold
            return None if threshold is None else (Operator.GE, threshold, threshold)
        case RateOfChange() as condition:
            # As far from what it was before it changed as the change was too much.
            before, lengths = verification.baseline, trigger.window / condition.per
            clear = condition.value if trigger.clear is None else trigger.clear
            if before is None:
                return None
            return condition.op, before + condition.value * lengths, before + clear * lengths
    return None  # of a silence, and of what looks at other triggers, no sample says anything


def _told(trigger: TriggerSpec, verification: Verification, value: float) -> float:
    """A value as the trigger tells it: for a rate of change, how far it is from what it was before."""
    if not isinstance(trigger.condition, RateOfChange) or verification.baseline is None:
        return value
    return (value - verification.baseline) * trigger.condition.per / trigger.window


def judge(verification: Verification, trigger: TriggerSpec, accumulator: Accumulator, at: datetime) -> Judgement:
    """What the samples gathered so far say at `at`; pure."""
    if isinstance(trigger.condition, Absence):
        return _heard(verification, accumulator, at)
    limit = _limit(trigger, verification)
    if trigger.aggregate in OVER_TIME:
        return _over_time(verification, trigger, accumulator, limit, at)
    tasks = chosen(accumulator, verification.needed, verification.tasks)
    said = _weighed(verification, trigger, tasks, limit)
    if said.result is None and limit is not None:
        op, threshold, _ = limit
        age_s = _overdue_s(trigger, tasks.open, op, threshold, to_us(at))
        if age_s is not None:
            told = _told(trigger, verification, age_s)
            return Judgement(_bad(verification, trigger, told, threshold), told, said.samples + 1)
    if said.result is None and at >= verification.deadline:
        return msgspec.structs.replace(said, result=Result.INCONCLUSIVE)
    return said


def _over_time(
    verification: Verification,
    trigger: TriggerSpec,
    accumulator: Accumulator,
    limit: tuple[Operator, float, float] | None,
    at: datetime,
) -> Judgement:
    """What the time since the effect says, brought to the length of the window where it is shorter.

    More can only come, so what is too much already is bad at once, and where less is worse, what is enough is good.
    """
    since_us = to_us(verification.effect_at)
    length_us = min(trigger.window * MICRO, to_us(verification.deadline) - since_us)
    done = sum(task.finished for task in accumulator.tasks.values())
    so_far = _within(accumulator, since_us, length_us, 1.0)
    over = to_us(at) - since_us >= length_us
    whole = _within(accumulator, since_us, length_us, trigger.window * MICRO / max(length_us, 1)) if over else so_far
    value = _told(trigger, verification, float(value_of(trigger, whole)[0])) if whole.count[0] else 0.0
    result = None
    if limit is not None:
        op, threshold, clear = limit
        ill, well = bool(holds(trigger, whole, op, threshold)[0]), not holds(trigger, whole, op, clear)[0]
        if ill and (over or trigger.rising):
            result = _bad(verification, trigger, value, threshold)
        elif well and done >= verification.tasks and (over or not trigger.rising):
            result = Result.HEALED
    if result is None and at >= verification.deadline:
        result = Result.INCONCLUSIVE
    samples = int(so_far.count[0])
    return Judgement(result, value if samples else None, samples)


def _within(accumulator: Accumulator, since_us: int, length_us: int, times: float) -> Totals:
    """The totals of the samples in a stretch of time, times a factor."""
    found = [
        (count, amount)
        for task in accumulator.tasks.values()
        for ts_us, count, amount in task.samples
        if since_us <= ts_us < since_us + length_us
    ]
    count, amount = (held(round(sum(column) * times)) for column in zip(*found, strict=True)) if found else (0, 0)
    none = np.array([NONE_MAX], np.int64), np.array([NONE_MIN], np.int64)
    return Totals(np.array([count], np.int64), np.array([amount], np.int64), *none)


def _weighed(
    verification: Verification, trigger: TriggerSpec, tasks: Chosen, limit: tuple[Operator, float, float] | None
) -> Judgement:
    """What the tasks say that have ended: the first ones, or with as many further ones as it takes to be sure."""
    totals = growing([*tasks.first, *tasks.further], len(tasks.first), quantiles=trigger.aggregate in PERCENT)
    row, result = 0, None
    if limit is not None and tasks.enough:
        op, threshold, clear = limit
        ill, well = holds(trigger, totals, op, threshold), ~holds(trigger, totals, op, clear)
        row = int(np.argmax(ill | well)) if (ill | well).any() else len(ill) - 1
        result = Result.NOT_HEALED if ill[row] else Result.HEALED if well[row] else None
    samples = int(totals.count[row])
    if samples == 0:
        return Judgement(None, None, 0)
    value = _told(trigger, verification, float(value_of(trigger, totals)[row]))
    if result is Result.NOT_HEALED and limit is not None:
        result = _bad(verification, trigger, value, limit[1])
    return Judgement(result, value, samples)


def _heard(verification: Verification, accumulator: Accumulator, at: datetime) -> Judgement:
    """Whether enough signs of life came of work begun after the effect; to go on being silent is not to be judged."""
    signs = sum(count for task in accumulator.tasks.values() for _, count, _ in task.samples)
    if signs >= verification.needed:
        return Judgement(Result.HEALED, None, signs)
    return Judgement(Result.INCONCLUSIVE if at >= verification.deadline else None, None, signs)


def judge_together(condition: Composite, each: Sequence[Judgement], at: datetime, deadline: datetime) -> Judgement:
    """What the judgements of the triggers that fired say of the one that looks at them; its value is how many are bad.

    Where all must fire, it is well once one of them is, where any is enough, once all are.
    """
    needed = len(each) if condition.all_of else 1
    bad = sum(one.result in (Result.NOT_HEALED, Result.WORSE) for one in each)
    well = sum(one.result is Result.HEALED for one in each)
    samples = min((one.samples for one in each), default=0)
    result = None
    if bad >= needed:
        result = Result.NOT_HEALED
    elif well > len(each) - needed:
        result = Result.HEALED
    elif at >= deadline:
        result = Result.INCONCLUSIVE
    return Judgement(result, float(bad), samples)


def overruled(own: Judgement, itself: Judgement) -> Judgement:
    """What an action's own signal says, unless the trigger is still ill on work begun after the effect: not healed."""
    if own.result is Result.HEALED and itself.result in (Result.NOT_HEALED, Result.WORSE):
        return msgspec.structs.replace(itself, overruled=True)
    return own


def _overdue_s(trigger: TriggerSpec, running: list[Seen], op: Operator, threshold: float, t_us: int) -> float | None:
    """The age of the oldest of these running tasks, in seconds, if it alone meets a maximum condition on durations."""
    if trigger.aggregate is not Aggregate.MAX or trigger.signal != "task.duration_s" or not running:
        return None
    if op not in (Operator.GE, Operator.GT):
        return None  # where less is worse, a task that still runs proves nothing
    age_us = t_us - min(task.start_us for task in running)
    beyond_us = age_us - round(threshold * MICRO)
    return age_us / MICRO if beyond_us > 0 or (beyond_us == 0 and op is Operator.GE) else None


def _bad(verification: Verification, trigger: TriggerSpec, value: float, threshold: float) -> Result:
    if verification.peak is None:
        return Result.NOT_HEALED
    threshold = _told(trigger, verification, threshold)
    beyond = value - verification.peak if trigger.rising else verification.peak - value
    return Result.WORSE if beyond >= WORSE_SHARE * abs(threshold) else Result.NOT_HEALED


def failed_probe(trigger: TriggerSpec, verification: Verification, accumulator: Accumulator, at: datetime) -> bool:
    """Whether one of the first three tasks of an agent that was let back meets the condition by itself."""
    limit = _limit(trigger, verification)
    if limit is None:
        return False
    op, threshold, _ = limit
    for probe in sorted(accumulator.tasks.values(), key=lambda seen: seen.start_us)[:PROBES]:
        totals = growing([probe], 1, quantiles=trigger.aggregate in PERCENT)
        if totals.count[0] and holds(trigger, totals, op, threshold)[0]:
            return True
        if not probe.finished and _overdue_s(trigger, [probe], op, threshold, to_us(at)) is not None:
            return True
    return False


def credit(treated: int, untreated_recovered: int, untreated: int) -> float:
    """The part of a healing that is ours, 0 to 1.

    What series of the same trigger did in the same time without any treatment is set against it: where all of them
    recovered by themselves, nothing was healed by us.

    Args:
        treated: the series that were treated (1 for one incident).
        untreated_recovered: untreated series that recovered meanwhile.
        untreated: untreated series that were ill when the effect began.
    """
    return treated * (1.0 - untreated_recovered / untreated) if untreated else float(treated)
