"""Files of tests: every mistake at once, each with its file, its test, its key, its value and what is allowed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from self_healing.config import Settings, load_spec
from self_healing.errors import ConfigError
from self_healing.spec_tests.declared import read_tests

SETTINGS = Settings()
EXPECT = 'expect = [{ at = "1m", trigger = "slow_tasks", group = { agent = "Coder" }, state = "firing" }]'


def problems(tmp_path: Path, text: str) -> list[str]:
    """What is wrong with a file that says `text`, without the directory and the lines."""
    file = tmp_path / "tests.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as refused:
        read_tests([file], SETTINGS, load_spec(SETTINGS))
    return [re.sub(r"toml:\d+", "toml", problem.removeprefix(f"{tmp_path}/")) for problem in refused.value.problems]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ('intervall = "1m"', 'test.0.intervall: "1m": unknown; did you mean interval?'),
        ('interval = "0s"', 'test.0.interval: "0s": allowed is more than 0s'),
        ('start = "2026-01-05T10:00:00"', "test.0.start: "),
        ("start = 0001-01-01T00:00:00Z", "test.0.start: "),
        ("start = 9999-12-31T23:59:00Z", "test.0.start: "),
        (
            'series = [{ signal = "task.duration_s", samples = "5", from = -99999999999999 }]',
            "test.0.series.0.from: -99999999999999: allowed is at most 3650d",
        ),
        (
            'series = [{ signal = "task.duration_s", samples = "5x900", interval = "3650d" }]',
            'test.0.series.0.samples: "5x900": allowed are samples up to 3650d after the start',
        ),
        (
            'series = [{ signal = "task.duration", samples = "5" }]',
            'test.0.series.0.signal: "task.duration": unknown; did you mean task.duration_s?',
        ),
        (
            'series = [{ signal = "task.duration_s", group = { agnt = "C" }, samples = "5" }]',
            'test.0.series.0.group.agnt: "C": unknown; did you mean agent?',
        ),
        ('series = [{ signal = "task.duration_s", samples = "5 ab" }]', 'test.0.series.0.samples: "5 ab": ab: allowed'),
        (
            'series = [{ signal = "task.tests", samples = "5" }]',
            'test.0.series.0.samples: "5": task.tests is a part of a whole: allowed are 2/10',
        ),
        (
            'series = [{ signal = "task.cost_usd", samples = "1/2" }]',
            'test.0.series.0.samples: "1/2": task.cost_usd is no part of a whole',
        ),
        (
            'series = [{ signal = "task.attempts", samples = "1.5" }]',
            'test.0.series.0.samples: "1.5": attempt: 1.5: allowed is int',
        ),
        (
            'series = [{ signal = "task.quality", samples = "2" }]',
            'test.0.series.0.samples: "2": q: 2: allowed is float <= 1.0',
        ),
        (
            'event = [{ at = "0s", type = "task_finishd" }]',
            'test.0.event.0.type: "task_finishd": unknown; did you mean task_finished?',
        ),
        (
            'event = [{ at = "0s", type = "task_finished", duration_s = "x" }]',
            'test.0.event.0: duration_s: "x": allowed is float',
        ),
    ],
)
def test_a_mistake_in_what_is_pushed_is_named(tmp_path: Path, wrong: str, said: str) -> None:
    (problem,) = problems(tmp_path, f'[[test]]\nname = "t"\n{EXPECT}\n{wrong}\n')
    assert problem.startswith(f"tests.toml: test t: {said}")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (
            'trigger = "slow_task", group = { agent = "C" }, state = "firing"',
            'trigger: "slow_task": unknown; did you mean slow_tasks?',
        ),
        ('trigger = "slow_tasks", state = "firing"', "group: {}: allowed is a value for agent"),
        (
            'trigger = "slow_tasks", group = { agent = "C", model = "m" }, state = "firing"',
            'group: {"agent": "C", "model": "m"}: allowed is a value for agent',
        ),
        (
            'trigger = "slow_tasks", group = { agent = "C" }, state = "fireing"',
            'state: "fireing": unknown; did you mean firing? allowed are inactive, pending',
        ),
        (
            'trigger = "slow_tasks", group = { agent = "C" }, reason = "nodata"',
            'reason: "nodata": unknown; did you mean no_data? allowed are condition_met',
        ),
        (
            'trigger = "slow_tasks", group = { agent = "C" }, actions = { analyse = "dispatched" }',
            'actions.analyse: "analyse": unknown; ',
        ),
        (
            'trigger = "slow_tasks", group = { agent = "C" }, actions = { analyze_slow_tasks = "done" }',
            'actions.analyze_slow_tasks: "done": unknown; allowed are intended, dispatched, succeeded',
        ),
        (
            'trigger = "slow_tasks", group = { agent = "C" }, directives = { pause = true }',
            'directives.pause: "pause": unknown; did you mean paused?',
        ),
    ],
)
def test_a_mistake_in_what_is_expected_is_named(tmp_path: Path, wrong: str, said: str) -> None:
    (problem,) = problems(tmp_path, f'[[test]]\nname = "t"\nexpect = [{{ at = "1m", {wrong} }}]\n')
    assert problem.startswith(f"tests.toml: test t: test.0.expect.0.{said}")


def test_every_mistake_in_a_file_is_found_at_once(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        """
        triggers = ["missing.toml"]
        [[test]]
        name = "first"
        series = [{ signal = "task.tokns", samples = "5" }, { signal = "task.tokens", samples = "5 five" }]
        expect = [{ at = "1m", trigger = "slow_tasks" }]
        [[test]]
        name = "second"
        event = [{ at = "1m", type = "heart_beat" }]
        expect = [{ at = "1m", until = "10s", trigger = "slow_tasks", state = "firing" }]
        """,
    )
    assert [problem.removeprefix("tests.toml: test ").split(": ")[:2] for problem in found] == [
        ["first", "test.0.expect.0"],
        ["second", "test.1.expect.0"],
        ["missing.toml", "no such file"],
        ["first", "test.0.series.0.signal"],
        ["first", "test.0.series.1.samples"],
        ["second", "test.1.event.0.type"],
    ]


def test_a_mistake_is_told_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "tests.toml"
    file.write_text(
        f'[[test]]\nname = "t"\n{EXPECT}\n[[test.series]]\nsignal = "task.tokens"\nsamples = "five"\nfrm = "1h"\n'
    )
    with pytest.raises(ConfigError) as refused:
        read_tests([file], SETTINGS, load_spec(SETTINGS))
    assert [problem.partition(": ")[0] for problem in refused.value.problems] == [f"{file}:7"]
    file.write_text(file.read_text().replace("frm", "from"))
    with pytest.raises(ConfigError) as refused:
        read_tests([file], SETTINGS, load_spec(SETTINGS))
    assert [problem.partition(": ")[0] for problem in refused.value.problems] == [f"{file}:6"]


def test_two_tests_of_one_name_and_a_file_without_any_are_refused(tmp_path: Path) -> None:
    twice = f'[[test]]\nname = "t"\n{EXPECT}\n'
    assert problems(tmp_path, twice + twice) == ['tests.toml: test t: test.1.name: "t": allowed is once in a file']
    assert problems(tmp_path, "test = []")[0].endswith("test: there is none; allowed are one or more tables [[test]]")
    (nothing,) = problems(tmp_path, '[[test]]\nname = "t"\nexpect = []')
    assert nothing.endswith("nothing is expected; allowed is one or more")
    assert problems(tmp_path, "test = 5")[0] == "tests.toml: test: 5: allowed is a list"
    assert problems(tmp_path, "[[test")[0].endswith("allowed is TOML")


def test_a_file_that_names_its_own_triggers_is_tried_on_those_over_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('[[trigger]]\nname = "slow_tasks"\nwindow = "1m"\n')
    file = tmp_path / "tests.toml"
    file.write_text(f'triggers = ["mine.toml"]\n[[test]]\nname = "t"\n{EXPECT}\n')
    (test,) = read_tests([file], SETTINGS, load_spec(SETTINGS))
    assert test.spec.trigger("slow_tasks").window == 60
    assert len(test.spec.triggers) == 7


def test_a_name_that_may_be_one_of_several_lists_is_told_with_the_nearest(tmp_path: Path) -> None:
    (found,) = problems(
        tmp_path, f'[[test]]\nname = "t"\n{EXPECT.replace("state = ", "incident = ").replace("firing", "opened")}\n'
    )
    assert '"opened": unknown; did you mean open? allowed are open, acting, ' in found
    assert found.endswith(", closed, none")


def test_triggers_of_its_own_that_fail_their_boundary_tests_are_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        '[[trigger]]\nname = "slow_tasks"\ncondition = { kind = "threshold", op = "<", value = 0 }\n'
    )
    found = problems(tmp_path, f'triggers = ["mine.toml"]\n[[test]]\nname = "t"\n{EXPECT}\n')
    assert found[0].startswith(
        "mine.toml: trigger slow_tasks: condition.value: 0: no value of task.duration_s meets it"
    )
