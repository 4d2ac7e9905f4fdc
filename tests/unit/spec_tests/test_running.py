"""Tests of triggers on the real loop: what holds passes, and what does not is told with what was shown instead."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest

from self_healing.config import Settings, load_spec
from self_healing.spec_tests import running
from self_healing.spec_tests.pushing import SHARES, VALUES
from self_healing.spec_tests.running import Moment, Ran, run_files
from self_healing.spec_tests.telling import as_json, told
from self_healing.triggers.declared import in_pack

SHIPPED = sorted((Path(running.__file__).parents[1] / "triggers").glob("*_tests.toml"))
SETTINGS = Settings()


@cache
def shipped(file: Path) -> list[Ran]:
    return run_files([file], SETTINGS, load_spec(SETTINGS))


def ran(tmp_path: Path, text: str, settings: Settings = SETTINGS) -> list[Ran]:
    file = tmp_path / "tests.toml"
    file.write_text(text)
    return run_files([file], settings, load_spec(settings))


def lines(tmp_path: Path, text: str) -> list[str]:
    return [line.removeprefix(f"{tmp_path}/") for each in ran(tmp_path, text) for line in told(each)]


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.name)
def test_what_is_shipped_passes_its_tests(file: Path) -> None:
    done = shipped(file)
    assert [line for each in done for line in told(each)] == []


def test_each_of_the_seven_defaults_is_tested() -> None:
    done = [ran for file in SHIPPED if file.name == "defaults_tests.toml" for ran in shipped(file)]
    fired = {expected.trigger for each in done for expected in each.test.case.expect if expected.state == "firing"}
    assert fired == {trigger.name for trigger in load_spec(SETTINGS).triggers if trigger.enabled}


def test_each_of_the_pack_is_seen_to_fire_in_its_tests() -> None:
    done = [ran for file in SHIPPED if file.name == "pack_tests.toml" for ran in shipped(file)]
    fired = {expected.trigger for each in done for expected in each.test.case.expect if expected.state == "firing"}
    assert fired == in_pack()


def test_a_failure_is_told_with_what_was_expected_and_what_was_shown_around_it(tmp_path: Path) -> None:
    found = lines(
        tmp_path,
        """
        [[test]]
        name = "a task of a minute fires"
        series = [{ signal = "task.duration_s", group = { agent = "Coder" }, samples = "5 59" }]
        [[test.expect]]
        at = "1m"
        trigger = "slow_tasks"
        group = { agent = "Coder" }
        state = "firing"
        value = 60
        incident = "acting"
        """,
    )
    assert found == [
        "tests.toml: test a task of a minute fires: failed",
        "  at 1m: slow_tasks of agent=Coder",
        "    state     expected firing  got inactive",
        "    value     expected 1m      got 59s",
        "    incident  expected acting  got none",
        "    what it showed:",
        "      from 0s       inactive   below_threshold  value 5s of 1m, 1 sample",
        "    > from 1m       inactive   below_threshold  value 59s of 1m, 2 samples",
    ]


def test_what_was_shown_goes_on_after_the_failure(tmp_path: Path) -> None:
    (test,) = ran(
        tmp_path,
        """
        [[test]]
        name = "too late"
        series = [{ signal = "task.duration_s", group = { agent = "Coder" }, samples = "5x5 60" }]
        expect = [
          { at = "4m", trigger = "slow_tasks", group = { agent = "Coder" }, state = "firing" },
          { at = "5m", trigger = "slow_tasks", group = { agent = "Coder" }, state = "firing" },
        ]
        """,
    )
    told_json: dict[str, Any] = as_json([test])
    assert (told_json["tests"], told_json["passed"], told_json["failed"]) == (1, 0, 1)
    (failure,) = told_json["results"][0]["failures"]
    assert failure["differences"] == [{"what": "state", "expected": "firing", "got": "inactive"}]
    assert [(each["from_s"], each["state"]) for each in failure["showed"]] == [
        (60, "inactive"),
        (120, "inactive"),
        (180, "inactive"),
        (240, "inactive"),
        (300, "firing"),
    ]


def test_until_asks_for_every_instant_and_names_the_first_that_differs(tmp_path: Path) -> None:
    (test,) = ran(
        tmp_path,
        """
        [[test]]
        name = "quiet all along"
        series = [{ signal = "task.duration_s", group = { agent = "Coder" }, samples = "5x5 60 5x3" }]
        expect = [{ at = "0s", until = "8m", trigger = "slow_tasks", group = { agent = "Coder" }, state = "inactive" }]
        """,
    )
    assert [failure.at_s for failure in test.failures] == [300]


@pytest.mark.parametrize(
    ("start", "grid", "at"),
    [("10:00:00", "10s", "95s"), ("10:00:00", "60s", "90s"), ("10:00:07", "10s", "60s"), ("10:00:00.5", "1s", "60s")],
)
def test_what_is_expected_between_two_instants_of_the_grid_is_looked_at(
    tmp_path: Path, start: str, grid: str, at: str
) -> None:
    found = ran(
        tmp_path,
        f"""
        [[test]]
        name = "a task of 70 s is borne"
        start = 2026-01-05T{start}Z
        series = [{{ signal = "task.duration_s", group = {{ agent = "Coder" }}, samples = "70" }}]
        expect = [{{ at = "{at}", trigger = "slow_tasks", group = {{ agent = "Coder" }}, state = "inactive" }}]
        """,
        Settings.model_validate({"triggers": {"grid": grid}}),
    )
    assert [failure.at_s for each in found for failure in each.failures] == [float(at.removesuffix("s"))]


def test_a_composite_that_is_switched_off_is_tested_with_its_members_on(tmp_path: Path) -> None:
    common = 'type = "custom"\nseverity = "low"\ntarget_agent = "Ann"\nenabled = false\n'
    (tmp_path / "t.toml").write_text(
        f'[[trigger]]\nname = "both"\n{common}condition = {{ kind = "composite", any = ["long", "longer"] }}\n'
        + "".join(
            f'[[trigger]]\nname = "{name}"\n{common}signal = "task.duration_s"\naggregate = "max"\nwindow = "1m"\n'
            f'condition = {{ kind = "threshold", value = {value} }}\n'
            for name, value in (("long", 60), ("longer", 90))
        )
    )
    (test,) = ran(
        tmp_path,
        """
        [[test]]
        name = "one of them is enough"
        series = [{ signal = "task.duration_s", group = { agent = "Coder" }, samples = "70" }]
        expect = [{ at = "0s", trigger = "both", group = { agent = "Coder" }, state = "firing" }]
        """,
        Settings.model_validate({"triggers": {"files": [tmp_path / "t.toml"]}}),
    )
    assert told(test) == []


def test_a_trigger_that_is_switched_off_is_tested_as_if_it_were_on(tmp_path: Path) -> None:
    file = tmp_path / "tests.toml"
    file.write_text(
        """
        [[test]]
        name = "fires"
        series = [{ signal = "task.duration_s", group = { agent = "Coder" }, samples = "60" }]
        expect = [{ at = "0s", trigger = "slow_tasks", group = { agent = "Coder" }, state = "firing" }]
        """
    )
    spec = load_spec(SETTINGS, {"slow_tasks": {"enabled": False}})
    (test,) = run_files([file], SETTINGS, spec)
    assert not test.failures


def test_an_action_is_followed_to_its_verified_end(tmp_path: Path) -> None:
    found = lines(
        tmp_path,
        """
        [[test]]
        name = "the handoff runs out, good work follows, and the incident is healed"
        series = [
          { signal = "task.duration_s", group = { agent = "Coder" }, samples = "60" },
          { signal = "task.duration_s", group = { agent = "Coder" }, from = "16m", samples = "5x5" },
        ]
        [[test.expect]]
        at = "0s"
        trigger = "slow_tasks"
        group = { agent = "Coder" }
        incident = "acting"
        actions = { analyze_slow_tasks = "dispatched" }
        [[test.expect]]
        at = "16m"
        trigger = "slow_tasks"
        group = { agent = "Coder" }
        incident = "verifying"
        [[test.expect]]
        at = "18m"
        trigger = "slow_tasks"
        group = { agent = "Coder" }
        incident = "closed"
        close_reason = "healed"
        """,
    )
    assert found == []


def test_a_quantile_is_taken_as_it_is_told_to_two_in_a_hundred(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        """
        [[trigger]]
        name = "slow_tail"
        type = "custom"
        signal = "task.duration_s"
        aggregate = "p90"
        window = "10m"
        condition = { kind = "threshold", op = ">=", value = 40 }
        severity = "low"
        target_agent = "Operator"
        """
    )
    test = """
        triggers = ["mine.toml"]
        [[test]]
        name = "p90"
        series = [{{ signal = "task.duration_s", group = {{ agent = "Coder" }}, samples = "10x9 50", interval = "1s" }}]
        expect = [{{ at = "9s", trigger = "slow_tail", group = {{ agent = "Coder" }}, value = {value} }}]
        """
    assert lines(tmp_path, test.format(value=10)) == []
    assert "expected 11s  got" in lines(tmp_path, test.format(value=11))[2]


MEASURED = {
    "task.duration_s": ("slow_tasks", "5"),
    "task.attempts": ("high_retry_rate", "2"),
    "task.errors": ("high_error_rate", "0/1"),
    "task.tokens": ("token_usage_spike", "100"),
    "task.cost_usd": ("cost_efficiency_degradation", "0.1"),
    "task.tests": ("test_failure_spike", "0/1"),
    "task.quality": ("scores", "0.9"),
}
"""By signal: a trigger on it, and one sample."""


def test_each_signal_that_has_a_notation_is_among_those_whose_samples_are_told_apart() -> None:
    assert set(MEASURED) == {*SHARES, *VALUES}


def test_a_pushed_sample_reaches_its_own_measure_and_no_other(tmp_path: Path) -> None:
    tests = [("metric.queue", "3"), *((signal, samples) for signal, (_, samples) in MEASURED.items())]
    text = 'triggers = ["scores.toml"]\n'
    for pushed, samples in tests:
        text += f'[[test]]\nname = "{pushed}"\n'
        text += f'series = [{{ signal = "{pushed}", group = {{ agent = "Coder" }}, samples = "{samples}" }}]\n'
        for signal, (trigger, _) in MEASURED.items():
            text += f'[[test.expect]]\nat = "0s"\ntrigger = "{trigger}"\ngroup = {{ agent = "Coder" }}\n'
            text += f"samples = {int(signal == pushed)}\n"
    (tmp_path / "scores.toml").write_text(
        '[[trigger]]\nname = "scores"\ntype = "custom"\nsignal = "task.quality"\naggregate = "mean"\nwindow = "10m"\n'
        'condition = { kind = "threshold", op = "<", value = 0.6 }\nseverity = "low"\ntarget_agent = "Operator"\n'
    )
    assert lines(tmp_path, text) == []


QUICK = """
[[trigger]]
name = "slow_tasks"
window = "50s"
keep_firing_for = "10s"

