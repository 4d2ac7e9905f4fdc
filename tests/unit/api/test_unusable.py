"""What health says of what is sent and cannot be used."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from self_healing.api.unusable import EXAMPLE_MAX, Unusable
from self_healing.testing import FakeClock

AT = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(AT)


@pytest.fixture
def unusable(clock: FakeClock) -> Unusable:
    return Unusable(clock.now)


def test_more_than_a_twentieth_of_a_way_ins_items_is_told_with_the_first_that_was_bad(unusable: Unusable) -> None:
    unusable.took("otlp", 100, {}, [])
    unusable.took("http", 95, {"undated": 5}, ["line 7: ts: null"])
    assert unusable.problems == [
        "http: 5 of 95 items that were sent lately were rejected for good (undated 5; such as line 7: ts: null):"
        " see what sends them"
    ]
    unusable.took("http", 5, {}, [])
    assert unusable.problems == []


def test_requests_that_are_refused_are_told_apart_from_those_that_are_taken(unusable: Unusable) -> None:
    unusable.took("http", 1, {}, [])
    for kind in ("text/plain", "text/html"):
        unusable.refused("http", "unsupported", f"content type '{kind}'")
    assert unusable.problems == [
        "http: 2 of 3 requests that were sent lately were refused (unsupported 2; such as content type 'text/plain'):"
        " see what sends them"
    ]


def test_it_is_over_a_quarter_of_an_hour_later_and_then_another_example_is_told(
    unusable: Unusable, clock: FakeClock
) -> None:
    unusable.refused("otlp", "not_understood", "old")
    clock.set(AT + timedelta(minutes=14, seconds=59))
    assert "such as old" in unusable.problems[0]
    clock.set(AT + timedelta(minutes=15))
    assert unusable.problems == []
    unusable.refused("otlp", "not_understood", "new")
    assert "such as new" in unusable.problems[0]


def test_what_was_sent_is_shown_in_one_short_line_without_secrets(unusable: Unusable) -> None:
    unusable.refused("http", "unsupported", "a\nb password=hunter2hunter2 " + "x" * 1_000)
    (told,) = unusable.problems
    assert "such as a\\nb password=[redacted] x" in told
    assert len(told) < EXAMPLE_MAX + 150
    assert "\n" not in told
