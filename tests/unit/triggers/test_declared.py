"""Triggers as declared: the seven defaults, merging, and every mistake named."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from self_healing.actions.registry import ActionRegistry
from self_healing.documents import read_document
from self_healing.durations import ALLOWED
from self_healing.errors import ConfigError
from self_healing.spec import Baseline, Spec, Threshold, TriggerSpec
from self_healing.triggers.declared import PACK, in_pack, load_triggers, read_triggers
from self_healing.triggers.selftest import failures

MINUTE = 60
HOUR = 60 * MINUTE
KEYS = (
    "name, type, signal, aggregate, window, group_by, max_series, where, condition, for, clear, keep_firing_for, "
    "flap_after, flap_window, inhibited_by, min_samples, no_data, severity, target_agent, actions, when, enabled, "
    "description"
)
NEW = """
[[trigger]]
name = "poor_quality"
type = "quality"
signal = "task.quality"
aggregate = "mean"
window = "10m"
condition = { kind = "threshold", op = "<", value = 0.6 }
severity = "medium"
target_agent = "Reviewer"
"""

KINDS = "threshold, baseline, rate_of_change, absence, composite"


def problems(tmp_path: Path, *texts: str, actions: tuple[str, ...] | None = None) -> list[str]:
    """What is wrong with files 0.toml, 1.toml, ... of these texts, without the directory's name."""
    files = []
    for number, text in enumerate(texts):
        files.append(tmp_path / f"{number}.toml")
        files[-1].write_text(text)
    with pytest.raises(ConfigError) as refused:
        load_triggers(files, actions=actions)
    return [problem.replace(f"{tmp_path}/", "") for problem in refused.value.problems]


def by_name(*files: Path, **options: Any) -> dict[str, TriggerSpec]:
    return {trigger.name: trigger for trigger in load_triggers(files, **options)}


def condition(trigger: TriggerSpec) -> str:
    match trigger.condition:
        case Threshold(op=op, value=value):
            return f"{op.value} {value:g}"
        case Baseline(ratio=ratio, over=over, min_samples=least):
            return f">= {ratio:g}x of {over} s with {least}"
        case other:
            raise AssertionError(other)


def test_the_defaults_are_exactly_the_seven() -> None:
    table = [
        (t.name, t.type.value, t.aggregate.value, t.signal, condition(t), t.window, t.target_agent, t.actions)
        for t in load_triggers([])
    ]
    assert table == [
        ("slow_tasks", "bottleneck", "max", "task.duration_s", ">= 60", 5 * MINUTE,
         "ChiefArchitectAgent", ("analyze_slow_tasks",)),
        ("high_retry_rate", "bottleneck", "max", "task.attempts", ">= 3", 15 * MINUTE,
         "AuditorAgent", ("resolve_retry_failures",)),
        ("high_error_rate", "bottleneck", "ratio", "task.errors", ">= 0.2", 15 * MINUTE,
         "TestGeneratorAgent", ("handle_error_spike",)),
        ("token_usage_spike", "cost", "mean", "task.tokens", ">= 4x of 86400 s with 20", 15 * MINUTE,
         "ChiefArchitectAgent", ("optimize_token_usage",)),
        ("cost_efficiency_degradation", "cost", "mean", "task.cost_usd", "> 0.5", HOUR,
         "PlannerAgent", ("adjust_cost_policies",)),
        ("test_failure_spike", "quality", "ratio", "task.tests", "> 0.05", 30 * MINUTE,
         "TestGeneratorAgent", ("enforce_test_standards",)),
        ("duration_increase", "performance", "mean", "task.duration_s", ">= 1.5x of 86400 s with 20", 30 * MINUTE,
         "AuditorAgent", ("optimize_task_performance",)),
    ]  # fmt: skip


def test_the_defaults_have_exactly_these_severities_samples_and_recovery_thresholds() -> None:
    assert {t.name: (t.severity.value, t.min_samples, t.clear) for t in load_triggers([])} == {
        "slow_tasks": ("high", 1, None),
        "high_retry_rate": ("high", 1, None),
        "high_error_rate": ("critical", 10, 0.10),
        "token_usage_spike": ("high", 5, None),
        "cost_efficiency_degradation": ("medium", 5, None),
        "test_failure_spike": ("critical", 20, 0.025),
        "duration_increase": ("high", 5, None),
    }


