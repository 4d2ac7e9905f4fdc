"""Silence: who once spoke and fell silent, to the second; who never spoke, and who may not be judged, is left alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from self_healing.clock import DAY_US, SECOND_US
from self_healing.measures import MICRO
from self_healing.model import Reason, SeriesState
from self_healing.spec import Spec, TriggerSpec
from self_healing.triggers.conditions import find
from self_healing.triggers.figures import silence
from self_healing.triggers.selftest import failures
from self_healing.triggers.states import Finding
from tests.unit.triggers.engine import Engine, Line, absence, at_us, beat, finished, group, started, states

INACTIVE, PENDING, FIRING, RECOVERING = SeriesState
T_US = 2 * DAY_US
MET, CLEARED, NO_DATA = Finding.MET, Finding.CLEARED, Finding.NO_DATA


@pytest.mark.parametrize(
    ("silent_us", "expected"),
    [
        (60 * MICRO - 1, CLEARED),
        (60 * MICRO, MET),
        (60 * MICRO + 1, MET),
        (DAY_US - 1, MET),
        (DAY_US, NO_DATA),
        (-5 * MICRO, CLEARED),  # its clock is ahead of ours
    ],
)
def test_who_is_silent_for_so_long_meets_it_and_after_a_day_nobody_waits(silent_us: int, expected: Finding) -> None:
    found = find(absence(), silence(np.array([T_US - silent_us]), T_US), None)

    assert found.tolist() == [expected]


def test_who_never_spoke_is_not_silent() -> None:
    assert find(absence(), silence(np.array([0]), T_US), None).tolist() == [NO_DATA]


def test_any_event_is_a_sign_of_life_and_silence_is_told_in_seconds() -> None:
    engine = Engine(absence(keep_firing_for=10))
    engine.push(finished(5, 1.0), {"ts": finished(30)["ts"], "type": "log", "agent": "A"}, finished(100, 1.0))

    assert states(engine.every_instant(0, 89)) == []
    assert engine.verdict(89).value == 59
    assert states(engine.every_instant(90, 120)) == [(90, FIRING), (100, RECOVERING), (110, INACTIVE)]


def test_a_group_is_silent_by_itself() -> None:
    engine = Engine(absence())
    engine.push(finished(0, 1.0, "A"), *(finished(s, 1.0, "B") for s in range(0, 100, 10)))

    assert {(agent, state) for _, _, agent, _, state in engine.every_instant(0, 100)} == {("A", FIRING)}


def test_an_event_of_nobody_makes_nobody_known() -> None:
    engine = Engine(absence())
    engine.push({"ts": finished(0)["ts"], "type": "log"}, finished(0, 1.0))

    assert [agent for _, _, agent, _, _ in engine.every_instant(0, 100)] == ["A"]


def test_only_events_that_are_asked_for_are_signs() -> None:
    engine = Engine(absence(where={"model": "m"}))
    engine.push(finished(0, 1.0, model="m"), *(finished(s, 1.0, model="n") for s in range(10, 100, 10)))

    assert states(engine.every_instant(0, 100)) == [(60, FIRING)]


def test_repair_work_excuses_who_speaks_and_accuses_nobody() -> None:
    engine = Engine(absence())
    engine.push(finished(0, 1.0, "A"), *(finished(s, 1.0, "A", id=f"a{s}", handoff_id="h") for s in range(20, 100, 20)))
    engine.push(finished(0, 1.0, "R", id="r", handoff_id="h"))

    assert engine.every_instant(0, 139) == []
    assert [agent for _, _, agent, _, _ in engine.every_instant(140, 200)] == ["A"]


def test_silence_is_not_judged_before_all_was_read() -> None:
    engine = Engine(absence())
    engine.push(finished(0, 1.0))
    engine.at(0)

    assert engine.framework.evaluate(at_us(90), caught_up=False) == []
    assert engine.framework.unjudged
    assert [t.after for t in engine.framework.evaluate(at_us(90))] == [FIRING]
    assert not engine.framework.unjudged


def test_who_was_silent_when_its_incident_closed_must_speak_before_it_can_fall_silent_again() -> None:
    engine = Engine(absence())
    engine.push(finished(0, 1.0), finished(300, 1.0))
    engine.every_instant(0, 60)

    engine.close("tried", "A", 70, opened=60)

    assert engine.every_instant(71, 359) == []
    assert states(engine.every_instant(360, 360)) == [(360, FIRING)]


def test_who_spoke_when_its_incident_closed_may_fall_silent_at_once() -> None:
    engine = Engine(absence())
    engine.push(finished(0, 1.0), finished(65, 1.0))
    engine.every_instant(0, 70)

    engine.close("tried", "A", 70, opened=60)

    assert states(engine.every_instant(71, 130)) == [(125, FIRING)]


class TestHeartbeats:
    def tried(self, **changes: Any) -> TriggerSpec:
        return absence(signal="task.heartbeat", **changes)

    def test_the_task_that_is_silent_longest_decides_although_it_is_given_up(self) -> None:
        engine = Engine(self.tried())
        engine.push(started(0, "stuck"), *(beat(s, "stuck") for s in (5, 10)))
        engine.push(started(0, "well"), *(beat(s, "well") for s in range(5, 200, 5)))

        assert states(engine.every_instant(0, 100)) == [(70, FIRING)]
        assert engine.telemetry.tasks.lost == 1

    @pytest.mark.parametrize("line", [finished(90, 90.0, id="t"), beat(90, "t"), started(90, "t")])
    def test_it_recovers_once_the_task_is_heard_of(self, line: Line) -> None:
        engine = Engine(self.tried(keep_firing_for=10))
        engine.push(started(0, "t"), beat(5, "t"), {**line, "attempt": 2} if "attempt" in line else line)

        assert states(engine.every_instant(0, 100)) == [(65, FIRING), (90, RECOVERING), (100, INACTIVE)]

    def test_an_agent_that_never_sent_one_is_not_judged(self) -> None:
        engine = Engine(self.tried())
        engine.push(started(0, "t"))

        assert engine.every_instant(0, 300) == []

    def test_what_was_stuck_when_its_incident_closed_is_not_looked_at_any_more(self) -> None:
        engine = Engine(self.tried())
        engine.push(started(0, "old"), beat(5, "old"), started(100, "new"), beat(105, "new"))
        engine.every_instant(0, 80)

        engine.close("tried", "A", 80, opened=65)

        assert states(engine.every_instant(81, 200)) == [(165, FIRING)]

    def test_it_is_remembered_over_a_restart(self) -> None:
        engine, again = Engine(self.tried()), Engine(self.tried())
        engine.push(started(0, "stuck"), *(beat(s, "stuck") for s in (5, 10)))
        engine.every_instant(0, 50)
        assert engine.telemetry.tasks.lost == 1

        restore(engine, again)

        assert states(again.every_instant(51, 70)) == [(70, FIRING)]


def restore(engine: Engine, again: Engine) -> None:
    stored = engine.telemetry.pack()
    facts = {**dict.fromkeys(("traces", "sessions", "metrics", "ended", "silent")), **stored.facts}
    again.telemetry.restore([], facts)


def test_signs_are_remembered_over_a_restart() -> None:
    engine, again = Engine(absence()), Engine(absence())
    engine.push(finished(0, 1.0))
    engine.at(1)

    restore(engine, again)

    assert states(again.every_instant(50, 60)) == [(60, FIRING)]


def test_a_group_that_is_forgotten_leaves_no_sign_to_the_next_in_its_place() -> None:
    engine = Engine(absence())
    engine.push(finished(0, 1.0, "A"))
    engine.at(1)
    known = engine.telemetry.last_sign(engine.framework._series["tried"].measure)
    assert known.tolist() == [at_us(0)]

    for signs in engine.telemetry._signs.values():
        signs.forget(np.array([0]))

    assert engine.telemetry.last_sign(engine.framework._series["tried"].measure).tolist() == [0]


silences = st.lists(st.tuples(st.integers(0, 400), st.sampled_from("AB")), max_size=12)


@settings(max_examples=60)
@given(
    spoken=silences,
    beats=st.lists(st.tuples(st.integers(0, 300), st.integers(1, 60), st.integers(0, 4)), max_size=4),
    wait=st.sampled_from([0, 7, 30]),
    keep=st.sampled_from([0, 7, 60]),
)
def test_looking_only_when_it_is_due_sees_what_looking_every_second_sees(
    spoken: list[tuple[int, str]], beats: list[tuple[int, int, int]], wait: int, keep: int
) -> None:
    timers: dict[str, Any] = {"for": wait, "keep_firing_for": keep}
    tried = absence(name="agents", **timers), absence(signal="task.heartbeat", silent_for=40, name="tasks", **timers)
    lines = [finished(at, 1.0, agent) for at, agent in spoken]
    for number, (at, gap, count) in enumerate(beats):
        lines += [started(at, f"t{number}"), *(beat(at + gap * (n + 1), f"t{number}") for n in range(count))]
    always, when_due = Engine(*tried), Engine(*tried)
    for engine in (always, when_due):
        if lines:
            engine.push(*lines)

    every = always.every_instant(0, 600)

    assert when_due.due_instants(0, 600)[0] == every
    if not keep and not wait:
        spoken += [(at + gap * n, "A") for at, gap, count in beats for n in range(count + 1)]
        assert sorted(c for c in every if c[1] == "agents") == sorted(plain(spoken))


def plain(spoken: list[tuple[int, str]]) -> list[Any]:
    """The same in plain Python: who fires and recovers when, second by second."""
    found: list[Any] = []
    state = dict.fromkeys("AB", INACTIVE)
    for second in range(601):
        for agent in "AB":
            heard = [at for at, who in spoken if who == agent and at <= second]
            silent = bool(heard) and second - max(heard) >= 60
            before = state[agent]
            if silent:
                state[agent] = FIRING
            elif before in (FIRING, RECOVERING):
                state[agent] = RECOVERING if before is FIRING else INACTIVE
            if state[agent] is not before:
                found.append((second, "agents", agent, before, state[agent]))
    return found


@pytest.mark.parametrize(
    "changes", [{"for": 30}, {"keep_firing_for": 0}, {"signal": "task.heartbeat"}, {"min_samples": 5}]
)
def test_one_that_works_is_let_through_by_its_boundary_tests(changes: dict[str, Any]) -> None:
    assert failures(Spec(triggers=(absence(**changes),), actions=())) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"aggregate": "mean"},
        {"window": 60},
        {"clear": 3},
        {"no_data": "fire"},
        {"silent_for": 9},
        {"silent_for": 86400},
    ],
)
def test_what_says_nothing_about_silence_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        absence(**changes)


def test_a_series_says_why_it_does_not_fire() -> None:
    engine = Engine(absence())
    engine.push(finished(0, 1.0))
    engine.at(1)

    assert engine.verdict(1).reason is Reason.BELOW_THRESHOLD
    assert engine.framework.verdict("tried", group("B"), at_us(1)).reason is Reason.NO_DATA
    assert engine.verdict(1).threshold == 60
    assert at_us(1) - at_us(0) == SECOND_US
