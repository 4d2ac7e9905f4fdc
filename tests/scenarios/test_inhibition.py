"""Inhibition: while one trigger fires, another one opens nothing for the same group and takes no further action."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from self_healing.constitution.stop import resume, stop
from self_healing.model import Incident, Reason, Verdict
from self_healing.surface import Surface
from self_healing.testing import Scenario
from tests.scenarios.conftest import MakeScenario

SLOW, RETRIES = "slow_tasks", "high_retry_rate"
SPEC = """
[[trigger]]
name = "slow_tasks"
inhibited_by = ["high_retry_rate"]

[[trigger]]
name = "high_retry_rate"
window = "1m"
no_data = "clear"
"""
MakeInhibited = Callable[..., Scenario]


@pytest.fixture
def inhibited(scenario: MakeScenario, tmp_path: Path) -> MakeInhibited:
    """Scenarios in which retries mute slowness, which comes before them in the spec."""

    def make(spec: str = SPEC, **options: object) -> Scenario:
        file = tmp_path / "triggers.toml"
        file.write_text(spec)
        return scenario(settings={"triggers": {"files": [file]}}, **options)

    return make


def verdict(fleet: Scenario, trigger: str = SLOW, agent: str = "Coder") -> Verdict:
    [found] = [v for v in fleet.loop.verdicts() if (v.trigger, v.group) == (trigger, (("agent", agent),))]
    return found


def test_what_is_inhibited_at_the_very_instant_at_which_it_fires_opens_nothing(inhibited: MakeInhibited) -> None:
    fleet = inhibited()
    fleet.finish("t1", attempt=3, duration_s=70.0)

    fleet.at(5).expect_state(SLOW, "Coder", "firing").expect_incident(RETRIES, "Coder", "verifying")

    assert [incident.trigger for incident in fleet.loop.store.select(Incident)] == [RETRIES]
    assert fleet.loop.report()["triggers_fired"] == 1


def test_its_verdict_names_the_trigger_that_inhibits_it(inhibited: MakeInhibited) -> None:
    fleet = inhibited()
    fleet.finish("t1", attempt=3, duration_s=70.0)
    fleet.at(5)

    muted = verdict(fleet).muted

    assert muted is not None
    assert (verdict(fleet).reason, muted.why, muted.what) == (Reason.INHIBITED, Reason.INHIBITED, RETRIES)
    assert str(muted) == "inhibited by high_retry_rate: high_retry_rate fires for agent=Coder"
    assert (verdict(fleet, RETRIES).reason, verdict(fleet, RETRIES).muted) == (Reason.CONDITION_MET, None)


def test_the_same_trigger_of_another_group_inhibits_nothing(inhibited: MakeInhibited) -> None:
    fleet = inhibited()
    fleet.finish("t1", "Writer", attempt=3, duration_s=1.0)
    fleet.finish("t2", "Coder", duration_s=70.0)

    fleet.at(5).expect_incident(SLOW, "Coder", "acting")


def test_what_still_fires_when_it_is_inhibited_no_longer_opens_an_incident(inhibited: MakeInhibited) -> None:
    fleet = inhibited()
    fleet.finish("t1", attempt=3, duration_s=70.0)

    fleet.at(129).expect_state(RETRIES, "Coder", "recovering")
    assert verdict(fleet).reason is Reason.INHIBITED
    fleet.at(130).expect_state(RETRIES, "Coder", "inactive").expect_incident(SLOW, "Coder", "acting", value=70.0)


def test_nothing_more_is_proposed_for_an_incident_that_is_inhibited_until_it_no_longer_is(
    inhibited: MakeInhibited,
) -> None:
    fleet = inhibited()
    state_dir = fleet.settings.storage.state_dir
    stop(state_dir, "looking", "Ada", fleet.clock.now())
    fleet.finish("t1", duration_s=70.0)
    fleet.at(1).expect_incident(SLOW, "Coder", "open")
    fleet.finish("t2", attempt=3, duration_s=1.0)
    fleet.at(2).expect_incident(RETRIES, "Coder", "open")

    resume(state_dir, "looked", "Ada", fleet.clock.now())

    fleet.at(129).expect_incident(SLOW, "Coder", "open", attempts=0)
    fleet.at(131).expect_incident(SLOW, "Coder", "acting", attempts=1)
    notes = [(note.what, note.text) for note in fleet.incident(SLOW).notes]
    assert [what for what, _ in notes] == ["detected", "stopped", "muted", "resumed", "acting"]
    assert notes[2][1] == ("inhibited by high_retry_rate: high_retry_rate fires for agent=Coder; nothing is proposed")


def test_inhibition_stands_after_a_restart(inhibited: MakeInhibited) -> None:
    fleet = inhibited()
    fleet.finish("t1", attempt=3, duration_s=70.0)
    fleet.at(20).restart()

    fleet.at(60).expect_state(SLOW, "Coder", "firing")

    assert [incident.trigger for incident in fleet.loop.store.select(Incident)] == [RETRIES]
    fleet.at(135).expect_incident(SLOW, "Coder", "acting")


def test_a_trigger_that_is_switched_off_inhibits_nothing(inhibited: MakeInhibited) -> None:
    fleet = inhibited()
    fleet.finish("t1", attempt=3, duration_s=70.0)
    fleet.at(5).expect_state(SLOW, "Coder", "firing")

    fleet.loop.override_trigger(RETRIES, {"enabled": False}, "Ada")

    fleet.at(10).expect_incident(SLOW, "Coder", "acting")


def test_status_says_how_many_series_open_nothing_and_why(inhibited: MakeInhibited) -> None:
    fleet = inhibited()
    fleet.finish("t1", attempt=3, duration_s=70.0)
    fleet.at(5).expect_state(SLOW, "Coder", "firing")

    series = Surface(fleet.loop).call("status", {})["series"]

    assert (series["firing"], series["muted"]) == (2, {"inhibited": 1})
