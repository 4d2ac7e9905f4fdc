"""Simulations: the same seed, the same outcome; what is scored is what happened."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from benchmarks.healing import scenario as drawn_of
from self_healing.config import Settings
from self_healing.errors import ConfigError
from self_healing.simulation.faults import Repair
from self_healing.simulation.scenario import KINDS, Injection, KindOfFault, Scenario, faults_of, load, shipped
from self_healing.simulation.simulate import simulate


def scenario(*faults: dict[str, Any], lasts: str = "25m", **fields: Any) -> Scenario:
    return Scenario.model_validate({"lasts": lasts, "agents": 8, "history": "2h", "fault": list(faults), **fields})


COMMAND = str(Path(sys.executable).with_name("self-healing"))
SLOW = {"kind": "slow_model", "agents": ["Coder"], "at": "2m"}


@pytest.fixture(scope="module")
def healed() -> dict[str, Any]:
    """A slow agent in a fleet of eight, healed."""
    return simulate(scenario(SLOW), seed=3)


def test_a_fault_is_detected_acted_on_and_verified_healed(healed: dict[str, Any]) -> None:
    (row,) = healed["faults"]
    assert (row["fault"], row["agents"], row["injected_s"]) == ("slow_model", ["Coder"], 120.0)
    assert 60 <= row["detected_after_s"] <= row["acted_after_s"] < row["healed_after_s"] < 600
    assert (row["actions"], row["healed_by"], row["outcomes"]) == (
        ["analyze_slow_tasks"],
        "analyze_slow_tasks",
        {"healed": 1},
    )
    assert row["repaired"]
    assert 60 < row["sick_s"] < row["healed_after_s"]
    run = healed["run"]
    assert (run["recall"], run["healed"], run["false_incidents"], run["harmful_actions"]) == (1.0, 1, [], 0)


def test_the_same_seed_gives_the_same_outcome_to_the_byte_also_in_a_process_that_hashes_otherwise(
    healed: dict[str, Any], tmp_path: Path
) -> None:
    file = tmp_path / "slow.toml"
    fault = 'kind = "slow_model"\nagents = ["Coder"]\nat = "2m"'
    file.write_text(f'lasts = "25m"\nagents = 8\nhistory = "2h"\n[[fault]]\n{fault}\n')
    command = [COMMAND, "simulate", str(file), "--seed", "3", "--format", "json"]
    told = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONHASHSEED": "12345"}, capture_output=True, check=True
    ).stdout
    assert json.dumps(json.loads(told)) == json.dumps({"scenario": "slow", **healed})


def test_what_is_passed_over_changes_no_byte_of_the_outcome(healed: dict[str, Any]) -> None:
    assert simulate(scenario(SLOW), seed=3, every_instant=True) == healed


def test_what_happens_while_nothing_was_expected_is_lived_through_like_everything_else(tmp_path: Path) -> None:
    file = tmp_path / "nervous.toml"
    file.write_text('[[trigger]]\nname = "high_retry_rate"\ncondition = { kind = "threshold", value = 2 }\n')
    nervous = Settings.model_validate({"triggers": {"files": [file]}})
    calm = scenario(lasts="5m", agents=3)
    told = simulate(calm, seed=1, settings=nervous)
    assert told["run"]["actions"] >= 1, "nothing happened, so this shows nothing"
    assert told == simulate(calm, seed=1, settings=nervous, every_instant=True)


def test_another_seed_gives_another_outcome() -> None:
    events = [simulate(scenario(lasts="2m"), seed=seed)["events"] for seed in (3, 4)]
    assert events[0] != events[1]


def test_without_healing_everything_is_seen_and_nothing_done(healed: dict[str, Any]) -> None:
    told = simulate(scenario(SLOW), seed=3, healing=False)
    (row,) = told["faults"]
    assert row["detected_after_s"] == healed["faults"][0]["detected_after_s"]
    assert (row["actions"], row["repaired"], row["healed_after_s"]) == ([], False, None)
    assert row["sick_s"] == healed["faults"][0]["sick_without_healing_s"] == 25 * 60 - 120
    assert told["run"]["actions"] == 0


def test_a_healthy_fleet_has_no_incident() -> None:
    told = simulate(scenario(lasts="40m"), seed=5)
    assert told["faults"] == []
    assert (told["run"]["recall"], told["run"]["incidents"], told["run"]["actions"]) == (None, 0, 0)


def test_an_incident_that_no_fault_explains_is_false_and_restraining_for_it_harmful(tmp_path: Path) -> None:
    file = tmp_path / "nervous.toml"
    file.write_text('[[trigger]]\nname = "high_retry_rate"\ncondition = { kind = "threshold", value = 1 }\n')
    nervous = Settings.model_validate({"triggers": {"files": [file]}})
    run = simulate(scenario(lasts="5m", agents=2), seed=5, settings=nervous)["run"]
    assert {each["trigger"] for each in run["false_incidents"]} == {"high_retry_rate"}
    assert run["false_incidents_per_agent_week"] > 0
    assert run["harmful_actions"] >= 1


def test_what_a_provider_breaks_is_one_fault_of_many_agents() -> None:
    faults = faults_of(Injection(kind="error_burst", model="atlas-2", at=60), 0, 8)
    assert [fault.agent for fault in faults] == ["Coder", "Tester", "Summarizer"]
    told = simulate(scenario({"kind": "error_burst", "model": "atlas-2", "at": "2m", "lasts": "10m"}), seed=3)
    (row,) = told["faults"]
    assert row["agents"] == ["Coder", "Summarizer", "Tester"]
    assert not row["repaired"]


def test_progress_is_told_up_to_the_end() -> None:
    shares: list[float] = []
    simulate(scenario(lasts="1m"), seed=1, progress=shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_nothing_is_left_behind_and_the_real_state_is_not_touched(tmp_path: Path) -> None:
    settings = Settings.model_validate(
        {
            "telemetry": {"dir": tmp_path / "telemetry"},
            "storage": {"state_dir": tmp_path / "state", "logs_dir": tmp_path / "logs"},
        }
    )
    simulate(scenario(lasts="1m"), seed=1, settings=settings)
    assert list(tmp_path.iterdir()) == []


def test_every_shipped_scenario_loads_and_says_what_it_shows() -> None:
    assert len(shipped()) == 10
    for name in shipped():
        loaded, found = load(name)
        assert loaded == name
        assert found.description.endswith(".")


def test_every_kind_of_fault_can_be_injected() -> None:
    assert set(KindOfFault.__args__) == set(KINDS)  # type: ignore[attr-defined] # typing knows no such attribute


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("agents = 2", "lasts: missing: allowed is a whole number and one of s, m, h, d"),
        ('lasts = "1h"\nagent = 3', "agent: 3: unknown; did you mean agents?"),
        (
            'lasts = "1h"\n[[fault]]\nkind = "token_lek"\nat = "1m"',
            'fault.0.kind: "token_lek": unknown; did you mean token_leak?',
        ),
        ('lasts = "1h"\n[[fault]]\nkind = "token_leak"\nat = "2h"', "fault.0.at: 2h: allowed is less than lasts"),
        (
            'lasts = "1h"\n[[fault]]\nkind = "token_leak"\nat = "2m"\nagents = ["Codr"]',
            'fault.0.agents: "Codr": none of the fleet of 24; did you mean Coder?',
        ),
        (
            'lasts = "1h"\n[[fault]]\nkind = "token_leak"\nat = "2m"\nmodel = "atlas"',
            'fault.0.model: "atlas": did you mean atlas-2? allowed are atlas-2, atlas-2-mini, boreal-1',
        ),
        (
            'lasts = "1h"\n[[fault]]\nkind = "token_leak"\nat = "2m"\nmodel = "atlas-2"\nagents = ["Coder"]',
            "mine.toml:5: fault.0.model: agents and model: allowed is one of them",
        ),
        ("lasts = ", "allowed is TOML"),
    ],
)
def test_a_mistake_in_a_scenario_is_named(text: str, problem: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(str(file))
    assert problem in str(caught.value)
    assert str(file) in str(caught.value)


def test_a_scenario_that_is_not_there_is_named_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="one_of_eech: no such file or scenario; did you mean one_of_each"):
        load("one_of_eech")


def test_faults_are_timed_from_the_start_of_the_scenario() -> None:
    (fault,) = faults_of(Injection(kind="token_leak", at=60, lasts=30), 2, 24)
    assert (fault.name, fault.starts_after_s, fault.ends_after_s) == ("2:token_leak:Summarizer", 60.0, 90.0)


def test_a_seed_draws_the_same_troubles_and_many_draw_every_kind() -> None:
    drawn = [drawn_of(seed) for seed in range(64)]
    assert drawn == [drawn_of(seed) for seed in range(64)]
    assert {fault.kind for each in drawn for fault in each.faults} == set(KINDS)
    assert {fault.repair for each in drawn for fault in each.faults} == set(Repair)
    assert any(not each.faults for each in drawn)


def test_on_a_terminal_a_bar_shows_how_far_it_has_come(tmp_path: Path) -> None:
    file = tmp_path / "quiet.toml"
    file.write_text('lasts = "2h"\nagents = 20\nhistory = "2h"\n')  # for a bar it must take more than a second
    ours, theirs = pty.openpty()
    command = [COMMAND, "simulate", str(file), "--format", "json"]
    run = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=theirs)
    os.close(theirs)
    shown = b""
    with suppress(OSError):  # on Linux that is how a terminal ends
        while some := os.read(ours, 4096):
            shown += some
    os.close(ours)
    told, _ = run.communicate()
    assert b"quiet" in shown
    assert json.loads(told)["lasts_s"] == 7200
