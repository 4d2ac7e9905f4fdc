"""What a handoff's recipient is told: the symptom, what was done and tried, examples, and what was like it before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from self_healing.handoffs.cleaning import MAX_ITEMS, clean
from self_healing.model import Directive, Execution, Handoff, Incident, Verification, group_dict


def evidence(
    incident: Incident,
    *,
    unit: str,
    window: dict[str, Any],
    examples: list[dict[str, Any]],
    differs: Sequence[dict[str, Any]] = (),
    directives: list[Directive],
    tried: list[Execution],
    came_to: Sequence[Verification] = (),
    answers: Sequence[Handoff] = (),
    similar: list[Incident],
    wanted: str,
    done: dict[str, Any],
) -> dict[str, Any]:
    """The ``context`` of a handoff: a JSON object, cleaned (:func:`self_healing.handoffs.cleaning.clean`).

    Args:
        incident: the one that the handoff is for.
        unit: what the values of the trigger are in, such as ``s``; ``%`` for parts of a whole, empty for mere numbers.
        window: what the trigger saw: ``samples``, ``value``, and from when to when.
        examples: tasks that show the symptom, the most telling first.
        differs: what tells the attempts that show it from others.
        directives: what is in force for the affected agent already.
        tried: earlier executions of this incident, oldest first.
        came_to: what was judged of them.
        answers: what the recipients of their handoffs said.
        similar: past incidents of the same trigger, those of the same group first.
        wanted: what is asked of the recipient, in the spec's words.
        done: the settings that this action sets.
    """
    return clean_object(
        {
            "symptom": symptom(incident, unit, window),
            "wanted": wanted,
            "done": {"settings": done},
            "in_force": [_in_force(directive) for directive in directives],
            "tried": [_tried(execution, unit, came_to, answers) for execution in tried[-MAX_ITEMS:]],
            "examples": examples,
            "differs": list(differs),
            "similar": [_similar(past, unit) for past in similar],
            "timeline": [{"at": note.at, "what": note.what, "text": note.text} for note in incident.notes[-MAX_ITEMS:]],
        }
    )


def clean_object(value: dict[str, Any]) -> dict[str, Any]:
    """`value` cleaned, known to be an object still."""
    cleaned: dict[str, Any] = clean(value)
    return cleaned


def symptom(incident: Incident, unit: str, window: dict[str, Any]) -> dict[str, Any]:
    """What is wrong, with whom, since when and by how much; not cleaned yet."""
    return {
        "incident": incident.id,
        "trigger": incident.trigger,
        "group": group_dict(incident.group),
        "severity": incident.severity.value,
        "value": incident.value,
        "threshold": incident.threshold,
        "baseline": incident.baseline,
        "times_threshold": _times(incident.value, incident.threshold),
        "peak": incident.peak,
        "unit": unit,
        "opened_at": incident.opened_at,
        "reopened": incident.reopened,
        "flapping": any(note.what == "flapping" and note.at >= incident.opened_at for note in incident.notes),
        "window": window,
    }


def _times(value: float | None, threshold: float | None) -> float | None:
    """How many times the threshold the value is; None where that says nothing."""
    return None if value is None or not threshold or threshold < 0 else round(value / threshold, 3)


def _in_force(directive: Directive) -> dict[str, Any]:
    return {
        "agent": directive.agent,
        "name": directive.name,
        "value": directive.value,
        "reason": directive.reason,
        "since": directive.created_at,
        "until": directive.expires_at,
    }


def _tried(
    execution: Execution, unit: str, came_to: Sequence[Verification], answers: Sequence[Handoff]
) -> dict[str, Any]:
    judged = next((each for each in reversed(came_to) if each.execution == execution.id and each.result), None)
    handoff = next((each for each in answers if each.id == execution.handoff), None)
    return {
        "action": execution.action,
        "step": execution.step,
        "attempt": execution.attempt,
        "status": execution.status.value,
        "settings": execution.settings,
        "effect_at": execution.effect_at,
        "error": execution.error,
        "reason": execution.reason,
        "result": None if judged is None or judged.result is None else judged.result.value,
        "value_after": None if judged is None else judged.value,
        "unit_after": None if judged is None else unit if judged.unit is None else judged.unit,
        "judged_by": None if judged is None else judged.judged_by,
        "handoff": None if handoff is None else handoff.status.value,
        "answer": None if handoff is None else handoff.result,
    }


def _similar(past: Incident, unit: str) -> dict[str, Any]:
    return {
        "incident": past.id,
        "group": group_dict(past.group),
        "opened_at": past.opened_at,
        "closed_at": past.closed_at,
        "close_reason": past.close_reason.value if past.close_reason else None,
        "value": past.value,
        "threshold": past.threshold,
        "unit": unit,
        "plan": list(past.plan),
        "attempts": past.attempts,
        "escalation": past.escalation,
    }
