"""Verification: did the symptom go, judged on work that began after the effect and on nothing else.

Judged are the first tasks by start, as many as the verification needs, once all of them have ended, so that quick tasks
don't speak for slow ones; a maximum is also judged by the age of a task that still runs. Silence is never good.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec
import numpy as np

from self_healing.clock import to_us
from self_healing.histograms import Histograms, bucket_of
from self_healing.measures import MICRO, NONE_MAX, NONE_MIN, Totals, held, holds, value_of
from self_healing.model import Result, Verification
from self_healing.spec import Absence, Aggregate, Baseline, Composite, Operator, RateOfChange, Threshold, TriggerSpec
from self_healing.taps import Accumulator, Seen

EXTENSIONS = 2
"""How often an inconclusive verification gets its time again."""

WORSE_SHARE = 0.25
"""Beyond the peak by this share of the threshold is worse."""

PROBES = 3
"""How many tasks of an agent that was let back decide whether it is paused again."""


class Judgement(msgspec.Struct, frozen=True):
    """What a look at a verification's samples says.

    Args:
        result: None while it is too early to say.
        value: in the signal's unit.
        samples: judged so far.
    """

    result: Result | None
    value: float | None
    samples: int


def merged(tasks: Iterable[Seen]) -> Totals:
    """The totals of the tasks' samples; arrays of one element."""
    samples = [sample for task in tasks for sample in task.samples]
    amounts = [amount // count for _, count, amount in samples if count]
    buckets: Counter[int] = Counter()
    for _, count, amount in samples:
        if count:
            buckets[bucket_of(amount // count)] += count
    return Totals(
        np.array([held(sum(count for _, count, _ in samples))], np.int64),
        np.array([held(sum(amount for _, _, amount in samples))], np.int64),
        np.array([max(amounts, default=NONE_MAX)], np.int64),
        np.array([min(amounts, default=NONE_MIN)], np.int64),
        histograms=Histograms.single(buckets),
    )


def chosen(accumulator: Accumulator, needed: int) -> tuple[list[Seen], list[Seen]]:
    """The first tasks by start that together have the samples that are needed, and those among them that still run."""
    judged: list[Seen] = []
    running: list[Seen] = []
    have = 0
    for task in sorted(accumulator.tasks.values(), key=lambda seen: seen.start_us):
        if have + len(running) >= needed:
            break
        if not task.finished:
            running.append(task)
            continue
        judged.append(task)
        have += sum(count for _, count, _ in task.samples)
    return judged, running


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
    judged, running = chosen(accumulator, verification.needed)
    totals = merged(judged)
    samples = int(totals.count[0])
    value = None if samples == 0 else _told(trigger, verification, float(value_of(trigger, totals)[0]))
    limit = _limit(trigger, verification)
    if limit is not None:
        op, threshold, clear = limit
        age_s = _overdue_s(trigger, running, op, threshold, to_us(at))
        if age_s is not None:
            told = _told(trigger, verification, age_s)
            return Judgement(_bad(verification, trigger, told, threshold), told, samples + 1)
        if samples >= verification.needed and not running and value is not None:
            if holds(trigger, totals, op, threshold)[0]:
                return Judgement(_bad(verification, trigger, value, threshold), value, samples)
            if not holds(trigger, totals, op, clear)[0]:
                return Judgement(Result.HEALED, value, samples)
    if at >= verification.deadline:
        return Judgement(Result.INCONCLUSIVE, value, samples)
    return Judgement(None, value, samples)


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
        totals = merged([probe])
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
