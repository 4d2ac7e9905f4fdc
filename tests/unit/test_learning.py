"""Learning: what outcomes make of a lesson."""

from __future__ import annotations

from datetime import timedelta

from self_healing.learning import KEPT_RESULTS, KEPT_TIMES, begun, learnt, lesson_id
from self_healing.model import Result
from tests.unit.actions.intents import START, execution


def test_a_first_try_makes_the_lesson_and_each_outcome_is_counted() -> None:
    lesson = begun(None, execution(), START)
    assert (lesson.id, lesson.tries, lesson.agent) == (lesson_id("slow_tasks", "strict", "Coder"), 1, "Coder")
    lesson = begun(lesson, execution(), START)
    lesson = learnt(lesson, Result.HEALED, START, heal_s=30.0, credit=0.5)
    lesson = learnt(lesson, Result.WORSE, START)
    lesson = learnt(lesson, Result.NOT_HEALED, START)
    lesson = learnt(lesson, Result.INCONCLUSIVE, START + timedelta(seconds=1))
    assert (lesson.tries, lesson.healed, lesson.not_healed, lesson.worse, lesson.inconclusive) == (2, 1, 1, 1, 1)
    assert (lesson.credit, lesson.heal_s) == (0.5, (30.0,))
    assert [judged.result for judged in lesson.recent] == [Result.HEALED, Result.WORSE, Result.NOT_HEALED]
    assert lesson.last_at == START + timedelta(seconds=1)


def test_only_the_newest_times_and_results_are_kept() -> None:
    lesson = begun(None, execution(), START)
    for number in range(KEPT_TIMES + 5):
        lesson = learnt(lesson, Result.HEALED, START, heal_s=float(number), credit=1.0)
    assert (len(lesson.heal_s), lesson.heal_s[0], len(lesson.recent)) == (KEPT_TIMES, 5.0, KEPT_RESULTS)
    assert lesson.credit == KEPT_TIMES + 5