def test_the_defaults_fire_at_once_recover_in_a_minute_keep_on_silence_and_group_by_agent() -> None:
    rest = {
        (t.for_s, t.keep_firing_for, t.no_data.value, t.group_by, tuple(t.where), t.enabled) for t in load_triggers([])
    }
    assert rest == {(0, 60, "keep", ("agent",), (), True)}


def test_every_default_says_what_it_finds() -> None:
    assert all(trigger.description.endswith(".") for trigger in load_triggers([]))


def test_a_table_named_like_a_default_changes_only_the_keys_it_gives(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('[[trigger]]\nname = "high_error_rate"\nwindow = "5m"\nfor = "30s"\n')
    before, after = by_name(), by_name(file)
    assert after["high_error_rate"] == before["high_error_rate"].model_copy(update={"window": 300, "for_s": 30})
    assert {**after, "high_error_rate": None} == {**before, "high_error_rate": None}


def test_another_name_declares_a_new_trigger_after_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(NEW)
    assert [trigger.name for trigger in load_triggers([file])] == [*by_name(), "poor_quality"]
    assert by_name(file)["poor_quality"].condition == Threshold.model_validate({"op": "<", "value": 0.6})


def test_of_several_files_the_later_wins_key_by_key(tmp_path: Path) -> None:
    first, second = tmp_path / "1.toml", tmp_path / "2.toml"
    first.write_text(NEW + 'clear = 0.7\n[[trigger]]\nname = "slow_tasks"\nwindow = "1m"\nmin_samples = 2\n')
    second.write_text(
        '[[trigger]]\nname = "slow_tasks"\nwindow = "2m"\n[[trigger]]\nname = "poor_quality"\nclear = 0.8\n'
    )
    triggers = by_name(first, second)
    assert (triggers["slow_tasks"].window, triggers["slow_tasks"].min_samples) == (120, 2)
    assert (triggers["poor_quality"].clear, triggers["poor_quality"].window) == (0.8, 600)


def test_an_override_wins_over_the_files(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('[[trigger]]\nname = "slow_tasks"\nenabled = true\nwindow = "1m"\n')
    slow = by_name(file, overrides={"slow_tasks": {"enabled": False}})["slow_tasks"]
    assert (slow.enabled, slow.window) == (False, 60)


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (
            {"slow_task": {"enabled": False}},
            'override: trigger slow_task: name: "slow_task": unknown; did you mean slow_tasks?',
        ),
        (
            {"slow_tasks": {"enabled": "perhaps"}},
            'override: trigger slow_tasks: enabled: "perhaps": allowed is true or false',
        ),
        ({"slow_tasks": {"name": "x"}}, 'override: trigger slow_tasks: name: "x": allowed are the other keys'),
    ],
)
def test_an_override_is_validated_like_a_file(overrides: dict[str, Any], problem: str) -> None:
    [found] = read_triggers([], overrides=overrides).problems
    assert found.startswith(problem)


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        ('signal = "task.duration"',
         'signal: "task.duration": unknown; did you mean task.duration_s? allowed are task.duration_s, task.attempts, '
         "task.errors, task.tokens, task.cost_usd, task.tests, task.quality, tool.errors, "
         "tool.duration_s, llm.duration_s, llm.tokens, llm.cost_usd, agent.events, task.heartbeat, metric.NAME"),
        ("signal = 3", "signal: 3: allowed is text"),
        ('aggregate = "ratio"', 'aggregate: "ratio": allowed are count, sum, mean, min, max, rate, '
         "p50, p75, p90, p95, p99 for task.duration_s"),
        ('aggregate = "median"',
         'aggregate: "median": unknown; did you mean p50? '
         "allowed are count, sum, mean, min, max, rate, ratio, p50, p75, p90, p95, p99"),
        ('group_by = ["agnet"]',
         'group_by.0: "agnet": unknown; did you mean agent? '
         "allowed are agent, model, provider, tool, run_id, error_type, attributes.KEY"),
        ('group_by = ["agent", "agent"]', 'group_by: ["agent", "agent"]: allowed is each column once'),
        ('group_by = "agent"', 'group_by: "agent": allowed is a list, such as ["agent"]'),
        ('where = { "gen_ai.model" = "m" }',
         'where.gen_ai.model: "m": unknown; '
         "allowed are agent, model, provider, tool, run_id, error_type, attributes.KEY"),
        ("where = { model = 5 }", "where.model: 5: allowed is text"),
        ('actions = ["analyse_slow_tasks"]',
         'actions.0: "analyse_slow_tasks": unknown; did you mean analyze_slow_tasks? '
         "allowed are analyze_slow_tasks, handle_error_spike"),
        ('actions = ["Fix It"]', 'actions.0: "Fix It": allowed are small letters, digits and _, a letter first'),
        ('target_agent = ""', 'target_agent: "": allowed is text that is not empty'),
        ('target_agent = "  "', 'target_agent: "  ": allowed is text that is not empty'),
        ('severity = "hihg"', 'severity: "hihg": unknown; did you mean high? allowed are low, medium, high, critical'),
        ('windwo = "5m"', f'windwo: "5m": unknown; did you mean window? allowed are {KEYS}'),
        ('for_s = "5m"', f'for_s: "5m": unknown; did you mean for? allowed are {KEYS}'),
        ('window = "5 min"', f'window: "5 min": {ALLOWED}'),
        ('window = "5s"', 'window: "5s": allowed is at least 10s'),
        ("window = 90000", "window: 90000: allowed is at most 24h"),
        ("window = 0", "window: 0: allowed is at least 10s"),
        ("min_samples = 0", "min_samples: 0: allowed is at least 1"),
        ("min_samples = 1.5", "min_samples: 1.5: allowed is a whole number"),
        ("enabled = 3", "enabled: 3: allowed is true or false"),
        ("condition = 60", f"condition: 60: allowed is a table with one of the kinds {KINDS}"),
        ("condition = { value = 60 }",
         f'condition: {{"value": 60}}: kind is missing: allowed are {KINDS}'),
        ('condition = { kind = "treshold", value = 60 }',
         f'condition: {{"kind": "treshold", "value": 60}}: unknown kind; did you mean threshold? allowed are {KINDS}'),
        ('condition = { kind = "threshold", value = nan }', "condition.value: NaN: allowed is a finite number"),
        ('condition = { kind = "threshold", value = 60, unit = "s" }',
         'condition.unit: "s": unknown; allowed are kind, op, value'),
        ('condition = { kind = "threshold" }', "condition.value: missing: allowed is a number"),
        ('condition = { kind = "threshold", op = "=>", value = 60 }',
         'condition.op: "=>": unknown; did you mean >=? allowed are >=, >, <=, <'),
        ("clear = 61", "clear: 61: allowed is at most 60, the threshold; above it fires"),
        ('condition = { kind = "rate_of_change", value = 1, per = "0s" }',
         'condition.per: "0s": allowed is at least 1s'),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_file_key_value_and_what_is_allowed(tmp_path: Path, key: str, problem: str) -> None:
    text = f'[[trigger]]\nname = "slow_tasks"\n{key}\n'
    allowed = ("analyze_slow_tasks", "handle_error_spike")
    found = [line for line in problems(tmp_path, text, actions=allowed) if not line.startswith("the shipped triggers")]
    assert found == [f"0.toml:3: trigger slow_tasks: {problem}"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "[[trigger]\n",
            ["0.toml:1: Expected ']]' at the end of an array declaration (column 10): allowed is TOML"],
        ),
        (
            '[[triggers]]\nname = "x"\n',
            [
                '0.toml:1: triggers: [{"name": "x"}]: unknown; did you mean trigger? '
                "allowed are tables [[trigger]] and [[maintenance]]"
            ],
        ),
        ('[trigger]\nname = "x"\n', ['0.toml:1: trigger: {"name": "x"}: allowed are tables [[trigger]]']),
        ("trigger = [1]\n", ["0.toml:1: trigger: [1]: allowed are tables [[trigger]]"]),
        ("[[trigger]]\n", ["0.toml:1: trigger number 1: name: missing: allowed is text"]),
        ("[[trigger]]\nname = 5\n", ["0.toml:2: trigger number 1: name: 5: allowed is text"]),
        (
            '[[trigger]]\nname = "slow_tasks"\nwindow = "1m"\n[[trigger]]\nname = "slow_tasks"\nwindow = "2m"\n',
            ['0.toml:5: trigger slow_tasks: name: "slow_tasks": allowed is once in a file; it is at 0.toml:1 already'],
        ),
        (
            '[[trigger]]\nname = "slow_tasks"\nclear = 61\n[[trigger]]\nname = "slow_tasks"\nwindow = "2"\n',
            [
                "0.toml:3: trigger slow_tasks: clear: 61: allowed is at most 60, the threshold; above it fires",
                '0.toml:5: trigger slow_tasks: name: "slow_tasks": '
                "allowed is once in a file; it is at 0.toml:1 already",
                f'0.toml:6: trigger slow_tasks: window: "2": {ALLOWED}',
            ],
        ),
        (
            NEW.replace("poor_quality", "Poor"),
            ['0.toml:3: trigger Poor: name: "Poor": allowed are small letters, digits and _, a letter first'],
        ),
    ],
)
def test_a_file_that_is_no_list_of_named_triggers_is_refused(tmp_path: Path, text: str, expected: list[str]) -> None:
    assert problems(tmp_path, text) == expected


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("window = 5m", ', where text stands in quotes: window = "5m"'),
        ("window = 1h 30m # long", ', where text stands in quotes: window = "1h 30m"'),
        ("severity = high", ', where text stands in quotes: severity = "high"'),
        ("enabled = True", ""),
        ("window = ", ""),
        ('window = "5m', ""),
    ],
)
def test_text_that_lacks_its_quotes_is_shown_with_them(tmp_path: Path, line: str, hint: str) -> None:
    (problem,) = problems(tmp_path, f'[[trigger]]\nname = "slow_tasks"\n{line}\nfor = "1s"\n')
    assert problem.startswith("0.toml:3: ")
    assert problem.partition("allowed is TOML")[2] == hint


