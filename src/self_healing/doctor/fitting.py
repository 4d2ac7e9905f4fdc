"""Fitting: which triggers cannot fire on the stored history, which would fire all the time, and a better threshold.

A threshold is proposed so that a trigger would have fired about once a week an agent at most. Once a week is one day
in seven: so of the worst value of each agent and day, the one that six in seven do not exceed, and the next round
number beyond it. A backtest with it says how often it would have fired; where that is still too often, because an agent
crosses it several times a day, the next round number beyond the worst of all takes its place.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from self_healing.backtest import Replay, nobody
from self_healing.backtest import Tell as Told
from self_healing.clock import DAY_US, SECOND_US
from self_healing.doctor.findings import Finding, Proposal, Tell, ok, warn
from self_healing.doctor.history import History
from self_healing.doctor.observing import Observed
from self_healing.measures import Floats
from self_healing.model import SeriesState
from self_healing.problems import shown, suggestion
from self_healing.spec import Absence, Baseline, Composite, NoData, RateOfChange, Spec, Threshold, TriggerSpec
from self_healing.telemetry.assembly import traced
from self_healing.telemetry.columns import getter
from self_healing.telemetry.samples import matches
from self_healing.telemetry.signals import signal_of
from self_healing.wording import span

ALL_THE_TIME: Final = 0.5
"""Open for a larger part of the time than this, a trigger says nothing."""

QUIET_DAYS: Final = 6 / 7
"""Of the days of each agent, so many are to pass without an incident."""

STEP_S: Final = 60
"""How often the backtest looks, seconds, where it goes step by step: on a grid of a second two weeks take minutes."""

LEAST_SPAN_US: Final = DAY_US
"""Less history than this shows no day's peaks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fired:
    """How a trigger would have fired.

    Args:
        incidents: how many it would have opened.
        share: of the time of all of its groups, in which an incident was open; 0 to 1.
        groups: how many were seen.
        fires: whether any series of it began to fire, muted or not.
    """

    incidents: int
    share: float
    groups: int
    fires: bool


