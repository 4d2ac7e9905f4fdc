"""`for` and recovery are those of Prometheus: the engine and promtool, on the same samples at the same instants."""

from __future__ import annotations

import pytest

from self_healing.model import SeriesState
from tests.unit.triggers.engine import Engine, finished, group, trigger
from tests.unit.triggers.promtool import (
    CASES,
    LIMIT,
    NOT_HERE,
    RECORDED,
    STEP_S,
    Case,
    answers,
    asked,
    promtool,
    recorded,
    rules,
)

ANSWERS = recorded()
SIGN = {
    SeriesState.INACTIVE: ".",
    SeriesState.PENDING: "p",
    SeriesState.FIRING: "F",
    SeriesState.RECOVERING: "F",  # Prometheus has no word of its own for an alert that is kept firing
}


def shown(case: Case, **changes: object) -> str:
    """What the engine says of a case; a sign for each instant, as in the recorded answers."""
    values = {"for": case.for_s, "keep_firing_for": case.keep_s, "no_data": "clear", "flap_after": 0, **changes}
    engine = Engine(trigger(window=STEP_S, condition=(">=", LIMIT), **values), grid=STEP_S)
    # A window of ten seconds also holds the instant at its begin; a second before it, one sample is in each.
    samples = [(place * STEP_S - 1, sample) for place, sample in enumerate(case.samples) if sample != "_"]
    engine.push(*(finished(at, float(sample)) for at, sample in samples))
    found = ""
    for place in range(len(case.samples)):
        engine.at(place * STEP_S)
        found += SIGN[engine.state()] if group("A") in engine.telemetry.groups(("agent",)) else "."
    return found


BY_NAME = {case.name: case for case in CASES}
ALIKE = [case for case in CASES if case.keep_s]


@pytest.mark.parametrize("case", ALIKE, ids=lambda case: case.name)
def test_a_series_is_pending_and_fires_when_an_alert_of_prometheus_does(case: Case) -> None:
    assert shown(case) == ANSWERS[case.name]


def test_what_was_recorded_was_asked_of_these_rules() -> None:
    assert (RECORDED / "rules.yml").read_text() == rules()
    assert (RECORDED / "asked.yml").read_text() == asked()
    assert list(ANSWERS) == [case.name for case in CASES]


def test_promtool_says_what_it_was_recorded_to_say() -> None:
    program = promtool()
    if program is None:
        pytest.skip(NOT_HERE)
    assert answers(program) == ANSWERS


def test_where_prometheus_resolves_for_want_of_data_a_series_goes_on_firing_by_default() -> None:
    name = "no_data_while_it_fires"
    assert ANSWERS[name].rstrip(".") == ".FFFF"
    assert shown(BY_NAME[name], no_data="keep") == "." + "F" * (len(ANSWERS[name]) - 1)


def test_where_prometheus_resolves_at_once_a_series_recovers_for_one_instant() -> None:
    assert ANSWERS["not_kept"] == ".F.."
    assert shown(BY_NAME["not_kept"]) == ".FF."
