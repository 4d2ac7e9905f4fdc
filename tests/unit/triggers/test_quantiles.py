"""Triggers on quantiles: they fire, recover, begin anew and are verified like all others."""

from __future__ import annotations

import pytest

from self_healing.histograms import bucket_of
from self_healing.measures import MICRO
from self_healing.model import Reason, SeriesState
from self_healing.spec import PERCENT, Aggregate, Operator, Spec, TriggerSpec
from self_healing.taps import Seen
from self_healing.triggers.explain import Case, why
from self_healing.triggers.selftest import failures
from self_healing.verification import growing
from tests.unit.triggers.engine import Engine, at_us, finished, group, trigger

FIRING, RECOVERING = SeriesState.FIRING, SeriesState.RECOVERING


def test_one_slow_task_in_ten_moves_the_99th_percentile_and_not_the_median() -> None:
    engine = Engine(
        trigger(name="tail", aggregate="p99", condition=(">=", 60)),
        trigger(name="middle", aggregate="p50", condition=(">=", 60)),
    )
    engine.push(*(finished(1, 5.0) for _ in range(9)), finished(2, 90.0))

    engine.at(3)

    assert engine.state(name="tail") is FIRING
    assert engine.verdict(3, name="tail").value == pytest.approx(90.0, rel=0.022)
    assert engine.verdict(3, name="middle").value == pytest.approx(5.0, rel=0.022)
    assert engine.verdict(3, name="middle").reason is Reason.BELOW_THRESHOLD


def test_what_left_the_window_no_longer_counts_and_what_comes_late_does() -> None:
    engine = Engine(trigger(aggregate="p90", condition=(">=", 60)))
    engine.push(finished(1, 90.0))
    engine.at(2)
    assert engine.state() is FIRING
    engine.push(finished(75, 5.0))
    engine.at(80)
    assert engine.state() is RECOVERING
    engine.push(finished(50, 90.0))
    engine.at(81)
    assert engine.state() is FIRING


def test_a_window_that_began_anew_has_the_quantile_of_its_own_samples() -> None:
    engine = Engine(trigger(aggregate="p50", condition=(">=", 60)))
    engine.push(*(finished(1, 90.0) for _ in range(5)), finished(1, 2.0, "B"))
    engine.at(2)
    engine.close("tried", "A", 3, 2)
    engine.push(finished(4, 10.0))
    engine.at(5)

    found = engine.verdict(5)

    assert (found.samples, found.value, found.state) == (1, 10.0, SeriesState.INACTIVE)
    assert engine.verdict(5, "B").value == 2.0


def test_a_verification_judges_the_quantile_of_the_tasks_it_gathered() -> None:
    tasks = [Seen(0, True, [(0, 1, seconds * MICRO)]) for seconds in range(1, 101)]
    totals = growing(tasks, len(tasks), quantiles=True)
    for percent in PERCENT.values():
        assert totals.quantile(percent)[0] / MICRO == pytest.approx(percent, rel=0.022)


@pytest.mark.parametrize("aggregate", sorted(PERCENT))
@pytest.mark.parametrize("op", list(Operator))
def test_boundary_tests_pass_at_every_quantile_and_relation(aggregate: Aggregate, op: Operator) -> None:
    tried = trigger(aggregate=aggregate.value, condition=(op.value, 60), min_samples=5)
    assert failures(Spec(triggers=(tried,), actions=())) == []


def asked_later(first: str, tried: TriggerSpec) -> Engine:
    """Five samples in panes that were kept for another aggregate."""
    before, after = Engine(trigger(aggregate=first)), Engine(tried)
    before.push(*(finished(1, 90.0) for _ in range(5)))
    before.at(2)
    stored = before.telemetry.pack()
    facts = stored.facts | {"taps": {"restarts": {}, "accumulators": {}}, "accounting": {}}
    rows = [(row["table_key"], row["level"], row["slot"], row["columns"]) for row in stored.panes]
    after.telemetry.restore(rows, facts)
    return after


def explained(engine: Engine, tried: TriggerSpec, seconds: float) -> str:
    grounds = engine.framework.grounds("tried", group("A"), at_us(seconds))
    return why(Case(trigger=tried, unit="s", verdict=engine.verdict(seconds), grounds=grounds))


def test_a_quantile_only_sees_samples_from_since_it_was_asked_for() -> None:
    after = asked_later("max", tried := trigger(aggregate="p50", min_samples=2))
    after.push(finished(3, 90.0))

    after.at(4)

    assert (after.verdict(4).samples, after.verdict(4).reason) == (1, Reason.TOO_FEW_SAMPLES)
    assert "1 sample within 1m, 2 needed; 5 samples within 1m came before anybody" in explained(after, tried, 4)


def test_samples_from_before_a_maximum_was_asked_for_are_not_said_to_be_none() -> None:
    after = asked_later("mean", tried := trigger(aggregate="max"))

    after.at(4)

    assert after.verdict(4).reason is Reason.NO_DATA
    assert explained(after, tried, 4) == (
        "silent because: 5 samples within 1m came before anybody asked for their max, and it cannot be told of them"
    )


def test_an_amount_that_was_added_late_without_a_sample_is_no_sample_of_the_histogram() -> None:
    seen = Seen(0, True, [(0, 1, 5 * MICRO), (0, 0, 900 * MICRO)])
    assert growing([seen], 1, quantiles=True).quantile(99)[0] == 5 * MICRO
    assert bucket_of(5 * MICRO) != bucket_of(900 * MICRO)
