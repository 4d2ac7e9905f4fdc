"""What is declared holds its own rules, and its hash says which rules stood behind what was done."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from self_healing.config import Settings, load_spec
from self_healing.spec import DIRECTIVES, Baseline, Maintenance, Spec, Threshold, TriggerSpec, parse_duration

SPEC = load_spec(Settings())
TRIGGER: dict[str, Any] = {
    "name": "t",
    "type": "custom",
    "signal": "task.duration_s",
    "aggregate": "mean",
    "window": "5m",
    "condition": {"kind": "threshold", "value": 10},
    "severity": "low",
    "target_agent": "Ann",
}


def trigger(**changes: Any) -> TriggerSpec:
    return TriggerSpec.model_validate({**TRIGGER, **changes})


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0s", 0),
        ("90s", 90),
        ("5m", 300),
        ("24h", 86400),
        ("1d", 86400),
        (7, 7),
        ("05m", 300),
        ("2m30s", 150),
        ("1h30m", 5400),
        ("2m 52s", 172),
        ("1d2h3m4s", 93784),
        ("1h5s", 3605),
        ("1d 90s", 86490),
    ],
)
def test_a_duration_is_whole_seconds(text: Any, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "5", "5 m", "-5m", "1.5h", "5M", "m5", "5s5m", "5m5m", "1h  5m", "1h 5", "1h 5m ", "5ms", "5m\n"]
)
def test_a_text_that_is_no_duration_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(ValueError, match="allowed is a whole number and one of s, m, h, d"):
        parse_duration(text)


@pytest.mark.parametrize("value", ["3651d", "3650d1s", "99999999999999h", 3650 * 86_400 + 1, 1e30])
def test_a_duration_of_more_than_ten_years_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="allowed is at most 3650d"):
        parse_duration(value)
    assert parse_duration("3650d") == 3650 * 86_400


@given(st.integers(min_value=0, max_value=3650), st.sampled_from("smhd"))
def test_a_duration_means_its_number_of_units(number: int, unit: str) -> None:
    assert parse_duration(f"{number}{unit}") == number * parse_duration(f"1{unit}")


@pytest.mark.parametrize(
    ("op", "rising", "good", "bad"),
    [(">=", True, 9, 11), (">", True, 10, 10.1), ("<=", False, 11, 9), ("<", False, 10, 9.9)],
)
def test_recovery_lies_on_the_good_side_of_the_threshold(op: str, rising: bool, good: float, bad: float) -> None:
    condition = {"kind": "threshold", "op": op, "value": 10}
    assert trigger(condition=condition, clear=good).rising is rising
    with pytest.raises(ValidationError, match=f"clear {float(bad)}: allowed is"):
        trigger(condition=condition, clear=bad)


def test_a_baseline_compares_means_rises_and_has_no_fixed_recovery() -> None:
    baseline = {"kind": "baseline", "ratio": 1.5}
    assert trigger(condition=baseline).rising
    with pytest.raises(ValidationError, match="compares means"):
        trigger(condition=baseline, aggregate="max")
    with pytest.raises(ValidationError, match="clear: allowed only with a threshold"):
        trigger(condition=baseline, clear=1)


@pytest.mark.parametrize(
    ("how", "times", "plus"), [({"ratio": 4}, 4, 0), ({"percent": 300}, 4, 0), ({"absolute": 2.5}, 1, 2.5)]
)
def test_a_baseline_is_exceeded_by_a_ratio_a_percentage_or_an_amount(
    how: dict[str, float], times: float, plus: float
) -> None:
    baseline = Baseline.model_validate({"kind": "baseline", **how})
    assert (baseline.times, baseline.plus) == (times, plus)


@pytest.mark.parametrize("how", [{"ratio": 1}, {"percent": 0}, {"absolute": 0}, {}, {"ratio": 2, "absolute": 2}])
def test_a_baseline_that_says_nothing_or_two_things_is_refused(how: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Baseline.model_validate({"kind": "baseline", **how})


def test_for_is_written_as_in_toml() -> None:
    assert trigger(**{"for": "2m"}).for_s == 120


def test_a_spec_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        setattr(SPEC.triggers[0], "enabled", False)  # noqa: B010 - the type checker would refuse the plain assignment


def test_the_version_is_sixteen_hex_digits_and_the_same_for_the_same_spec() -> None:
    assert re.fullmatch("[0-9a-f]{16}", SPEC.version)
    assert Spec.model_validate(SPEC.model_dump(mode="json", by_alias=True)).version == SPEC.version
    assert load_spec(Settings()).version == SPEC.version


@pytest.mark.parametrize("index", range(len(SPEC.triggers)))
def test_the_version_changes_with_the_switch_and_the_threshold_of_any_trigger(index: int) -> None:
    versions = {SPEC.version}
    for changes in ({"enabled": False}, {"condition": Threshold(value=0.123)}, {"window": 61}):
        triggers = list(SPEC.triggers)
        triggers[index] = triggers[index].model_copy(update=changes)
        versions.add(Spec(triggers=tuple(triggers), actions=SPEC.actions).version)
    assert len(versions) == 4


def test_the_version_changes_with_an_action_and_a_prompt() -> None:
    changed = SPEC.actions[0].model_copy(update={"prompt": "Do something else."})
    assert Spec(triggers=SPEC.triggers, actions=(changed, *SPEC.actions[1:])).version != SPEC.version


def test_triggers_and_actions_are_found_by_name() -> None:
    assert SPEC.trigger("slow_tasks").name == "slow_tasks"
    assert SPEC.action("handle_error_spike").name == "handle_error_spike"
    with pytest.raises(KeyError):
        SPEC.trigger("handle_error_spike")


def test_every_directive_that_a_default_sets_is_one_that_the_fleet_can_read() -> None:
    assert {name for action in SPEC.actions for name in action.directives} <= set(DIRECTIVES)


def test_a_changed_copy_carries_nothing_that_was_worked_out_of_the_original() -> None:
    original = trigger(condition={"kind": "threshold", "value": 10})
    spec = Spec(triggers=(original,), actions=())
    assert original.fixed == Threshold(value=10)
    assert spec.trigger("t").fixed == Threshold(value=10)
    old = spec.version

    copied = original.model_copy(update={"condition": Threshold(value=20)})
    changed = spec.model_copy(update={"triggers": (copied,)})

    assert copied.fixed == Threshold(value=20)
    assert changed.trigger("t").fixed == Threshold(value=20)
    assert changed.version == Spec(triggers=(copied,), actions=()).version != old
    assert (original.fixed, spec.version) == (Threshold(value=10), old)


@pytest.mark.parametrize(
    ("zone", "near"), [("europe/berlinn", "Europe/Berlin"), ("America/NewYork", "America/New_York")]
)
def test_the_nearest_time_zone_is_suggested(zone: str, near: str) -> None:
    with pytest.raises(ValidationError, match=f"did you mean {near}[?] allowed is a time zone such as"):
        Maintenance(name="night", timezone=zone)
