"""The life of an incident, as pure functions: each takes a record and gives the next one.

::

    open -> acting -> verifying -> mitigated -> closed
      \\________\\__________\\___________\\-> escalated -> closed
    closed -> open (firing again within an hour)
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from functools import lru_cache

import msgspec

from self_healing.errors import LifecycleError
from self_healing.model import CloseReason, Incident, IncidentState, Note, Verdict, new_id
from self_healing.spec import TriggerSpec
from self_healing.telemetry.signals import unit
from self_healing.wording import amount

REOPEN_WITHIN = timedelta(hours=1)
NO_DATA_AFTER = timedelta(hours=24)
MOST_NOTES = 200

_OUT = {IncidentState.ESCALATED, IncidentState.CLOSED}

NEXT: dict[IncidentState, frozenset[IncidentState]] = {
    IncidentState.OPEN: frozenset({IncidentState.ACTING, *_OUT}),
    IncidentState.ACTING: frozenset({IncidentState.OPEN, IncidentState.VERIFYING, *_OUT}),
    IncidentState.VERIFYING: frozenset(
        {IncidentState.OPEN, IncidentState.ACTING, IncidentState.MITIGATED, *_OUT},
    ),
    IncidentState.MITIGATED: frozenset({IncidentState.OPEN, IncidentState.VERIFYING, *_OUT}),
    IncidentState.ESCALATED: frozenset({IncidentState.CLOSED}),
    IncidentState.CLOSED: frozenset({IncidentState.OPEN}),
}
"""Which state may follow which; no state is without an exit."""


@lru_cache(maxsize=1024)
def plan_version(spec_version: str, plan: tuple[str, ...]) -> str:
    """The version of a plan: 16 hex digits of the sha256 over the spec version and its actions."""
    text = msgspec.json.encode([spec_version, plan])
    return hashlib.sha256(text).hexdigest()[:16]


def opened(trigger: TriggerSpec, verdict: Verdict) -> Incident:
    """A new incident for the series that `verdict` says fires."""
    at = verdict.at
    incident = Incident(
        id=new_id("inc"),
        trigger=trigger.name,
        group=verdict.group,
        severity=trigger.severity,
        state=IncidentState.OPEN,
        opened_at=at,
        first_opened_at=at,
        value=verdict.value,
        threshold=verdict.threshold,
        baseline=verdict.baseline,
        peak=verdict.value,
        spec_version=verdict.spec_version,
        plan=trigger.actions,
        plan_version=plan_version(verdict.spec_version, trigger.actions),
        updated_at=at,
    )
    return noted(incident, at, "detected", _symptom(trigger, verdict))


def _symptom(trigger: TriggerSpec, verdict: Verdict) -> str:
    value = "no data" if verdict.value is None else amount(verdict.value, unit(trigger))
    limit = "" if verdict.threshold is None else f", threshold {amount(verdict.threshold, unit(trigger))},"
    return f"{value}{limit} on {verdict.samples} sample{'' if verdict.samples == 1 else 's'}"


def over_at(incident: Incident) -> datetime:
    """Since when a closed incident is over."""
    return incident.closed_at or incident.opened_at


def reopenable(incident: Incident, at: datetime) -> bool:
    """Whether a series that fires at `at` reopens this closed incident."""
    return (
        incident.state is IncidentState.CLOSED
        and incident.closed_at is not None
        and at - incident.closed_at <= REOPEN_WITHIN
    )


def reopened(incident: Incident, trigger: TriggerSpec, verdict: Verdict) -> Incident:
    """The same incident again, with the attempts that were made."""
    again = moved(
        incident,
        IncidentState.OPEN,
        verdict.at,
        opened_at=verdict.at,
        value=verdict.value,
        threshold=verdict.threshold,
        baseline=verdict.baseline,
        peak=verdict.value,
        closed_at=None,
        close_reason=None,
        closed_by=None,
        escalated_at=None,
        escalation=None,
        acknowledged_by=None,
        mitigated_at=None,
        execution=None,
        verification=None,
        parent=None,
        worst_ending=None,
        spec_version=verdict.spec_version,
        plan=trigger.actions,
        plan_version=plan_version(verdict.spec_version, trigger.actions),
        step=min(incident.step, max(len(trigger.actions) - 1, 0)),
        reopened=incident.reopened + 1,
    )
    return noted(again, verdict.at, "reopened", _symptom(trigger, verdict))


def moved(incident: Incident, to: IncidentState, at: datetime, **changes: object) -> Incident:
    """The incident in another state. Raises LifecycleError when its state does not allow that."""
    if to not in NEXT[incident.state]:
        raise LifecycleError(incident.id, incident.state, to, NEXT[incident.state])
    return msgspec.structs.replace(incident, state=to, updated_at=at, **changes)


def noted(incident: Incident, at: datetime, what: str, text: str) -> Incident:
    """The incident with one more line in its timeline; the oldest lines of a very long one go."""
    notes = (*incident.notes, Note(at=at, what=what, text=text))
    return msgspec.structs.replace(incident, notes=notes[-MOST_NOTES:], updated_at=at)


def closed(incident: Incident, at: datetime, reason: CloseReason, text: str, by: str | None = None) -> Incident:
    """The incident closed for `reason`. Raises LifecycleError when it is closed already."""
    over = moved(incident, IncidentState.CLOSED, at, closed_at=at, close_reason=reason, closed_by=by)
    return noted(over, at, str(reason), text)


def escalated(incident: Incident, at: datetime, why: str) -> Incident:
    """The incident in a person's hands. Raises LifecycleError when it is escalated or closed already."""
    up = moved(incident, IncidentState.ESCALATED, at, escalated_at=at, escalation=why)
    return noted(up, at, "escalated", why)


def given_back(incident: Incident) -> Incident:
    """The incident whose newest attempt never began: it counts for nothing, and its key is not used again."""
    return msgspec.structs.replace(incident, attempts=incident.attempts - 1, given_back=incident.given_back + 1)


def replanned(incident: Incident, trigger: TriggerSpec, spec_version: str) -> Incident:
    """An incident that waits, with the plan that the loaded spec has for it now; from its first action on."""
    return msgspec.structs.replace(
        incident,
        plan=trigger.actions,
        plan_version=plan_version(spec_version, trigger.actions),
        spec_version=spec_version,
        step=0,
        execution=None,
    )


def fresh_notes(before: tuple[Note, ...], after: tuple[Note, ...]) -> tuple[Note, ...]:
    """The lines of `after` that were added to `before`, whose oldest may have gone meanwhile."""
    if not before:
        return after
    for place in range(len(after) - 1, -1, -1):
        if after[place] == before[-1]:
            return after[place + 1 :]
    return after


def peaked(incident: Incident, value: float | None, *, rising: bool) -> Incident:
    """The incident with its peak moved to `value` if that is worse."""
    if value is None:
        return incident
    if incident.peak is None or (value > incident.peak if rising else value < incident.peak):
        return msgspec.structs.replace(incident, peak=value)
    return incident
