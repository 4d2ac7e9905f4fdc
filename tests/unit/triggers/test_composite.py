"""Triggers that look at others: all or any of them, of the same group, at the same instant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from self_healing.model import Reason, SeriesState
from self_healing.spec import Spec, TriggerSpec
from self_healing.triggers.declared import read_triggers
from self_healing.triggers.selftest import failures
from tests.unit.triggers.engine import Engine, at_us, composite, finished, group, states, trigger

INACTIVE, PENDING, FIRING, RECOVERING = SeriesState


def member(name: str, **changes: Any) -> TriggerSpec:
    """Fires while the newest ten seconds hold a task of a minute of that model."""
    return trigger(name=name, window=10, where={"model": name}, **{"keep_firing_for": 0, "no_data": "clear", **changes})


A, B, C = (member(name) for name in ("first", "second", "third"))
NAMES = ["first", "second", "third"]


def engine(**condition: Any) -> Engine:
    """The composite is declared before what it looks at, and is judged after it."""
    return Engine(composite(name="tried", **{"keep_firing_for": 0, **condition}), A, B, C)


@pytest.mark.parametrize(
    ("how", "firing", "expected"),
    [
        ("all", [], INACTIVE),
        ("all", ["first", "second"], INACTIVE),
        ("all", ["first", "second", "third"], FIRING),
        ("any", [], INACTIVE),
        ("any", ["third"], FIRING),
        ("any", ["first", "second", "third"], FIRING),
    ],
)
def test_it_fires_at_the_very_instant_at_which_enough_of_them_do(
    how: str, firing: list[str], expected: SeriesState
) -> None:
    tried = engine(**{how: NAMES})
    tried.push(*(finished(1, 60.0 if name in firing else 1.0, model=name) for name in NAMES))

    tried.at(1)

    assert tried.state() is expected
    assert tried.verdict(1).value == len(firing)
    assert tried.verdict(1).threshold == (3 if how == "all" else 1)


def test_a_member_that_recovers_counts_until_it_is_inactive() -> None:
    slow = member("first", keep_firing_for=20)
    tried = Engine(composite(name="tried", any=["first", "second"], keep_firing_for=0), slow, B)
    tried.push(finished(1, 60.0, model="first"))

    found = [(at, after) for at, name, _, _, after in tried.every_instant(0, 60) if name == "tried"]

    assert found == [(1, FIRING), (40, RECOVERING), (41, INACTIVE)]


def test_groups_are_told_apart() -> None:
    tried = engine(all=["first", "second"])
    tried.push(finished(1, 60.0, "X", model="first"), finished(1, 60.0, "Y", model="second"))
    tried.push(finished(2, 60.0, "Z", model="first"), finished(2, 60.0, "Z", model="second"))

    assert [agent for _, name, agent, _, _ in tried.every_instant(0, 5) if name == "tried"] == ["Z"]


def test_it_has_no_data_while_none_of_them_has() -> None:
    tried = engine(any=["first", "second"])
    tried.push(finished(1, 1.0, model="third"))
    tried.at(1)
    assert tried.verdict(1).reason is Reason.NO_DATA

    tried.push(finished(2, 1.0, model="second"))
    tried.at(2)
    assert tried.verdict(2).reason is Reason.BELOW_THRESHOLD


def test_what_looks_at_a_series_that_was_set_inactive_is_due_at_once() -> None:
    tried = engine(any=["first", "second"])
    tried.push(finished(1, 60.0, model="first"))
    tried.at(1)

    tried.framework.reset("first", group("A"), at_us(1))

    assert tried.due(1) == 2


@settings(max_examples=40)
@given(
    tasks=st.lists(st.tuples(st.integers(0, 80), st.sampled_from(NAMES), st.sampled_from("XY")), max_size=15),
    how=st.sampled_from(["all", "any"]),
    wait=st.sampled_from([0, 5]),
    keep=st.sampled_from([0, 7]),
)
def test_looking_only_when_it_is_due_sees_what_looking_every_second_sees(
    tasks: list[tuple[int, str, str]], how: str, wait: int, keep: int
) -> None:
    always, when_due = (engine(**{how: NAMES[:2], "for": wait, "keep_firing_for": keep}) for _ in range(2))
    for each in (always, when_due):
        if tasks:
            each.push(*(finished(at, 60.0, agent, model=name) for at, name, agent in tasks))

    assert when_due.due_instants(0, 120)[0] == always.every_instant(0, 120)


@pytest.mark.parametrize("condition", [{"all": NAMES}, {"any": NAMES}, {"all": NAMES, "for": 20}])
def test_one_that_works_is_let_through_by_its_boundary_tests(condition: dict[str, Any]) -> None:
    assert failures(Spec(triggers=(composite(**condition), A, B, C), actions=())) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"signal": "task.errors"},
        {"aggregate": "mean"},
        {"window": 60},
        {"where": {"model": "m"}},
        {"min_samples": 2},
        {"clear": 1},
        {"all": ["first"]},
        {"all": ["first", "first"]},
        {"any": ["first", "second"]},
    ],
)
def test_what_says_nothing_about_other_triggers_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        composite(**{"all": ["first", "second"], **changes})


TABLE = """
[[trigger]]
name = "both"
type = "custom"
condition = {{ kind = "composite", all = [{members}] }}
severity = "high"
target_agent = "Helper"
{more}
"""


@pytest.mark.parametrize(
    ("members", "more", "said"),
    [
        ('"slow_tasks", "hgh_error_rate"', "", "did you mean high_error_rate?"),
        ('"slow_tasks", "both"', "", '"both": unknown'),
        ('"slow_tasks", "stuck_tasks"', "", "`self-healing triggers enable stuck_tasks`, switches it on"),
        ('"slow_tasks", "test_failure_spike"', 'inhibited_by = ["drill"]', "`self-healing triggers enable drill`"),
        ('"slow_tasks", "test_failure_spike"', 'group_by = ["model"]', "group as this one does, by model"),
        ('"slow_tasks", "off"', "", "enable off, or disable both as well"),
        ('"slow_tasks", "two"', "", "look at signals, not at other triggers"),
    ],
)
def test_what_cannot_be_looked_at_is_named(tmp_path: Path, members: str, more: str, said: str) -> None:
    text = TABLE.format(members=members, more=more)
    text += '[[trigger]]\nname = "high_retry_rate"\nenabled = false\n'
    text = text.replace('"off"', '"high_retry_rate"').replace("off", "high_retry_rate")
    two = TABLE.format(members='"slow_tasks", "test_failure_spike"', more="").replace('"both"', '"two"')
    (tmp_path / "t.toml").write_text(text + two)

    found = read_triggers([tmp_path / "t.toml"]).problems

    assert any(said.replace("off", "high_retry_rate") in line for line in found), found


def test_states_are_those_of_any_trigger() -> None:
    tried = engine(**{"any": ["first", "second"], "for": 5})
    tried.push(finished(1, 60.0, model="first"))

    changes = [c for c in tried.every_instant(0, 40) if c[1] == "tried"]

    assert states(changes) == [(1, PENDING), (6, FIRING), (21, RECOVERING), (22, INACTIVE)]
