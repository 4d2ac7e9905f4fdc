"""The configuration: where values come from, which wins, and how mistakes are named."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from self_healing.cli.template import TEMPLATE
from self_healing.config import SETTING_KEYS, VARIABLES, Mode, Scope, Settings, load_spec
from self_healing.errors import ConfigError
from self_healing.given import load_settings
from self_healing.spec import Limits

LIMIT_KEYS = (
    "concurrent_actions, concurrent_per_target, actions_per_minute, actions_per_minute_unwell, blast_radius_percent, "
    "fleet_stop_percent, attempts_per_incident, attempts_per_target_per_day, cool_down, cool_down_max, "
    "cool_down_reset, causal_depth, independent_signals, approve_within, breaker_failures, breaker_half_open_after, "
    "freshness, plan_freshness, defer_at_most"
)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path) -> Iterator[None]:
    """Run in an empty directory: without a file being named, the one in the current directory counts."""
    with contextlib.chdir(tmp_path):
        yield


def load(
    text: str | None = None, environ: Mapping[str, str] | None = None, flags: Mapping[str, Any] | None = None
) -> Settings:
    if text is not None:
        Path("my.toml").write_text(text)
    return load_settings(None if text is None else Path("my.toml"), environ=environ or {}, flags=flags or {})


def refusal(
    text: str | None = None, environ: Mapping[str, str] | None = None, flags: Mapping[str, Any] | None = None
) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        load(text, environ, flags)
    return refused.value.problems


def test_with_nothing_given_the_settings_are_the_documented_defaults() -> None:
    assert load().model_dump(mode="json", exclude={"constitution"}) == {
        "environment": "",
        "telemetry": {
            "dir": "logs/telemetry",
            "keep": 7 * 86400,
            "keep_bytes": 10 << 30,
            "junit_dirs": [],
            "junit_agent": "",
        },
        "triggers": {"files": [], "tests": [], "grid": 1, "max_groups": 20_000, "warm_up": 60},
        "actions": {"files": [], "mode": "act", "fallback": "Operator", "channels": {}, "fallback_channel": "file"},
        "storage": {
            "state_dir": ".self-healing",
            "logs_dir": "logs",
            "keep": 90 * 86400,
            "keep_audit": 365 * 86400,
        },
        "server": {
            "token": None,
            "tokens": {},
            "host": "127.0.0.1",
            "hosts": [],
            "origins": [],
            "otlp_http_port": 4318,
            "otlp_grpc_port": 4317,
            "port": 8787,
        },
        "heartbeat": {"url_env": "", "every": 60, "timeout": 10, "allow": []},
    }
    assert load().constitution.limits == Limits()


def test_the_file_in_the_current_directory_is_read_when_no_other_is_named() -> None:
    Path("self-healing.toml").write_text('[actions]\nmode = "observe"\n')
    assert load().actions.mode is Mode.OBSERVE
    assert load('[actions]\nfallback = "Ann"\n').actions.mode is Mode.ACT


def test_a_variable_wins_over_the_file_and_a_flag_over_both() -> None:
    text = '[telemetry]\ndir = "file"\n[storage]\nstate_dir = "file"\nlogs_dir = "file"\n'
    environ = {"SELF_HEALING_STORAGE_STATE_DIR": "variable", "SELF_HEALING_STORAGE_LOGS_DIR": "variable"}
    settings = load(text, environ, {"storage.logs_dir": Path("flag"), "storage.state_dir": None})
    assert settings.telemetry.dir == Path("file")
    assert settings.storage.state_dir == Path("variable")
    assert settings.storage.logs_dir == Path("flag")


def test_a_variable_changes_one_limit_and_leaves_those_of_the_file() -> None:
    text = '[constitution.limits]\nfreshness = "90s"\nactions_per_minute = 4\n'
    limits = load(text, {"SELF_HEALING_CONSTITUTION_LIMITS_ACTIONS_PER_MINUTE": "3"}).constitution.limits
    assert limits == Limits(freshness=90, actions_per_minute=3)


@pytest.mark.parametrize(
    ("variable", "text", "key", "expected"),
    [
        ("TELEMETRY_DIR", "2026", "telemetry.dir", Path("2026")),  # looks like a number, and is a path
        ("TELEMETRY_DIR", '"a b"', "telemetry.dir", Path("a b")),
        ("TELEMETRY_DIR", "a b # c", "telemetry.dir", Path("a b # c")),
        ("ACTIONS_FALLBACK", "true", "actions.fallback", "true"),
        ("ACTIONS_MODE", "observe", "actions.mode", Mode.OBSERVE),
        ("TRIGGERS_FILES", '["a.toml", "b.toml"]', "triggers.files", (Path("a.toml"), Path("b.toml"))),
        ("TRIGGERS_GRID", "10s", "triggers.grid", 10),
        ("TRIGGERS_GRID", "10", "triggers.grid", 10),
    ],
)
def test_a_variable_is_toml_where_it_can_be_and_text_where_text_is_wanted(
    variable: str, text: str, key: str, expected: Any
) -> None:
    section, name = key.split(".")
    assert getattr(getattr(load(environ={f"SELF_HEALING_{variable}": text}), section), name) == expected


def test_every_setting_has_a_variable_of_its_own() -> None:
    assert sorted(VARIABLES.values()) == sorted(SETTING_KEYS)
    assert VARIABLES["SELF_HEALING_CONSTITUTION_LIMITS_ACTIONS_PER_MINUTE"] == "constitution.limits.actions_per_minute"


@given(st.sampled_from(sorted(VARIABLES)), st.text(max_size=30))
def test_whatever_a_variable_holds_it_changes_its_own_setting_or_is_refused_by_its_name(
    variable: str, text: str
) -> None:
    settings, problems = Settings(), []
    try:
        settings = load_settings(None, environ={variable: text}, flags={})
    except ConfigError as refused:
        problems = refused.problems or ["refused without a word"]
    changed = {key for key in SETTING_KEYS if value(settings, key) != value(Settings(), key)}
    assert changed <= {VARIABLES[variable]}
    assert all(problem.startswith(f"variable {variable}: {VARIABLES[variable]}") for problem in problems)


def value(settings: Settings, key: str) -> Any:
    found: Any = settings
    for part in key.split("."):
        found = getattr(found, part)
    return found


def test_other_variables_are_none_of_our_business() -> None:
    assert load(environ={"PATH": "x", "SELFHEALING_MODE": "act"}) == Settings()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('[actions]\nmode = "acting"',
         'my.toml:2: actions.mode: "acting": unknown; did you mean act? allowed are act, observe'),
        ('[actions]\nmod = "act"',
         'my.toml:2: actions.mod: "act": unknown; did you mean mode? '
         "allowed are files, mode, fallback, channels, fallback_channel"),
        ("[telemtry]\nx = 1",
         'my.toml:1: telemtry: {"x": 1}: unknown; did you mean telemetry? '
         "allowed are environment, telemetry, triggers, actions, constitution, storage, server, heartbeat"),
        ("telemetry = 5",
         "my.toml:1: telemetry: 5: allowed is a table of dir, keep, keep_bytes, junit_dirs, junit_agent"),
        ('[telemetry]\ndir = ""', 'my.toml:2: telemetry.dir: "": allowed is text that is not empty'),
        ("[telemetry]\ndir = 5", "my.toml:2: telemetry.dir: 5: allowed is a path"),
        ("[triggers]\nfiles = [3]", "my.toml:2: triggers.files.0: 3: allowed is a path"),
        ('[triggers]\nfiles = "a.toml"', 'my.toml:2: triggers.files: "a.toml": allowed is a list, such as ["a.toml"]'),
        ('[triggers]\ngrid = "2m"', 'my.toml:2: triggers.grid: "2m": allowed is at most 1m'),
        ('[triggers]\ngrid = "often"',
         'my.toml:2: triggers.grid: "often": allowed is a whole number and one of s, m, h, d, or several, '
         'such as 90s, 5m, 1h30m'),
        ('[actions]\nfallback_channel = "ops"',
         'my.toml:2: actions.fallback_channel: "ops": unknown; allowed are file'),
        ('[actions.channels.ops]\nkind = "command"\nargv = []',
         "my.toml:3: actions.channels.ops.argv: []: allowed is at least one"),
        ('[actions.channels.ops]\nkind = "command"\nargv = "ls -l"',
         'my.toml:3: actions.channels.ops.argv: "ls -l": allowed is a list, such as ["ls", "-l"]'),
        ('[actions.channels.ops]\nkind = "command"\nargv = ["x"]\nenvironment = ["A=b"]',
         'my.toml:4: actions.channels.ops.environment.0: "A=b": '
         "allowed is the name of an environment variable, never the secret itself"),
        ("[actions]\nfallback = ' '", 'my.toml:2: actions.fallback: " ": allowed is text that is not empty'),
        ("[constitution.limits]\nfleet_stop_percent = 101",
         "my.toml:2: constitution.limits.fleet_stop_percent: 101: allowed is at most 100"),
        ("[constitution.limits]\nattempts_per_incidnt = 3",
         "my.toml:2: constitution.limits.attempts_per_incidnt: 3: unknown; did you mean attempts_per_incident? "
         f"allowed are {LIMIT_KEYS}"),
        ("[constitution.limits]\nattempts_per_incident = true",
         "my.toml:2: constitution.limits.attempts_per_incident: true: allowed is a whole number"),
        ("[triggers]\nmax_groups = true", "my.toml:2: triggers.max_groups: true: allowed is a whole number"),
        ("[a\n", "my.toml:1: Expected ']' at the end of a table declaration (column 3): allowed is TOML"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_file_is_named_with_key_value_and_what_is_allowed(text: str, problem: str) -> None:
    assert refusal(text) == [problem]


def test_a_value_in_the_place_of_a_section_is_refused_though_a_flag_is_given_for_it() -> None:
    assert refusal("telemetry = 5", flags={"telemetry.dir": "x"}) == [
        "my.toml:1: telemetry: 5: allowed is a table of dir, keep, keep_bytes, junit_dirs, junit_agent"
    ]


def test_a_named_file_must_be_there() -> None:
    with pytest.raises(ConfigError, match=r"^none\.toml: no such file: allowed is an existing TOML file$"):
        load_settings(Path("none.toml"), environ={}, flags={})


def test_a_default_file_that_is_a_broken_link_is_no_missing_file() -> None:
    Path("self-healing.toml").symlink_to("gone.toml")
    assert refusal() == ["self-healing.toml: no such file: allowed is an existing TOML file"]


def test_a_key_with_control_characters_cannot_forge_a_line() -> None:
    [problem] = refusal('"x\\nmy.toml: all is well\\u202e" = 1\n')
    assert problem.startswith("my.toml:1: x\\nmy.toml: all is well\\u202e: 1: unknown;")


def test_an_unknown_variable_is_refused_with_the_nearest_name() -> None:
    [problem] = refusal(environ={"SELF_HEALING_TELEMETRY_DIRECTORY": "x"})
    assert problem.startswith(
        'variable SELF_HEALING_TELEMETRY_DIRECTORY: "x": unknown; did you mean SELF_HEALING_TELEMETRY_DIR? allowed are '
    )


def test_a_flag_is_refused_like_any_other_value() -> None:
    assert refusal(flags={"actions.mode": "acting"}) == [
        'flag: actions.mode: "acting": unknown; did you mean act? allowed are act, observe'
    ]
    assert refusal(flags={"actions.mod": "act"})[0].startswith(
        'flag: actions.mod: "act": unknown; did you mean actions.mode?'
    )


def test_all_mistakes_are_reported_at_once_each_with_its_own_source() -> None:
    found = refusal(
        '[actions]\nmode = "x"\n[triggers]\ngrid = 0\n[storage]\nlogs = "y"\n',
        {"SELF_HEALING_TRIGGERS_FILES": "[1]", "SELF_HEALING_X": "1"},
        {"telemetry.dir": " "},
    )
    assert [problem.split(": ")[:2] for problem in found] == [
        ["variable SELF_HEALING_X", '"1"'],
        ["flag", "telemetry.dir"],
        ["variable SELF_HEALING_TRIGGERS_FILES", "triggers.files.0"],
        ["my.toml:4", "triggers.grid"],
        ["my.toml:2", "actions.mode"],
        ["my.toml:6", "storage.logs"],
    ]


def test_a_file_that_is_no_toml_does_not_hide_the_other_mistakes() -> None:
    assert [problem.split(":")[0] for problem in refusal("[", {"SELF_HEALING_ACTIONS_MODE": "x"})] == [
        "my.toml",
        "variable SELF_HEALING_ACTIONS_MODE",
    ]


# --- the spec ------------------------------------------------------------------------------------------------------


def test_the_default_spec_has_seven_triggers_and_eight_actions() -> None:
    spec = load_spec(Settings())
    assert (len(spec.triggers), len(spec.actions), spec.limits, spec.grid) == (7, 8, Limits(), 1)


def test_a_function_of_a_channel_that_cannot_be_imported_is_refused_with_the_rest() -> None:
    channel = '[actions.channels.agents]\nkind = "python"\nfunction = "no_such_module:take"\n'
    with pytest.raises(ConfigError) as raised:
        load_spec(load(channel))
    [problem] = raised.value.problems
    assert problem.startswith('actions.channels.agents.function: "no_such_module:take": no_such_module:take cannot be')
    assert "No module named 'no_such_module'" in problem
    load_spec(load(channel.replace("no_such_module:take", "tests.contract.ways:take")))


def test_the_spec_takes_limits_grid_files_and_overrides_and_each_changes_its_version() -> None:
    Path("t.toml").write_text('[[trigger]]\nname = "slow_tasks"\nactions = ["tell_me"]\n')
    Path("a.toml").write_text(
        '[[action]]\nname = "tell_me"\ntype = "agent_handoff"\npriority = "low"\ntarget_agent = "Me"\nprompt = "?"\n'
    )
    actions = '[actions]\nfiles = ["a.toml"]\n'
    specs = [
        load_spec(load("")),
        load_spec(load("[constitution.limits]\nactions_per_minute = 5")),
        load_spec(load('[triggers]\ngrid = "5s"')),
        load_spec(load(actions)),
        load_spec(load(f'{actions}[triggers]\nfiles = ["t.toml"]')),
        load_spec(load(""), {"slow_tasks": {"enabled": False}}),
    ]
    assert len({spec.version for spec in specs}) == len(specs)
    assert specs[1].limits.actions_per_minute == 5
    assert specs[2].grid == 5
    assert specs[4].trigger("slow_tasks").actions == ("tell_me",)
    assert not specs[5].trigger("slow_tasks").enabled


def test_a_plan_that_names_an_unknown_action_is_refused_with_the_nearest_one() -> None:
    Path("t.toml").write_text('[[trigger]]\nname = "slow_tasks"\nactions = ["analyse_slow_tasks"]\n')
    with pytest.raises(ConfigError) as refused:
        load_spec(load('[triggers]\nfiles = ["t.toml"]'))
    [problem] = refused.value.problems
    assert problem.startswith(
        't.toml:3: trigger slow_tasks: actions.0: "analyse_slow_tasks": unknown; did you mean analyze_slow_tasks? '
        "allowed are analyze_slow_tasks, resolve_retry_failures, "
    )


def test_mistakes_in_triggers_and_actions_come_together_and_a_broken_action_is_still_known() -> None:
    Path("t.toml").write_text('[[trigger]]\nname = "slow_tasks"\nactions = ["tell_me"]\nseverity = "x"\n')
    Path("a.toml").write_text(
        '[[action]]\nname = "tell_me"\ntype = "agent_handoff"\npriority = "low"\ntarget_agent = "Me"\n'
    )
    with pytest.raises(ConfigError) as refused:
        load_spec(load('[triggers]\nfiles = ["t.toml"]\n[actions]\nfiles = ["a.toml"]'))
    assert refused.value.problems == [
        't.toml:4: trigger slow_tasks: severity: "x": unknown; allowed are low, medium, high, critical',
        "a.toml:1: action tell_me: prompt: missing: allowed is text",
    ]


# --- template, imports -------------------------------------------------------------------------------------


def test_the_template_loads_unchanged_as_the_defaults_in_observe_mode() -> None:
    defaults = Settings()
    observing = defaults.model_copy(update={"actions": defaults.actions.model_copy(update={"mode": Mode.OBSERVE})})
    assert load(TEMPLATE) == observing


SETTING_SECTIONS = list(Settings.model_fields)


def flat(table: dict[str, Any], above: str = "") -> Iterator[str]:
    for key, entry in table.items():
        if isinstance(entry, dict) and entry:
            yield from flat(entry, f"{above}{key}.")
        else:
            yield above + key


def test_the_template_has_every_setting_in_order_each_below_its_comment() -> None:
    # The tables of channels and of tokens come last of their section, as TOML wants it.
    tables = (".channels", ".tokens")
    in_order = sorted(SETTING_KEYS, key=lambda key: (SETTING_SECTIONS.index(key.split(".")[0]), key.endswith(tables)))
    assert list(flat(tomllib.loads(TEMPLATE))) == in_order
    lines = TEMPLATE.splitlines()
    settings = [number for number, line in enumerate(lines) if line and line[0].islower()]
    assert len(settings) == len(SETTING_KEYS) - len(tables)
    assert all(lines[number - 1].startswith("# ") for number in settings)


def test_the_examples_in_the_template_work_as_they_stand() -> None:
    examples = [line.removeprefix("#   ") for line in TEMPLATE.splitlines() if line.startswith("#   ")]
    cut, end = examples.index("[[action]]"), examples.index("[actions.channels.tickets]")
    Path("t.toml").write_text("\n".join(examples[:cut]))
    Path("a.toml").write_text("\n".join(examples[cut:end]))
    policies = next(at for at, line in enumerate(examples) if line.startswith("@id"))
    tokens = examples.index("[server.tokens.grafana]")
    Path("own.cedar").write_text("\n".join(examples[policies:tokens]))
    channels = "\n".join([*examples[end:policies], "[constitution]", 'files = ["own.cedar"]', *examples[tokens:]])
    settings = load(f'[triggers]\nfiles = ["t.toml"]\n[actions]\nfiles = ["a.toml"]\n{channels}')
    assert settings.actions.channels["tickets"].agents == ("ChiefArchitectAgent",)
    assert settings.server.tokens["grafana"].scopes == (Scope.READ,)
    spec = load_spec(settings)
    assert spec.trigger("slow_tasks").condition.model_dump()["value"] == 300
    assert spec.action("analyze_slow_tasks").target_agent == "Investigator"
    assert [each.name for each in spec.articles] == ["no_shutdown_at_night"]


def test_reading_the_configuration_imports_no_engine() -> None:
    code = "import sys, self_healing.config; print(*{'numpy', 'sqlalchemy', 'cedarpy', 'rich'} & set(sys.modules))"
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": SOURCE}
    )
    assert ran.stdout.strip() == ""


SOURCE = str(Path(sys.modules["self_healing.config"].__file__ or "").parents[1])


TAKING = '[[trigger]]\nname = "mine"\ntype = "custom"\nwindow = "15m"\nseverity = "low"\ntarget_agent = "Ann"\n'


@pytest.mark.parametrize(
    ("more", "wrong"),
    [
        ('signal = "task.cost_usd"\naggregate = "p95"', None),
        ('signal = "task.tokens"\naggregate = "mean"', "in tokens"),
        ('signal = "task.errors"\naggregate = "ratio"', "in %"),
        ('signal = "task.cost_usd"\naggregate = "count"', "a plain number"),
        ('signal = "metric.cost"\naggregate = "mean"', "in a unit that nobody knows"),
    ],
)
def test_what_an_action_takes_from_an_incident_is_in_the_unit_of_what_it_sets(
    tmp_path: Path, more: str, wrong: str | None
) -> None:
    file = tmp_path / "mine.toml"
    condition = 'condition = { kind = "threshold", value = 0.5 }'
    file.write_text(f'{TAKING}{more}\n{condition}\nactions = ["adjust_cost_policies"]\nclera = 1\n')
    with pytest.raises(ConfigError) as refused:
        load_spec(Settings.model_validate({"triggers": {"files": [file]}}))
    told = [problem for problem in refused.value.problems if "clera" not in problem]
    assert len(refused.value.problems) == len(told) + 1, "it is told beside every other mistake"
    expected = (
        f'{file}:10: trigger mine: actions.0: "adjust_cost_policies": allowed are actions with a number of '
        f"their own for max_cost_usd: it is in USD, and this one takes it from the threshold, {wrong} here"
    )
    assert told == ([] if wrong is None else [expected])


@pytest.mark.parametrize(
    ("condition", "told"),
    [
        ('signal = "task.tokens"\naggregate = "sum"\ncondition = { kind = "rate_of_change", value = 9 }', None),
        ('condition = { kind = "composite", all = ["slow_tasks", "high_retry_rate"] }', "a number of triggers"),
        ('signal = "agent.events"\ncondition = { kind = "absence" }', "in s"),
    ],
)
def test_a_number_of_triggers_or_seconds_of_silence_is_no_budget_of_tokens(
    tmp_path: Path, condition: str, told: str | None
) -> None:
    file = tmp_path / "mine.toml"
    head = TAKING if "rate_of_change" in condition else TAKING.replace('window = "15m"\n', "")
    file.write_text(f'{head}{condition}\nactions = ["optimize_token_usage"]\n')
    settings = Settings.model_validate({"triggers": {"files": [file]}})
    if told is None:
        assert load_spec(settings).trigger("mine").actions == ("optimize_token_usage",)
        return
    with pytest.raises(ConfigError) as refused:
        load_spec(settings)
    (problem,) = refused.value.problems
    assert "of their own for token_budget and max_output_tokens: it is in tokens, and" in problem
    assert problem.endswith(f"from the baseline, {told} here")


def test_what_can_never_fire_is_told_with_all_other_mistakes(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(
        '[[trigger]]\nname = "slow_tasks"\nseverity = "hihg"\n'
        '[[trigger]]\nname = "high_error_rate"\ncondition = { kind = "threshold", op = ">", value = 1 }\n'
    )
    with pytest.raises(ConfigError) as refused:
        load_spec(Settings.model_validate({"triggers": {"files": [file]}}))
    assert [problem.partition(": trigger ")[2][:43] for problem in refused.value.problems] == [
        'slow_tasks: severity: "hihg": unknown; did ',
        "high_error_rate: condition.value: 1: no val",
    ]


TRIGGERS = '[[trigger]]\nname = "slow_tasks"\nwindo = "5m"\nactions = ["own"]\n'
ACTIONS = '[[action]]\nname = "own"\ntype = "agent_handof"\npriority = "high"\ntarget_agent = "A"\nprompt = "p"\n'
FILES = 'triggers.files = ["t.toml"]\nactions.files = ["a.toml"]\n'


@pytest.mark.parametrize(
    "wrong",
    [
        'actions.mode = "acct"\n',
        'actions.channels.x = { kind = "webhok" }\n',
        'actions.channels.x = { kind = "webhook", url = "no" }\nactions.fallback_channel = "x"\n',
        "constitution.limits.rate = 5\n",
        'constitution.limits.cool_down = "x"\nserver.hosts = ["a b", "fine", "c d"]\n',
        'storage.keep = "400d"\n',
        'storage = "here"\n',
    ],
)
def test_with_mistakes_in_settings_those_in_the_files_that_they_name_are_told_as_well(wrong: str) -> None:
    Path("t.toml").write_text(TRIGGERS)
    Path("a.toml").write_text(ACTIONS)
    with pytest.raises(ConfigError) as refused:
        load(FILES + wrong)
    assert [each for each in refused.value.problems if each.startswith("my.toml")]
    in_files = [each for each in refused.value.problems if not each.startswith("my.toml")]
    assert [each.partition(": ")[0] for each in in_files] == ["t.toml:3", "a.toml:3"]


@pytest.mark.parametrize(
    "wrong",
    [
        'triggers.files = ["t.toml"]\nactions.files = "a.toml"\n',
        'triggers.files = ["t.toml"]\nactions.fils = ["a.toml"]\n',
        'triggers.files = ["t.toml"]\naction.files = ["a.toml"]\n',
        'triggers.files = ["t.toml"]\nactions = 5\n',
        'triggers.files = ["t.toml"]\nactions.files = [a.toml]\n',
    ],
)
def test_where_nobody_knows_which_files_there_are_nothing_is_said_to_be_missing(wrong: str) -> None:
    Path("t.toml").write_text(TRIGGERS.replace("windo ", "window "))
    Path("a.toml").write_text(ACTIONS.replace("handof", "handoff"))
    with pytest.raises(ConfigError) as refused:
        load(wrong)
    assert all(each.startswith("my.toml") for each in refused.value.problems)
