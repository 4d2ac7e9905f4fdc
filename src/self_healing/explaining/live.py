"""Now: what the engine that owns the state, or the state as it was committed, says at the last evaluated instant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from self_healing.clock import from_us
from self_healing.explaining.telling import (
    Json,
    about,
    beyond,
    declared,
    fits,
    in_order,
    nearest,
    off,
    refuse_foreign_keys,
    series,
    uninhibited,
)
from self_healing.loop.owner import Owner
from self_healing.model import Verdict
from self_healing.spec import TriggerSpec


def live(owner: Owner, name: str, keys: Mapping[str, str]) -> Json:
    """What a trigger says of its series at the last evaluated instant.

    Args:
        owner: of the state.
        name: of the trigger.
        keys: what the groups have among their own, such as ``{"agent": "Coder"}``; all series when empty.

    Raises:
        NotFound: there is no such trigger.
        SelfHealingError: it does not group by one of the keys.
    """
    trigger = declared(owner.spec, name)
    refuse_foreign_keys(trigger, keys)
    at_us = owner.evaluated_us
    if not at_us or trigger not in owner.spec.triggers:
        why_none = None if trigger.enabled else off(trigger)
        return about(owner.spec, trigger, from_us(at_us) if at_us else None, "live", []) | {"why_none": why_none}
    verdicts = in_order(each for each in owner.framework.verdicts_of(name, at_us) if fits(each.group, keys))
    told = [_series(owner, trigger, verdict) for verdict in verdicts]
    answer = about(owner.spec, trigger, from_us(at_us), "live", told)
    answer["warnings"] = list(uninhibited(owner.framework, verdicts))
    if owner.telemetry.overflows(name):
        if keys and not told:
            answer["why_none"] = beyond(trigger)
        else:
            answer["warnings"].append(beyond(trigger))
    return answer


def last(owner: Owner, trigger: TriggerSpec, verdicts: Sequence[Verdict]) -> Json | None:
    """What a trigger last said of the one series that a person should look at first; None without series.

    Args:
        owner: of the state.
        trigger: whose verdicts they are.
        verdicts: the last of each of its series.
    """
    if not verdicts:
        return None
    verdict = min(verdicts, key=lambda each: nearest(trigger, each))
    return _series(owner, trigger, verdict)


def _series(owner: Owner, trigger: TriggerSpec, verdict: Verdict) -> Json:
    stands_on = owner.framework.grounds(trigger.name, verdict.group, owner.evaluated_us)
    return series(trigger, verdict, stands_on, owner.register.of(trigger.name, verdict.group))
