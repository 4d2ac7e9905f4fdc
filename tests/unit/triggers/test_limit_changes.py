"""A trigger whose `max_series` is changed goes on with all it knew: who has a series keeps it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from self_healing import checkpoint
from self_healing.measures import MICRO, Measure
from self_healing.model import SeriesState, Verdict
from self_healing.spec import TriggerSpec
from self_healing.storage.store import Store
from self_healing.triggers.framework import Packed
from tests.unit.triggers.engine import Engine, absence, at_us, finished, group, started, trigger

FIRING, INACTIVE, PENDING = SeriesState.FIRING, SeriesState.INACTIVE, SeriesState.PENDING

LIMITS = [None, 1, 2, 3, 9]


class Kept:
    """What a state keeps, in memory: as :mod:`self_healing.checkpoint` writes it, which is tried below as well."""

    def __init__(self) -> None:
        self.panes: dict[tuple[str, int, int], bytes] = {}
        self.facts: dict[str, Any] = {}
        self.series: dict[str, Packed] = {}

    def restarted(self, engine: Engine, *most: int | None) -> Engine:
        """What a restart makes of an engine, with other limits of its triggers."""
        return self.restarted_as(engine, *limited(engine, *most))

    def restarted_as(self, engine: Engine, *triggers: TriggerSpec) -> Engine:
        """What a restart makes of an engine, under other triggers."""
        self.save(engine)
        again = Engine(*triggers)
        again.telemetry.restore([(*key, columns) for key, columns in self.panes.items()], self.facts)
        for name, packed in self.series.items():
            again.framework.restore(name, packed, again.telemetry.moves.get(name))
        self.save(again)
        return again

    def save(self, engine: Engine) -> None:
        stored = engine.telemetry.pack()
        for key, level, oldest in engine.telemetry.forgotten_slots():
            for each in [each for each in self.panes if each[:2] == (key, level) and each[2] < oldest]:
                del self.panes[each]
        self.panes |= {(row["table_key"], row["level"], row["slot"]): row["columns"] for row in stored.panes}
        facts = {name: msgspec.msgpack.decode(msgspec.msgpack.encode(each)) for name, each in stored.facts.items()}
        self.facts |= facts
        self.series |= engine.framework.pack(everything=True)


def limited(engine: Engine, *most: int | None) -> list[TriggerSpec]:
    """Its triggers with other limits."""
    triggers = engine.framework.spec.triggers
    return [each.model_copy(update={"max_series": limit}) for each, limit in zip(triggers, most, strict=True)]


def with_limits(engine: Engine, *most: int | None) -> Engine:
    return Kept().restarted(engine, *most)


def told(engine: Engine, seconds: float) -> list[Verdict]:
    """What is said of each series, in the order of the groups."""
    verdicts = [msgspec.structs.replace(each, spec_version="") for each in engine.framework.verdicts(at_us(seconds))]
    return sorted(verdicts, key=lambda verdict: (verdict.trigger, verdict.group))


def hour(**changes: object) -> TriggerSpec:
    return trigger(window=7200, **changes)


samples = st.lists(st.tuples(st.integers(0, 40), st.sampled_from("abcde"), st.integers(0, 100)), min_size=1)


@settings(max_examples=12, deadline=None)
@given(samples=samples, before=st.sampled_from(LIMITS), after=st.sampled_from(LIMITS))
def test_every_series_is_what_it_was_whatever_the_limits(
    samples: list[tuple[int, str, int]], before: int | None, after: int | None
) -> None:
    high = trigger(name="high", aggregate="p95", max_series=before, **{"for": 100})
    engine = Engine(hour(max_series=before), high)
    engine.push(*(finished(at, float(taken), agent) for at, agent, taken in samples))
    for seconds in range(0, 41, 10):
        engine.at(seconds)
    kept = Kept()
    again = kept.restarted(engine, after, after)

    assert told(again, 40) == told(engine, 40)
    assert told(kept.restarted(again, before, before), 40) == told(engine, 40)


@pytest.mark.parametrize(("before", "after"), [(2, 1), (2, 3), (2, None), (None, 1), (None, 5)])
def test_pending_timers_and_what_fires_go_on_and_run_out_when_they_would_have(
    before: int | None, after: int | None
) -> None:
    engine = Engine(
        trigger(max_series=before, keep_firing_for=0), trigger(name="slow", max_series=before, **{"for": 30})
    )
    engine.push(finished(1, 70, "a"), finished(11, 70, "b"), finished(21, 5, "c"))
    engine.every_instant(0, 25)
    again = with_limits(engine, after, after)

    assert [again.state(agent) for agent in "ab"] == [FIRING, FIRING]
    assert [again.state(agent, "slow") for agent in "ab"] == [PENDING, PENDING]
    assert again.every_instant(26, 90) == engine.every_instant(26, 90) != []


def test_a_smaller_limit_sends_those_that_come_to_the_overflow_and_nobody_else() -> None:
    engine = Engine(trigger(max_series=3))
    engine.push(*(finished(1, 70, agent) for agent in "abc"))
    engine.at(2)
    again = with_limits(engine, 1)
    again.push(finished(3, 71, "c"), finished(4, 72, "d"))
    again.at(5)

    assert [(each.group[0][1], each.value) for each in told(again, 5)] == [
        ("a", 70),
        ("b", 70),
        ("c", 71),
        ("overflow", 72),
    ]


def test_a_larger_limit_keeps_those_apart_that_come() -> None:
    engine = Engine(trigger(max_series=1))
    engine.push(*(finished(1, 70, agent) for agent in "abc"))
    engine.at(2)
    again = with_limits(engine, 3)
    again.push(finished(3, 71, "b"), finished(4, 72, "c"), finished(5, 73, "d"))
    again.at(6)

    assert [(each.group[0][1], each.value) for each in told(again, 6)] == [
        ("a", 70),
        ("b", 71),
        ("c", 72),
        ("overflow", 73),
    ]


def test_what_a_trigger_never_saw_takes_no_place_from_its_new_limit() -> None:
    engine = Engine(trigger(where={"model": "m"}), trigger(name="all"))
    engine.push(finished(1, 5, "a"), finished(1, 5, "b"), finished(1, 5, "c", model="m"))
    engine.at(2)
    again = with_limits(engine, 2, None)
    again.push(finished(3, 5, "d", model="m"))
    again.at(4)

    assert [each.group[0][1] for each in again.framework.verdicts_of("tried", at_us(4))] == ["c", "d"]


def test_tasks_that_run_count_by_their_age_for_the_series_that_fired_for_them() -> None:
    engine = Engine(trigger(max_series=2))
    engine.push(started(0, "t0", "a"), started(1, "t1", "b"))
    engine.at(70)
    again = with_limits(engine, 1)
    again.at(71)

    assert [(again.state(agent), again.verdict(71, agent).value) for agent in "ab"] == [(FIRING, 71), (FIRING, 70)]


def test_who_is_silent_stays_so_and_is_heard_again() -> None:
    engine = Engine(absence(30, max_series=2))
    engine.push(finished(1, 5, "a"), finished(2, 5, "b"))
    engine.every_instant(0, 40)
    again = with_limits(engine, 1)
    again.push(finished(41, 5, "b"))
    again.every_instant(41, 120)

    assert engine.state("a") is again.state("a") is FIRING
    assert again.verdict(120, "b").value == 79


def test_what_began_anew_with_an_incident_and_what_a_verification_gathers_go_along() -> None:
    engine = Engine(hour(max_series=2))
    engine.push(finished(1, 70, "a"), finished(1, 70, "b"), started(2, "t1", "b"))
    engine.at(2)
    engine.close("tried", "b", 5, 1)
    engine.telemetry.watch("v1", "tried", group("b"), at_us(1))
    again = with_limits(engine, 9)
    again.push(finished(9, 7, "b", id="t1", started_at=engine_start(2)))
    again.at(10)

    assert again.verdict(10, "b").value == 7
    gathered = again.telemetry.unwatch("v1")
    assert gathered is not None
    assert [task.samples[0][2] for task in gathered.tasks.values()] == [7 * MICRO]


def engine_start(seconds: float) -> float:
    return at_us(seconds) / MICRO


def test_two_limits_that_become_one_keep_the_series_of_both() -> None:
    engine = Engine(trigger(max_series=1), trigger(name="other", max_series=3))
    engine.push(*(finished(1, 70, agent) for agent in "abc"))
    engine.at(2)
    again = with_limits(engine, 2, 2)
    again.at(3)

    assert [again.state(agent) for agent in ("a", "overflow")] == [FIRING, FIRING]
    assert [again.state(agent, "other") for agent in "abc"] == [FIRING] * 3
    assert again.telemetry.window(Measure.of(again.framework.spec.triggers[0]), 60 * MICRO, at_us(3)).count.sum() == 3


def on_state(engine: Engine, store: Store) -> Engine:
    """The engine, gone on from the state."""
    checkpoint.load(store, engine.telemetry, engine.framework)
    return engine


def save(engine: Engine, seconds: float, store: Store) -> None:
    progress = checkpoint.Progress(evaluated_us=at_us(seconds))
    with store.transaction():
        checkpoint.save(store, engine.telemetry, engine.framework, progress, [], whole=True)


def test_a_restart_of_the_state_goes_on_and_leaves_nothing_of_a_limit_that_is_no_more(tmp_path: Path) -> None:
    engine = Engine(trigger(max_series=2))
    engine.push(finished(1, 5, "a"), finished(1, 70, "b"))
    engine.at(2)
    with Store(tmp_path) as store:
        save(engine, 2, store)
        again = on_state(Engine(*limited(engine, 3)), store)
        save(again, 2, store)
        anew = on_state(Engine(trigger(max_series=2, where={"model": "m"})), store)  # it measures something else
        save(anew, 3, store)
        back = on_state(Engine(trigger(max_series=2)), store)

    assert [again.state(agent) for agent in "ab"] == [INACTIVE, FIRING]
    back.push(finished(3, 7, "c"))
    back.at(4)
    assert [(each.group, each.value) for each in told(back, 4)] == [(group("c"), 7)]


@pytest.mark.parametrize("others", [("max",), ("p95",), ("max", "p95")])
def test_what_another_trigger_asks_of_the_same_samples_costs_nobody_what_was_known(others: tuple[str, ...]) -> None:
    few = trigger(name="few", aggregate="count", condition=("<", 2), window=600)
    mean = trigger(name="mean", aggregate="mean", condition=(">=", 60), window=600, **{"for": 100})
    more = [trigger(name=other, aggregate=other, window=600) for other in others]
    engine = Engine(few, mean)
    engine.push(*(finished(at, 70, "a") for at in range(1, 50, 10)))
    engine.at(50)
    kept = Kept()
    again = kept.restarted_as(engine, few, mean, *more)
    back = kept.restarted_as(again, few, mean)
    again.at(51)

    assert [each for each in told(again, 51) if each.trigger in ("few", "mean")] == told(engine, 51) == told(back, 51)
    assert [again.state("a", name) for name in others] == [INACTIVE for _ in others]


def test_a_maximum_is_told_once_all_samples_of_its_window_are_known_by_theirs() -> None:
    mean, highest = trigger(name="mean", aggregate="mean", condition=(">=", 90)), trigger()
    engine = Engine(mean)
    engine.push(finished(1, 80, "a"))
    engine.at(2)
    kept = Kept()
    again = kept.restarted_as(engine, mean, highest)
    again.push(finished(21, 70, "a"), finished(21, 75, "b"))
    again.at(22)
    twice = kept.restarted_as(again, mean, highest)

    for each in (again, twice):
        told_of = each.framework.verdicts_of("tried", at_us(22))
        assert [(verdict.group, verdict.value) for verdict in told_of] == [(group("b"), 75)]
    again.at(75)
    assert again.verdict(75, "a").value == 70


def test_of_what_nobody_asks_for_any_more_nothing_is_left_to_whoever_takes_the_place_or_asks_again() -> None:
    baseline = trigger(aggregate="mean", condition={"kind": "baseline", "ratio": 2, "over": 7200, "min_samples": 5})
    engine = Engine(baseline, trigger(name="beside", signal="task.tokens"))
    engine.push(finished(1, 5, "a"))
    engine.at(2)
    kept = Kept()
    kept.restarted_as(engine, trigger(name="beside", signal="task.tokens"))

    assert {key for key, _, _ in kept.panes} == set()


def test_coarse_panes_go_that_no_window_and_no_baseline_needs_any_more() -> None:
    engine = Engine(hour())
    engine.push(finished(1, 5, "a"))
    engine.at(2)
    kept = Kept()
    kept.restarted_as(engine, trigger())

    assert {level for _, level, _ in kept.panes} == {10}


def test_a_limit_that_comes_and_goes_finds_what_came_meanwhile() -> None:
    engine = Engine(trigger(aggregate="count", condition=(">=", 5), window=600))
    engine.push(finished(1, 5, "a"))
    engine.at(2)
    kept = Kept()
    limited = kept.restarted(engine, 2)
    limited.push(*(finished(at, 5, "a") for at in range(31, 36)))
    limited.at(36)
    back = kept.restarted(limited, None)
    back.at(37)

    assert (back.state("a"), back.verdict(37, "a").value) == (FIRING, 6)


@pytest.mark.parametrize("aggregate", ["mean", "max", "count", "p95"])
def test_a_window_that_becomes_longer_than_an_hour_keeps_what_was_there(aggregate: str) -> None:
    shorter, longer = (trigger(aggregate=aggregate, condition=(">=", 1), window=length) for length in (1800, 7200))
    lines = [finished(at * 60, float(at), "a") for at in range(30)]
    engine, always = Engine(shorter), Engine(longer)
    for each in (engine, always):
        each.push(*lines)
        each.at(1740)
    kept = Kept()
    again = kept.restarted_as(engine, longer)
    twice = kept.restarted_as(again, longer)

    for each in (again, twice, always):
        each.push(finished(1741, 2.0, "a"))
        each.at(1742)
    assert told(again, 1742) == told(twice, 1742) == told(always, 1742) != []