def fired(spec: Spec, history: History, tell: Told = nobody) -> dict[str, Fired]:
    """What a backtest of `spec` on `history` opens, by trigger; `tell` hears how much was replayed."""
    if not history.events:
        return {}
    replay = Replay(spec, by_step=traced(history.events, history.kind))
    if not replay.sees_ahead:
        replay = Replay(spec.model_copy(update={"grid": max(spec.grid, STEP_S)}), by_step=True)
    replay.telemetry.queue(list(history.events), history.kind, history.ts)
    replay.first_us, replay.last_us = int(history.ts[0]), int(history.ts[-1])
    grid_us = replay.spec.grid * SECOND_US
    replay.run(-(-replay.last_us // grid_us) * grid_us, tell)
    whole_us = max(replay.last_us - replay.first_us, SECOND_US)
    firing = {each.verdict.trigger for each in replay.transitions if each.after is SeriesState.FIRING}
    found = {}
    for trigger in spec.triggers:
        if trigger.enabled:
            opened = [each for each in replay.incidents if each.trigger == trigger.name]
            groups = replay.groups(trigger)
            open_us = sum((each.closed_us or replay.last_us) - each.opened_us for each in opened)
            share = open_us / whole_us / max(groups, 1)
            fires = trigger.name in firing
            found[trigger.name] = Fired(incidents=len(opened), share=share, groups=groups, fires=fires)
    return found


def allowed(now: Fired, history: History) -> int:
    """How many incidents are once a week an agent."""
    return max(round(now.groups * history.span_us / (7 * DAY_US)), 1)


def too_often(now: Fired, history: History) -> bool:
    """Whether it opens more than once a week an agent, or is open all the time."""
    return now.incidents > allowed(now, history) or now.share > ALL_THE_TIME


# -- what cannot fire


def why_silent(
    spec: Spec, observed: Mapping[str, Observed], now: Mapping[str, Fired], history: History
) -> dict[str, tuple[str, str]]:
    """Why enabled triggers cannot fire on the history, and what to do, by trigger; of those that can nothing."""
    enabled = [trigger for trigger in spec.triggers if trigger.enabled and not now[trigger.name].fires]
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
        held = f"no window of {span(trigger.window)} ever held {_samples(observed.needed)}"
        return f"{held}; the most were {observed.most}", "lengthen its window, or lower min_samples"
    if isinstance(condition, Baseline) and observed.most_before < condition.min_samples:
        says = f"no baseline ever held {_samples(condition.min_samples)}; the most were {observed.most_before}"
        return says, "let more history come in, lengthen `over`, or lower condition.min_samples"
    if isinstance(condition, RateOfChange) and observed.most_before < trigger.min_samples:
        says = f"no window of {span(trigger.window)} before another ever held {_samples(trigger.min_samples)}"
        return f"{says}; the most were {observed.most_before}", "lengthen its window, or lower min_samples"
    return None


def _samples(count: int) -> str:
    return f"{count} sample{'' if count == 1 else 's'}"


def _unmeasured(trigger: TriggerSpec, history: History) -> tuple[str, str]:
    for column, value in trigger.where.items():
        seen = _values(column, history)
        if value not in seen:
            some = f"; seen were {', '.join(sorted(seen)[:5])}" if seen else ""
            near = suggestion(value, seen)
            return f"no event has {column} = {shown(value)}{some};{near}".removesuffix(";"), "correct `where`"
    for column in trigger.group_by:
        if not _values(column, history):
            return f"no event names its {column}, by which it groups", f"send {column}, or group by another column"
    signal = signal_of(trigger.signal)
    kind = "no event" if signal is None or signal.kind is None else f"no event of type {signal.kind.name.lower()}"
    if isinstance(trigger.condition, Absence):
        return f"{kind} came of any group that it watches, and whoever never spoke cannot fall silent", SWITCH_OFF
    return f"{kind} has brought a sample of {trigger.signal}", SWITCH_OFF


SWITCH_OFF: Final = "send it, or switch the trigger off"


def _values(column: str, history: History) -> set[str]:
    """The values of a column, or of an attribute, in the history."""
    return {value for value in map(getter(column), history.events) if value is not None}


# -- a better threshold


def propose(
    spec: Spec, observed: Mapping[str, Observed], now: Mapping[str, Fired], history: History, tell: Tell
) -> list[Proposal]:
    """Other thresholds for the triggers that would fire too often, each tried in a backtest."""
    if history.span_us < LEAST_SPAN_US:
        return []
    often = [name for name, each in now.items() if name in observed and too_often(each, history)]
    tried = {name: limit for name in often if (limit := _limit(observed[name], QUIET_DAYS)) is not None}
    then = _tried(spec, tried, history, lambda share: tell("trying thresholds", share / 2))
    again = {name: limit for name in tried if too_often(then[name], history) and (limit := _limit(observed[name], 1.0))}
    then |= _tried(spec, again, history, lambda share: tell("trying thresholds", 0.5 + share / 2))
    return [
        Proposal(
            trigger=name,
            condition=_condition(_with(spec.trigger(name), limit)),
            incidents_now=now[name].incidents,
            incidents_then=then[name].incidents,
            allowed=allowed(now[name], history),
        )
        for name, limit in (tried | again).items()
    ]


def _condition(trigger: TriggerSpec) -> dict[str, Any]:
    return trigger.condition.model_dump(mode="json", by_alias=True, exclude_none=True)


def _tried(spec: Spec, limits: Mapping[str, float], history: History, tell: Told) -> dict[str, Fired]:
    if not limits:
        return {}
    changed = tuple(_with(spec.trigger(name), limit) for name, limit in limits.items())
    # Made anew: a mere copy would bring along what the spec worked out from its triggers.
    apart = Spec(
        triggers=changed,
        actions=spec.actions,
        grid=spec.grid,
        max_groups=spec.max_groups,
        maintenance=spec.maintenance,
    )
    return fired(apart, history, tell)


def _limit(observed: Observed, quiet: float) -> float | None:
    """The round number beyond the value that the part `quiet` of agents' days does not exceed; None without one."""
    peaks: Floats = observed.peaks()
    if not len(peaks):
        return None
    rising = observed.trigger.rising
    worst = float(np.quantile(peaks, quiet if rising else 1 - quiet, method="higher" if rising else "lower"))
    limit = beyond(worst, rising=rising)
    signal = signal_of(observed.trigger.signal)
    share = signal is not None and signal.ratio and isinstance(observed.trigger.condition, Threshold)
    return None if share and not 0 <= limit <= 1 else limit


def beyond(value: float, *, rising: bool) -> float:
    """The next number of two digits above `value`, or below it when less is worse."""
    digits = 1 - math.floor(math.log10(abs(value))) if value else 2
    scaled = value * 10.0**digits
    # What is a round number itself, but for how it is stored, is not to be stepped from twice, or not at all.
    whole = round(scaled) if abs(scaled - round(scaled)) < 1e-6 else math.floor(scaled) if rising else math.ceil(scaled)
    limit = (whole + (1 if rising else -1)) / 10.0**digits
    return round(limit, max(digits, 0))


def _with(trigger: TriggerSpec, limit: float) -> TriggerSpec:
    """`trigger` with another limit in its condition."""
    match trigger.condition:
        case Baseline() as condition:
            key = next(name for name in ("ratio", "percent", "absolute") if getattr(condition, name) is not None)
        case Threshold() | RateOfChange():
            key = "value"
        case condition:
            raise ValueError(f"{condition.kind} has no limit")
    # Validated anew: a mere copy would bring along what the trigger worked out from its old limit.
    changed = {**_condition(trigger), key: limit}
    return TriggerSpec.model_validate(trigger.model_dump(by_alias=True) | {"condition": changed, "inhibited_by": ()})


# -- findings


def fits(
    spec: Spec,
    observed: Mapping[str, Observed],
    now: Mapping[str, Fired],
    proposals: Iterable[Proposal],
    history: History,
) -> Iterator[Finding]:
    """How each enabled trigger fits the history."""
    proposed = {each.trigger: each for each in proposals}
    cannot = why_silent(spec, observed, now, history)
    for trigger in spec.triggers:
        if trigger.enabled and trigger.name in now:
            silent = cannot.get(trigger.name)
            check = f"trigger {trigger.name}"
            if silent is not None:
                yield warn(check, f"cannot fire: {silent[0]}", silent[1])
            else:
                yield _frequency(check, now[trigger.name], proposed.get(trigger.name), history)


def _frequency(check: str, now: Fired, proposal: Proposal | None, history: History) -> Finding:
    days = history.span_us / DAY_US
    opened = f"{now.incidents} {'incident' if now.incidents == 1 else 'incidents'}"
    says = f"{opened} in {days:.1f} days of {now.groups} {'group' if now.groups == 1 else 'groups'}"
    if not too_often(now, history):
        return ok(check, says)
    if now.share > ALL_THE_TIME:
        says = f"fires all the time: {now.share:.0%} of it; {says}"
    else:
        says = f"fires too often: {says}; once a week each is {allowed(now, history)}"
    if proposal is not None:
        then = proposal.incidents_then
        return warn(check, says, f"see its fleet, or take the threshold proposed below: {then} then")
    if history.span_us < LEAST_SPAN_US:
        return warn(check, says, "see its fleet; with a day of history a threshold is proposed")
    return warn(check, says, "see its fleet: no threshold would make it quiet")


def as_toml(proposal: Proposal) -> str:
    """The table with which a person takes a proposal."""
    inside = ", ".join(f"{key} = {_toml(value)}" for key, value in proposal.condition.items())
    return f'[[trigger]]\nname = "{proposal.trigger}"\ncondition = {{ {inside} }}\n'


def _toml(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)
