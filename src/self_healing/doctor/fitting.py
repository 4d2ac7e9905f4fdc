"""Fitting: how often each trigger would have fired on the stored history, and a better threshold for what is too often.

A threshold is proposed so that a trigger would have fired about once a week an agent at most. Once a week is one day
in seven: so of the worst value of each agent and day, the one that six in seven do not exceed, and the next round
number beyond it. A backtest with it says how often it would have fired; where that is still too often, because an agent
crosses it several times a day, the next round number beyond the worst of all takes its place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from self_healing.backtest import Replay, nobody
from self_healing.backtest import Tell as Told
from self_healing.clock import DAY_US, SECOND_US
from self_healing.doctor.findings import Finding, Proposal, Tell, ok, warn
from self_healing.doctor.history import History
from self_healing.doctor.observing import Observed, beyond
from self_healing.doctor.silent import doubts, idle, why_silent
from self_healing.measures import Floats
from self_healing.model import SeriesState
from self_healing.spec import Baseline, RateOfChange, Spec, Threshold, TriggerSpec
from self_healing.telemetry.assembly import traced
from self_healing.telemetry.signals import signal_of
from self_healing.wording import counted, span

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
    cannot = why_silent(spec, observed, {name for name, each in now.items() if each.fires}, history)
    for trigger in spec.triggers:
        if trigger.enabled and trigger.name in now:
            silent = cannot.get(trigger.name)
            check = f"trigger {trigger.name}"
            doubt = doubts(trigger, observed.get(trigger.name), history) if silent is None else None
            if silent is not None:
                yield warn(check, f"cannot fire: {silent[0]}", silent[1])
            elif doubt is not None:
                yield warn(check, *doubt)
            else:
                yield _frequency(check, now[trigger.name], proposed.get(trigger.name), history)


def windows(spec: Spec, history: History) -> Iterator[Finding]:
    """Whether each maintenance window is for somebody in the history."""
    for window in spec.maintenance:
        idles = idle(window, history)
        check = f"maintenance {window.name}"
        yield ok(check, "it is for groups that there are") if idles is None else warn(check, *idles)


def _frequency(check: str, now: Fired, proposal: Proposal | None, history: History) -> Finding:
    says = f"{counted(now.incidents, 'incident')} in {_seen(history)} of {counted(now.groups, 'group')}"
    if not too_often(now, history):
        return ok(check, says)
    if now.share > ALL_THE_TIME:
        says = f"fires all the time: {now.share:.0%} of it; {says}"
    else:
        says = f"fires too often: {says}; one a week for each group would be {allowed(now, history)}"
    look = "look at what it fires for: self-healing explain says what it saw"
    if proposal is not None:
        then = counted(proposal.incidents_then, "incident")
        return warn(check, says, f"{look}; or take the threshold proposed below, with which that is {then}")
    if history.span_us < LEAST_SPAN_US:
        return warn(check, says, f"{look}; once there is a day of history a threshold is proposed")
    return warn(check, says, f"{look}; no threshold would make it quiet")


def _seen(history: History) -> str:
    """How long the history is."""
    days = history.span_us / DAY_US
    return f"{days:.1f} days" if days > 0.9 else span(history.span_us // SECOND_US)


def in_words(proposal: Proposal, spec: Spec, history: History) -> str:
    """What a proposal changes, and what a backtest says of it."""
    before, after = _condition(spec.trigger(proposal.trigger)), proposal.condition
    [key] = [key for key, value in after.items() if before.get(key) != value]
    changed = f"{key} = {_toml(after[key])} in place of {_toml(before[key])}"
    opens = f"{counted(proposal.incidents_then, 'incident')} in place of {proposal.incidents_now}"
    usual = f"one a week for each group would be {proposal.allowed}"
    return f"{changed}: on the stored history ({_seen(history)}) it opens {opens}; {usual}"


def as_toml(proposal: Proposal) -> str:
    """The table with which a person takes a proposal."""
    inside = ", ".join(f"{key} = {_toml(value)}" for key, value in proposal.condition.items())
    return f'[[trigger]]\nname = "{proposal.trigger}"\ncondition = {{ {inside} }}\n'


def _toml(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)
