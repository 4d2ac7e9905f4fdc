"""The schemas say what the models say: they accept what loads, and refuse what a single file cannot mean."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator
from pydantic import BaseModel

from self_healing.actions.registry import DEFAULTS as ACTIONS
from self_healing.cli.template import TEMPLATE
from self_healing.config import SETTING_KEYS, Settings
from self_healing.handoffs.declared import CHANNEL_KINDS
from self_healing.schemas import SCHEMAS, duration, keys_of
from self_healing.spec import ActionSpec, Declared, Maintenance, TriggerSpec, parse_duration
from self_healing.triggers.declared import DEFAULTS as TRIGGERS
from self_healing.triggers.declared import PACK

TESTS = TRIGGERS.with_name("defaults_tests.toml")
MISTAKES = Path(__file__).parent.parent / "fixtures" / "mistakes"
ROOT = Path(__file__).parent.parent.parent
DOCS = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
SHOWN = (
    "action-directive-no-number",
    "action-directive-unknown",
    "action-directive-zero",
    "action-key-unknown",
    "action-prompt-missing",
    "action-tries-too-many",
    "action-tries-truth",
    "action-type-unknown",
    "action-verification-too-few-samples",
    "key-outside-a-table",
    "table-not-an-array",
    "table-unknown",
    "trigger-aggregate-unknown",
    "trigger-baseline-with-two-distances",
    "trigger-baseline-without-a-distance",
    "trigger-composite-of-one",
    "trigger-composite-of-one-grouped-by-no-list",
    "trigger-condition-in-a-table-of-its-own",
    "trigger-condition-key-unknown",
    "trigger-condition-kind-missing",
    "trigger-condition-kind-unknown",
    "trigger-condition-no-number",
    "trigger-condition-operator-unknown",
    "trigger-condition-text-for-a-number",
    "trigger-condition-truth-for-a-number",
    "trigger-duration-is-none",
    "trigger-enabled-no-boolean",
    "trigger-enabled-text",
    "trigger-for-negative",
    "trigger-for-truth",
    "trigger-group-by-no-list",
    "trigger-group-by-twice",
    "trigger-group-by-unknown",
    "trigger-key-unknown",
    "trigger-min-samples-no-whole-number",
    "trigger-min-samples-none",
    "trigger-min-samples-text",
    "trigger-name-missing",
    "trigger-name-no-text",
    "trigger-no-data-unknown",
    "trigger-severity-unknown",
    "trigger-signal-no-text",
    "trigger-signal-unknown",
    "trigger-target-agent-blank",
    "trigger-where-no-text",
    "trigger-where-unknown",
)
"""The mistakes in the corpus that an editor shows; the others only show beside the defaults, the panes, or on load."""


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


@pytest.mark.parametrize("name", SHOWN)
def test_an_editor_shows_what_one_file_alone_shows_to_be_wrong(name: str) -> None:
    of = "actions" if name.startswith("action-") else "triggers"
    assert mistakes(of, (MISTAKES / f"{name}.toml").read_text())


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
