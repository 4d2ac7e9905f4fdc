"""A trigger keeps so many series apart as its `max_series` says; what comes of any further group is one series."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from self_healing.backtest import replay
from self_healing.measures import Measure
from self_healing.model import Reason, SeriesState
from self_healing.spec import Spec, TriggerSpec
from self_healing.triggers.selftest import failures
from tests.unit.triggers.engine import Engine, absence, at_us, composite, finished, group, started, trigger

FIRING, INACTIVE = SeriesState.FIRING, SeriesState.INACTIVE


def limited(most: int = 2, **changes: Any) -> TriggerSpec:
    return trigger(max_series=most, **changes)


def known(engine: Engine, name: str = "tried") -> list[str]:
    """The agents that have a series of the trigger."""
    return [verdict.group[0][1] for verdict in engine.framework.verdicts_of(name, at_us(60))]


def crowd(*agents: str, at: float = 1, **more: Any) -> list[dict[str, Any]]:
    return [finished(at, 5, agent, id=f"{agent}{at}", **more) for agent in agents]


def test_further_groups_are_one_series_and_other_triggers_keep_them_apart() -> None:
    engine = Engine(limited(), trigger(name="free"))
    engine.push(*crowd("a", "b", "c"), finished(2, 70, "d"), finished(2, 5, "e"))
    engine.at(3)

    assert known(engine) == ["a", "b", "overflow"]
    assert engine.state("overflow") is FIRING
    assert engine.verdict(3, "overflow").samples == 3
    assert engine.verdict(3, "d").reason is Reason.NO_DATA
    assert known(engine, "free") == ["a", "b", "c", "d", "e"]
    assert [engine.state(agent, "free") for agent in "cd"] == [INACTIVE, FIRING]


samples = st.lists(
    st.tuples(st.integers(0, 50), st.sampled_from("abcdef"), st.sampled_from("mn"), st.integers(0, 100)), min_size=1
)


@settings(max_examples=40)
@given(samples=samples, most=st.integers(1, 6))
def test_no_sample_is_lost_or_counted_twice_whatever_the_limit(
    samples: list[tuple[int, str, str, int]], most: int
) -> None:
    where = {"model": "m"}
    engine = Engine(limited(most, where=where), trigger(name="free", where=where))
    engine.push(*(finished(at, float(taken), agent, model=model) for at, agent, model, taken in samples))
    engine.at(50)

    found, free = (
        engine.telemetry.window(Measure.of(each), 60_000_000, at_us(50)) for each in engine.framework.spec.triggers
    )
    assert (found.count.sum(), found.amount.sum()) == (free.count.sum(), free.amount.sum())
    assert found.maximum.max(initial=0) == free.maximum.max(initial=0)
    own = [agent for agent in known(engine) if agent != "overflow"]
    groups = list(
        dict.fromkeys(agent for _, agent, model, _ in sorted(samples, key=lambda each: each[0]) if model == "m")
    )
    assert own == groups[:most]


def test_what_a_trigger_does_not_look_at_takes_no_place_from_its_series() -> None:
    engine = Engine(limited(where={"model": "m"}))
    engine.push(*crowd("a", "b", "c", model="n"), *crowd("d", "e", model="m", at=2), started(2, "t", "f"))
    engine.at(3)

    assert known(engine) == ["d", "e"]


def test_running_tasks_of_further_groups_count_by_their_age() -> None:
    engine = Engine(limited(1))
    engine.push(started(0, "t0", "a"), started(1, "t1", "b"), started(2, "t2", "c"))
    engine.at(61)

    assert (engine.state("a"), engine.state("overflow")) == (FIRING, FIRING)
    assert engine.verdict(61, "overflow").value == 60


def test_the_further_groups_are_silent_once_all_of_them_are() -> None:
    engine = Engine(absence(30, max_series=1))
    engine.push(*crowd("a", "b", "c", at=1), *crowd("c", at=20))
    engine.at(40)
    assert (engine.state("a"), engine.state("overflow")) == (FIRING, INACTIVE)

    engine.at(50)
    assert engine.state("overflow") is FIRING


def test_a_composite_sees_the_series_of_triggers_that_keep_other_groups_apart() -> None:
    one, two = limited(1, name="one", window=600), limited(3, name="two", window=600, where={"model": "m"})
    engine = Engine(one, two, composite(all=("one", "two")))
    engine.push(*crowd("a", "b"), *(finished(at, 70, agent, model="m") for at, agent in ((2, "b"), (3, "c"), (4, "a"))))
    engine.at(5)

    assert {agent for agent in known(engine) if engine.state(agent) is FIRING} == {"a"}
    assert engine.verdict(5, "b").value == 1
    assert engine.verdict(5, "overflow").value == 1


def test_a_series_of_further_groups_begins_anew_after_its_incident_like_any_other() -> None:
    engine = Engine(limited(1))
    engine.push(*crowd("a"), finished(2, 70, "b"), finished(12, 5, "c"))
    engine.at(3)
    engine.close("tried", "overflow", 10, 2)
    engine.at(13)

    assert engine.state("overflow") is INACTIVE
    assert engine.verdict(13, "overflow").samples == 1


def test_the_limit_of_a_triggers_own_is_no_issue_and_that_of_all_groups_is_one_beside_it() -> None:
    engine = Engine(limited(1), trigger(name="free"), max_groups=3)
    engine.push(*crowd("a", "b"))
    engine.at(2)
    assert engine.telemetry.overflows("tried")
    assert engine.telemetry.issues == []

    engine.push(*crowd("c", "d", at=3))
    engine.at(4)
    (issue,) = engine.telemetry.issues
    assert issue.startswith("more than 3 groups by agent (triggers.max_groups): ")


def test_a_trigger_that_groups_by_nothing_has_one_series_of_all() -> None:
    engine = Engine(trigger(group_by=[]))
    engine.push(*crowd("a", "b"))
    engine.at(2)
    (verdict,) = engine.framework.verdicts_of("tried", at_us(2))
    assert (verdict.group, verdict.samples) == ((), 2)


@pytest.mark.parametrize(("most", "muted", "told"), [(1, ["a"], ["b", "c"]), (2, ["a", "b"], ["c"])])
def test_what_fires_in_an_overflow_inhibits_no_single_group_and_is_told(
    most: int, muted: list[str], told: list[str]
) -> None:
    engine = Engine(limited(most, name="cause"), trigger(inhibited_by=["cause"]), limited(9, name="calm"))
    engine.push(*(finished(at, 70, agent) for at, agent in enumerate("abc", start=1)))
    engine.at(4)

    assert [agent for agent in "abc" if engine.verdict(4, agent).reason is Reason.INHIBITED] == muted
    assert [agent for agent in "abc" if engine.framework.overflowing("tried", group(agent))] == told


@pytest.mark.parametrize(("most", "muted"), [(1, True), (2, False)])
def test_an_overflow_is_inhibited_by_that_of_a_trigger_that_keeps_the_same_groups_apart(most: int, muted: bool) -> None:
    engine = Engine(limited(1, name="cause"), limited(most, inhibited_by=["cause"]))
    engine.push(*(finished(at, 70, agent) for at, agent in enumerate("abc", start=1)))
    engine.at(4)

    assert engine.state("overflow") is FIRING
    assert (engine.verdict(4, "overflow").reason is Reason.INHIBITED) is muted


def test_a_trigger_with_one_series_for_all_inhibits_every_group() -> None:
    engine = Engine(trigger(name="cause", group_by=[]), trigger(inhibited_by=["cause"]))
    engine.push(*crowd("a"), finished(2, 70, "b"))
    engine.at(3)

    assert engine.verdict(3, "b").reason is Reason.INHIBITED


def test_a_limit_is_no_matter_at_the_boundaries() -> None:
    spec = Engine(limited(1), absence(60, name="quiet", max_series=2)).framework.spec
    assert failures(spec) == []


def test_a_backtest_keeps_the_same_groups_apart_and_sees_the_same(tmp_path: Path) -> None:
    lines = [finished(at, 70 if at % 7 == 0 else 5, "abcdef"[at % 5], id=f"t{at}") for at in range(0, 900, 13)]
    path = tmp_path / "events.jsonl"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    spec = Spec(triggers=(limited(2), absence(30, name="quiet", max_series=1)), actions=())

    quick, plain = (replay(spec, [path], every_event=each) for each in (False, True))
    assert quick.transitions == plain.transitions
    assert {verdict.group[0][1] for verdict in (each.verdict for each in plain.transitions)} == {"a", "d", "overflow"}
