"""Records as JSON shows them: times in ISO 8601 in UTC, groups as objects, states and reasons in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from statistics import median
from typing import Any

import msgspec
from pydantic import BeforeValidator

from self_healing.model import (
    Decision,
    Execution,
    Group,
    Handoff,
    HandoffStatus,
    Incident,
    Lesson,
    Note,
    Record,
    SeriesState,
    Silence,
    Transition,
    Verdict,
    Verification,
    group_dict,
)
from self_healing.spec import (
    UNASKED,
    Absence,
    ActionSpec,
    Baseline,
    Composite,
    Limits,
    RateOfChange,
    Threshold,
    TriggerSpec,
    parse_duration,
)
from self_healing.telemetry.signals import unit
from self_healing.wording import amount, span

Json = dict[str, Any]


def plain(record: Record) -> Json:
    """`record` field by field; a group as the object that people know."""
    told: Json = msgspec.to_builtins(record)
    if "group" in told:
        told["group"] = dict(told["group"])
    return told


def verdict(verdict: Verdict) -> Json:
    """One series, with the reason why it is as it is."""
    return {**plain(verdict), "state": verdict.state.name.lower()}


def trigger(spec: TriggerSpec, verdicts: Iterable[Verdict]) -> Json:
    """One trigger in a line, with how many of its series fire."""
    states = [verdict.state for verdict in verdicts]
    return {
        "name": spec.name,
        "type": spec.type.value,
        "condition": condition(spec),
        "unit": unit(spec),
        "window_s": None if spec.condition.kind in UNASKED else spec.window,
        "severity": spec.severity.value,
        "target_agent": spec.target_agent,
        "actions": list(spec.actions),
        "enabled": spec.enabled,
        "series": len(states),
        "firing": states.count(SeriesState.FIRING),
    }


def condition(spec: TriggerSpec) -> str:
    """What must be so for the trigger to fire, such as ``max task.duration_s >= 1m``."""
    what = f"{spec.aggregate.value} {spec.signal}"
    match spec.condition:
        case Threshold(op=op, value=value):
            return f"{what} {op.value} {amount(value, unit(spec))}"
        case RateOfChange(op=op, value=value, per=per):
            return f"{what} changes {op.value} {amount(value, unit(spec))} per {span(per)}"
        case Baseline(ratio=float(ratio)):
            return f"{what} >= {ratio:g}x baseline"
        case Baseline(percent=float(percent)):
            return f"{what} >= baseline + {percent:g} %"
        case Baseline(plus=plus):
            return f"{what} >= baseline + {amount(plus, unit(spec))}"
        case Absence(silent_for=silent_for):
            return f"no {spec.signal} for {span(silent_for)}"
        case Composite(all_of=tuple(names)):
            return f"all of {', '.join(names)}"
        case Composite(members=names):
            return f"any of {', '.join(names)}"


def action(spec: ActionSpec, answers: Sequence[str], lessons: Sequence[Lesson]) -> Json:
    """One action, the triggers that it answers, and what is known of how well it works."""
    return {
        "name": spec.name,
        "type": spec.type.value,
        "priority": spec.priority.value,
        "target_agent": spec.target_agent,
        "description": spec.description,
        "directives": spec.model_dump(mode="json")["directives"],
        "answers": list(answers),
        **_worked(lessons),
        "lessons": [{**_lesson(lesson), **_worked([lesson])} for lesson in lessons],
    }


def _lesson(lesson: Lesson) -> Json:
    return {
        "trigger": lesson.trigger,
        "agent": lesson.agent,
        "recent": [judged.result.value for judged in lesson.recent],
        "last_at": msgspec.to_builtins(lesson.last_at),
    }


def _worked(lessons: Sequence[Lesson]) -> Json:
    times = [seconds for lesson in lessons for seconds in lesson.heal_s]
    tries = sum(lesson.tries for lesson in lessons)
    counted = ("healed", "not_healed", "worse", "inconclusive")
    judged = {name: sum(getattr(lesson, name) for lesson in lessons) for name in counted}
    return {
        "tries": tries,
        **judged,
        "not_judged": max(tries - sum(judged.values()), 0),
        "credit": sum(lesson.credit for lesson in lessons),
        "median_heal_s": median(times) if times else None,
    }


def incident(incident: Incident, triggers: Iterable[TriggerSpec]) -> Json:
    """One incident without its timeline, with the unit of its values; None when its trigger is declared no more."""
    told = plain(incident)
    del told["notes"]
    return told | {"unit": next((unit(spec) for spec in triggers if spec.name == incident.trigger), None)}


def timeline(incident: Incident, handoffs: Iterable[Handoff]) -> list[Json]:
    """What happened to an incident and to what was handed over for it, in the order of time.

    Of one instant that which ended comes first, since what the incident came to follows from it, and what began last.
    """
    ended: list[Note] = []
    begun: list[Note] = []
    for handoff in handoffs:
        for note in _life(handoff):
            (ended if note.what in _ENDS and note.at > handoff.created_at else begun).append(note)
    return [plain(note) for note in sorted([*ended, *incident.notes, *begun], key=lambda note: note.at)]


_ENDS = frozenset((HandoffStatus.COMPLETED, HandoffStatus.FAILED, HandoffStatus.EXPIRED))


def _life(handoff: Handoff) -> Iterator[Note]:
    """A line for each thing that became of a handoff, as far as it came."""
    reached = {
        HandoffStatus.CREATED: handoff.created_at,
        HandoffStatus.DELIVERED: handoff.delivered_at,
        HandoffStatus.ACCEPTED: handoff.accepted_at,
    }
    if handoff.status in _ENDS:
        reached[handoff.status] = handoff.ended_at
    by = {note.what: f" {note.text}" for note in handoff.notes}
    for status, at in reached.items():
        if at is not None:
            said = f": {handoff.result}" if status in _ENDS and handoff.result else ""
            text = f"handoff {handoff.id} to {handoff.target_agent}{by.get(status.value, '')}{said}"
            yield Note(at=at, what=status.value, text=text)


def evidence(groups: Iterable[Group], since: datetime, until: datetime | None) -> Json:
    """Which stored events an incident rests on, in the words of the filters of `events`.

    Args:
        groups: the series that it is about.
        since, until: from when to when; None while it is open.
    """
    told = [dict(group) for group in groups]
    return {
        **{name: sorted({group[name] for group in told if group.get(name)}) for name in ("agent", "model")},
        "since": msgspec.to_builtins(since),
        "until": None if until is None else msgspec.to_builtins(until),
    }


def limits(limits: Limits, used: Mapping[str, int]) -> list[Json]:
    """Each limit with its unit (``s``, ``%`` or none), and how much of it is used where that is one number."""
    told = []
    for name, limit in limits.model_dump(mode="json").items():
        metadata = Limits.model_fields[name].metadata
        lasts = any(isinstance(each, BeforeValidator) and each.func is parse_duration for each in metadata)
        measured_in = "s" if lasts else "%" if name.endswith("_percent") else ""
        told.append({"name": name, "limit": limit, "unit": measured_in, "used": used.get(name)})
    return told


def silence(silence: Silence, at: datetime) -> Json:
    """One silence, and whether it is still to come, mutes, or is over at that instant."""
    stands = "over" if silence.over_at <= at else "mutes" if silence.starts_at <= at else "to come"
    return {**plain(silence), "state": stands}


def transition(transition: Transition) -> Json:
    """One change of a series' state, with the verdict that made it."""
    return {
        "before": transition.before.name.lower(),
        "after": transition.after.name.lower(),
        "verdict": verdict(transition.verdict),
    }


