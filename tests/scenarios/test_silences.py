"""Silences: a muted series opens nothing, recovers as ever, and is heard again once the silence is over."""

from __future__ import annotations

from datetime import timedelta

import pytest

from self_healing.errors import SilenceRefused
from self_healing.incidents.silences import matched
from self_healing.model import CloseReason, Incident, Reason, Silence
from self_healing.testing import Scenario
from tests.scenarios.conftest import MakeScenario

RETRIES = "high_retry_rate"
SLOW = "slow_tasks"
CODER = {"agent": "Coder"}


def mute(fleet: Scenario, minutes: float = 10, *, trigger: str | None = SLOW, from_s: float | None = None) -> Silence:
    starts_at = None if from_s is None else fleet.start_at + timedelta(seconds=from_s)
    return fleet.loop.silence(trigger, CODER, timedelta(minutes=minutes), "Ada", "maintenance", starts_at)


def reason(fleet: Scenario, agent: str = "Coder") -> Reason:
    [verdict] = [v for v in fleet.loop.verdicts() if (v.trigger, v.group) == (SLOW, (("agent", agent),))]
    return verdict.reason


def incidents(fleet: Scenario) -> list[Incident]:
    return fleet.loop.store.select(Incident)


def test_a_firing_series_that_is_muted_opens_nothing_and_says_why(fleet: Scenario) -> None:
    mute(fleet)
    fleet.finish("t1", duration_s=70.0)
    fleet.finish("t2", "Writer", duration_s=70.0)

    fleet.at(5).expect_state(SLOW, "Coder", "firing").expect_incident(SLOW, "Writer", "acting")

    assert [incident.group for incident in incidents(fleet)] == [(("agent", "Writer"),)]
    assert (reason(fleet), reason(fleet, "Writer")) == (Reason.SILENCED, Reason.CONDITION_MET)
    assert fleet.loop.report()["triggers_fired"] == 1


def test_a_series_that_still_fires_when_its_silence_ends_opens_an_incident(scenario: MakeScenario) -> None:
    fleet = scenario(step_s=10)
    mute(fleet, 2)
    fleet.finish("t1", duration_s=70.0)

    fleet.at(119).expect_nothing_open()
    fleet.at(120).expect_incident(SLOW, "Coder", "acting", value=70.0)

    assert fleet.loop.store.select(Silence, open="yes") == []


def test_a_muted_series_recovers_as_ever(scenario: MakeScenario) -> None:
    fleet = scenario(step_s=10)
    mute(fleet, 30)
    fleet.finish("t1", duration_s=70.0)
    fleet.at(290).expect_state(SLOW, "Coder", "firing")
    fleet.finish("t2", duration_s=5.0)

    fleet.at(400).expect_state(SLOW, "Coder", "inactive")

    fleet.at(1900, step_s=60).expect_nothing_open()
    assert incidents(fleet) == []


def test_an_open_incident_whose_series_is_muted_is_suppressed_with_all_that_it_did(scenario: MakeScenario) -> None:
    fleet = scenario(step_s=10)
    fleet.finish("t1", attempt=3, duration_s=1.0)
    fleet.at(1).expect_directives(quality_gate="strict")

    mute(fleet, trigger=None)

    fleet.at(2).expect_incident(RETRIES, "Coder", "closed", "suppressed", closed_by="Ada").expect_directives()
    fleet.expect_state(RETRIES, "Coder", "firing")
    fleet.at(590).expect_nothing_open()
    fleet.at(601)
    fleet.expect_incident(RETRIES, "Coder", "acting", reopened=1, attempts=2)
    assert len(incidents(fleet)) == 1


def test_after_more_than_an_hour_of_silence_it_is_another_incident(scenario: MakeScenario) -> None:
    fleet = scenario(step_s=60)
    fleet.start("t1")
    fleet.at(60).expect_incident(SLOW, "Coder", "acting")
    mute(fleet, 65)

    fleet.at(60 + 66 * 60)

    fleet.expect_incident(SLOW, "Coder", "acting", reopened=0)
    assert [each.close_reason for each in incidents(fleet)] == [CloseReason.SUPPRESSED, None]


def test_an_escalated_incident_is_suppressed_too(scenario: MakeScenario) -> None:
    fleet = scenario(step_s=10)
    fleet.finish("t1", duration_s=70.0)
    handoff = fleet.expect_handoff(SLOW)
    fleet.at(10).finish("r1", "ChiefArchitectAgent", status="failed", handoff_id=handoff.id)
    fleet.at(20).expect_incident(SLOW, "Coder", "escalated")

    mute(fleet)

    fleet.at(21).expect_incident(SLOW, "Coder", "closed", "suppressed")


