"""What verifications gather: the tasks begun after the effect, each with its own samples, and nothing else."""

import pytest

from self_healing.clock import SECOND_US
from self_healing.measures import UNKNOWN_START
from self_healing.model import Event
from self_healing.taps import Accumulator

EFFECT_US = 1000 * SECOND_US


def at(seconds: int) -> int:
    return EFFECT_US + seconds * SECOND_US


def event(task: str | None = "t1", attempt: int | None = None) -> Event:
    return Event(agent="Coder", task_id=task, attempt=attempt)


@pytest.fixture
def gathered() -> Accumulator:
    return Accumulator("key", 0, EFFECT_US)


def worth(gathered: Accumulator) -> list[tuple[int, bool, int]]:
    return [(seen.start_us, seen.finished, len(seen.samples)) for seen in gathered.tasks.values()]


def test_tests_that_say_no_attempt_belong_to_the_attempt_that_ran_them(gathered: Accumulator) -> None:
    gathered.started(event(attempt=2), at(1))
    gathered.sample(event(), at(5), at(1), 48, 0)
    gathered.finished(event(attempt=2), at(1))
    assert worth(gathered) == [(at(1), True, 1)]


def test_a_task_begun_before_the_effect_never_counts(gathered: Accumulator) -> None:
    gathered.started(event(), at(-5))
    gathered.sample(event(), at(5), at(-5), 1, 9)
    gathered.finished(event(), at(-5))
    assert worth(gathered) == []


def test_each_task_without_an_id_is_one_of_its_own(gathered: Accumulator) -> None:
    gathered.sample(event(None), at(5), at(1), 1, 9)
    gathered.sample(event(None), at(6), at(-1), 1, 9)
    gathered.sample(event(None), at(7), at(2), 1, 9)
    assert worth(gathered) == [(at(1), True, 1), (at(2), True, 1)]


def test_a_sample_whose_task_nobody_knows_counts_by_its_own_time(gathered: Accumulator) -> None:
    gathered.sample(event("t9"), at(-1), UNKNOWN_START, 1, 9)
    gathered.sample(event("t9"), at(1), UNKNOWN_START, 1, 9)
    assert worth(gathered) == [(at(1), True, 1)]


def test_a_task_id_that_is_used_again_is_another_task(gathered: Accumulator) -> None:
    for start in (1, 20):
        gathered.started(event(), at(start))
        gathered.sample(event(), at(start + 5), at(start), 1, 9)
        gathered.finished(event(), at(start))
    assert worth(gathered) == [(at(1), True, 1), (at(20), True, 1)]


def test_a_start_and_an_end_that_round_the_instant_differently_are_one_task(gathered: Accumulator) -> None:
    gathered.started(event(), at(1))
    gathered.sample(event(), at(5), at(1) + 352, 1, 9)
    gathered.finished(event(), at(1) + 352)
    assert worth(gathered) == [(at(1), True, 1)]


def test_a_lost_task_is_let_go(gathered: Accumulator) -> None:
    gathered.started(event(), at(1))
    gathered.lost(event())
    assert worth(gathered) == []