def execution(execution: Execution, handoff: Handoff | None) -> Json:
    """One execution; why it is as it is where there is a reason or an error, and how its handoff stands."""
    stands = None if handoff is None else handoff.status.value
    return {**plain(execution), "reason": execution.reason or execution.error, "handoff_status": stands}


def decision(decision: Decision) -> Json:
    """One decision, article by article."""
    return {
        "id": decision.id,
        "at": msgspec.to_builtins(decision.at),
        "incident": decision.proposal.incident,
        "action": decision.proposal.action,
        "step": decision.proposal.step,
        "attempt": decision.proposal.attempt,
        "target": decision.proposal.target,
        "outcome": decision.outcome.value,
        "articles": _articles(decision),
    }


def _articles(decision: Decision) -> Json:
    """Each of the five articles with what it held against the proposal; nothing where it holds nothing.

    Own ones are there when they held something.
    """
    held: dict[str, list[Json]] = {number: [] for number in ("I", "II", "III", "IV", "V")}
    for finding in decision.findings:
        held.setdefault(finding.article, []).append({"policy": finding.policy, "outcome": finding.outcome.value})
    return held


def handoff(handoff: Handoff) -> Json:
    """One handoff in a line, without its message."""
    told = plain(handoff)
    del told["message"], told["notes"]
    return told


def past(incident: Incident, executions: Sequence[Json], verifications: Sequence[Verification]) -> Json:
    """What was done about one incident, and what came of it.

    Args:
        executions: as :func:`execution` tells them.
    """
    results = {each.execution: each.result for each in verifications if each.result is not None}  # the newest of each
    return {
        "incident": incident.id,
        "trigger": incident.trigger,
        "group": group_dict(incident.group),
        "severity": incident.severity.value,
        "opened_at": msgspec.to_builtins(incident.opened_at),
        "closed_at": msgspec.to_builtins(incident.closed_at),
        "outcome": incident.close_reason.value if incident.close_reason is not None else incident.state.value,
        "closed_by": incident.closed_by,
        "actions": [
            {**each, "result": results[each["id"]].value if each["id"] in results else None} for each in executions
        ],
    }
