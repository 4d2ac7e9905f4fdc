"""Flapping: what begins to fire too often within its window is kept recovering until it has rested."""

from __future__ import annotations

from typing import Any

import pytest

from self_healing.model import Reason, SeriesState
from self_healing.spec import TriggerSpec
from self_healing.triggers.series import Packed
from tests.unit.triggers.engine import Engine, finished, group, states, trigger

INACTIVE, PENDING, FIRING, RECOVERING = SeriesState
EVERY_S = 60
"""A slow task each minute: it fires at the task, recovers 20 s later and, unless it flaps, is inactive 10 s after."""


def flapping(**changes: Any) -> TriggerSpec:
    """Three times within four minutes; so it rests for a minute."""
    values = {"window": 10, "no_data": "clear", "keep_firing_for": 10, "flap_after": 3, "flap_window": 240}
    return trigger(**{**values, **changes})


def hits(times: int, every_s: int = EVERY_S) -> list[dict[str, Any]]:
    return [finished(every_s * number, 70.0) for number in range(times)]


def run(tried: TriggerSpec, lines: list[dict[str, Any]], last_s: int = 600) -> Engine:
    engine = Engine(tried)
    engine.push(*lines)
    engine.every_instant(0, last_s)
    return engine


def test_the_third_beginning_within_the_window_keeps_it_recovering_until_it_has_rested() -> None:
    engine = Engine(flapping())
    engine.push(*hits(3))

    found = states(engine.every_instant(0, 400))

    assert found == [
        *[(0, FIRING), (20, RECOVERING), (30, INACTIVE)],
        *[(60, FIRING), (80, RECOVERING), (90, INACTIVE)],
        *[(120, FIRING), (140, RECOVERING), (200, INACTIVE)],
    ]


def test_a_rest_is_never_shorter_than_it_keeps_firing_anyway() -> None:
    engine = Engine(flapping(keep_firing_for=70))
    engine.push(*hits(3, every_s=110))

    assert states(engine.every_instant(0, 400))[-2:] == [(240, RECOVERING), (310, INACTIVE)]


def test_a_verdict_says_that_it_flaps_from_that_beginning_until_it_is_inactive() -> None:
    engine = Engine(flapping())
    engine.push(*hits(3))

    said: dict[int, bool] = {}
    for seconds in (60, 120, 141, 199, 200):
        engine.every_instant(max(said, default=-1) + 1, seconds)
        said[seconds] = engine.verdict(seconds).flapping

    assert said == {60: False, 120: True, 141: True, 199: True, 200: False}


def test_its_reason_is_flapping_while_nothing_else_would_keep_it_recovering() -> None:
    engine = Engine(flapping(window=60))
    engine.push(*(finished(100 * number, 70.0) for number in range(3)), finished(290, 1.0))
    engine.every_instant(0, 200)
    assert (engine.verdict(200).reason, engine.verdict(200).flapping) == (Reason.CONDITION_MET, True)

    engine.every_instant(201, 290)
    assert (engine.state(), engine.verdict(290).reason) == (RECOVERING, Reason.FLAPPING)


def test_firing_again_while_it_rests_is_the_same_firing_and_the_rest_begins_anew() -> None:
    engine = Engine(flapping())
    engine.push(*hits(6))

    found = states(engine.every_instant(0, 600))

    assert found[6:] == [
        *[(120, FIRING), (140, RECOVERING), (180, FIRING), (200, RECOVERING)],
        *[(240, FIRING), (260, RECOVERING), (300, FIRING), (320, RECOVERING), (380, INACTIVE)],
    ]


@pytest.mark.parametrize(("every_s", "flaps"), [(120, True), (121, False)])
def test_a_beginning_that_is_exactly_a_window_old_still_counts(every_s: int, flaps: bool) -> None:
    engine = run(flapping(), hits(3, every_s), 2 * every_s)

    assert engine.verdict(2 * every_s).flapping is flaps