def test_a_new_trigger_nearly_named_like_a_default_is_asked_about(tmp_path: Path) -> None:
    found = problems(tmp_path, '[[trigger]]\nname = "slow_task"\nenabled = false\n')
    kinds = "bottleneck, cost, quality, performance, custom"
    assert found[0] == f"0.toml:1: trigger slow_task: type: missing: allowed are {kinds}"
    assert (
        found[-1] == '0.toml:2: trigger slow_task: name: "slow_task": declares a new trigger; did you mean slow_tasks?'
    )
    assert len(found) == 8


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "latin.toml").write_bytes(b"# caf\xe9\n")
    found = read_triggers([tmp_path / "none.toml", tmp_path, tmp_path / "latin.toml"]).problems
    assert found == (
        f"{tmp_path}/none.toml: no such file: allowed is an existing TOML file",
        f"{tmp_path}: cannot be read (Is a directory): allowed is a readable TOML file",
        f"{tmp_path}/latin.toml:1: byte 5 is not UTF-8: allowed is TOML in UTF-8",
    )


def test_a_ratio_above_one_is_refused_as_it_would_never_fire(tmp_path: Path) -> None:
    text = '[[trigger]]\nname = "high_error_rate"\ncondition = { kind = "threshold", value = 20 }\n'
    assert problems(tmp_path, text) == [
        "0.toml:3: trigger high_error_rate: condition.value: 20: allowed is 0 to 1, as task.errors is a part of a whole"
    ]


