"""Which actions keep failing for a trigger, and are left alone for a while."""

from __future__ import annotations

from datetime import datetime, timedelta

from self_healing.constitution.effects import Effects
from self_healing.model import Lesson, Result

_DEMOTED_FOR = timedelta(days=1)
_IN_A_ROW = 3
_LAST = 10


def left_alone(lesson: Lesson, effects: Effects, at: datetime) -> bool:
    """Whether the action of `lesson` is not to be tried for its trigger at that instant.

    That is while it is demoted. After its time it gets one try; until that is judged, or a day later, no second.
    """
    if lesson.last_at is None:
        return False
    if demoted(lesson, at):
        return True
    if not demoted(lesson, lesson.last_at):
        return False
    tried_since = max(lesson.last_at + _DEMOTED_FOR, at - _DEMOTED_FOR)
    return effects.begun_since(lesson.trigger, lesson.action, tried_since)


def demoted(lesson: Lesson, at: datetime) -> bool:
    """Whether an action has failed so often that it is left alone for now.

    That is for 24 h after three judgements in a row, or more than half of the last ten, that were not healed. What was
    inconclusive counts for nothing.
    """
    if lesson.last_at is None or at - lesson.last_at >= _DEMOTED_FOR:
        return False
    judged = [result for result in lesson.recent if result is not Result.INCONCLUSIVE]
    in_a_row = judged[-_IN_A_ROW:]
    if len(in_a_row) == _IN_A_ROW and Result.HEALED not in in_a_row:
        return True
    last = judged[-_LAST:]
    return len(last) == _LAST and 2 * last.count(Result.HEALED) < _LAST