def test_coming_back_from_recovering_is_no_beginning() -> None:
    engine = run(flapping(keep_firing_for=60), hits(9, 40), 8 * 40)

    assert not engine.verdict(8 * 40).flapping


def test_with_flap_after_zero_nothing_ever_flaps() -> None:
    engine = Engine(flapping(flap_after=0))
    engine.push(*hits(9))
    found = states(engine.every_instant(0, 700))

    assert [state for _, state in found] == [FIRING, RECOVERING, INACTIVE] * 9


def test_only_the_series_that_flaps_rests() -> None:
    engine = Engine(flapping())
    engine.push(*hits(3), finished(120, 70.0, "B"))
    engine.every_instant(0, 160)

    assert (engine.state("A"), engine.state("B")) == (RECOVERING, INACTIVE)


def test_what_is_skipped_as_idle_changes_nothing_of_it() -> None:
    every, due = Engine(flapping()), Engine(flapping())
    for engine in (every, due):
        engine.push(*hits(6))

    assert due.due_instants(0, 600)[0] == every.every_instant(0, 600)


def test_the_close_of_an_incident_ends_the_rest_but_not_the_memory() -> None:
    engine = Engine(flapping())
    engine.push(*hits(4))
    engine.every_instant(0, 150)
    engine.close("tried", "A", 150, 120)

    assert (engine.state(), engine.verdict(150).flapping) == (INACTIVE, False)
    engine.every_instant(151, 180)
    assert (engine.state(), engine.verdict(180).flapping) == (FIRING, True)


# --- across restarts and reloads -------------------------------------------------------------------------------------


def packed(tried: TriggerSpec, lines: list[dict[str, Any]], last_s: int) -> Packed:
    return run(tried, lines, last_s).framework.pack(everything=True)["tried"]


def restored(stored: Packed, tried: TriggerSpec, at_s: int) -> Engine:
    """An engine of that spec on what another one stored; it knows the same groups."""
    engine = Engine(tried)
    engine.push(finished(at_s, 70.0))
    engine.telemetry.fold()
    engine.framework.restore("tried", stored)
    return engine


@pytest.mark.parametrize(
    "changes",
    [{}, {"severity": "low"}, {"target_agent": "Other"}, {"condition": (">=", 65)}, {"flap_after": 2}],
    ids=["nothing", "severity", "target", "threshold", "flap_after"],
)
def test_the_memory_of_beginnings_survives_a_reload_that_measures_the_same(changes: dict[str, Any]) -> None:
    engine = restored(packed(flapping(), hits(2), 100), flapping(**changes), 120)

    engine.at(120)

    assert (engine.state(), engine.verdict(120).flapping) == (FIRING, True)


def test_a_longer_memory_begins_with_what_there_was() -> None:
    engine = restored(packed(flapping(), hits(2), 100), flapping(flap_after=4), 120)

    engine.at(120)

    assert not engine.verdict(120).flapping
    assert engine.framework._series["tried"].began_us[0, 1:].all()


@pytest.mark.parametrize(
    "changes",
    [{"aggregate": "mean"}, {"where": {"model": "m"}}, {"signal": "task.attempts"}],
    ids=["aggregate", "where", "signal"],
)
def test_a_trigger_that_measures_something_else_begins_anew(changes: dict[str, Any]) -> None:
    stored = packed(flapping(), hits(3), 150)
    engine = restored(stored, flapping(**changes), 151)

    assert engine.state() is INACTIVE
    assert engine.framework.firing() == []


def test_a_rest_goes_on_after_a_restart() -> None:
    engine = Engine(flapping())
    engine.push(finished(0, 1.0))
    engine.telemetry.fold()
    engine.framework.restore("tried", packed(flapping(), hits(3), 150))

    found = states(engine.every_instant(151, 300))

    assert found == [(200, INACTIVE)]


def test_what_flaps_no_longer_does_once_that_is_switched_off() -> None:
    engine = restored(packed(flapping(), hits(3), 150), flapping(flap_after=0), 300)

    assert engine.framework.verdict("tried", group("A"), 0).flapping is False
