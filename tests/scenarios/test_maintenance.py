"""Maintenance windows and the warm-up: muted by the spec, at declared times and for a moment after a start."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from self_healing.model import Incident, Muted, Reason
from self_healing.testing import Scenario
from tests.scenarios.conftest import MakeScenario

SLOW = "slow_tasks"
WINDOW = """
[[maintenance]]
name = "deploy"
days = ["mon"]
from = "11:02"
to = "11:05"
timezone = "Europe/Berlin"
keys = { agent = "Coder" }
reason = "the weekly deploy"
"""
BUSY = """
[[trigger]]
name = "busy"
type = "custom"
signal = "task.duration_s"
aggregate = "count"
window = "1m"
condition = { kind = "threshold", op = "<", value = 1 }
severity = "low"
target_agent = "Helper"
"""
Make = Callable[..., Scenario]


@pytest.fixture
def made(scenario: MakeScenario, tmp_path: Path) -> Make:
    """Scenarios with a file of triggers; they begin on Monday at 10:00 UTC, which is 11:00 in Berlin."""

    def make(text: str, **options: object) -> Scenario:
        file = tmp_path / "triggers.toml"
        file.write_text(text)
        return scenario(settings={"triggers": {"files": [file]}}, **options)

    return make


def muted(fleet: Scenario, trigger: str = SLOW) -> Muted | None:
    [found] = [v for v in fleet.loop.verdicts() if (v.trigger, v.group) == (trigger, (("agent", "Coder"),))]
    assert (found.reason is found.muted.why) if found.muted else True
    return found.muted


def test_what_fires_in_a_window_opens_nothing_and_names_the_window(made: Make) -> None:
    fleet = made(WINDOW)
    fleet.at(150).finish("t1", duration_s=70.0).finish("t2", "Writer", duration_s=70.0)

    fleet.at(160).expect_state(SLOW, "Coder", "firing").expect_incident(SLOW, "Writer", "acting")

    found = muted(fleet)
    assert found is not None
    assert (found.why, found.what, found.text) == (Reason.MAINTENANCE, "deploy", "the weekly deploy")
    assert found.until == fleet.start_at + timedelta(minutes=5)
    assert [incident.group for incident in fleet.loop.store.select(Incident)] == [(("agent", "Writer"),)]


def test_what_still_fires_when_it_ends_opens_an_incident_though_nothing_happens(made: Make) -> None:
    fleet = made(WINDOW, step_s=10)
    fleet.at(150).finish("t1", duration_s=70.0)

    fleet.at(299).expect_nothing_open()
    fleet.at(300).expect_incident(SLOW, "Coder", "acting")


def test_what_is_open_when_it_begins_is_suppressed_by_the_spec(made: Make) -> None:
    fleet = made(WINDOW, step_s=10)
    fleet.at(100).finish("t1", duration_s=70.0)
    fleet.at(119).expect_incident(SLOW, "Coder", "acting")

    fleet.at(120).expect_incident(SLOW, "Coder", "closed", "suppressed", closed_by="the spec")

    assert fleet.incident(SLOW).notes[-1].text == "maintenance by deploy until 2026-01-05 10:05:00: the weekly deploy"


def test_a_window_stands_after_a_restart(made: Make) -> None:
    fleet = made(WINDOW)
    fleet.at(150).finish("t1", duration_s=70.0)
    fleet.at(160).expect_state(SLOW, "Coder", "firing").restart()

    fleet.at(290).expect_state(SLOW, "Coder", "firing").expect_nothing_open()
    fleet.at(300).expect_incident(SLOW, "Coder", "acting")


# --- warming up ------------------------------------------------------------------------------------------------------


def test_silence_opens_nothing_for_a_minute_after_a_start(made: Make) -> None:
    fleet = made(BUSY, serves=True)
    fleet.finish("t1", duration_s=1.0)
    fleet.at(50).restart()
    fleet.loop.close()
    fleet.clock.advance(200)
    fleet.restart()

    fleet.at(309).expect_state("busy", "Coder", "firing").expect_nothing_open()
    found = muted(fleet, "busy")
    assert found is not None
    assert (found.why, found.what, found.until) == (Reason.WARMING_UP, "start", fleet.start_at + timedelta(seconds=310))
    fleet.at(310).expect_incident("busy", "Coder", "escalated")


def test_what_is_heard_again_within_it_opens_nothing(made: Make) -> None:
    fleet = made(BUSY, serves=True)
    fleet.finish("t1", duration_s=1.0)
    fleet.at(50).loop.close()
    fleet.clock.advance(200)
    fleet.restart()
    fleet.at(260).expect_state("busy", "Coder", "firing").finish("t2", duration_s=1.0)

    fleet.at(320).expect_nothing_open()

    assert fleet.loop.store.select(Incident) == []


def test_what_samples_show_opens_an_incident_at_once(made: Make) -> None:
    fleet = made(BUSY, serves=True)
    fleet.finish("t1", duration_s=70.0)

    fleet.at(1).expect_incident(SLOW, "Coder", "acting")


def test_a_change_of_the_spec_is_no_start(made: Make) -> None:
    fleet = made(BUSY, serves=True)
    fleet.finish("t1", duration_s=1.0)
    fleet.at(65)
    fleet.loop.override_trigger(SLOW, {"severity": "low"}, "Ada")

    fleet.at(80).expect_incident("busy", "Coder", "escalated")


def test_a_check_does_not_warm_up(made: Make) -> None:
    fleet = made(BUSY)
    fleet.finish("t1", duration_s=1.0)
    fleet.at(50).restart()

    fleet.at(75).expect_incident("busy", "Coder", "escalated")


GONE = """
[[trigger]]
name = "gone"
type = "custom"
signal = "agent.events"
condition = { kind = "absence", silent_for = "1m" }
severity = "low"
target_agent = "Helper"

[[trigger]]
name = "gone_or_slow"
type = "custom"
condition = { kind = "composite", any = ["gone", "slow_tasks"] }
severity = "low"
target_agent = "Helper"
"""


def test_absence_and_what_is_composed_of_it_open_nothing_within_it(made: Make) -> None:
    fleet = made(GONE, serves=True)
    fleet.finish("t1", duration_s=1.0)
    fleet.at(50).restart()

    fleet.at(109).expect_state("gone", "Coder", "firing").expect_state("gone_or_slow", "Coder", "firing")
    fleet.expect_nothing_open()
    fleet.at(111)
    assert {incident.trigger for incident in fleet.loop.store.select(Incident)} == {"gone", "gone_or_slow"}