def test_all_mistakes_of_all_files_are_reported_at_once_each_with_its_own_file(tmp_path: Path) -> None:
    first = '[[trigger]]\nname = "slow_tasks"\nseverity = "bad"\nsignal = "task.time"\nwindow = "1s"\n'
    second = '[[trigger]]\nname = "slow_tasks"\nwindow = "2s"\n[[trigger]]\nname = "high_retry_rate"\nclear = 9\n'
    found = problems(tmp_path, first, second, "oops")
    assert [problem.split(": ")[:3] for problem in found] == [
        ["2.toml:1", "Expected '=' after a key in a key/value pair before the file ends", "allowed is TOML"],
        ["1.toml:3", "trigger slow_tasks", "window"],
        ["1.toml:6", "trigger high_retry_rate", "clear"],
        ["0.toml:3", "trigger slow_tasks", "severity"],
        ["0.toml:4", "trigger slow_tasks", "signal"],
    ]


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


keys = st.sampled_from([*(TriggerSpec.model_fields.keys() - {"name"}), "for", "x.y"])


@given(st.dictionaries(keys, values))
def test_whatever_a_table_holds_is_either_loaded_or_named_in_lines_with_their_key(given_values: dict[str, Any]) -> None:
    result = read_triggers([], overrides={"slow_tasks": given_values})
    assert len(result.specs) == (6 if result.problems else 7)
    assert all(line.startswith("override: trigger slow_tasks: ") and "\n" not in line for line in result.problems)


