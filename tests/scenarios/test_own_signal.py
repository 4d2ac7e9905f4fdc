"""An action that is judged by a signal of its own: that one decides, whatever its trigger says of the same work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from self_healing.loading import load_tested
from self_healing.model import Result, Verification
from self_healing.testing import Scenario
from tests.scenarios.conftest import MakeScenario

SLOW = "slow_tasks"
QUALITY = 'signal = "task.quality", aggregate = "mean", condition = { op = "<", value = 0.6 }, clear = 0.7'


def settings(directory: Path, plan: str, action: str = "analyze_slow_tasks") -> dict[str, Any]:
    """Settings under which what answers slow tasks is judged by that plan."""
    file = directory / "actions.toml"
    file.write_text(f'[[action]]\nname = "{action}"\nverification = {{ {plan} }}\n')
    return {"actions": {"files": [file]}}


def verifying(fleet: Scenario) -> None:
    """A slow task is handed over and, at 10 s, repaired."""
    fleet.at(0).finish("t1", duration_s=90.0)
    fleet.at(10).complete(SLOW).expect_incident(SLOW, "Coder", "verifying")


def work(fleet: Scenario, from_s: float, quality: float | None, duration_s: float = 2.0, count: int = 3) -> None:
    """So many tasks start, end and get their score, one every 3 s."""
    for number in range(count):
        begin, task = from_s + 3 * number, f"w{from_s + 3 * number}"
        fleet.at(begin).start(task)
        if quality is not None:
            fleet.at(begin + 1).event("quality_score", id=task, agent="Coder", attempt=1, q=quality)
        fleet.at(begin + 2).finish(task, duration_s=duration_s)


def verification(fleet: Scenario) -> Verification:
    return fleet.loop.store.select(Verification, incident=fleet.incident(SLOW).id)[-1]


@pytest.mark.parametrize(
    ("before", "after", "result"),
    [
        (0.5, 0.7, Result.HEALED),
        (0.5, 0.59, Result.NOT_HEALED),
        (0.5, 0.65, None),  # between its clear value and its threshold: more is waited for
        (0.5, 0.3, Result.WORSE),  # by 0.2 than before the effect, and a quarter of 0.6 is 0.15
        (0.5, None, None),  # quick tasks alone say nothing of quality
    ],
)
def test_its_own_signal_alone_decides(
    scenario: MakeScenario, tmp_path: Path, before: float, after: float | None, result: Result | None
) -> None:
    fleet = scenario(settings=settings(tmp_path, QUALITY))
    fleet.at(0).event("quality_score", id="t0", agent="Coder", attempt=1, q=before)
    verifying(fleet)

    work(fleet, 20, after)

    found = verification(fleet)
    assert (found.result, found.peak, found.threshold) == (result, before, 0.6)
    assert (found.judged_by, found.unit, found.needed) == ("mean task.quality", "score", 3)
    if result is Result.HEALED:
        fleet.expect_incident(SLOW, "Coder", "closed", "healed")
        assert fleet.incident(SLOW).notes[-1].text == "0.7 score on 3 samples of mean task.quality"


def test_it_is_inconclusive_where_its_signal_stays_silent_until_the_deadline(
    scenario: MakeScenario, tmp_path: Path
) -> None:
    fleet = scenario(settings=settings(tmp_path, f'{QUALITY}, deadline = "1m"'))
    verifying(fleet)
    work(fleet, 20, None)

    fleet.at(250)

    fleet.expect_incident(SLOW, "Coder", "escalated")
    assert (verification(fleet).result, verification(fleet).extended) == (Result.INCONCLUSIVE, 2)


def test_nothing_is_healed_while_its_trigger_is_still_ill_on_work_begun_after_the_effect(
    scenario: MakeScenario, tmp_path: Path
) -> None:
    fleet = scenario(settings=settings(tmp_path, QUALITY))
    verifying(fleet)
    for number in range(3):
        fleet.at(20 + number).start(f"b{number}")
        fleet.event("quality_score", id=f"b{number}", agent="Coder", attempt=1, q=0.9)
    for number in range(3):
        fleet.at(90 + number).finish(f"b{number}", duration_s=70.0)

    found = verification(fleet)
    assert (found.result, found.value, found.unit, found.threshold) == (Result.NOT_HEALED, 70.0, "s", 60)
    assert found.judged_by is None
    [note] = [note for note in fleet.incident(SLOW).notes if note.what == "not_healed"]
    assert note.text == "70s on 3 samples, though mean task.quality is well"


def test_the_series_begins_anew_with_what_its_trigger_measured_meanwhile(
    scenario: MakeScenario, tmp_path: Path
) -> None:
    fleet = scenario(settings=settings(tmp_path, QUALITY))
    verifying(fleet)

    work(fleet, 20, 0.9, duration_s=2.0)
    fleet.at(40)

    verdict = fleet.loop.framework.verdict(SLOW, (("agent", "Coder"),), fleet.loop.evaluated_us)
    assert (verdict.samples, verdict.value) == (3, 2.0)


def test_what_is_set_meanwhile_is_judged_by_it_too_until_it_is_undone_and_well(
    scenario: MakeScenario, tmp_path: Path
) -> None:
    fleet = scenario(settings=settings(tmp_path, QUALITY, "resolve_retry_failures"))
    fleet.at(0).finish("t1", attempt=3, duration_s=1.0)
    fleet.at(1).expect_directives(quality_gate="strict")
    work(fleet, 10, 0.9)
    fleet.expect_incident("high_retry_rate", "Coder", "mitigated")
    fleet.at(330, step_s=20).expect_directives()
    work(fleet, 340, 0.9)
    fleet.expect_incident("high_retry_rate", "Coder", "closed", "healed")


def test_it_goes_on_by_the_same_signal_after_a_restart_and_by_the_new_one_after_a_reload(
    scenario: MakeScenario, tmp_path: Path
) -> None:
    fleet = scenario(settings=settings(tmp_path, QUALITY))
    verifying(fleet)
    work(fleet, 20, 0.9, count=2)
    fleet.restart()
    assert verification(fleet).result is None

    settings(tmp_path, 'signal = "task.tokens", aggregate = "max", condition = { value = 100 }')
    fleet.loop.reload(fleet.settings, load_tested(fleet.settings, {}), "a test")
    work(fleet, 40, 0.1, count=3)  # of no use to what is measured now
    assert verification(fleet).result is None
    for number in range(3):
        fleet.at(60 + number).start(f"n{number}")
        fleet.at(60.5 + number).finish(f"n{number}", duration_s=0.5, usage={"total_tokens": 50})
    fleet.at(70)

    assert verification(fleet).result is Result.HEALED
