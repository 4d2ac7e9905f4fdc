"""Explaining: one answer out of the live engine and the stored history, for the command line and for any API.

The engine is only asked for what it knows at once. Whatever needs history is worked out by whoever asks, without a lock
on anything, so that no question makes the loop wait.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from self_healing.config import Settings
from self_healing.errors import SelfHealingError, TelemetryError
from self_healing.explaining.past import look_back
from self_healing.explaining.telling import Json
from self_healing.status import evaluated_at, loaded_spec

Ask = Callable[[str, Json], Json]
"""Answers a command of :data:`self_healing.surface.COMMANDS` with its arguments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What somebody wants explained.

    Args:
        trigger: its name.
        keys: what the groups have among their own, such as ``{"agent": "Coder"}``; all series when empty.
        at: the instant, aware; the last that was evaluated when None.
        span: how long before it the stretch begins that is shown of a single series.
        drawn: whether only the values of the stretch matter, as for a chart. Then nothing between them is looked at but
            what is on record, which takes a fraction of the time, and `recomputed` may tell of a change too late.
    """

    trigger: str
    keys: Mapping[str, str] = field(default_factory=dict)
    at: datetime | None = None
    span: timedelta = timedelta(hours=1)
    drawn: bool = False


def explain(settings: Settings, question: Question, *, now: datetime, ask: Ask) -> Json:
    """The answer, as JSON; its keys are in the reference.

    Args:
        settings: where telemetry and state are.
        now: the present, aware.
        ask: how the engine that owns the state is asked.

    Raises:
        NotFound: there is no such trigger, and never was such a group.
        SelfHealingError: the instant lies in the future, the trigger does not group so, or what is stored cannot be
            read.
    """
    if question.at is None:
        return _now(settings, question, now, ask)
    # A state may be ahead of the clock: what it has seen is no future.
    if question.at > max(now, evaluated_at(settings) or now):
        raise SelfHealingError(
            f"{question.at.isoformat()} lies in the future; now it is {now.isoformat(timespec='seconds')}"
        )
    return _look_back(settings, question, question.keys, question.at)


def _look_back(settings: Settings, question: Question, keys: Mapping[str, str], at: datetime) -> Json:
    spec = loaded_spec(settings, looking=True)
    return look_back(settings, spec, question.trigger, keys, at, question.span, drawn=question.drawn)


def _now(settings: Settings, question: Question, now: datetime, ask: Ask) -> Json:
    told = ask("explain", {"name": question.trigger, "keys": dict(question.keys)})
    series, nothing_yet = told["series"], told["at"] is None
    if len(series) > 1:
        return told
    at = now if nothing_yet else datetime.fromisoformat(told["at"])
    keys = series[0]["group"] if series else question.keys
    try:
        back = _look_back(settings, question, keys, at)
    except TelemetryError as error:
        if series:
            return told | {"warnings": [*told["warnings"], str(error)]}
        raise
    if nothing_yet:
        back["warnings"].insert(0, "nothing has been evaluated yet (`self-healing run` or `check` does); it would say:")
        return back
    why_none = None if series else told["why_none"] or back["why_none"] or _BEFORE
    return told | {"why_none": why_none, **_history_of(told, back)}


_BEFORE = (
    "the engine has no sample of it: what stored history has came before this state began, or more than a day ago;"
    " with `--at` it is told of then"
)


def _history_of(told: Json, back: Json) -> Json:
    """The stretch before now, with what is in doubt about it; of the series itself the engine has the last word."""
    warnings = [*back["warnings"]]
    live, stored = (each["series"][0] if each["series"] else None for each in (told, back))
    if live is not None and stored is not None and live["state"] != stored["state"]:
        warnings.append(f"of stored history alone it would be {stored['state']}: events came late, or the spec changed")
    return {"history": back["history"], "warnings": warnings}
