"""The engine over real panes: at which instant what changes, and the one reason of every verdict."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from self_healing.clock import HOUR_US, SECOND_US, from_us
from self_healing.model import Reason, SeriesState
from self_healing.spec import Spec
from self_healing.triggers.framework import TriggerFramework
from tests.unit.triggers.engine import (
    Engine,
    Line,
    at_us,
    beat,
    finished,
    group,
    started,
    states,
    trigger,
)

INACTIVE, PENDING, FIRING, RECOVERING = SeriesState
HOUR_S = HOUR_US // SECOND_US


def baseline(**changes: Any) -> Any:
    """A trigger on twice the mean of the hour before, from 3 samples on against 4."""
    condition = {"kind": "baseline", "ratio": 2, "over": "1h", "min_samples": 4}
    return trigger(aggregate="mean", condition=condition, min_samples=3, **changes)


class TestTime:
    def test_the_instant_is_what_it_is_told(self) -> None:
        engine = Engine(trigger())
        engine.push(finished(5, 60.0))

        [change] = engine.at(5)

        assert change.verdict.at == change.verdict.since == from_us(at_us(5))

    def test_evaluating_an_instant_again_changes_nothing(self) -> None:
        engine = Engine(trigger())
        engine.push(finished(5, 60.0))

        assert len(engine.at(5)) == 1
        assert engine.at(5) == []

    def test_a_window_reaches_back_to_the_pane_that_holds_its_start(self) -> None:
        engine = Engine(trigger(window=60))
        engine.push(finished(9.999, 1.0))
        engine.at(10)

        assert engine.verdict(69).samples == 1
        assert engine.verdict(70).samples == 0

    def test_what_has_not_happened_yet_is_not_counted(self) -> None:
        engine = Engine(trigger())
        engine.push(finished(5.0, 60.0), finished(5.001, 70.0))

        [change] = engine.at(5)

        assert (change.verdict.samples, change.verdict.value) == (1, 60.0)

    def test_for_keep_firing_for_and_clear_are_kept_to_the_second(self) -> None:
        tried = trigger(window=10, aggregate="mean", clear=40, **{"for": 15}, keep_firing_for=20)
        engine = Engine(tried)
        engine.push(*(finished(s, 60.0 if s < 40 else 50.0 if s < 60 else 10.0) for s in range(100)))

        # Below 60 from 41 s on; below the clear value from 63 s on, at a mean of (10 * 50 + 4 * 10) / 14.
        assert states(engine.every_instant(0, 100)) == [(0, PENDING), (15, FIRING), (63, RECOVERING), (83, INACTIVE)]

    def test_a_condition_that_lapses_before_for_has_passed_fires_nothing(self) -> None:
        engine = Engine(trigger(window=10, **{"for": 30}))
        engine.push(finished(0, 60.0))

        assert states(engine.every_instant(0, 60)) == [(0, PENDING), (20, INACTIVE)]


class TestRunning:
    def test_a_running_task_fires_when_its_age_reaches_the_threshold(self) -> None:
        engine = Engine(trigger())
        engine.push(started(3, "t"))

        assert engine.every_instant(0, 62) == []
        assert states(engine.every_instant(63, 63)) == [(63, FIRING)]

    def test_it_counts_until_it_finishes(self) -> None:
        engine = Engine(trigger())
        engine.push(started(0, "t"), finished(200, 30.0, id="t"))

        assert states(engine.every_instant(0, 400)) == [(60, FIRING), (200, RECOVERING), (260, INACTIVE)]

    def test_it_is_lost_after_three_missed_heartbeats(self) -> None:
        engine = Engine(trigger(no_data="clear"))
        engine.push(started(0, "t"), *(beat(s, "t") for s in range(5, 101, 5)))

        found = states(engine.every_instant(0, 300))

        assert found[:2] == [(60, FIRING), (116, RECOVERING)]

    def test_what_ran_when_the_incident_closed_counts_by_age_no_more_even_after_a_whole_window(self) -> None:
        engine = Engine(trigger(window=60))
        engine.push(started(0, "old"), started(500, "new"))
        engine.every_instant(0, 70)

        engine.close("tried", "A", 70, opened=60)

        assert states(engine.every_instant(71, 600)) == [(560, FIRING)]

    def test_what_began_as_the_incident_closed_ran_then_and_what_begins_later_counts(self) -> None:
        engine = Engine(trigger(window=60))
        engine.push(finished(5, 90.0), started(70, "at"), started(75, "after"))
        engine.every_instant(0, 70)

        engine.close("tried", "A", 70, opened=60)

        assert states(engine.every_instant(71, 200)) == [(135, FIRING)]

    @pytest.mark.parametrize(("at", "found"), [(70, []), (70.1, [(81, FIRING)])])
    def test_what_comes_late_from_before_the_close_is_no_part_of_the_window_that_began_there(
        self, at: float, found: list[Any]
    ) -> None:
        engine = Engine(trigger(window=60))
        engine.push(finished(5, 90.0))
        engine.every_instant(0, 70)
        engine.close("tried", "A", 70, opened=5)
        engine.every_instant(71, 80)

        engine.push(finished(at, 90.0))

        assert states(engine.every_instant(81, 120)) == found

    def test_only_a_maximum_counts_it(self) -> None:
        engine = Engine(trigger(aggregate="mean"))
        engine.push(started(0, "t"), finished(1, 1.0))

        assert engine.every_instant(0, 100) == []


class TestBaselines:
    def test_a_baseline_never_overlaps_its_window(self) -> None:
        engine = Engine(baseline(window=60))
        engine.push(*(finished(s, 10.0) for s in range(0, 40, 10)), *(finished(s, 30.0) for s in (60, 70, 80)))
        engine.at(85)

        for seconds in range(85, 200):
            verdict, ends = engine.verdict(seconds), (seconds - 60) // 10 * 10
            before = [10.0 if s < 60 else 30.0 for s in (0, 10, 20, 30, 60, 70, 80) if s < ends]
            expected = sum(before) / len(before) if len(before) >= 4 else None
            assert verdict.baseline == (expected if expected is None else pytest.approx(expected)), seconds
            assert verdict.samples == 7 - len(before), seconds

    def test_without_enough_before_the_window_the_reason_is_no_baseline(self) -> None:
        engine = Engine(baseline(window=60))
        engine.push(*(finished(s, 10.0) for s in (0, 10, 20)), *(finished(s, 90.0) for s in (100, 101, 102)))
        engine.at(102)

        verdict = engine.verdict(102)

        assert (verdict.reason, verdict.state, verdict.threshold) == (Reason.NO_BASELINE, INACTIVE, None)

    def test_it_is_frozen_while_the_series_fires(self) -> None:
        engine = Engine(baseline(window=60))
        engine.push(*(finished(s, 10.0) for s in range(0, 100, 10)), *(finished(s, 50.0) for s in range(100, 700, 10)))

        [(fired_s, _)] = states(engine.every_instant(0, 700))

        assert engine.verdict(fired_s).baseline == engine.verdict(700).baseline == 10.0

    def test_it_stays_frozen_while_the_series_recovers(self) -> None:
        engine = Engine(baseline(window=60))
        bad, well = (finished(s, 50.0) for s in range(100, 200, 10)), (finished(s, 10.0) for s in range(200, 400, 10))
        engine.push(*(finished(s, 10.0) for s in range(0, 100, 10)), *bad, *well)

        found = states(engine.every_instant(0, 300))

        recovers_s = next(seconds for seconds, state in found if state is RECOVERING)
        assert [state for _, state in found] == [FIRING, RECOVERING]
        for seconds in (recovers_s, 300):
            behind = engine.framework.grounds("tried", group("A"), at_us(seconds)).behind
            assert behind is not None
            assert behind.frozen
        assert engine.verdict(300).baseline == 10.0

    def test_it_thaws_when_the_series_is_inactive_again(self) -> None:
        engine = Engine(baseline(window=60))
        engine.push(*(finished(s, 10.0) for s in range(0, 100, 10)), *(finished(s, 50.0) for s in range(100, 160, 10)))
        engine.push(*(finished(s, 10.0) for s in range(160, 400, 10)))

        assert [after for _, after in states(engine.every_instant(0, 400))] == [FIRING, RECOVERING, INACTIVE]

        assert engine.verdict(400).baseline == pytest.approx((27 * 10.0 + 6 * 50.0) / 33, abs=1.0)

    def test_the_time_of_its_own_incidents_stays_out_however_old_the_panes(self) -> None:
        engine = Engine(baseline(window=60))
        for s in range(0, 7200, 20):
            engine.push(finished(s, 90.0 if 1810 <= s < 2900 else 10.0))
        engine.at(2900)
        engine.close("tried", "A", 2900, opened=1815)

        # 15-minute panes: 1800 to 3600 is out, before and after its fine panes are gone.
        for seconds in range(3700, 5400, 100):
            engine.at(seconds)
            assert engine.verdict(seconds).baseline == 10.0, seconds

    def test_two_incidents_within_one_pane_are_left_out_once(self) -> None:
        engine = Engine(baseline(window=60))
        engine.push(*(finished(s, 30.0 if 900 <= s < 1800 else 10.0) for s in range(0, 4000, 10)))
        engine.at(3000)
        for opened in (1000, 1300, 1500):
            engine.close("tried", "A", opened + 100, opened=opened)

        engine.at(4000)

        # From 0 s (the pane that holds 4000 - 60 - 3600) to 3940 s, without 900 to 1800.
        assert engine.verdict(4000).baseline == 10.0

    def test_a_dismissed_incident_counts_after_all(self) -> None:
        engine = Engine(baseline(window=60))
        engine.push(*(finished(s, 10.0) for s in range(0, 900, 10)), *(finished(s, 30.0) for s in range(900, 1800, 10)))
        engine.at(1900)
        engine.close("tried", "A", 1800, opened=900)
        assert engine.verdict(1900).baseline == 10.0

        engine.framework.readmit("tried", group("A"), at_us(900))

        assert engine.verdict(1900).baseline == 20.0

    def test_readmitting_an_incident_readmits_all_that_was_left_out_since_it_first_opened(self) -> None:
        engine = Engine(baseline(window=60))
        engine.push(*(finished(s, 10.0) for s in range(0, 900, 10)), *(finished(s, 30.0) for s in range(900, 1800, 10)))
        engine.at(1900)
        engine.close("tried", "A", 1800, opened=900)
        assert engine.verdict(1900).baseline == 10.0

        engine.framework.leave_out("tried", group("A"), at_us(1000), at_us(1100))  # of its second opening
        assert engine.verdict(1900).baseline == 10.0
        engine.framework.readmit("tried", group("A"), at_us(900))

        assert engine.verdict(1900).baseline == 20.0

    def test_what_is_left_out_is_forgotten_with_the_panes_it_was_in(self) -> None:
        engine = Engine(baseline(window=60))
        engine.push(finished(0, 1.0))
        engine.at(0)
        engine.close("tried", "A", 20, opened=10)

        engine.at(3 * HOUR_S)

        assert engine.framework.pack(everything=True)["tried"].left_out == {}


class TestReasons:
    def test_each_verdict_has_the_one_reason_that_holds(self) -> None:
        tried = trigger(window=10, clear=30, min_samples=2, **{"for": 5}, keep_firing_for=20)
        engine = Engine(tried)
        durations = {0: 60.0, 1: 60.0, 20: 50.0, 21: 50.0, 40: 1.0, 41: 1.0, 90: 1.0, 100: 1.0}
        engine.push(*(finished(seconds, duration_s) for seconds, duration_s in durations.items()))
        reasons: list[tuple[int, Reason]] = []
        for seconds in range(110):
            engine.at(seconds)
            reason = engine.verdict(seconds).reason
            if not reasons or reasons[-1][1] != reason:
                reasons.append((seconds, reason))

        assert reasons == [
            (0, Reason.TOO_FEW_SAMPLES),
            (1, Reason.PENDING),
            (6, Reason.CONDITION_MET),
            (20, Reason.TOO_FEW_SAMPLES),
            (21, Reason.NOT_CLEARED),
            (40, Reason.TOO_FEW_SAMPLES),
            (41, Reason.RECOVERING),
            (60, Reason.NO_DATA),
            (90, Reason.TOO_FEW_SAMPLES),
            (100, Reason.BELOW_THRESHOLD),
        ]

    def test_below_the_threshold_is_the_reason_of_a_series_that_is_well(self) -> None:
        engine = Engine(trigger())
        engine.push(finished(0, 59.0))
        engine.at(0)

        verdict = engine.verdict(0)

        assert (verdict.reason, verdict.value, verdict.threshold) == (Reason.BELOW_THRESHOLD, 59.0, 60.0)

    def test_a_group_that_was_never_seen_has_no_data(self) -> None:
        assert Engine(trigger()).verdict(0, "nobody").reason is Reason.NO_DATA

    @pytest.mark.parametrize("agent", ["A", "nobody"])
    def test_a_disabled_trigger_says_so_and_is_not_evaluated(self, agent: str) -> None:
        engine = Engine(trigger(enabled=False))
        engine.push(finished(0, 60.0))

        assert engine.at(0) == []
        assert engine.verdict(0, agent).reason is Reason.DISABLED
        assert engine.framework.firing() == []

    def test_every_series_has_a_verdict_that_carries_the_spec_version(self) -> None:
        engine = Engine(trigger(), trigger(name="other", aggregate="mean"))
        engine.push(finished(0, 70.0), finished(0, 5.0, agent="B"))
        engine.at(0)

        verdicts = engine.framework.verdicts(at_us(0))

        assert [(v.trigger, v.group[0][1], v.state) for v in verdicts] == [
            ("tried", "A", FIRING),
            ("tried", "B", INACTIVE),
            ("other", "A", FIRING),
            ("other", "B", INACTIVE),
        ]
        assert {v.spec_version for v in verdicts} == {engine.framework.spec.version}

    def test_an_unknown_trigger_has_no_verdict(self) -> None:
        with pytest.raises(KeyError, match="nothing"):
            Engine(trigger()).verdict(0, name="nothing")


class TestSilence:
    def test_a_series_without_samples_for_25_hours_is_forgotten(self) -> None:
        engine = Engine(trigger(window=60))
        engine.push(finished(0, 1.0))
        engine.at(0)
        engine.at(70)  # when its window no longer holds the sample
        forgotten_s = 25 * HOUR_S + 69

        engine.at(forgotten_s - 1)
        assert len(engine.framework.verdicts(at_us(forgotten_s - 1))) == 1
        engine.at(forgotten_s)

        assert engine.framework.verdicts(at_us(forgotten_s)) == []

    def test_when_there_were_last_enough_samples_does_not_depend_on_when_it_looked(self) -> None:
        for instants in (range(200), (0, 10, 70, 150)):
            engine = Engine(trigger(window=60, min_samples=2))
            engine.push(finished(0, 1.0), finished(10, 1.0))
            for seconds in instants:
                engine.at(seconds)

            # From 70 s on the window holds one of the two.
            assert engine.framework.enough_at_us("tried", group("A")) == at_us(69)

    def test_silence_fires_only_for_a_group_that_spoke_here(self) -> None:
        engine = Engine(trigger(window=60, no_data="fire"), trigger(name="other", signal="task.attempts"))
        engine.push(finished(0, 1.0), finished(0, None, agent="B"))

        assert states(engine.every_instant(0, 300)) == [(70, FIRING)]
        assert engine.verdict(300, "B").reason is Reason.NO_DATA

    def test_silence_that_was_closed_fires_again_only_after_another_word(self) -> None:
        engine = Engine(trigger(window=60, no_data="fire"))
        engine.push(finished(0, 1.0), finished(1000, 1.0))
        engine.every_instant(0, 100)

        engine.close("tried", "A", 100, opened=70)

        assert states(engine.every_instant(101, 1200)) == [(1070, FIRING)]

    def test_a_count_of_nothing_is_a_value_of_those_who_spoke(self) -> None:
        engine = Engine(trigger(aggregate="count", condition=("<", 1)), trigger(name="o", signal="task.attempts"))
        engine.push(finished(0, 1.0), finished(0, None, agent="B"))

        assert states(engine.every_instant(0, 300)) == [(70, FIRING)]

    def test_a_count_of_nothing_is_no_data_of_those_who_never_spoke(self) -> None:
        engine = Engine(trigger(aggregate="count", condition=("<", 1)), trigger(name="o", signal="task.attempts"))
        engine.push(finished(0, 1.0), finished(0, None, agent="B"))
        engine.every_instant(0, 100)

        verdict = engine.framework.verdict("tried", group("B"), at_us(100))

        assert (verdict.state, verdict.reason) == (INACTIVE, Reason.NO_DATA)

    def test_without_a_sample_for_a_day_a_count_of_nothing_is_not_enough_samples(self) -> None:
        engine = Engine(trigger(aggregate="count", condition=("<", 1)))
        engine.push(finished(0, 1.0))
        engine.every_instant(0, 300)

        assert engine.framework.enough_at_us("tried", group("A")) == at_us(69)


class TestState:
    def firing(self) -> Engine:
        engine = Engine(baseline(window=60, keep_firing_for=100))
        engine.push(*(finished(s, 10.0) for s in range(0, 100, 10)), *(finished(s, 50.0) for s in range(100, 200, 10)))
        engine.every_instant(0, 200)
        engine.framework.leave_out("tried", group("A"), at_us(110), None)
        assert engine.state() is FIRING
        return engine

    def again(self, engine: Engine, *triggers: Any) -> TriggerFramework:
        """Another engine on what the first one stored, over the same panes."""
        framework = TriggerFramework(Spec(triggers=triggers, actions=()), engine.telemetry)
        for name, packed in engine.framework.pack(everything=True).items():
            framework.restore(name, packed)
        return framework

    def test_what_is_stored_goes_on_where_it_was(self) -> None:
        engine = self.firing()
        before = engine.verdict(200)

        framework = self.again(engine, baseline(window=60, keep_firing_for=100))

        assert framework.verdicts(at_us(200)) == [before]
        assert framework.enough_at_us("tried", group("A")) == engine.framework.enough_at_us("tried", group("A"))
        assert framework.pack(everything=True) == engine.framework.pack(everything=True)

    def test_a_trigger_that_measures_something_else_now_begins_anew(self) -> None:
        framework = self.again(self.firing(), baseline(window=60, where={"model": "m"}))

        assert framework.state_of("tried", group("A")) is INACTIVE

    def test_a_trigger_that_was_disabled_meanwhile_fires_no_more(self) -> None:
        framework = self.again(self.firing(), baseline(window=60, enabled=False))

        assert framework.state_of("tried", group("A")) is INACTIVE

    def test_a_firing_series_whose_condition_became_a_baseline_freezes_it(self) -> None:
        engine = Engine(trigger(aggregate="mean", window=60), baseline(name="else", window=60))
        engine.push(*(finished(s, 10.0) for s in range(0, 100, 10)), *(finished(s, 90.0) for s in range(100, 400, 10)))
        engine.every_instant(0, 200)
        framework = self.again(engine, baseline(window=60), baseline(name="else", window=60))
        engine.telemetry.fold(at_us(201))
        framework.evaluate(at_us(201))
        frozen = framework.verdict("tried", group("A"), at_us(201)).baseline

        engine.telemetry.fold(at_us(399))
        framework.evaluate(at_us(399))

        assert frozen is not None
        assert framework.verdict("tried", group("A"), at_us(399)).baseline == frozen

    def test_only_what_changed_is_packed(self) -> None:
        engine = Engine(trigger(), trigger(name="other", condition=(">=", 1000)))
        engine.push(finished(0, 70.0), finished(1, 70.0))
        engine.framework.pack(everything=False)

        engine.at(0)
        assert list(engine.framework.pack(everything=False)) == ["tried"]
        engine.at(1)

        assert list(engine.framework.pack(everything=False)) == []
        assert list(engine.framework.pack(everything=True)) == ["tried", "other"]

    def test_resetting_what_nobody_knows_does_nothing(self) -> None:
        engine = Engine(trigger())

        for name in ("tried", "gone"):
            engine.framework.reset(name, group("A"), at_us(0))
            engine.framework.leave_out(name, group("A"), at_us(0), None)
            engine.framework.readmit(name, group("A"), at_us(0))
            assert engine.framework.state_of(name, group("A")) is INACTIVE
            assert engine.framework.enough_at_us(name, group("A")) == 0


class TestDue:
    def test_nothing_is_due_where_nothing_is_known(self) -> None:
        engine = Engine(trigger())
        engine.at(0)

        assert engine.due(0) is None

    def test_a_new_engine_looks_at_once_since_its_spec_may_be_another(self) -> None:
        assert Engine(trigger()).due(7) == 8

    def test_the_next_due_is_when_the_oldest_pane_with_a_sample_leaves_the_window(self) -> None:
        engine = Engine(trigger(window=300))
        engine.push(finished(42, 1.0))
        engine.at(42)

        assert engine.due(42) == 350
        engine.at(350)
        assert engine.due(350) is None

    def test_a_window_that_is_no_multiple_of_a_pane_moves_between_their_borders(self) -> None:
        engine = Engine(trigger(window=13))
        engine.push(finished(2, 1.0))
        engine.at(2)

        assert engine.due(2) == 23

    @pytest.mark.parametrize(("op", "expected"), [(">=", 63), (">", 64)])
    def test_a_running_task_is_due_when_its_age_meets_the_threshold(self, op: str, expected: int) -> None:
        engine = Engine(trigger(condition=(op, 60)))
        engine.push(started(3, "t"))
        engine.at(3)

        assert engine.due(3) == expected

    def test_a_task_that_may_be_lost_is_due_then(self) -> None:
        engine = Engine(trigger())
        engine.push(started(0, "t"), *(beat(s, "t") for s in range(5, 101, 5)))
        engine.at(100)

        assert engine.due(100) == 116

    def test_a_series_that_waits_for_samples_past_its_timer_is_not_due_all_the_time(self) -> None:
        engine = Engine(trigger(window=10, keep_firing_for=30))
        engine.push(finished(0, 60.0), finished(21, 1.0))
        engine.every_instant(0, 60)

        assert engine.state() is RECOVERING
        assert engine.due(60) is None

    def test_due_instants_lie_on_the_grid(self) -> None:
        engine = Engine(trigger(), grid=60)
        engine.push(started(3, "t"))
        engine.at(60)

        assert engine.due(60) == 120
        assert engine.due(61) == 120


# --- the property that lets idle instants be skipped ---------------------------------------------------------------

SECONDS = st.floats(0, 240).map(lambda s: round(s, 3))
DURATIONS = st.sampled_from([0.0, 1.0, 5.0, 9.999999, 10.0, 20.0, 60.0])


@st.composite
def histories(draw: st.DrawFn, until: int = 240) -> list[Line]:
    """Tasks of two agents: some run for long, some are never heard of again, some only their end is known of."""
    lines: list[Line] = []
    for number in range(draw(st.integers(1, 8))):
        agent, id = draw(st.sampled_from("AB")), f"t{number}"
        at = draw(st.integers(0, until * 4)) / 4
        kind = draw(st.sampled_from(["end", "both", "start", "beating"]))
        length = draw(DURATIONS)
        if kind != "end":
            lines.append(started(at, id, agent))
        if kind == "beating":
            lines += [beat(at + 4 * n, id, agent) for n in range(1, draw(st.integers(2, 6)))]
        if kind in ("end", "both"):
            lines.append(finished(at + (length if kind == "both" else 0), length, agent, id=id))
    return lines


@st.composite
def tried_triggers(draw: st.DrawFn) -> Any:
    op = draw(st.sampled_from([">=", ">", "<=", "<"]))
    aggregate = draw(st.sampled_from(["max", "max", "mean", "min", "sum", "count"]))
    value = draw(st.sampled_from([1, 2, 10, 20]))
    beside = draw(st.sampled_from([None, 0, 5]))
    clear = None if beside is None else value - beside if op in (">=", ">") else value + beside
    return trigger(
        aggregate=aggregate,
        window=draw(st.sampled_from([10, 13, 25, 60, 90])),
        condition=(op, value),
        clear=clear,
        keep_firing_for=draw(st.sampled_from([0, 1, 7, 60])),
        min_samples=draw(st.sampled_from([1, 2])),
        no_data=draw(st.sampled_from(["keep", "clear", "fire"])),
        **{"for": draw(st.sampled_from([0, 3, 20]))},
    )


@settings(max_examples=60)
@given(tried=tried_triggers(), lines=histories())
def test_looking_only_when_it_is_due_sees_what_looking_every_second_sees(tried: Any, lines: list[Line]) -> None:
    always, when_due = Engine(tried), Engine(tried)
    always.push(*lines)
    when_due.push(*lines)

    every, (due, looked) = always.every_instant(0, 400), when_due.due_instants(0, 400)

    assert due == every
    assert looked <= 401


@settings(max_examples=10)
@given(data=st.data(), keep=st.sampled_from([0, 30]), window=st.sampled_from([25, 60]))
def test_the_same_holds_for_baselines_as_they_move_and_age(data: st.DataObject, keep: int, window: int) -> None:
    condition = {"kind": "baseline", "ratio": 1.5, "over": 905, "min_samples": 2}
    tried = trigger(aggregate="mean", window=window, condition=condition, keep_firing_for=keep)
    lines = data.draw(histories(until=1800))
    always, when_due = Engine(tried), Engine(tried)
    always.push(*lines)
    when_due.push(*lines)

    assert when_due.due_instants(0, 2900)[0] == always.every_instant(0, 2900)


@settings(max_examples=40)
@given(
    lines=histories(),
    aggregate=st.sampled_from(["max", "mean", "min", "sum", "count", "p50"]),
    window=st.sampled_from([10, 30, 60]),
    op=st.sampled_from([">=", "<"]),
    keep=st.sampled_from([0, 7, 30]),
    wait=st.sampled_from([0, 3]),
)
def test_the_same_holds_for_rates_of_change(
    lines: list[Line], aggregate: str, window: int, op: str, keep: int, wait: int
) -> None:
    condition = {"kind": "rate_of_change", "op": op, "value": 1 if op == ">=" else -1, "per": 30}
    tried = trigger(
        aggregate=aggregate, window=window, condition=condition, keep_firing_for=keep, **{"for": wait}, no_data="clear"
    )
    always, when_due = Engine(tried), Engine(tried)
    always.push(*lines)
    when_due.push(*lines)

    assert when_due.due_instants(0, 500)[0] == always.every_instant(0, 500)


class TestRateOfChange:
    def tried(self, aggregate: str = "mean", **changes: Any) -> Any:
        condition = {"kind": "rate_of_change", "value": 10, "per": 60}
        return trigger(aggregate=aggregate, window=60, condition=condition, **changes)

    def test_steady_work_does_not_change_whatever_the_second(self) -> None:
        condition = {"kind": "rate_of_change", "value": 1, "per": 60}
        engine = Engine(
            trigger(name="up", aggregate="count", condition=condition),
            trigger(name="down", aggregate="count", condition={**condition, "op": "<=", "value": -1}),
        )
        engine.push(*(finished(s, 1.0) for s in range(400)))

        assert engine.every_instant(120, 400) == []

    def test_it_fires_when_the_pane_is_whole_in_which_it_rose_and_recovers_as_it_stays_high(self) -> None:
        engine = Engine(self.tried(keep_firing_for=0))
        engine.push(*(finished(s, 10.0 if s < 100 else 20.0) for s in range(400)))

        # Whole panes at 20 s from 110 s on: six of six at 160 s, and one minute later no longer six more than before.
        assert states(engine.every_instant(0, 400)) == [(160, FIRING), (170, RECOVERING), (171, INACTIVE)]

    def test_a_window_that_began_anew_is_compared_with_nothing_from_before(self) -> None:
        engine = Engine(self.tried(keep_firing_for=0))
        engine.push(*(finished(s, 10.0 if s < 100 else 20.0) for s in range(400)))
        engine.every_instant(0, 160)

        engine.close("tried", "A", 161, opened=160)

        assert engine.every_instant(162, 180) == []
        assert engine.verdict(180).reason is Reason.NO_BASELINE
        assert engine.every_instant(181, 400) == []

    def test_what_comes_late_joins_the_window_that_it_is_of(self) -> None:
        engine = Engine(self.tried(), self.tried("max", name="highest"))
        engine.push(finished(5, 10.0), finished(65, 12.0))
        engine.at(120)
        assert (engine.verdict(120).value, engine.verdict(120).baseline) == (2.0, 10.0)

        engine.push(finished(15, 20.0), finished(75, 40.0))
        engine.at(121)

        assert (engine.verdict(121).value, engine.verdict(121).baseline) == (26.0 - 15.0, 15.0)
        assert engine.verdict(121, name="highest").value == 20.0


def test_a_day_of_silence_is_stepped_in_a_few_looks() -> None:
    engine = Engine(trigger(window=60), baseline(name="other", window=60))
    engine.push(*(finished(s, 70.0) for s in range(0, 50, 10)), started(50, "t"))

    _, looked = engine.due_instants(0, 3 * 24 * HOUR_S)

    assert looked < 40
