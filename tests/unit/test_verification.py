"""Verification: every judgement in a table."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from self_healing.clock import to_us
from self_healing.model import Result, Verification, VerificationPhase
from self_healing.spec import Absence, Aggregate, Operator, RateOfChange, TriggerSpec
from self_healing.taps import Accumulator, Seen
from self_healing.triggers.declared import load_triggers
from self_healing.verification import credit, failed_probe, judge

START = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
START_US = to_us(START)
TRIGGERS = {trigger.name: trigger for trigger in load_triggers([])}
SLOW, ERRORS, LONGER = TRIGGERS["slow_tasks"], TRIGGERS["high_error_rate"], TRIGGERS["duration_increase"]
TESTS = TRIGGERS["test_failure_spike"]  # clears at 0.025, and is met above 0.05
Task = tuple[float, float | None]  # start in seconds after the effect, and its value; None while it runs


def gathered(tasks: list[Task]) -> Accumulator:
    found = Accumulator("m", 0, START_US)
    for number, (start_s, value) in enumerate(tasks):
        start_us = START_US + round(start_s * 1e6)
        samples = [] if value is None else [(start_us, 1, round(value * 1e6))]
        found.tasks[str(number)] = Seen(start_us, value is not None, samples)
    return found


def verification(needed: int = 3, peak: float | None = 90.0, threshold: float | None = 60.0) -> Verification:
    return Verification(
        id="ver-1",
        incident="inc-1",
        execution="exe-1",
        trigger="t",
        group=(("agent", "Coder"),),
        action="a",
        phase=VerificationPhase.EFFECT,
        effect_at=START,
        deadline=START + timedelta(minutes=15),
        needed=needed,
        peak=peak,
        threshold=threshold,
        baseline=10.0,
    )


RISING = SLOW.model_copy(
    update={
        "aggregate": Aggregate.MEAN,
        "condition": RateOfChange(kind="rate_of_change", value=60, per=150),  # the window is of 300 s: 120 s more
        "clear": 30.0,
    }
)

BEYOND = SLOW.model_copy(update={"condition": SLOW.condition.model_copy(update={"op": Operator.GT})})

# Ten in five minutes are too many, and five are well.
MANY = SLOW.model_copy(
    update={
        "aggregate": Aggregate.COUNT,
        "condition": SLOW.condition.model_copy(update={"value": 10.0}),
        "clear": 5.0,
    }
)
DAILY = MANY.model_copy(update={"window": 3600})  # longer than the deadline: 15 minutes stand for the hour
FEW = MANY.model_copy(
    update={"condition": SLOW.condition.model_copy(update={"value": 5.0, "op": Operator.LE}), "clear": 10.0}
)  # five in five minutes are too few, and more than ten are well


def every(step_s: float, times: int) -> list[Task]:
    return [(number * step_s, 1.0) for number in range(times)]


CASES: list[tuple[str, TriggerSpec, list[Task], float, Result | None]] = [
    ("a count before its window is over", MANY, every(10, 4), 299, None),
    ("a count once its window is over", MANY, every(70, 4), 300, Result.HEALED),
    ("a count that is not well and not ill", MANY, every(40, 8), 300, None),
    ("a count that is not well and not ill at the deadline", MANY, every(40, 8), 900, Result.INCONCLUSIVE),
    ("a count that is too much already", MANY, every(1, 10), 20, Result.NOT_HEALED),
    ("what came after the window is another matter", MANY, [*every(60, 4), *[(400.0, 1.0)] * 20], 500, Result.HEALED),
    ("a count of silence", MANY, [], 300, None),
    ("a count of silence at the deadline", MANY, [], 900, Result.INCONCLUSIVE),
    ("a count over less than its window, brought to it", DAILY, every(300, 3), 900, Result.NOT_HEALED),
    (
        "a count over less than its window that is well",
        DAILY.model_copy(update={"clear": 20.0, "condition": SLOW.condition.model_copy(update={"value": 30.0})}),
        every(300, 3),
        900,
        Result.HEALED,
    ),
    ("a falling count before its window is over", FEW, every(50, 5), 250, None),
    ("a falling count that is enough already", FEW, every(10, 11), 110, Result.HEALED),
    ("a falling count once its window is over, far below its peak", FEW, every(60, 5), 300, Result.WORSE),
    ("nothing yet", SLOW, [], 60, None),
    ("nothing at the deadline", SLOW, [], 900, Result.INCONCLUSIVE),
    ("too few", SLOW, [(1, 5), (2, 5)], 60, None),
    ("too few at the deadline", SLOW, [(1, 5), (2, 5)], 900, Result.INCONCLUSIVE),
    ("enough and good", SLOW, [(1, 5), (2, 5), (3, 5)], 60, Result.HEALED),
    ("just below", SLOW, [(1, 59.999), (2, 5), (3, 5)], 70, Result.HEALED),
    ("just at the threshold", SLOW, [(1, 60), (2, 5), (3, 5)], 70, Result.NOT_HEALED),
    ("quick ones don't speak for a slow one", SLOW, [(1, None), (2, 5), (3, 5), (4, 5)], 40, None),
    ("a running task by its age", SLOW, [(1, None), (2, 5), (3, 5)], 61, Result.NOT_HEALED),
    ("a running task just as old as is allowed", BEYOND, [(1, None), (2, 5), (3, 5)], 61, None),
    ("a running task older than is allowed", BEYOND, [(1, None), (2, 5), (3, 5)], 61.001, Result.NOT_HEALED),
    ("a running task just younger", SLOW, [(1, None), (2, 5), (3, 5)], 60.999, None),
    ("one that runs but is not among the first", SLOW, [(1, 5), (2, 5), (3, 5), (4, None)], 500, Result.HEALED),
    ("worse at exactly a quarter of the threshold", SLOW, [(1, 105), (2, 5), (3, 5)], 200, Result.WORSE),
    ("bad, and not quite worse", SLOW, [(1, 104.999), (2, 5), (3, 5)], 200, Result.NOT_HEALED),
    ("ratio between clear and condition waits", ERRORS, [(i, float(i < 1)) for i in range(7)], 60, None),
    ("ratio between at the deadline", ERRORS, [(i, float(i < 1)) for i in range(7)], 900, Result.INCONCLUSIVE),
    ("baseline judged by its frozen threshold", LONGER, [(1, 59), (2, 59), (3, 59)], 100, Result.HEALED),
    ("baseline still met", LONGER, [(1, 61), (2, 61), (3, 61)], 100, Result.NOT_HEALED),
    ("as high as it rose from 10 s", RISING, [(1, 130), (2, 130), (3, 130)], 100, Result.NOT_HEALED),
    ("just below as high as it rose", RISING, [(1, 129), (2, 130), (3, 130)], 900, Result.INCONCLUSIVE),
    ("not yet low enough", RISING, [(1, 70), (2, 70), (3, 70)], 100, None),
    ("nearly as low as before it rose", RISING, [(1, 69), (2, 70), (3, 70)], 100, Result.HEALED),
    ("risen by a quarter of the limit more", RISING, [(1, 220), (2, 220), (3, 220)], 300, Result.WORSE),
    ("risen by not quite so much more", RISING, [(1, 219), (2, 220), (3, 220)], 300, Result.NOT_HEALED),
]


@pytest.mark.parametrize(("trigger", "tasks", "after_s", "result"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_judgement(trigger: TriggerSpec, tasks: list[Task], after_s: float, result: Result | None) -> None:
    needed = max(3, len(tasks)) if trigger is ERRORS else 3
    at = START + timedelta(seconds=after_s)
    assert judge(verification(needed), trigger, gathered(tasks), at).result is result


def runs(*each: tuple[int, int] | None) -> Accumulator:
    """Tasks that started one after the other, each with the tests it ran and those that failed; None while it runs."""
    found = Accumulator("m", 0, START_US)
    for number, run in enumerate(each):
        start_us = START_US + number * 1_000_000
        samples = [] if run is None else [(start_us, run[0], run[1] * 1_000_000)]
        found.tasks[str(number)] = Seen(start_us, run is not None, samples)
    return found


@pytest.mark.parametrize(
    ("each", "result", "samples"),
    [
        pytest.param([(24, 0), (24, 0)], None, 48, id="one run is not three tasks, however many tests it has"),
        pytest.param([(24, 0), (24, 0), (24, 0)], Result.HEALED, 72, id="three are"),
        pytest.param([(24, 0), (24, 0), (0, 0)], None, 48, id="a task without a test speaks for nothing"),
        pytest.param([(24, 1), (24, 0), (24, 0)], Result.HEALED, 72, id="what one run leaves open three decide"),
        pytest.param([(24, 1)] * 3, None, 72, id="between clear and condition waits"),
        pytest.param([(24, 1)] * 3 + [(24, 0)] * 2, Result.HEALED, 120, id="until further tasks make it well"),
        pytest.param([(24, 1)] * 3 + [(24, 3)], Result.NOT_HEALED, 96, id="or ill"),
        pytest.param([(24, 1)] * 3 + [(24, 3)] + [(24, 0)] * 9, Result.NOT_HEALED, 96, id="the first to decide counts"),
        pytest.param([(24, 1)] * 3 + [None] + [(24, 0)] * 9, None, 72, id="quick ones do not overtake a slow one"),
        pytest.param([(5, 0)] * 3 + [None], None, 15, id="three tasks are not enough tests"),
    ],
)
def test_tests_are_judged_by_three_tasks_and_as_many_more_as_leave_no_doubt(
    each: list[tuple[int, int] | None], result: Result | None, samples: int
) -> None:
    judgement = judge(verification(needed=20, peak=0.5), TESTS, runs(*each), START + timedelta(minutes=5))

    assert (judgement.result, judgement.samples) == (result, samples)


def test_doubt_that_lasts_is_inconclusive() -> None:
    lasting = verification(needed=20, peak=0.5)

    assert judge(lasting, TESTS, runs(*[(24, 1)] * 9), lasting.deadline).result is Result.INCONCLUSIVE


def test_a_further_task_is_judged_by_its_age_only_where_those_before_it_leave_doubt() -> None:
    wary = SLOW.model_copy(update={"clear": 30.0})
    tasks: list[Task] = [(1, 40), (2, 5), (3, 5), (4, None)]
    at = START + timedelta(seconds=64)

    assert judge(verification(), wary, gathered(tasks), at).result is Result.NOT_HEALED
    assert judge(verification(), wary, gathered(tasks), at - timedelta(seconds=1)).result is None
    assert judge(verification(), wary, gathered([(1, 4), *tasks[1:]]), at).result is Result.HEALED


@pytest.mark.parametrize("aggregate", [Aggregate.P50, Aggregate.MEAN])
def test_a_quantile_takes_in_further_tasks_as_a_mean_does(aggregate: Aggregate) -> None:
    wary = SLOW.model_copy(update={"clear": 30.0, "aggregate": aggregate})
    doubtful: list[Task] = [(1, 40), (2, 40), (3, 40)]

    assert judge(verification(), wary, gathered(doubtful), START).result is None
    further: list[Task] = [(4 + place, 5) for place in range(3)]
    assert judge(verification(), wary, gathered(doubtful + further), START).result is Result.HEALED


def test_without_a_threshold_nobody_can_judge_a_baseline() -> None:
    unknown, good = verification(threshold=None), gathered([(1, 5.0), (2, 5.0), (3, 5.0)])
    assert judge(unknown, LONGER, good, START).result is None
    assert judge(unknown, LONGER, good, unknown.deadline).result is Result.INCONCLUSIVE
    assert not failed_probe(LONGER, unknown, good, START)


def test_a_change_is_told_as_one_and_unknown_where_nobody_knows_from_what() -> None:
    good = gathered([(1, 40.0), (2, 40.0), (3, 40.0)])
    unknown = msgspec.structs.replace(verification(), baseline=None)

    assert judge(verification(), RISING, good, START).value == 15.0
    assert judge(unknown, RISING, good, START).result is None


@pytest.mark.parametrize(
    ("tasks", "failed"),
    [
        ([(1, 0.0), (2, 0.0), (3, 1.0)], True),
        ([(1, 0.0), (2, 0.0), (3, 0.0), (4, 1.0)], False),
        ([(1, None)], False),
    ],
)
def test_one_of_the_first_three_probes_decides(tasks: list[Task], failed: bool) -> None:
    assert failed_probe(ERRORS, verification(), gathered(tasks), START + timedelta(seconds=30)) is failed


def test_a_probe_that_runs_too_long_has_failed() -> None:
    assert failed_probe(SLOW, verification(), gathered([(0, None)]), START + timedelta(seconds=60))
    assert not failed_probe(SLOW, verification(), gathered([(0, None)]), START + timedelta(seconds=59))


def test_silence_is_over_with_as_many_signs_of_life_as_are_needed() -> None:
    silent = SLOW.model_copy(update={"condition": Absence(kind="absence")})
    heard = gathered([])
    for second in range(3):
        said = judge(verification(3), silent, heard, START + timedelta(seconds=60))
        assert (said.result, said.samples) == (None, second)
        heard.sign(START_US + second, START_US)
    assert judge(verification(3), silent, heard, START + timedelta(seconds=60)).result is Result.HEALED


def test_credit_is_what_untreated_series_leave() -> None:
    assert (credit(1, 0, 0), credit(1, 0, 4), credit(1, 1, 4), credit(1, 4, 4)) == (1.0, 1.0, 0.75, 0.0)
