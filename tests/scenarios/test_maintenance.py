"""Maintenance windows and the warm-up: muted by the spec, at declared times and for a moment after a start."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from self_healing.model import Incident, Muted, Reason
from self_healing.telemetry.encoded import encoded
from self_healing.telemetry.native_batch import native_batch
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
    assert {incident.trigger for incident in fleet.loop.store.select(Incident)} == {"gone"}
    fleet.at(169)
    assert {incident.trigger for incident in fleet.loop.store.select(Incident)} == {"gone"}
    fleet.at(171)
    assert {incident.trigger for incident in fleet.loop.store.select(Incident)} == {"gone", "gone_or_slow"}


# --- after the service was down --------------------------------------------------------------------------------------

COUNTED = """
[[trigger]]
name = "{name}"
type = "custom"
signal = "task.tokens"
aggregate = "{aggregate}"
window = "2m"
condition = {{ {condition} }}
severity = "low"
target_agent = "Helper"
"""
FEWER = COUNTED.format(name="fewer", aggregate="count", condition='kind = "threshold", op = "<", value = 8')
ADDED_UP = [
    FEWER,
    COUNTED.format(name="less", aggregate="sum", condition='kind = "threshold", op = "<", value = 8'),
    COUNTED.format(name="falls", aggregate="rate", condition='kind = "rate_of_change", op = "<", value = -0.01'),
    COUNTED.format(name="rises", aggregate="count", condition='kind = "rate_of_change", value = 2'),
]


def push(fleet: Scenario) -> None:
    """A task of Coder ends now, and is told by HTTP."""
    at = fleet.clock.now().isoformat()
    line = {"ts": at, "type": "task_finished", "agent": "Coder", "status": "success", "usage": {"total_tokens": 1}}
    batch = native_batch(json.dumps(line).encode(), "application/json", key=at)
    fleet.loop.receiving.intake.submit(encoded(batch, "http")).result()


def down(fleet: Scenario, seconds: int) -> int:
    """The service is down for so long; returns when it is up again."""
    fleet.loop.cycle(fleet.clock.now())
    fleet.loop.rest()
    fleet.loop.close()
    fleet.clock.advance(seconds)
    fleet.restart()
    return round(fleet.now_s)


def test_steady_work_that_nobody_took_in_for_a_while_is_no_fall_and_no_rise(made: Make) -> None:
    fleet = made("".join(ADDED_UP), serves=True, step_s=10)
    for seconds in range(0, 301, 10):
        push(fleet.at(seconds))
    up_s = down(fleet, 600)

    for seconds in range(up_s, up_s + 301, 10):
        push(fleet.at(seconds))

    assert fleet.loop.store.select(Incident) == []
    assert {each.trigger for each in fleet.loop.verdicts()} >= {"fewer", "less", "falls", "rises"}


def test_a_fall_is_found_once_a_whole_window_was_watched_after_the_service_was_down(made: Make) -> None:
    fleet = made(FEWER, serves=True, step_s=10)
    push(fleet)
    up_s = down(fleet, 600)

    fleet.at(up_s + 119, step_s=60).expect_nothing_open()
    [found] = [each for each in fleet.loop.verdicts() if each.trigger == "fewer"]
    assert found.reason in (Reason.TOO_FEW_SAMPLES, Reason.WARMING_UP)
    fleet.at(up_s + 130).expect_incident("fewer", "Coder", "escalated")


@pytest.mark.parametrize(("down_s", "opens_s"), [(60, 60), (61, 300)])
def test_who_was_not_heard_while_the_service_was_down_for_longer_than_it_warms_up_may_have_spoken(
    made: Make, down_s: int, opens_s: int
) -> None:
    fleet = made(GONE.replace("1m", "5m"), serves=True, step_s=60)
    push(fleet.at(0))
    fleet.at(290)
    up_s = down(fleet, down_s)

    fleet.at(up_s + opens_s - 1).expect_state("gone", "Coder", "firing").expect_nothing_open()
    fleet.at(up_s + opens_s).expect_incident("gone", "Coder", "escalated")


def test_who_is_heard_after_the_service_was_down_is_silent_from_then_on(made: Make) -> None:
    fleet = made(GONE, serves=True, step_s=10)
    push(fleet.at(0))
    up_s = down(fleet, 600)
    push(fleet.at(up_s + 59))

    fleet.at(up_s + 118).expect_nothing_open()
    fleet.at(up_s + 119).expect_incident("gone", "Coder", "escalated")


def test_a_composite_waits_until_what_was_heard_at_last_has_recovered(made: Make) -> None:
    fleet = made(GONE, serves=True, step_s=10)
    push(fleet.at(0))
    up_s = down(fleet, 600)
    push(fleet.at(up_s + 59))

    fleet.at(up_s + 60).expect_state("gone", "Coder", "recovering").expect_state("gone_or_slow", "Coder", "firing")
    push(fleet.at(up_s + 110))
    fleet.at(up_s + 119).expect_state("gone", "Coder", "inactive")
    push(fleet.at(up_s + 160))

    fleet.at(up_s + 200).expect_nothing_open()
    assert fleet.loop.store.select(Incident) == []