def test_a_metric_of_any_name_is_a_signal_of_amounts(tmp_path: Path) -> None:
    file = tmp_path / "triggers.toml"
    file.write_text(NEW.replace('"task.quality"', '"metric.queue.wait"').replace('"mean"', '"p95"'))
    assert by_name(file)["poor_quality"].signal == "metric.queue.wait"


def test_a_metric_needs_a_name_and_has_no_ratio(tmp_path: Path) -> None:
    file = tmp_path / "triggers.toml"
    file.write_text(NEW.replace('"task.quality"', '"metric."'))
    with pytest.raises(ConfigError, match=r'signal: "metric\."'):
        load_triggers([file])
    file.write_text(NEW.replace('"task.quality"', '"metric.queue.wait"').replace('"mean"', '"ratio"'))
    with pytest.raises(ConfigError, match=r"p99 for metric\.queue\.wait"):
        load_triggers([file])


# --- inhibition ----------------------------------------------------------------------------------------------------


def inhibited(name: str, *by: str, more: str = "") -> str:
    return f'[[trigger]]\nname = "{name}"\ninhibited_by = {list(by)}\n{more}'


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            inhibited("slow_tasks", "high_error_rat"),
            "trigger slow_tasks: inhibited_by.0: 'high_error_rat': unknown; did you mean high_error_rate?",
        ),
        (
            inhibited("slow_tasks", "slow_tasks"),
            "inhibited_by.0: 'slow_tasks': allowed is no circle, and this is one: slow_tasks by slow_tasks",
        ),
        (
            inhibited("slow_tasks", "high_retry_rate") + inhibited("high_retry_rate", "slow_tasks"),
            "allowed is no circle, and this is one: slow_tasks by high_retry_rate by slow_tasks",
        ),
        (
            inhibited("slow_tasks", "high_error_rate") + inhibited("high_error_rate", more='group_by = ["model"]'),
            "allowed is a trigger that groups by nothing else than this one, which groups by agent",
        ),
    ],
    ids=["unknown", "itself", "circle", "group"],
)
def test_what_can_inhibit_nothing_is_refused_with_its_file(tmp_path: Path, text: str, problem: str) -> None:
    found = problems(tmp_path, text.replace("'", '"'))

    assert found[0].startswith("0.toml:3: trigger slow_tasks: inhibited_by.0: ")
    assert problem in found[0].replace('"', "'")


def test_a_trigger_may_be_inhibited_by_one_that_groups_by_less(tmp_path: Path) -> None:
    file = tmp_path / "triggers.toml"
    file.write_text(
        inhibited("slow_tasks", "high_error_rate", more='group_by = ["agent", "model"]\n').replace("'", '"')
    )

    assert by_name(file)["slow_tasks"].inhibited_by == ("high_error_rate",)


PACKED = {
    "quality_score_low",
    "model_cost_inefficiency",
    "stuck_tasks",
    "tool_error_rate",
    "agent_silent",
    "drill",
}


def test_the_reference_lists_the_pack() -> None:
    page = Path(__file__).parents[3].joinpath("docs", "reference", "triggers.md").read_text()
    section = page.partition("## The pack\n")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == [
        table["name"] for table in read_document(PACK).values["trigger"]
    ]


def test_the_pack_is_there_only_for_who_names_it(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('[[trigger]]\nname = "agent_silent"\ncondition = { kind = "absence", silent_for = "2h" }\n')

    assert in_pack() == PACKED
    assert PACKED & by_name().keys() == set()
    assert PACKED & by_name(file).keys() == {"agent_silent"}
    assert by_name(overrides={"stuck_tasks": {"enabled": True}})["stuck_tasks"].enabled


def test_every_trigger_of_the_pack_passes_its_boundary_tests_and_names_default_actions() -> None:
    actions = ActionRegistry.from_defaults().names
    found = load_triggers([], overrides={name: {"enabled": True} for name in PACKED}, actions=actions)

    assert failures(Spec(triggers=found, actions=())) == []
    assert all(trigger.description.endswith(".") for trigger in found)
