"""What adds up over a window is judged from below only once that window was watched in full."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from self_healing.backtest import Replay, replay
from self_healing.clock import from_us
from self_healing.model import Reason, SeriesState
from self_healing.spec import Spec, TriggerSpec
from self_healing.triggers.explain import Case, why
from tests.unit.triggers.engine import Engine, Line, at_us, finished, group, states, trigger

LOW = [trigger(aggregate="rate", condition=("<", 0.05)), trigger(aggregate="sum", condition=("<=", 4))]


def steady(first_s: int, last_s: int, every_s: int = 10) -> list[Line]:
    return [finished(seconds, agent="A") for seconds in range(first_s, last_s, every_s)]


def watching(tried: TriggerSpec, *lines: Line) -> Engine:
    engine = Engine(tried)
    engine.push(*lines)
    return engine


def on_change(name: str, op: str, value: float) -> TriggerSpec:
    condition = {"kind": "rate_of_change", "op": op, "value": value, "per": 60}
    return trigger(name=name, aggregate="count", condition=condition)


@settings(max_examples=10, deadline=None)
@given(
    every_s=st.integers(2, 60),
    first_s=st.integers(0, 25),
    closed_s=st.lists(st.integers(30, 150), max_size=2, unique=True).map(sorted),
)
def test_steady_work_neither_falls_nor_rises_whenever_a_window_began(
    every_s: int, first_s: int, closed_s: list[int]
) -> None:
    fall = trigger(aggregate="count", condition=("<", 60 // every_s))
    tried = (fall, on_change("down", "<=", -2), on_change("up", ">=", 2))
    engine = Engine(*tried)
    engine.push(*steady(first_s, 280, every_s))
    found, at_s = [], 0
    for until_s in (*closed_s, 280 - every_s):
        found += engine.due_instants(at_s, until_s)[0]
        at_s = until_s + 1
        for each in tried if first_s <= until_s < 280 - every_s else ():
            engine.close(each.name, "A", until_s, until_s - 10)
    assert found == []


@pytest.mark.parametrize("tried", LOW)
def test_steady_work_of_a_new_series_is_no_fall(tried: TriggerSpec) -> None:
    engine = watching(tried, *steady(5, 400))
    engine.at(0)
    assert engine.every_instant(1, 390) == []


@pytest.mark.parametrize("tried", LOW)
def test_steady_work_is_no_fall_after_an_incident_was_closed(tried: TriggerSpec) -> None:
    engine = watching(tried, *steady(5, 400))
    engine.every_instant(0, 150)
    engine.close("tried", "A", 150, 140)
    assert engine.every_instant(151, 390) == []


def test_a_real_fall_is_found_once_a_whole_window_has_passed() -> None:
    lines = [*steady(5, 150), *steady(155, 400, 50)]
    engine = watching(LOW[0], *lines)
    engine.every_instant(0, 150)
    engine.close("tried", "A", 150, 140)
    assert states(engine.every_instant(151, 300))[0] == (220, SeriesState.FIRING)


def test_between_its_looks_it_is_found_to_the_same_second() -> None:
    lines = steady(5, 400, 50)
    every, due = watching(LOW[0], *lines), watching(LOW[0], *lines)
    assert states(every.every_instant(0, 200)) == states(due.due_instants(0, 200)[0]) == [(70, SeriesState.FIRING)]


def test_who_looks_seldom_is_told_the_same() -> None:
    lines = steady(5, 400)
    seldom = watching(LOW[0], *lines)
    seldom.at(20)
    assert seldom.framework.grounds("tried", group("A"), at_us(20)).whole_at == from_us(at_us(70))
    seldom.close("tried", "A", 120, 110)
    seldom.at(140)
    assert seldom.framework.grounds("tried", group("A"), at_us(140)).whole_at == from_us(at_us(190))


def test_who_is_silent_longer_than_a_window_after_a_close_is_new() -> None:
    engine = watching(LOW[0], *steady(5, 150), *steady(255, 500))
    engine.every_instant(0, 150)
    engine.close("tried", "A", 150, 140)
    assert engine.every_instant(151, 490) == []


def test_what_was_heard_before_the_first_look_was_watched() -> None:
    engine = watching(LOW[0], *steady(5, 600, 50))
    assert states(engine.every_instant(590, 590)) == [(590, SeriesState.FIRING)]


def test_a_count_judged_from_above_fires_at_once() -> None:
    engine = watching(trigger(aggregate="count", condition=(">=", 1)), *steady(5, 20))
    assert states(engine.every_instant(0, 5)) == [(5, SeriesState.FIRING)]


def test_steady_work_is_no_rise_after_an_incident_was_closed() -> None:
    tried = trigger(aggregate="count", condition={"kind": "rate_of_change", "value": 3})
    engine = watching(tried, *steady(5, 600))
    engine.every_instant(0, 300)
    engine.close("tried", "A", 300, 290)
    assert engine.every_instant(301, 590) == []


def test_it_says_why_it_is_not_judged_and_until_when() -> None:
    engine = watching(LOW[0], *steady(5, 400))
    engine.every_instant(0, 20)
    verdict = engine.verdict(20)
    grounds = engine.framework.grounds("tried", group("A"), at_us(20))
    assert (verdict.reason, grounds.whole_at) == (Reason.TOO_FEW_SAMPLES, from_us(at_us(70)))
    said = why(Case(trigger=LOW[0], unit="", verdict=verdict, grounds=grounds))
    assert said.endswith("too lately for a whole window of 1m; its rate is judged from 10:01:10 on")


def test_it_is_not_judged_sooner_for_being_put_back_from_the_state() -> None:
    engine = watching(LOW[0], *steady(5, 400))
    engine.every_instant(0, 20)
    packed = engine.framework.pack(everything=False)["tried"]
    engine.framework.restore("tried", packed)
    assert engine.every_instant(21, 300) == []


@pytest.mark.parametrize("every_event", [False, True])
def test_a_backtest_of_steady_work_that_fell_once_has_that_one_incident(tmp_path: Path, every_event: bool) -> None:
    file = tmp_path / "events.jsonl"
    lines = [*steady(5, 600), *steady(705, 2000)]
    file.write_text("".join(json.dumps({**line, "id": str(n)}) + "\n" for n, line in enumerate(lines)))
    done: Replay = replay(Spec(triggers=(LOW[0],), actions=()), [file], every_event=every_event)
    opened = [each.opened_us for each in done.incidents]
    assert opened == [at_us(640)]
