"""The schemas say what the models say: they accept what loads, and refuse what a single file cannot mean."""

from __future__ import annotations

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
from self_healing.schemas import SCHEMAS, duration, keys_of
from self_healing.spec import ActionSpec, Declared, TriggerSpec, parse_duration
from self_healing.triggers.declared import DEFAULTS as TRIGGERS

MISTAKES = sorted((Path(__file__).parent.parent / "fixtures" / "mistakes").glob("*.toml"))
TOLD_ON_LOAD = {
    # what only the panes, the defaults beneath the file, or two keys together show
    "trigger-baseline-not-made-of-panes",
    "trigger-baseline-shorter-than-a-pane",
    "trigger-baseline-shorter-than-its-window",
    "trigger-baseline-with-a-fixed-recovery",
    "trigger-clear-above-the-threshold",
    "trigger-clear-below-a-falling-threshold",
    "trigger-clear-no-share",
    "trigger-condition-share-above-one",
    "trigger-aggregate-not-of-the-signal",
    "trigger-action-unknown",
    "trigger-for-longer-than-a-day",
    "trigger-keep-firing-longer-than-a-day",
    "trigger-min-samples-never-held",
    "trigger-window-between-panes",
    "trigger-window-between-long-panes",
    "trigger-window-shorter-than-a-pane",
    "trigger-window-too-long",
    "trigger-name-twice",
    "trigger-condition-not-finite",
    "trigger-target-agent-blank",
    "action-directive-of-another-type",
    "action-pause-expires-first",
    "action-pause-is-none",
}
"""The mistakes in the corpus that an editor does not show."""


def validator(of: str) -> Draft7Validator:
    return Draft7Validator(SCHEMAS[of]())


def mistakes(of: str, text: str) -> list[str]:
    return [error.message for error in validator(of).iter_errors(tomllib.loads(text))]


@pytest.mark.parametrize("of", SCHEMAS)
def test_a_schema_is_one_of_draft_7(of: str) -> None:
    Draft7Validator.check_schema(SCHEMAS[of]())


@pytest.mark.parametrize(
    ("of", "text"),
    [("triggers", TRIGGERS.read_text()), ("actions", ACTIONS.read_text()), ("config", TEMPLATE), ("config", "")],
)
def test_what_is_shipped_is_accepted(of: str, text: str) -> None:
    assert mistakes(of, text) == []


@pytest.mark.parametrize(
    ("of", "text"),
    [
        ("triggers", '[[trigger]]\nname = "slow_tasks"\nenabled = false\nfor = 30\nwindow = "10m"\n'),
        ("triggers", TRIGGERS.read_text().replace('"slow_tasks"', '"my_own"')),
        ("triggers", '[[trigger]]\nname = "slow_tasks"\nsignal = "metric.queue"\nactions = ["my_own"]\n'),
        ("actions", '[[action]]\nname = "optimize_token_usage"\ndirectives = { token_budget = 5 }\n'),
        ("config", '[server]\nport = false\n[triggers]\nfiles = ["a.toml"]\ngrid = "5s"\n'),
    ],
)
def test_what_a_person_writes_is_accepted(of: str, text: str) -> None:
    assert mistakes(of, text) == []


@pytest.mark.parametrize("file", [file for file in MISTAKES if "toml-" not in file.stem], ids=lambda file: file.stem)
def test_an_editor_shows_the_mistakes_of_the_corpus_but_for_those_that_only_loading_shows(file: Path) -> None:
    if file.stem == "twenty-mistakes":
        pytest.skip("it is no TOML, which an editor shows without a schema")
    of = "actions" if file.stem.startswith("action-") else "triggers"
    assert bool(mistakes(of, file.read_text())) == (file.stem not in TOLD_ON_LOAD)


@pytest.mark.parametrize(
    ("of", "text"),
    [
        ("triggers", TRIGGERS.read_text().replace('"max"', '"ratio"', 1)),
        ("triggers", TRIGGERS.read_text().replace("value = 0.2", "value = 20")),
        ("triggers", '[[trigger]]\nname = "my_own"\nenabled = false\n'),
        ("actions", ACTIONS.read_text().replace("paused = true", "model = 'm'")),
        ("config", '[actions]\nmode = "acting"\n'),
        ("config", '[triggers]\ngrid = "5 s"\n'),
        ("config", "[server]\nport = true\n"),
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
    assert {key for key, _, _ in keys_of(SCHEMAS["config"]())} == {
        key for setting in SETTING_KEYS for key in below(setting)
    }
    models: dict[str, tuple[str, type[Declared]]] = {
        "triggers": ("trigger", TriggerSpec),
        "actions": ("action", ActionSpec),
    }
    for of, (kind, model) in models.items():
        assert {key.split(".")[1] for key, _, _ in keys_of(SCHEMAS[of]())} == set(fields(model)), kind


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
