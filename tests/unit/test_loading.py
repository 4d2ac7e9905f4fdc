"""Loading: a spec goes live only when the boundary tests and a person's own tests pass."""

from __future__ import annotations

from pathlib import Path

import pytest

from self_healing.clock import FakeClock
from self_healing.config import Settings
from self_healing.errors import ConfigError
from self_healing.loading import load_tested
from self_healing.orchestrator import SelfHealingOrchestrator
from self_healing.testing import MONDAY

HOLDS = """
[[test]]
name = "a task of a minute fires"
series = [{ signal = "task.duration_s", group = { agent = "Coder" }, samples = "60" }]
expect = [{ at = "0s", trigger = "slow_tasks", group = { agent = "Coder" }, state = "firing" }]
"""
FAILS = HOLDS.replace('samples = "60"', 'samples = "59"')


def settings(tmp_path: Path, tests: str) -> Settings:
    file = tmp_path / "tests.toml"
    file.write_text(tests)
    return Settings.model_validate(
        {
            "triggers": {"tests": [file]},
            "telemetry": {"dir": tmp_path / "telemetry"},
            "storage": {"state_dir": tmp_path / "state", "logs_dir": tmp_path / "logs"},
        }
    )


def test_a_spec_whose_tests_pass_is_loaded(tmp_path: Path) -> None:
    spec = load_tested(settings(tmp_path, HOLDS), {}).spec
    assert spec.version == load_tested(Settings(), {}).spec.version, "tests are no part of the spec"


def test_a_failing_test_refuses_the_start_and_says_what_differs(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        SelfHealingOrchestrator.open(settings(tmp_path, FAILS), clock=FakeClock(MONDAY))
    assert refused.value.problems[1:3] == [
        "  at 0s: slow_tasks of agent=Coder",
        "    state  expected firing  got inactive",
    ]


def test_a_trigger_that_fails_at_its_boundaries_is_told_with_file_and_line_or_as_an_override(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('[[trigger]]\nname = "slow_tasks"\nclear = -1\n')
    mine = Settings.model_validate({"triggers": {"files": [file]}})
    said = "-1: no value of task.duration_s meets it, so it can never recover"
    with pytest.raises(ConfigError) as refused:
        load_tested(mine, {})
    assert refused.value.problems == [f"{file}:3: trigger slow_tasks: clear: {said}"]
    with pytest.raises(ConfigError) as refused:
        load_tested(Settings(), {"slow_tasks": {"clear": -1}})
    assert refused.value.problems == [f"override: trigger slow_tasks: clear: {said}"]


def test_a_mistake_in_a_file_of_tests_refuses_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown; did you mean slow_tasks"):
        load_tested(settings(tmp_path, HOLDS.replace("slow_tasks", "slow_task")), {})
    missing = Settings.model_validate({"triggers": {"tests": [tmp_path / "none.toml"]}})
    with pytest.raises(ConfigError, match="no such file"):
        load_tested(missing, {})


def test_who_only_looks_is_not_kept_from_it_by_a_failing_test(tmp_path: Path) -> None:
    SelfHealingOrchestrator.open(settings(tmp_path, HOLDS), clock=FakeClock(MONDAY)).close()
    with SelfHealingOrchestrator.open(settings(tmp_path, FAILS), clock=FakeClock(MONDAY), read_only=True) as looking:
        assert looking.spec.trigger("slow_tasks").enabled


def test_who_only_looks_needs_none_of_the_functions_that_the_service_calls(tmp_path: Path) -> None:
    actions = tmp_path / "actions.toml"
    actions.write_text('[[action]]\nname = "analyze_slow_tasks"\nfunction = "no_such_module:drain"\n')
    given = settings(tmp_path, HOLDS).model_dump() | {
        "actions": {
            "files": [actions],
            "channels": {"agents": {"kind": "python", "function": "no_such_module:take"}},
        }
    }
    with pytest.raises(ConfigError) as refused:
        load_tested(Settings.model_validate(given), {})
    assert [problem.count("No module named 'no_such_module'") for problem in refused.value.problems] == [1, 1]
    assert load_tested(Settings.model_validate(given), {}, looking=True).spec.action("analyze_slow_tasks").function


def test_a_change_at_run_time_that_fails_a_test_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    with SelfHealingOrchestrator.open(settings(tmp_path, HOLDS), clock=FakeClock(MONDAY)) as loop:
        before = loop.spec.version
        with pytest.raises(ConfigError, match="test a task of a minute fires: failed"):
            loop.override_trigger(
                "slow_tasks", {"condition": {"kind": "threshold", "op": ">=", "value": 90}}, "a person"
            )
        assert loop.spec.version == before
        assert loop.override_trigger("slow_tasks", {"enabled": False}, "a person").enabled is False


def test_the_state_of_a_test_is_never_the_fleets(tmp_path: Path) -> None:
    load_tested(settings(tmp_path, HOLDS), {})
    assert sorted(each.name for each in tmp_path.iterdir()) == ["tests.toml"]
