"""Every mistake in a file of triggers or actions is told: one bad file for each, with its exact message in its head."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from self_healing.actions.registry import ActionRegistry, read_actions
from self_healing.declarations import Declarations
from self_healing.documents import MOST_TOLD, parsed, read_document
from self_healing.measures import COARSE_US, FINE_US, pane_us_of
from self_healing.problems import keys
from self_healing.spec import TriggerSpec
from self_healing.telemetry.signals import COLUMNS, SIGNALS
from self_healing.triggers.contradictions import COARSE_S, FINE_S, FINE_UP_TO_S
from self_healing.triggers.declared import read_triggers

CORPUS = Path(__file__).parent.parent / "fixtures" / "mistakes"
FILES = sorted(CORPUS.glob("*.toml"))
ACTIONS = ActionRegistry.from_defaults().names
KINDS = ["threshold", "baseline", "rate_of_change", "absence", "composite"]
LISTS = {
    "SIGNALS": [*SIGNALS, "metric.NAME"],
    "COLUMNS": COLUMNS,
    "ACTIONS": ACTIONS,
    "KINDS": KINDS,
    "KEYS": keys(TriggerSpec),
}
"""What grows by itself is not written out in the corpus."""


def expected(file: Path) -> list[str]:
    """The messages that the head of a file names, as they are to be printed."""
    found = []
    for line in file.read_bytes().decode("latin-1").splitlines():
        if not line.startswith("# expect: "):
            break
        text = line.removeprefix("# expect: ").replace("FILE", str(file))
        for name, listed in LISTS.items():
            text = text.replace(name, ", ".join(listed))
        found.append(f"{file}:{text}")
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_each_mistake_is_told_with_file_line_key_value_and_what_is_allowed(file: Path) -> None:
    if file.stem.startswith("action-"):
        read: Declarations[Any] = read_actions([file])
    else:
        read = read_triggers([file], actions=ACTIONS, declared=[*ActionRegistry.from_defaults()])
    assert sorted(read.problems) == sorted(expected(file))
    assert read.problems


def test_twenty_mistakes_in_one_file_are_twenty_messages() -> None:
    assert len(read_triggers([CORPUS / "twenty-mistakes.toml"], actions=ACTIONS).problems) == 20


def test_a_file_that_is_hardly_meant_to_be_toml_is_not_told_line_by_line() -> None:
    document = parsed("notes.txt", "a = b\n" * 1_000)
    assert len(document.problems) == MOST_TOLD
    assert document.values == {}


def test_the_line_of_a_key_is_found_wherever_it_stands() -> None:
    text = 'a = 1\n[[t]]\nb = { c = [1,\n2], "d.e" = 2 }\n\n[t.s]\nf = """\n[x]\n"""\n[[t]]\ng.h = 1\n[u.v]\n'
    document = parsed("f.toml", text)
    assert document.problems == ()
    assert {key: document.at(key) for key in ("a", "t.0", "t.0.b", "t.0.s.f", "t.1", "t.1.g.h", "u", "z", "t.1.z")} == {
        "a": "f.toml:1",
        "t.0": "f.toml:2",
        "t.0.b": "f.toml:3",
        "t.0.s.f": "f.toml:7",
        "t.1": "f.toml:10",
        "t.1.g.h": "f.toml:11",
        "u": "f.toml:12",
        "z": "f.toml",
        "t.1.z": "f.toml:10",
    }


def test_a_mark_of_the_byte_order_is_no_mistake(tmp_path: Path) -> None:
    (tmp_path / "t.toml").write_text('[[trigger]]\nname = "slow_tasks"\n', encoding="utf-8-sig")
    assert read_document(tmp_path / "t.toml").values == {"trigger": [{"name": "slow_tasks"}]}


def test_what_follows_a_broken_header_is_not_taken_for_what_stands_above_it() -> None:
    document = parsed("f.toml", '[[trigger]]\nname = "a"\n[[trigger\nname = "b"\n')
    assert document.values == {"trigger": [{"name": "a"}]}
    assert len(document.problems) == 1


def test_a_file_that_is_not_there_or_no_file_is_told(tmp_path: Path) -> None:
    assert read_document(tmp_path / "none.toml").problems == (
        f"{tmp_path}/none.toml: no such file: allowed is an existing TOML file",
    )
    assert read_document(tmp_path).problems == (
        f"{tmp_path}: cannot be read (Is a directory): allowed is a readable TOML file",
    )


@pytest.mark.parametrize("value", ["[" * 5000 + "]" * 5000, "[" * 5000, "9" * 5000])
def test_what_python_itself_does_not_read_is_told_like_any_mistake(value: str) -> None:
    (problem,) = parsed("f.toml", f"a = {value}\n").problems
    assert problem.startswith("f.toml: cannot be read (")
    assert problem.endswith("): allowed is TOML that Python reads")


def test_a_name_that_no_file_can_have_is_told() -> None:
    assert read_document(Path("a\0b")).problems == (
        "a\0b: no file can have such a name: allowed is an existing TOML file",
    )


def test_the_panes_that_files_are_held_to_are_those_that_windows_are_made_of() -> None:
    assert (FINE_S, COARSE_S) == (FINE_US // 10**6, COARSE_US // 10**6)
    assert (pane_us_of(FINE_UP_TO_S * 10**6), pane_us_of((FINE_UP_TO_S + 1) * 10**6)) == (FINE_US, COARSE_US)
