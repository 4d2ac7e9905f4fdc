"""Now: what the engine that owns the state, or the state as it was committed, says at the last evaluated instant."""

from __future__ import annotations

from collections.abc import Mapping

from self_healing.clock import from_us
from self_healing.explaining.telling import (
    Json,
    about,
    beyond,
    declared,
    fits,
    in_order,
    refuse_foreign_keys,
    series,
    uninhibited,
)
from self_healing.loop.owner import Owner


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
    if not at_us:
        return about(owner.spec, trigger, None, "live", [])
    verdicts = in_order(each for each in owner.framework.verdicts_of(name, at_us) if fits(each.group, keys))
    told = [
        series(
            trigger,
            verdict,
            owner.framework.behind(name, verdict.group, at_us),
            owner.register.of(name, verdict.group),
        )
        for verdict in verdicts
    ]
    answer = about(owner.spec, trigger, from_us(at_us), "live", told)
    answer["warnings"] = list(uninhibited(owner.framework, verdicts))
    if keys and not told and owner.telemetry.overflows(name):
        answer["why_none"] = beyond(trigger)
    return answer
