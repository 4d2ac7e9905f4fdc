"""What an explanation says, as JSON: the same now and in the past."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

import msgspec

from self_healing import views
from self_healing.errors import NotFound, SelfHealingError
from self_healing.model import Group, Incident, Muted, SeriesState, Verdict, group_dict, group_label
from self_healing.problems import suggestion
from self_healing.spec import COUNTING, Absence, Baseline, Composite, RateOfChange, Spec, TriggerSpec
from self_healing.telemetry.signals import unit
from self_healing.triggers.declared import from_pack, in_pack
from self_healing.triggers.explain import Case, to_fire, until, why
from self_healing.triggers.framework import TriggerFramework
from self_healing.triggers.grounds import Behind, Grounds

Json = dict[str, Any]

_ORDER = (SeriesState.FIRING, SeriesState.RECOVERING, SeriesState.PENDING, SeriesState.INACTIVE)


def declared(spec: Spec, name: str) -> TriggerSpec:
    """The trigger of that name, also one of the pack that is no part of the spec yet.

    Raises NotFound, with the name that may have been meant.
    """
    found = next((each for each in spec.triggers if each.name == name), None)
    if found is not None:
        return found
    if name in in_pack():
        return from_pack(name)
    raise NotFound("trigger", name, suggestion(name, [*(each.name for each in spec.triggers), *in_pack()]))


def off(trigger: TriggerSpec) -> str:
    """That a trigger is off, and how to switch it on."""
    return f"{trigger.name} is off: `self-healing triggers enable {trigger.name}` switches it on"


def refuse_foreign_keys(trigger: TriggerSpec, keys: Mapping[str, str]) -> None:
    """Refuse what the trigger does not group by. Raises SelfHealingError."""
    for key in keys:
        if key not in trigger.group_by:
            by = ", ".join(trigger.group_by) or "nothing: it has one series for all"
            raise SelfHealingError(
                f"{trigger.name} does not group by {key!r};{suggestion(key, trigger.group_by)} it groups by {by}"
            )


def beyond(trigger: TriggerSpec) -> str:
    """Why a group has no series where there are more groups than are kept apart."""
    limit = "triggers.max_groups" if trigger.max_series is None else f"max_series = {trigger.max_series}"
    return f"further groups than are kept apart ({limit}) count for the one series overflow"


def uninhibited(framework: TriggerFramework, verdicts: Iterable[Verdict]) -> Iterator[str]:
    """What fires in an overflow and inhibits none of these series, as it may be another group's."""
    for verdict in verdicts:
        for name in framework.overflowing(verdict.trigger, verdict.group):
            yield (
                f"{group_label(verdict.group)} is not inhibited by {name}: what fires there is overflow, the one series"
                " of all groups that have none of their own"
            )


def fits(group: Group, keys: Mapping[str, str]) -> bool:
    """Whether a series is one of those that are asked for."""
    return keys.items() <= dict(group).items()


def in_order(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """Those that fire first, then by group."""
    return sorted(verdicts, key=lambda each: (_ORDER.index(each.state), each.group))


def nearest(trigger: TriggerSpec, verdict: Verdict) -> tuple[int, float, Group]:
    """Sorts those that fire first, and of equal states those whose value is furthest beyond its threshold."""
    beyond = -math.inf
    if verdict.value is not None and verdict.threshold is not None:
        beyond = verdict.value - verdict.threshold if trigger.rising else verdict.threshold - verdict.value
    return _ORDER.index(verdict.state), -beyond, verdict.group


def about(spec: Spec, trigger: TriggerSpec, at: datetime | None, source: str, series: list[Json]) -> Json:
    """The whole answer, with nothing yet of what history alone can say."""
    return {
        "trigger": trigger.name,
        "enabled": trigger.enabled,
        "condition": views.condition(trigger),
        "unit": unit(trigger),
        "rising": trigger.rising,
        "window_s": None if isinstance(trigger.condition, Absence | Composite) else trigger.window,
        "for_s": trigger.for_s,
        "group_by": list(trigger.group_by),
        "at": msgspec.to_builtins(at),
        "source": source,
        "spec_version": spec.version,
        "series": series,
        "why_none": None,
        "history": None,
        "warnings": [],
    }


def series(
    trigger: TriggerSpec,
    verdict: Verdict,
    stands_on: Grounds,
    incident: Incident | None,
) -> Json:
    """One series: what was seen of it, and in words why it is as it is and what would make it fire."""
    case = Case(trigger=trigger, unit=unit(trigger), verdict=verdict, grounds=stands_on)
    ends = until(case)
    return {
        "group": group_dict(verdict.group),
        "state": verdict.state.name.lower(),
        "since": msgspec.to_builtins(verdict.since),
        "until": msgspec.to_builtins(ends),
        "left_s": None if ends is None else max((ends - verdict.at).total_seconds(), 0.0),
        "reason": verdict.reason.value,
        "why": why(case),
        "to_fire": to_fire(case),
        "value": verdict.value,
        "threshold": verdict.threshold,
        "clear": trigger.clear,
        "samples": verdict.samples,
        "samples_needed": 0 if trigger.aggregate in COUNTING else trigger.min_samples,
        "baseline": _baseline(trigger, verdict, stands_on.behind),
        "muted_by": None if verdict.muted is None else _muted(verdict.muted),
        "flapping": verdict.flapping,
        "incident": None if incident is None else _incident(incident),
        "recorded": None,
    }


def _baseline(trigger: TriggerSpec, verdict: Verdict, behind: Behind | None) -> Json | None:
    match trigger.condition:
        case Baseline(min_samples=needed):
            pass
        case RateOfChange():
            needed = trigger.min_samples
        case _:
            return None
    return {
        "value": verdict.baseline,
        "samples": 0 if behind is None else behind.samples,
        "samples_needed": needed,
        "frozen": behind is not None and behind.frozen,
    }


def _muted(muted: Muted) -> Json:
    return {
        "kind": muted.why.value,
        "what": muted.what,
        "by": muted.by,
        "text": muted.text,
        "until": msgspec.to_builtins(muted.until),
    }


def _incident(incident: Incident) -> Json:
    return {
        "id": incident.id,
        "state": incident.state.value,
        "opened_at": msgspec.to_builtins(incident.opened_at),
        "parent": incident.parent,
    }
