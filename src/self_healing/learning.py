"""Learning: what the outcomes of past executions say about an action for a trigger and an agent."""

from __future__ import annotations

from datetime import datetime

import msgspec

from self_healing.model import Execution, Judged, Lesson, Result

KEPT_TIMES = 100
KEPT_RESULTS = 10


def lesson_id(trigger: str, action: str, agent: str) -> str:
    """The id under which the lesson about these three is kept."""
    return f"{trigger}/{action}/{agent}"


def begun(lesson: Lesson | None, execution: Execution, at: datetime) -> Lesson:
    """The lesson after one more try."""
    if lesson is None:
        name = lesson_id(execution.trigger, execution.action, execution.target)
        lesson = Lesson(id=name, trigger=execution.trigger, action=execution.action, agent=execution.target)
    return msgspec.structs.replace(lesson, tries=lesson.tries + 1, last_at=at)


def learnt(lesson: Lesson, result: Result, at: datetime, *, heal_s: float | None = None, credit: float = 0.0) -> Lesson:
    """The lesson after an outcome.

    Args:
        heal_s: seconds from the incident's opening to healed, for a healing.
        credit: the part of it that is due, 0 to 1.
    """
    counts = {
        Result.HEALED: "healed",
        Result.NOT_HEALED: "not_healed",
        Result.WORSE: "worse",
        Result.INCONCLUSIVE: "inconclusive",
    }
    name = counts[result]
    changes: dict[str, object] = {name: getattr(lesson, name) + 1, "last_at": at}
    if result is Result.HEALED:
        changes["credit"] = lesson.credit + credit
        if heal_s is not None:
            changes["heal_s"] = (*lesson.heal_s, heal_s)[-KEPT_TIMES:]
    if result is not Result.INCONCLUSIVE:
        changes["recent"] = (*lesson.recent, Judged(at=at, result=result))[-KEPT_RESULTS:]
    return msgspec.structs.replace(lesson, **changes)
