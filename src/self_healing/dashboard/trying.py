"""Trying: what a trigger with another threshold would have opened, on the newest stored history, and what to commit."""

from __future__ import annotations

import json
import time
from datetime import datetime, timedelta
from typing import Any, Final

from pydantic import ValidationError

from self_healing.backtest_report import compare_stored
from self_healing.clock import to_us
from self_healing.errors import SelfHealingError, TelemetryError
from self_healing.problems import problems_of
from self_healing.spec import Spec, TriggerSpec
from self_healing.telemetry.columns import asked_attributes
from self_healing.telemetry.query.files import Places
from self_healing.telemetry.query.past import Past, past

Json = dict[str, Any]

MOST_EVENTS: Final = 100_000
"""So many of the newest stored events are replayed."""

LONGEST_S: Final = 15.0
"""So long they are replayed; what was not looked at by then is not looked at, and said."""

FIRST: Final = timedelta(hours=6)
LAST: Final = timedelta(days=32)
"""How far back stored events are read: four times as far each time, until there are so many, or no older ones."""

VALUES: Final = {"threshold": ("value",), "rate_of_change": ("value",), "baseline": ("ratio", "percent", "plus")}
"""Of each kind of condition the keys of which one is its threshold; the other kinds have none."""


def threshold_of(trigger: Json) -> tuple[str, float] | None:
    """The key and the value of what a trigger is held against; None where that is no number of its own.

    Args:
        trigger: as it is declared.
    """
    condition = trigger["condition"]
    for key in VALUES.get(condition["kind"], ()):
        if condition.get(key) is not None:
            return key, condition[key]
    return None


def try_threshold(places: Places, trigger: Json, text: str, now: datetime) -> Json:
    """Both thresholds on the same history, side by side, and the difference of the spec; it may take some seconds.

    The trigger is tried alone: no silence, maintenance window or other trigger mutes it, and nothing is healed.

    Args:
        places: where history is.
        trigger: as it is declared.
        text: the other threshold, in the unit of the spec.
        now: up to when.

    Raises:
        SelfHealingError: that is none that the trigger could have.
        TelemetryError: there is no history.
    """
    alone = {**trigger, "enabled": True, "inhibited_by": []}
    mine, other = TriggerSpec.model_validate(alone), _changed(alone, text)
    history, whole = _newest(places, asked_attributes([mine, other]), now)
    if not history.events:
        raise TelemetryError("no history is stored yet that could be replayed")
    began = time.monotonic()
    told = compare_stored(
        Spec(triggers=(mine,), actions=()),
        Spec(triggers=(other,), actions=()),
        history,
        lambda: time.monotonic() - began > LONGEST_S,
    )
    [compared] = told["compared"]
    return {
        **compared,
        "events": told["events"],
        "span_s": told["span_s"],
        "whole": whole,
        "stopped": not told["whole"],
        "warnings": history.warnings,
        "diff": _diff(trigger, other.model_dump(mode="json", by_alias=True)),
    }


def _changed(trigger: Json, text: str) -> TriggerSpec:
    found = threshold_of(trigger)
    if found is None:
        raise SelfHealingError(
            f"{trigger['name']} has no threshold to change; `triggers backtest --against` tries any spec"
        )
    try:
        value = float(text)
    except ValueError as error:
        raise SelfHealingError(f"threshold {text!r}: allowed is a number") from error
    try:
        condition = {**trigger["condition"], found[0]: value}
        return TriggerSpec.model_validate({**trigger, "condition": condition})
    except ValidationError as error:
        problems = problems_of(error, lambda _key: f"trigger {trigger['name']}", TriggerSpec)
        raise SelfHealingError("; ".join(problems)) from error


def _newest(places: Places, attributes: tuple[str, ...], now: datetime) -> tuple[Past, bool]:
    """The newest of what is stored, whatever kind of file it is in; and whether that is all."""
    back = FIRST
    while True:
        since_us = to_us(now - back)
        found = past(places, since_us, to_us(now), attributes=attributes, most=MOST_EVENTS)
        cut = len(found.events) == MOST_EVENTS
        whole = not cut and (found.reaches_us is None or found.reaches_us > since_us)
        if cut or whole or back >= LAST:
            return found, whole
        back *= 4


def _diff(before: Json, after: Json) -> list[str]:
    """The lines of a file of triggers that differ, as a diff has them."""
    return [
        " [[trigger]]",
        f" name = {json.dumps(before['name'])}",
        f"-condition = {_toml(before['condition'])}",
        f"+condition = {_toml(after['condition'])}",
    ]


def _toml(condition: Json) -> str:
    told = (f"{key} = {json.dumps(value)}" for key, value in condition.items() if value is not None)
    return f"{{ {', '.join(told)} }}"
