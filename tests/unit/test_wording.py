"""Values in the words of people."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from self_healing.wording import course, stands, worded

AT = [datetime(2026, 1, 5, 10, 0, tzinfo=UTC) + timedelta(minutes=number) for number in range(5)]
VALUES = [10.0, 90.0, 70.0, None, 30.0]
TOLD = "newest 30s at 10:04:00, least 10s at 10:00:00, greatest 90s at 10:01:00"


@pytest.mark.parametrize(
    ("limit", "rising", "says"),
    [
        (None, True, ""),
        (70.0, True, "; limit 70s, reached or passed for 2m in all"),
        (99.0, True, "; limit 99s, not reached before the newest"),
        (10.0, False, "; limit 10s, reached or passed for 1m in all"),
    ],
)
def test_a_course_is_told_by_its_ends_and_by_how_long_it_was_beyond_its_limit(
    limit: float | None, rising: bool, says: str
) -> None:
    assert course(VALUES, "s", AT, [limit] * 5, rising=rising) == TOLD + says


def test_a_course_of_which_nothing_is_known_says_so() -> None:
    assert course([None, None], "s") == "nothing is known"


def test_names_that_would_be_alike_in_words_stay_as_they_are_and_none_is_lost() -> None:
    told = {"duration_s": 3.0, "duration": "x", "a_b": 1, "a b": 2, "n_of": 4}
    assert worded(told) == {"duration_s": "3s", "duration": "x", "a_b": 1, "a b": 2, "n of": 4}


def test_a_name_that_is_empty_is_no_unit() -> None:
    assert worded({"": "USD", "n": 3}) == {"": "USD", "n": 3}


@pytest.mark.parametrize(
    ("status", "handoff", "says"),
    [
        ("dispatched", "delivered", "dispatched"),
        ("dispatched", "failed", "handoff_failed"),
        ("dispatched", "expired", "handoff_expired"),
        ("dispatched", None, "dispatched"),
        ("succeeded", "completed", "succeeded"),
        ("failed", "failed", "failed"),
    ],
)
def test_what_was_handed_over_and_is_not_done_is_no_longer_told_as_under_way(
    status: str, handoff: str | None, says: str
) -> None:
    assert stands({"status": status, "handoff_status": handoff}) == says
