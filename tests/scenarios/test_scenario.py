"""A scenario that does not come true says what came instead, and when."""

from __future__ import annotations

import re

import pytest

from self_healing.testing import Scenario

SLOW = "slow_tasks"


def test_a_wrong_state_is_told_with_its_figures(fleet: Scenario) -> None:
    fleet.at(3).finish("t1", duration_s=59.0)
    said = (
        "at 3 s: expected firing; slow_tasks of Coder is inactive (below_threshold: value 59.0, threshold 60.0, 1 sam"
    )

    with pytest.raises(AssertionError, match=re.escape(said)):
        fleet.expect_state(SLOW, "Coder", "firing")


def test_a_wrong_incident_is_told_with_its_timeline(fleet: Scenario) -> None:
    fleet.finish("t1", duration_s=70.0)

    with pytest.raises(
        AssertionError, match=r"(?s)at 0 s: .*state is acting, not closed.*0 s  detected: .*0 s  acting: "
    ):
        fleet.expect_incident(SLOW, "Coder", "closed", "healed")


def test_what_is_missing_is_told(fleet: Scenario) -> None:
    with pytest.raises(AssertionError, match="slow_tasks has no incident for Coder"):
        fleet.expect_incident(SLOW, "Coder", "open")
    with pytest.raises(AssertionError, match=r"expected directives .*paused.*, in force are {}"):
        fleet.expect_directives(paused=True)


def test_an_open_incident_is_told_where_none_is_expected(fleet: Scenario) -> None:
    fleet.finish("t1", duration_s=70.0)

    with pytest.raises(AssertionError, match="slow_tasks is open"):
        fleet.expect_nothing_open()


def test_other_actions_than_expected_are_told(fleet: Scenario) -> None:
    fleet.finish("t1", duration_s=70.0)

    with pytest.raises(AssertionError, match=r"expected .*failed.*, there are .*dispatched"):
        fleet.expect_actions(SLOW, analyze_slow_tasks="failed")
    with pytest.raises(AssertionError, match="its handoff's target_agent is ChiefArchitectAgent, not Nobody"):
        fleet.expect_handoff(SLOW, target_agent="Nobody")


def test_it_only_goes_forward(fleet: Scenario) -> None:
    fleet.at(10)

    with pytest.raises(ValueError, match="only goes forward"):
        fleet.at(9)


def test_what_is_written_at_an_instant_is_seen_at_that_instant(fleet: Scenario) -> None:
    fleet.at(7).finish("t1", duration_s=70.0)

    assert (fleet.incident(SLOW).opened_at - fleet.start_at).total_seconds() == 7
