"""Silent: which triggers cannot fire on the stored history, which hardly ever will, and which tell no groups apart."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

import numpy as np

from self_healing.clock import DAY_US, SECOND_US
from self_healing.doctor.history import History
from self_healing.doctor.observing import Observed, beyond
from self_healing.problems import shown, suggestion
from self_healing.spec import (
    Absence,
    Baseline,
    Composite,
    Maintenance,
    NoData,
    RateOfChange,
    Spec,
    Threshold,
    TriggerSpec,
)
from self_healing.telemetry.columns import ATTRIBUTE, getter
from self_healing.telemetry.samples import matches
from self_healing.telemetry.signals import GROUP_COLUMNS, signal_of, unit
from self_healing.wording import amount, counted, number, span

FAR: Final = 50
"""So many times the worst value seen is far beyond it: a wrong unit makes it 60 (minutes for seconds) at the least."""


def why_silent(
    spec: Spec, observed: Mapping[str, Observed], fire: Collection[str], history: History
) -> dict[str, tuple[str, str]]:
    """Why enabled triggers cannot fire on the history, and what to do, by trigger; of those that can nothing.

    Args:
        fire: the triggers that were seen to fire.
    """
    enabled = [trigger for trigger in spec.triggers if trigger.enabled and trigger.name not in fire]
    found = {trigger.name: _silent(trigger, observed, history) for trigger in enabled}
    silent = {name: why for name, why in found.items() if why is not None}
    for trigger in enabled:
        if isinstance(trigger.condition, Composite):
            dead = [name for name in trigger.condition.members if name in silent]
            if len(trigger.condition.members) - len(dead) < trigger.condition.needed:
                says = f"{' and '.join(dead)}, of which it is made, cannot fire: {silent[dead[0]][0]}"
                silent[trigger.name] = says, silent[dead[0]][1]
    return silent


def _silent(trigger: TriggerSpec, observed: Mapping[str, Observed], history: History) -> tuple[str, str] | None:
    """Why a trigger that looks at a signal cannot fire."""
    if isinstance(trigger.condition, Absence):
        return None if _spoke(trigger, history) else _unmeasured(trigger, history)
    return _too_little(observed[trigger.name], history) if trigger.name in observed else None


def _spoke(trigger: TriggerSpec, history: History) -> bool:
    """Whether any group ever gave the sign of life for want of which the trigger fires."""
    signal = signal_of(trigger.signal)
    kind = None if signal is None else signal.kind
    rows = range(len(history.events)) if kind is None else np.flatnonzero(history.kind == kind).tolist()
    where, groups = tuple(trigger.where.items()), [getter(column) for column in trigger.group_by]
    spoke = (history.events[row] for row in rows)
    return any(matches(event, where) and all(group(event) for group in groups) for event in spoke)


def _too_little(observed: Observed, history: History) -> tuple[str, str] | None:
    """Why no window of a trigger was ever judged."""
    trigger, condition = observed.trigger, observed.trigger.condition
    if observed.most == 0:
        return _unmeasured(trigger, history)
    if trigger.no_data is NoData.FIRE:
        return None  # a window that holds nothing is judged as well
    if observed.most < observed.needed:
        held = f"no window of {span(trigger.window)} ever held {counted(observed.needed, 'sample')}"
        return f"{held}; the most were {observed.most}", _lengthen(history)
    if isinstance(condition, Baseline) and observed.most_before < condition.min_samples:
        says = f"no baseline ever held {counted(condition.min_samples, 'sample')}; the most were {observed.most_before}"
        return says, "let more history come in, lengthen `over`, or lower condition.min_samples"
    if isinstance(condition, RateOfChange) and observed.most_before < trigger.min_samples:
        says = f"no window of {span(trigger.window)} before another ever held {counted(trigger.min_samples, 'sample')}"
        return f"{says}; the most were {observed.most_before}", _lengthen(history)
    return None


def _lengthen(history: History) -> str:
    """What helps where no window held enough; the first hours after a start say little of that."""
    first = "let a day of history come in; if it is so still, " if history.span_us < DAY_US else ""
    return f"{first}lengthen its window, or lower min_samples"


def _unmeasured(trigger: TriggerSpec, history: History) -> tuple[str, str]:
    for column, value in trigger.where.items():
        seen = _values(column, history)
        if value not in seen:
            some = f"; seen were {', '.join(sorted(seen)[:5])}" if seen else ""
            near = suggestion(value, seen) if seen else _nearest(column, history)
            return f"no event has {column} = {shown(value)}{some};{near}".removesuffix(";"), "correct `where`"
    unnamed = _unnamed(trigger, history)
    if unnamed is not None:
        return unnamed
    signal = signal_of(trigger.signal)
    kind = "no event" if signal is None or signal.kind is None else f"no event of type {signal.kind.name.lower()}"
    if isinstance(trigger.condition, Absence):
        return f"{kind} came of any group that it watches, and whoever never spoke cannot fall silent", SWITCH_OFF
    return f"{kind} has brought a sample of {trigger.signal}", SWITCH_OFF


SWITCH_OFF: Final = "send it, or switch the trigger off"


def _values(column: str, history: History) -> set[str]:
    """The values of a column, or of an attribute, in the history."""
    return {value for value in map(getter(column), history.events) if value is not None}


# -- what is no use as it is


def doubts(trigger: TriggerSpec, observed: Observed | None, history: History) -> tuple[str, str] | None:
    """What is to be doubted of a trigger that can fire, and what to do; None where nothing is.

    Args:
        observed: what it saw; None where it compares no value with a limit.
    """
    far = None if observed is None else _far(trigger, observed, history)
    return _unnamed(trigger, history) or far


def idle(window: Maintenance, history: History) -> tuple[str, str] | None:
    """Why a maintenance window is for nobody who was ever heard of, and what to do; None where it is for somebody."""
    for column, value in window.keys.items():
        seen = _values(column, history)
        if value not in seen:
            near = suggestion(value, seen) or f" seen are {', '.join(sorted(seen)[:5]) or 'none'}"
            return f"it is for nobody: no event has {column} = {shown(value)};{near}", "correct its `keys`"
    return None


def _unnamed(trigger: TriggerSpec, history: History) -> tuple[str, str] | None:
    """A column by which a trigger groups and that no event names, and what to do; None where all are named."""
    for column in trigger.group_by:
        if not _values(column, history):
            says = f"no event names its {column}, by which it groups;{_nearest(column, history)}"
            return says.removesuffix(";"), f"send {column}, or group by another column"
    return None


def _nearest(column: str, history: History) -> str:
    """The question after the nearest column or attribute that some event has."""
    columns = [each for each in GROUP_COLUMNS if each != column]
    return suggestion(column, [*columns, *(f"{ATTRIBUTE}{name}" for name in history.attributes)])


def _far(trigger: TriggerSpec, observed: Observed, history: History) -> tuple[str, str] | None:
    """That the limit of a trigger lies far beyond all that was ever seen; None where it does not, or nobody knows."""
    limit, peaks, signal = _limit(trigger), observed.peaks(), signal_of(trigger.signal)
    if limit is None or not len(peaks) or trigger.fires_on_silence or (signal is not None and signal.ratio):
        return None  # from something to nothing it is a step, as from none of a whole to all of it
    worst = float(peaks[-1] if trigger.rising else peaks[0])
    near, far = (worst, limit) if trigger.rising else (limit, worst)
    if worst <= 0 or far < FAR * max(near, 0):
        return None
    of = "" if isinstance(trigger.condition, Threshold) else " to compare with it"
    in_unit = "" if of else unit(trigger)
    said = [amount(each, in_unit) for each in (limit, worst, beyond(worst, rising=trigger.rising))]
    than = "as much as the largest" if trigger.rising else "less than the smallest"
    times = f"{number(round(far / near))} times {than}" if near > 0 else than
    seen = span(history.span_us // SECOND_US)
    says = f"practically never fires: it takes {said[0]}, {times} value{of} in {seen}, {said[1]}"
    return says, f"see whether that is in its unit; {said[2]} is the next round number beyond all that was seen"


def _limit(trigger: TriggerSpec) -> float | None:
    """What the peaks of a trigger are compared with; None where those may well lie about nothing."""
    match trigger.condition:
        case Threshold() | RateOfChange() as condition:
            return condition.value
        case Baseline(ratio=ratio):
            return ratio
    return None
