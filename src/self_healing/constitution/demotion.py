"""Which actions keep failing for a trigger, and are left alone for a while."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from self_healing.constitution.effects import Effects
from self_healing.model import Judged, Lesson, Result

_DEMOTED_FOR = timedelta(days=1)
_IN_A_ROW = 3
_LAST = 10


def left_alone(lessons: Sequence[Lesson], effects: Effects, at: datetime) -> bool:
    """Whether an action is not to be tried for its trigger at that instant, whatever the agent.

    That is for 24 h after the outcome that demoted it. After its time it gets one try; until that is judged, or a day
    later, no second.

    Args:
        lessons: all about one trigger and one action; what failed for one agent counts for all.
        effects: what was begun lately.
    """
    recent = [each for lesson in lessons for each in lesson.recent if each.result is not Result.INCONCLUSIVE]
    recent.sort(key=lambda each: (each.at, each.result))
    if not _keeps_failing(recent):
        return False
    until = recent[-1].at + _DEMOTED_FOR
    first = lessons[0]
    return at < until or effects.begun_since(first.trigger, first.action, max(until, at - _DEMOTED_FOR))


def _keeps_failing(judged: Sequence[Judged]) -> bool:
    """Whether three in a row, or more than half of the last ten, were not healed."""
    results = [each.result for each in judged]
    in_a_row, last = results[-_IN_A_ROW:], results[-_LAST:]
    if len(in_a_row) == _IN_A_ROW and Result.HEALED not in in_a_row:
        return True
    return len(last) == _LAST and 2 * last.count(Result.HEALED) < _LAST
