"""Flapping: an incident that would come and go stays one, and says why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from self_healing.model import Incident
from self_healing.surface import Surface
from self_healing.testing import Scenario
from tests.scenarios.conftest import MakeScenario

SLOW = "slow_tasks"
SPEC = """
[[trigger]]
name = "slow_tasks"
window = "10s"
no_data = "clear"
keep_firing_for = "10s"
flap_after = 3
flap_window = "4m"
"""


@pytest.fixture
def fleet(scenario: MakeScenario, tmp_path: Path) -> Scenario:
    """Slowness that lasts for 20 s and recovers for 10 s; observed, so that nothing heals it in between."""
    file = tmp_path / "triggers.toml"
    file.write_text(SPEC)
    return scenario(settings={"triggers": {"files": [file]}, "actions": {"mode": "observe"}})


def hit(fleet: Scenario, times: int = 3) -> None:
    """A slow task each minute from the start on."""
    for number in range(times):
        fleet.at(60 * number).finish(f"t{number}", duration_s=70.0)


def notes(fleet: Scenario) -> list[tuple[float, str]]:
    return [
        ((n.at - fleet.start_at).total_seconds(), n.text) for n in fleet.incident(SLOW).notes if n.what == "flapping"
    ]


def test_the_incident_of_a_flapping_series_stays_open_until_it_has_rested(fleet: Scenario) -> None:
    hit(fleet)

    fleet.at(199).expect_state(SLOW, "Coder", "recovering").expect_incident(SLOW, "Coder", "open", reopened=2)
    fleet.at(200).expect_incident(SLOW, "Coder", "closed", "recovered")
    assert len(fleet.loop.store.select(Incident)) == 1


def test_its_timeline_says_once_that_it_flaps_and_until_when_it_stays(fleet: Scenario) -> None:
    hit(fleet, 5)

    fleet.at(250)

    assert notes(fleet) == [(120.0, "it began to fire 3 times within 4m; it recovers once it was well for 1m")]


def test_the_log_says_that_it_flaps(fleet: Scenario) -> None:
    hit(fleet)
    fleet.at(125).expect_state(SLOW, "Coder", "firing")

    [log] = fleet.settings.storage.logs_dir.glob("self_healing/triggers-*.log")
    fired: list[dict[str, Any]] = [
        each for each in map(json.loads, log.read_text().splitlines()) if each["event"] == "trigger_fired"
    ]
    assert [each["flapping"] for each in fired] == [False, False, True]


def test_flapping_survives_a_restart(fleet: Scenario) -> None:
    hit(fleet, 2)
    fleet.at(110).restart()
    fleet.at(120).finish("t2", duration_s=70.0)

    fleet.at(150).restart()

    fleet.at(199).expect_state(SLOW, "Coder", "recovering")
    fleet.at(200).expect_state(SLOW, "Coder", "inactive")


def test_what_is_handed_over_says_that_it_flaps(scenario: MakeScenario, tmp_path: Path) -> None:
    file = tmp_path / "acting.toml"
    file.write_text(SPEC)
    acting = scenario(settings={"triggers": {"files": [file]}})
    acting.finish("t0", duration_s=70.0)
    first = acting.expect_handoff(SLOW).message["context"]["symptom"]
    for number in (1, 2):
        acting.loop.dismiss(acting.incident(SLOW).id, "Ada", "looking")
        acting.at(60 * number).finish(f"t{number}", duration_s=70.0)
        acting.expect_incident(SLOW, "Coder", "acting")

    assert (first["flapping"], acting.expect_handoff(SLOW).message["context"]["symptom"]["flapping"]) == (False, True)


def test_incident_and_status_say_that_it_flaps(fleet: Scenario) -> None:
    hit(fleet)
    fleet.at(150).expect_state(SLOW, "Coder", "recovering")
    surface = Surface(fleet.loop, serving=True)

    series = surface.call("incident", {"id": fleet.incident(SLOW).id})["series"]

    assert (series["state"], series["reason"], series["flapping"]) == ("recovering", "no_data", True)
    assert surface.call("status", {})["series"]["flapping"] == 1