def test_a_maintenance_window_begins_by_itself_and_its_end_is_its_last_instant_no_more(scenario: MakeScenario) -> None:
    fleet = scenario()
    mute(fleet, 1, from_s=100)
    fleet.at(95).finish("t1", duration_s=70.0)
    fleet.at(99).expect_incident(SLOW, "Coder", "acting")

    fleet.at(100).expect_incident(SLOW, "Coder", "closed", "suppressed")

    fleet.at(159).expect_nothing_open()
    fleet.at(160).expect_incident(SLOW, "Coder", "acting", reopened=1)


def test_what_a_person_takes_back_is_heard_again_at_once(fleet: Scenario) -> None:
    silence = mute(fleet)
    fleet.finish("t1", duration_s=70.0)
    fleet.at(5).expect_nothing_open()

    fleet.loop.remove_silence(silence.id, "Bob")

    fleet.at(6).expect_incident(SLOW, "Coder", "acting")
    with pytest.raises(SilenceRefused, match="over already"):
        fleet.loop.remove_silence(silence.id, "Bob")


@pytest.mark.parametrize("removed", [False, True], ids=["expired", "removed"])
def test_a_silence_that_ended_while_nobody_looked_is_over_at_the_next_start(
    scenario: MakeScenario, removed: bool
) -> None:
    fleet = scenario(step_s=600)
    silence = mute(fleet, 1)
    fleet.finish("t1", duration_s=70.0)
    fleet.at(30).expect_state(SLOW, "Coder", "firing").restart()
    if removed:
        fleet.loop.remove_silence(silence.id, "Bob")
        fleet.restart()

    fleet.at(90).expect_incident(SLOW, "Coder", "acting")


def test_silences_are_durable_and_on_the_audit_log(fleet: Scenario) -> None:
    mute(fleet)
    fleet.finish("t1", duration_s=70.0)
    fleet.at(3).restart()

    fleet.at(30).expect_state(SLOW, "Coder", "firing").expect_nothing_open()

    assert [entry.kind for entry in fleet.loop.audit.tail(10)] == ["spec", "silence_added"]
    assert fleet.loop.audit.verify().ok


@pytest.mark.parametrize(
    ("trigger", "keys", "lasts", "why"),
    [
        (None, {}, 60, "empty selection means nothing"),
        ("slow_task", {}, 60, "trigger 'slow_task' is unknown; did you mean slow_tasks?"),
        (None, {"model": "m"}, 60, "groups by model"),
        (SLOW, {}, 0, "length above 0"),
    ],
)
def test_a_silence_that_mutes_nothing_is_refused(
    fleet: Scenario, trigger: str | None, keys: dict[str, str], lasts: int, why: str
) -> None:
    with pytest.raises(SilenceRefused, match=why):
        fleet.loop.silence(trigger, keys, timedelta(seconds=lasts), "Ada", "no")
    assert fleet.loop.store.select(Silence) == []


def test_a_silence_without_a_reason_is_refused(fleet: Scenario) -> None:
    with pytest.raises(SilenceRefused, match="it has no reason"):
        fleet.loop.silence(SLOW, {}, timedelta(seconds=60), "Ada", " ")


SERIES = [("slow_tasks", (("agent", "Coder"), ("model", "m"))), ("cost", (("agent", "Coder"),)), ("cost", ())]


@pytest.mark.parametrize(
    ("trigger", "keys", "triggers", "series", "warning"),
    [
        (None, {"agent": "Coder"}, 2, 2, None),
        ("cost", {}, 1, 2, None),
        (None, {"agent": "Codr"}, 0, 0, "no series has agent=Codr; did you mean Coder?; it mutes those to come"),
        (None, {"agent": "X"}, 0, 0, "no series has agent=X; seen are Coder; it mutes those to come"),
        ("cost", {"model": "m"}, 0, 0, "no series has model=m; seen are none; it mutes those to come"),
        ("other", {}, 0, 0, "other has no series yet; it mutes those to come"),
    ],
)
def test_a_silence_tells_what_it_is_for_of_what_there_is(
    trigger: str | None, keys: dict[str, str], triggers: int, series: int, warning: str | None
) -> None:
    assert matched(trigger, keys, SERIES) == {"triggers": triggers, "series": series, "warning": warning}
