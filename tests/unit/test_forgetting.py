"""However many groups senders make up, so many are kept apart, totals stay right, and what fell silent makes room."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from self_healing.clock import SECOND_US
from self_healing.forgetting import Forgetting
from self_healing.measures import NONE_MIN, Measure
from self_healing.model import Reason, SeriesState
from self_healing.spec import TriggerSpec
from tests.unit.triggers.engine import Engine, Line, at_us, finished, group, started, trigger

HOUR_S = 3600
MEASURE = Measure("task.duration_s", (), ("agent",))


def totals(engine: Engine, measure: Measure, seconds: float) -> tuple[int, int]:
    """Count and amount of a window of an hour over all groups together."""
    found = engine.telemetry.window(measure, HOUR_S * SECOND_US, at_us(seconds))
    return int(found.count.sum()), int(found.amount.sum())


def hourly(**changes: Any) -> TriggerSpec:
    return trigger(window=HOUR_S, **changes)


samples = st.lists(
    st.tuples(
        st.integers(0, 3000),
        st.one_of(st.integers(0, 9).map("a{}".format), st.sampled_from(["overflow", "unknown"])),
        st.sampled_from(["m", "n", None]),
        st.integers(0, 500),
    ),
    min_size=1,
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(samples=samples, limit=st.integers(1, 12), cut=st.integers(0, 40))
def test_totals_over_all_groups_are_those_of_the_samples_whatever_the_limit(
    samples: list[tuple[int, str, str | None, int]], limit: int, cut: int
) -> None:
    by_both = hourly(name="both", group_by=["agent", "model"])
    engine = Engine(hourly(), by_both, max_groups=limit)
    lines = [finished(at, float(taken), agent, model=model) for at, agent, model, taken in samples]
    for batch in (lines[:cut], lines[cut:]):
        if batch:
            engine.push(*batch)
            engine.at(3000)

    expected = (len(samples), sum(taken for *_, taken in samples) * SECOND_US)
    assert totals(engine, MEASURE, 3000) == expected
    assert totals(engine, Measure.of(by_both), 3000) == expected
    assert all(len(engine.telemetry.groups(each)) <= limit + 1 for each in engine.telemetry.groupings)
    assert len(engine.telemetry.tasks.agents) <= limit + 1


def crowd(first: int, last: int, at: float = 1, duration_s: float = 5) -> list[Line]:
    return [finished(at, duration_s, f"a{number}", id=f"t{number}") for number in range(first, last)]


def test_further_groups_share_one_that_is_judged_like_any_other() -> None:
    engine = Engine(trigger(), max_groups=2)
    engine.push(*crowd(0, 4), finished(2, 70, "late-one"))

    engine.at(3)

    assert engine.state("overflow") is SeriesState.FIRING
    assert engine.verdict(3, "overflow").samples == 3
    assert engine.verdict(3, "a1").samples == 1
    assert engine.verdict(3, "a2").reason is Reason.NO_DATA


def test_the_overflow_is_named_with_its_grouping_and_the_setting_that_moves_it() -> None:
    engine = Engine(trigger(), trigger(name="other", group_by=["model"]), max_groups=2)
    engine.push(*crowd(0, 2))
    engine.at(3)
    assert engine.telemetry.issues == []

    engine.push(*crowd(2, 3, at=4))
    engine.at(5)

    assert len(engine.telemetry.issues) == 1
    assert "more than 2 groups by agent (triggers.max_groups)" in engine.telemetry.issues[0]


def test_running_tasks_of_further_agents_count_by_their_age_until_each_ends() -> None:
    engine = Engine(trigger(), max_groups=1)
    engine.push(started(0, "t0", "a0"), started(1, "t1", "a1"), started(2, "t2", "a2"), finished(9, 8, "a1", id="t1"))

    engine.at(65)

    running = engine.telemetry.oldest_running(MEASURE)
    assert running[engine.telemetry.place(("agent",), group("overflow")) or 0] == at_us(2)
    assert engine.state("overflow") is SeriesState.FIRING


def silent_since_the_start() -> tuple[Engine, Forgetting]:
    """One agent that ended a slow task and was never heard of again, and the look that forgets."""
    engine = Engine(trigger(), trigger(name="before", aggregate="mean", condition=BASELINE), max_groups=2)
    engine.push(finished(1, 70, "Old", id="t"))
    engine.at(2)
    return engine, Forgetting(engine.telemetry, engine.framework)


BASELINE = {"kind": "baseline", "ratio": 1.5, "over": "24h"}


def look(engine: Engine, forgetting: Forgetting, hours: float, incidents: tuple[tuple[str, str], ...] = ()) -> None:
    engine.push(finished(hours * HOUR_S, 1, "Living"))
    engine.at(hours * HOUR_S)
    forgetting.look(at_us(hours * HOUR_S), [(name, group(agent)) for name, agent in incidents])


def fall_quiet(engine: Engine) -> None:
    """Let what fires recover for want of anything else: its incident was closed."""
    engine.close("tried", "Old", 3, 2)
    engine.at(80)


def test_a_group_is_forgotten_25_hours_after_its_last_sample_and_another_comes_to_its_place() -> None:
    engine, forgetting = silent_since_the_start()
    fall_quiet(engine)
    look(engine, forgetting, 24)
    assert engine.telemetry.place(("agent",), group("Old")) == 0
    look(engine, forgetting, 26)
    assert engine.telemetry.place(("agent",), group("Old")) is None

    engine.push(finished(26 * HOUR_S + 1, 1, "New"))
    engine.at(26 * HOUR_S + 2)

    assert engine.telemetry.place(("agent",), group("New")) == 0
    assert engine.telemetry.issues == []
    seen = engine.verdict(26 * HOUR_S + 2, "New")
    assert (seen.state, seen.samples, seen.value, seen.since) == (SeriesState.INACTIVE, 1, 1.0, None)
    assert engine.verdict(26 * HOUR_S + 2, "New", "before").reason is Reason.NO_BASELINE


def test_a_series_that_fires_is_not_forgotten() -> None:
    engine, forgetting = silent_since_the_start()
    look(engine, forgetting, 26)
    look(engine, forgetting, 60)
    assert engine.state("Old") is SeriesState.FIRING


def test_a_series_with_an_incident_is_not_forgotten() -> None:
    engine, forgetting = silent_since_the_start()
    fall_quiet(engine)
    look(engine, forgetting, 26, incidents=(("tried", "Old"),))
    assert engine.telemetry.place(("agent",), group("Old")) == 0
    look(engine, forgetting, 27)
    assert engine.telemetry.place(("agent",), group("Old")) is None


def test_a_series_whose_verification_is_open_is_not_forgotten() -> None:
    engine, forgetting = silent_since_the_start()
    fall_quiet(engine)
    engine.telemetry.watch("v", "tried", group("Old"), at_us(3))
    look(engine, forgetting, 26)
    assert engine.telemetry.place(("agent",), group("Old")) == 0
    engine.telemetry.unwatch("v")
    look(engine, forgetting, 27)
    assert engine.telemetry.place(("agent",), group("Old")) is None


def test_a_group_whose_samples_a_longer_baseline_still_holds_is_not_forgotten() -> None:
    engine = Engine(trigger(aggregate="mean", condition=BASELINE | {"over": "72h"}))
    forgetting = Forgetting(engine.telemetry, engine.framework)
    engine.push(finished(1, 1, "Old"))
    engine.at(2)
    engine.at(80)
    look(engine, forgetting, 60)
    assert engine.telemetry.place(("agent",), group("Old")) == 0
    look(engine, forgetting, 74)
    assert engine.telemetry.place(("agent",), group("Old")) is None


def test_an_agent_that_worked_on_a_handoff_once_is_forgotten_like_any_other() -> None:
    engine = Engine(trigger())
    forgetting = Forgetting(engine.telemetry, engine.framework)
    tasks = engine.telemetry.tasks
    engine.push(finished(1, 1, "Mender", id="t", handoff_id="h"))
    look(engine, forgetting, 1)
    assert "Mender" in tasks.agents  # what else its task says is known to be repair work
    tasks.repairs.clear()
    look(engine, forgetting, 26)
    assert set(tasks.agents) == {"Living"}
    assert engine.telemetry.place(("agent",), group("Mender")) is None


def test_places_survive_a_restart_with_those_that_are_free() -> None:
    engine, forgetting = silent_since_the_start()
    fall_quiet(engine)
    look(engine, forgetting, 26)
    stored = engine.telemetry.pack()
    other = Engine(*engine.framework.spec.triggers, max_groups=1)
    facts = stored.facts | {"taps": {"restarts": {}, "accumulators": {}}, "accounting": {}}
    panes = [(row["table_key"], row["level"], row["slot"], row["columns"]) for row in stored.panes]

    other.telemetry.restore(panes, facts)

    assert other.telemetry.place(("agent",), group("Living")) == 1
    assert other.telemetry.place(("agent",), group("Old")) is None
    other.push(finished(26 * HOUR_S + 1, 1, "New"))
    other.at(26 * HOUR_S + 2)
    assert other.telemetry.place(("agent",), group("overflow")) == 0
    count = other.telemetry.window(MEASURE, 60 * SECOND_US, at_us(26 * HOUR_S + 2)).count
    np.testing.assert_array_equal(count, [1, 1])


def test_nothing_of_a_running_task_is_left_in_the_place_of_a_forgotten_group() -> None:
    by_model = trigger(group_by=["model"])
    engine = Engine(by_model)
    engine.push(started(1, "t") | {"model": "old"})
    engine.at(2)
    assert engine.telemetry.oldest_running(Measure.of(by_model)).tolist() == [at_us(1)]
    engine.telemetry.tasks.give_up(at_us(25 * HOUR_S))

    engine.telemetry.forget(("model",), np.ones(1, np.bool_))

    assert engine.telemetry.oldest_running(Measure.of(by_model)).tolist() == [NONE_MIN]