[[trigger]]
name = "high_error_rate"
window = "2m"
keep_firing_for = "10s"
"""
QUICK_ACTIONS = """
[[action]]
name = "analyze_slow_tasks"
handoff_deadline = "2m"

[[action]]
name = "handle_error_spike"
handoff_deadline = "2m"
hold_off = "30s"
"""


def test_turning_only_where_something_can_happen_shows_what_turning_each_second_shows(tmp_path: Path) -> None:
    text = """
        triggers = ["quick.toml"]
        [[test]]
        name = "a life"
        interval = "10s"
        series = [
          { signal = "task.duration_s", group = { agent = "Coder" }, samples = "5 60 5x3 _x12 5x9" },
          { signal = "task.errors", group = { agent = "Tester" }, samples = "3/10 _x6 0/3 0/3 0/3 _x5 0/9x3" },
          EACH_SECOND
        ]
        [[test.expect]]
        at = "0s"
        until = "5m"
        trigger = "slow_tasks"
        group = { agent = "Coder" }
        value = -1
        [[test.expect]]
        at = "0s"
        until = "5m"
        trigger = "high_error_rate"
        group = { agent = "Tester" }
        value = -1
        """
    (tmp_path / "quick.toml").write_text(QUICK)
    (tmp_path / "actions.toml").write_text(QUICK_ACTIONS)
    quick = Settings.model_validate({"actions": {"files": [tmp_path / "actions.toml"]}})
    tick = '{ signal = "metric.tick", samples = "1x300", interval = "1s" }'
    skipping, stepping = (
        [
            failure.path
            for each in ran(tmp_path, text.replace("EACH_SECOND", further), quick)
            for failure in each.failures
        ]
        for further in ("", tick)
    )
    assert [[_shown(moment) for moment in path] for path in skipping] == [
        [_shown(moment) for moment in path] for path in stepping
    ]
    assert {moment.verdict.state.name for path in skipping for moment in path} >= {"FIRING", "RECOVERING", "INACTIVE"}


def _shown(moment: Moment) -> tuple[object, ...]:
    """A moment without what depends on when it was looked at."""
    verdict = moment.verdict
    return moment.at_s, verdict.state, verdict.reason, verdict.value, verdict.samples
