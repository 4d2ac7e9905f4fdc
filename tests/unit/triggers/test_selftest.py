"""What is broken is refused before it goes live, each kind with its own words; what works is let through."""

from __future__ import annotations

from typing import Any

import pytest

from self_healing.spec import Spec
from self_healing.triggers.declared import load_triggers
from self_healing.triggers.selftest import failures
from tests.unit.triggers.engine import trigger


def problems(**changes: Any) -> list[str]:
    return [str(each) for each in failures(Spec(triggers=(trigger(**changes),), actions=()))]


def baseline(**changes: Any) -> dict[str, Any]:
    return {"aggregate": "mean", "condition": {"kind": "baseline", "ratio": 2, **changes}}


ABOVE_WHOLE = {"condition": {"kind": "baseline", "absolute": 1.5}}


def test_the_defaults_pass() -> None:
    assert failures(Spec(triggers=load_triggers([]), actions=())) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"signal": "task.errors", "aggregate": "ratio", "condition": (">", 1.0)}, "condition.value: 1: no"),
        ({"signal": "task.quality", "aggregate": "mean", "condition": (">", 1.0)}, "condition.value: 1: no"),
        ({"condition": ("<", 0)}, "condition.value: 0: no"),
        ({"condition": ("<", -5)}, "condition.value: -5: no"),
        ({"aggregate": "count", "condition": ("<", 0)}, "condition.value: 0: no"),
        ({"aggregate": "mean", "signal": "task.quality"} | ABOVE_WHOLE, "condition.absolute: 1.5: no"),
    ],
)
def test_a_condition_that_no_value_can_meet_is_refused(changes: dict[str, Any], said: str) -> None:
    (found,) = problems(**changes)
    assert found.startswith(f"trigger tried: {said} value of task.")
    assert found.endswith("meets it, so it can never fire")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"condition": (">=", 0)}, "condition.value: 0: every"),
        ({"condition": (">=", -5)}, "condition.value: -5: every"),
        ({"signal": "task.quality", "aggregate": "mean", "condition": ("<=", 1.5)}, "condition.value: 1.5: every"),
        ({"clear": -1}, "clear: -1: no"),
        ({"aggregate": "count", "condition": (">=", 0)}, "condition.value: 0: every"),
        ({"signal": "task.quality", "aggregate": "mean", "condition": ("<=", 1)}, "condition.value: 1: every"),
        ({"condition": (">=", 1e-7)}, "condition.value: 1e-07: every"),
    ],
)
def test_a_condition_that_no_value_can_clear_is_refused(changes: dict[str, Any], said: str) -> None:
    (found,) = problems(**changes)
    assert found.startswith(f"trigger tried: {said} value of task.")
    assert found.endswith("meets it, so it can never recover")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"condition": (">=", 1e30)}, "condition.value: 1e+30"),
        ({"aggregate": "rate", "window": 86400, "condition": (">=", 1e8)}, "condition.value: 1e+08"),
        (baseline(ratio=1e13), "condition.ratio: 1e+13"),
    ],
)
def test_a_threshold_beyond_what_can_be_counted_is_refused(changes: dict[str, Any], said: str) -> None:
    assert problems(**changes) == [f"trigger tried: {said}: more than can be counted exactly"]


def test_a_baseline_over_no_time_is_refused_since_it_never_fires() -> None:
    found = problems(**baseline(over=0))

    assert "trigger tried: condition: at its threshold it does not fire" in found
    assert "trigger tried: condition: just above its threshold it does not fire" in found


def test_a_disabled_trigger_is_tried_all_the_same() -> None:
    assert problems(enabled=False, condition=("<", 0)) != []
    assert problems(enabled=False) == []


def test_every_broken_trigger_is_named() -> None:
    triggers = (trigger(name="one", condition=("<", 0)), trigger(name="two"), trigger(name="three", clear=-5))

    found = failures(Spec(triggers=triggers, actions=()))

    assert [(each.trigger, each.key) for each in found] == [("one", "condition.value"), ("three", "clear")]


@pytest.mark.parametrize("op", [">=", ">", "<=", "<"])
@pytest.mark.parametrize("aggregate", ["count", "rate", "sum", "mean", "min", "max"])
@pytest.mark.parametrize("no_data", ["keep", "clear", "fire"])
@pytest.mark.parametrize("for_s", [0, 30])
def test_whatever_works_is_let_through(op: str, aggregate: str, no_data: str, for_s: int) -> None:
    assert (
        problems(
            condition=(op, 0.35 if aggregate == "rate" else 7),
            aggregate=aggregate,
            no_data=no_data,
            min_samples=3,
            keep_firing_for=for_s,
            **{"for": for_s},
        )
        == []
    )


@pytest.mark.parametrize("no_data", ["keep", "clear", "fire"])
def test_a_baseline_that_works_is_let_through(no_data: str) -> None:
    assert problems(**baseline(over="1h", min_samples=3), min_samples=2, no_data=no_data) == []


@pytest.mark.parametrize("how", [{"ratio": 1.01}, {"percent": 12.5}, {"absolute": 0.3}])
def test_each_distance_from_a_baseline_is_let_through(how: dict[str, float]) -> None:
    condition = {"kind": "baseline", "min_samples": 3, **how}
    assert problems(aggregate="mean", condition=condition, min_samples=2) == []


@pytest.mark.parametrize(
    ("signal", "aggregate"), [("task.errors", "ratio"), ("task.quality", "mean"), ("metric.queue", "mean")]
)
@pytest.mark.parametrize("how", [{"ratio": 4.0}, {"percent": 25.0}, {"absolute": 0.3}])
def test_a_baseline_of_what_lies_between_0_and_1_is_let_through(
    signal: str, aggregate: str, how: dict[str, float]
) -> None:
    condition = {"kind": "baseline", **how}
    assert problems(signal=signal, aggregate=aggregate, condition=condition) == []


def test_scores_may_sum_up_to_more_than_one() -> None:
    assert problems(signal="task.quality", aggregate="sum", condition=("<", 5)) == []


def changing(op: str, value: float, *, per: int = 60, **changes: Any) -> list[str]:
    return problems(condition={"kind": "rate_of_change", "op": op, "value": value, "per": per}, **changes)


@pytest.mark.parametrize("op", [">=", ">", "<=", "<"])
@pytest.mark.parametrize("aggregate", ["count", "rate", "sum", "mean", "min", "max", "p95"])
@pytest.mark.parametrize("value", [7, -7])
@pytest.mark.parametrize(("window", "per"), [(60, 60), (600, 60), (10, 3600), (70, 45)])
def test_a_rate_of_change_that_works_is_let_through(
    op: str, aggregate: str, value: float, window: int, per: int
) -> None:
    assert changing(op, value, per=per, aggregate=aggregate, window=window, min_samples=3, keep_firing_for=30) == []


def test_a_change_of_a_share_beyond_the_whole_is_refused() -> None:
    share: dict[str, Any] = {"signal": "task.errors", "aggregate": "ratio"}

    assert changing(">", 0.5, **share) == []
    assert changing("<", -1.0, **share) == [
        "trigger tried: condition.value: -1: no value of task.errors meets it, so it can never fire"
    ]
    assert changing(">=", 10.0, per=600, **share) == []


def test_a_change_beyond_what_can_be_counted_is_refused() -> None:
    assert changing(">=", 1e30) == ["trigger tried: condition.value: 1e+30: more than can be counted exactly"]
