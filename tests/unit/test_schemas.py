"""The schemas say what the models say: they accept what loads, and refuse what a single file cannot mean."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft7Validator
from pydantic import BaseModel

from self_healing.actions.registry import DEFAULTS as ACTIONS
from self_healing.cli.template import TEMPLATE
from self_healing.config import SETTING_KEYS, Settings
from self_healing.declarations import seconds_of
from self_healing.documents import read_document
from self_healing.durations import UNITS, duration, written
from self_healing.handoffs.declared import CHANNEL_KINDS
from self_healing.schemas import SCHEMAS, keys_of
from self_healing.spec import LONGEST_S, ActionSpec, Declared, Maintenance, TriggerSpec, parse_duration
from self_healing.triggers.contradictions import contradictions
from self_healing.triggers.declared import DEFAULTS as TRIGGERS
from self_healing.triggers.declared import PACK, read_triggers

TESTS = TRIGGERS.with_name("defaults_tests.toml")
MISTAKES = Path(__file__).parent.parent / "fixtures" / "mistakes"
ROOT = Path(__file__).parent.parent.parent
DOCS = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
READABLE = [file for file in sorted(MISTAKES.glob("*.toml")) if not read_document(file).problems]
"""The files of the corpus that are TOML; what is not, an editor says itself."""

HIDDEN = {
    "action-parameters-for-nothing": "a function may be declared in a table before it",
    "action-parameters-not-as-declared": "one key says what another may hold",
    "action-directive-of-another-type": "the type of a default is not in the file",
    "action-pause-expires-first": "one number is held against another",
    "action-pause-is-none": "the type of a default is not in the file",
    "action-verification-clear-beyond": "one number is held against another",
    "trigger-action-of-another-unit": "what an action takes from an incident may be declared in another file",
    "trigger-action-unknown": "an action may be declared in another file",
    "trigger-aggregate-not-of-the-signal": "the signal of a default is not in the file",
    "trigger-baseline-not-made-of-panes": "no pattern short enough to read has all multiples of fifteen",
    "trigger-baseline-of-a-maximum": "the aggregate of a default is not in the file",
    "trigger-baseline-shorter-than-its-window": "one number is held against another",
    "trigger-baseline-with-a-fixed-recovery": "the condition of a default is not in the file",
    "trigger-clear-above-the-threshold": "one number is held against another",
    "trigger-clear-below-a-falling-threshold": "one number is held against another",
    "trigger-clear-no-share": "the signal of a default is not in the file",
    "trigger-condition-not-finite": "JSON knows no infinity",
    "trigger-condition-share-above-one": "the signal of a default is not in the file",
    "trigger-min-samples-never-held": "one number is held against another",
    "trigger-name-twice": "one table is held against another",
    "trigger-rate-of-change-clear-on-the-wrong-side": "one number is held against another",
    "trigger-step-after-a-later-one": "one name is held against others",
    "trigger-step-not-in-the-plan": "one name is held against others",
    "trigger-step-of-another-key": "what a default groups by is not in the file",
}
"""The mistakes in the corpus that no schema of a single file can show, each with the reason."""


TRIGGER_FILE = Draft7Validator(SCHEMAS["triggers"]())


def validator(of: str) -> Draft7Validator:
    return Draft7Validator(SCHEMAS[of]())


def mistakes(of: str, text: str) -> list[str]:
    return [error.message for error in validator(of).iter_errors(tomllib.loads(text))]


@pytest.mark.parametrize("of", SCHEMAS)
def test_a_schema_is_one_of_draft_7(of: str) -> None:
    Draft7Validator.check_schema(SCHEMAS[of]())


@pytest.mark.parametrize(
    ("of", "text"),
    [
        ("tests", TESTS.read_text()),
        ("tests", PACK.with_name("pack_tests.toml").read_text()),
        ("triggers", TRIGGERS.read_text()),
        ("triggers", PACK.read_text()),
        ("actions", ACTIONS.read_text()),
        ("config", TEMPLATE),
        ("config", ""),
    ],
)
def test_what_is_shipped_is_accepted(of: str, text: str) -> None:
    assert mistakes(of, text) == []


@pytest.mark.parametrize(
    ("of", "text"),
    [
        ("triggers", '[[trigger]]\nname = "slow_tasks"\nenabled = false\nfor = 30\nwindow = "10m"\n'),
        ("triggers", TRIGGERS.read_text().replace('"slow_tasks"', '"my_own"')),
        ("triggers", '[[trigger]]\nname = "slow_tasks"\nsignal = "metric.queue"\nactions = ["my_own"]\n'),
        ("triggers", '[[maintenance]]\nname = "m"\nkeys = { "attributes.customer" = "a" }\n'),
        ("actions", '[[action]]\nname = "optimize_token_usage"\ndirectives = { token_budget = 5 }\n'),
        ("actions", '[[action]]\nname = "resolve_retry_failures"\ndirectives = { max_retries = 0 }\n'),
        ("tests", '[[test]]\nname = "t"\nexpect = [{ at = "5m", trigger = "slow_tasks", state = "firing" }]\n'),
        ("config", '[actions.channels.a]\nkind = "command"\nargv = ["x"]\ntimeout = "5s"\nagents = ["A"]\n'),
        ("config", '[server]\nport = false\n[triggers]\nfiles = ["a.toml"]\ngrid = "5s"\n'),
    ],
)
def test_what_a_person_writes_is_accepted(of: str, text: str) -> None:
    assert mistakes(of, text) == []


BESIDE = '[[trigger]]\nname = "duration_increase"\n'
OWN = '[[trigger]]\nname = "my_own"\ntype = "custom"\nseverity = "low"\ntarget_agent = "Me"\n'
SILENT = OWN + 'condition = { kind = "absence", silent_for = "5m" }\n'
TOGETHER = OWN + 'condition = { kind = "composite", all = ["slow_tasks", "high_retry_rate"] }\n'


def test_a_condition_requires_what_it_looks_at_and_refuses_what_it_does_not() -> None:
    assert mistakes("triggers", SILENT + 'signal = "agent.events"\n') == []
    assert mistakes("triggers", TOGETHER) == []
    assert mistakes("triggers", SILENT)
    assert mistakes("triggers", SILENT + 'signal = "agent.events"\nwindow = "5m"\n')
    assert mistakes("triggers", TOGETHER + 'signal = "task.errors"\n')
    assert mistakes("triggers", TOGETHER.replace("all =", "any = [], all ="))


@pytest.mark.parametrize("file", READABLE, ids=lambda file: file.stem)
def test_an_editor_shows_each_mistake_that_one_file_alone_shows(file: Path) -> None:
    of = "actions" if file.stem.startswith("action-") else "triggers"
    assert (not mistakes(of, file.read_text())) == (file.stem in HIDDEN)


DURATIONS = st.one_of(
    *(
        st.builds(f"{{}}{{}}{unit}".format, st.sampled_from(("", "0", "00")), st.integers(0, LONGEST_S // length))
        for unit, length in UNITS.items()
    )
)


@given(text=DURATIONS, minimum=st.integers(0, 10**6), maximum=st.integers(0, 10**6) | st.none())
def test_the_text_of_a_duration_is_accepted_within_its_bounds_alone(
    text: str, minimum: int, maximum: int | None
) -> None:
    accepted = Draft7Validator(written(minimum=minimum, maximum=maximum)).is_valid(text)
    assert accepted == (minimum <= parse_duration(text) <= (10**12 if maximum is None else maximum))


@given(DURATIONS | st.builds("{}{}".format, st.integers(0, 200), st.sampled_from(list(UNITS))))
def test_a_window_is_accepted_as_text_where_it_is_loaded(text: str) -> None:
    table = {"name": "slow_tasks", "window": text}
    accepted = TRIGGER_FILE.is_valid({"trigger": [table]})
    assert accepted == TRIGGER_FILE.is_valid({"trigger": [table | {"window": parse_duration(text)}]})
    whole = 10 <= parse_duration(text) <= 86_400
    assert accepted == (whole and not list(contradictions({"condition": {}, "window": text})))


@pytest.mark.parametrize(
    ("text", "accepted"),
    [("2m30s", True), ("2m 30s", True), ("1h30m", True), ("1d 0h 0m 0s", True), ("30s2m", False), ("2m  30s", False)],
)
def test_several_units_are_accepted_as_text_where_they_are_read(text: str, accepted: bool) -> None:
    assert TRIGGER_FILE.is_valid({"trigger": [{"name": "slow_tasks", "window": text}]}) == accepted
    at = {"at": text, "trigger": "slow_tasks", "state": "firing"}
    assert validator("tests").is_valid({"test": [{"name": "t", "expect": [at]}]}) == accepted
    assert (seconds_of(text) is not None) == accepted


def test_what_is_written_in_the_docs_is_accepted() -> None:
    blocks = [block for page in DOCS for block in re.findall(r"```toml\n(.*?)```", page.read_text(), re.DOTALL)]
    found = {of: [text for text in blocks if kind_of(tomllib.loads(text)) == of] for of in SCHEMAS}
    assert all(found.values())
    assert {text: told for of in found for text in found[of] if (told := mistakes(of, text))} == {}


def kind_of(table: dict[str, Any]) -> str | None:
    """What kind of file a table of the docs is of; None for one that no schema is for."""
    for kind, of in {"test": "tests", "trigger": "triggers", "maintenance": "triggers", "action": "actions"}.items():
        if isinstance(table.get(kind), list):
            return of
    return None if table.keys() & {"case", "fault"} else "config"


@pytest.mark.parametrize(
    ("of", "text"),
    [
        ("triggers", TRIGGERS.read_text().replace('"max"', '"ratio"', 1)),
        ("triggers", TRIGGERS.read_text().replace("value = 0.2", "value = 20")),
        ("triggers", '[[trigger]]\nname = "my_own"\nenabled = false\n'),
        ("triggers", BESIDE + 'aggregate = "max"\ncondition = { kind = "baseline", ratio = 2 }\n'),
        ("triggers", BESIDE + 'clear = 5\ncondition = { kind = "baseline", ratio = 2 }\n'),
        ("triggers", BESIDE + 'signal = "task.tokens"\ncondition = { kind = "absence" }\n'),
        ("triggers", BESIDE + 'signal = "agent.events"\ncondition = { kind = "threshold", value = 1 }\n'),
        ("actions", '[[action]]\nname = "analyze_slow_tasks"\nprompt = " "\n'),
        ("actions", ACTIONS.read_text().replace("paused = true", "model = 'm'")),
        ("config", '[actions]\nmode = "acting"\n'),
        ("config", '[actions.channels.a]\nkind = "command"\n'),
        ("config", '[triggers]\ngrid = "5 s"\n'),
        ("config", "[server]\nport = true\n"),
        ("tests", '[[test]]\nname = "t"\nexpect = [{ at = "5m", trigger = "slow_tasks", state = "fire" }]\n'),
    ],
)
def test_what_two_keys_of_one_table_show_is_refused(of: str, text: str) -> None:
    assert mistakes(of, text)


LENGTHS = ("0s", "5s", "10s", "15s", "010m", "70m", "90m", "1h", "2h", "1d", "2d", 0, 10, 15, 300, "5", -1, True)
NUMBERS = (0, 1, 2, 0.5, -1, 100, True, "1")
PLAUSIBLE: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(("window", "for", "keep_firing_for", "flap_window"), LENGTHS),
    **dict.fromkeys(("clear", "min_samples", "flap_after"), NUMBERS),
    "signal": ("task.tokens", "metric.q", "metric.", "agent.events", "task.tests"),
    "aggregate": ("mean", "ratio", "avg"),
    "group_by": ([], ["model", "attributes.x"], ["attributes."], ["agent", "agent"]),
    "where": ({"attributes.a": "b"}, {"agent": 1}),
    "condition": (
        {"value": 1},
        {"kind": "composite", "all": ["high_error_rate", "high_retry_rate"]},
        *({"kind": "threshold", "value": value} for value in NUMBERS),
        *({"kind": "baseline", "ratio": 2, "over": over} for over in LENGTHS),
        *({"kind": "rate_of_change", "value": -2, "per": per} for per in LENGTHS),
        *({"kind": "absence", "silent_for": length} for length in LENGTHS),
    ),
    "actions": ([], ["my_own"], ["My own"]),
    "when": (
        {"analyze_slow_tasks": {"group": {"agent": "Coder"}}},
        {"analyze_slow_tasks": {"attempt": 2, "severity": ["high"]}},
    ),
}


def test_an_editor_finds_nothing_wrong_with_what_loads() -> None:
    loads = [
        {key: value}
        for key, values in PLAUSIBLE.items()
        for value in values
        if not read_triggers([], overrides={"slow_tasks": {key: value}}).problems
    ]
    assert len(loads) > 20
    assert [each for each in loads if not TRIGGER_FILE.is_valid({"trigger": [{"name": "slow_tasks"} | each]})] == []


@pytest.mark.parametrize("of", SCHEMAS)
def test_every_key_says_what_it_means(of: str) -> None:
    assert [key for key, _, says in keys_of(SCHEMAS[of]()) if not says] == []


def fields(model: type[BaseModel]) -> Iterator[str]:
    return (info.alias or name for name, info in model.model_fields.items())


def test_every_key_of_a_model_is_in_its_schema() -> None:
    channels = {f"actions.channels.NAME.{key}" for kind in CHANNEL_KINDS for key in kind.model_fields}
    assert {key for key, _, _ in keys_of(SCHEMAS["config"]())} == channels | {
        key for setting in SETTING_KEYS if setting != "actions.channels" for key in below(setting)
    }
    models: dict[str, dict[str, type[Declared]]] = {
        "triggers": {"trigger": TriggerSpec, "maintenance": Maintenance},
        "actions": {"action": ActionSpec},
    }
    for of, kinds in models.items():
        told = {tuple(key.split(".")[:2]) for key, _, _ in keys_of(SCHEMAS[of]())}
        assert told == {(kind, name) for kind, model in kinds.items() for name in fields(model)}


def below(setting: str) -> list[str]:
    value: Any = Settings()
    for name in setting.split("."):
        value = getattr(value, name)
    return [f"{setting}.{key}" for key in fields(type(value))] if isinstance(value, BaseModel) else [setting]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (90, "90s"), (60, "1m"), (5400, "90m"), (3600, "1h"), (86400, "1d")]
)
def test_a_default_duration_is_written_as_people_do(seconds: int, text: str) -> None:
    assert duration(seconds) == text
    assert parse_duration(text) == seconds
