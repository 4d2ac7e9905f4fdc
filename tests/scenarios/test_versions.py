"""An incident goes on by the spec under which it was opened, whatever is loaded meanwhile."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from self_healing.loading import load_tested
from self_healing.loop.versions import Kept
from self_healing.model import Decision, Execution, Incident, Outcome, Verification
from self_healing.spec import Spec
from self_healing.surface import Surface
from self_healing.testing import Scenario
from tests.scenarios.conftest import MakeScenario
from tests.scenarios.test_healing import good

SLOW, RETRIES = "slow_tasks", "high_retry_rate"


def reload(fleet: Scenario, *, trigger: str = "", action: str = "") -> str:
    """Go on by the defaults with these keys changed; returns the version that was loaded before."""
    before = fleet.loop.spec.version
    changed: dict[str, Any] = {}
    for kind, text in (("trigger", trigger), ("action", action)):
        file = fleet.directory / f"{kind}s.toml"
        file.write_text(f"[[{kind}]]\n{text}\n" if text else "")
        changed[f"{kind}s"] = getattr(fleet.settings, f"{kind}s").model_copy(update={"files": (file,)})
    fleet.settings = fleet.settings.model_copy(update=changed)
    loaded = load_tested(fleet.settings, fleet.loop.overrides)
    fleet.loop.reload(fleet.settings, loaded, "a test")
    assert fleet.loop.spec.version != before
    return before


def kept(fleet: Scenario) -> set[str]:
    """The versions that the state keeps."""
    versions = [fleet.loop.spec.version, *(each.spec_version for each in fleet.loop.store.select(Incident))]
    return {each for each in versions if fleet.loop.store.fact(f"spec/{each}") is not None}


def closing_loosely(value: int = 600) -> str:
    return f'name = "{SLOW}"\ncondition = {{ kind = "threshold", op = ">=", value = {value} }}'


def judged(fleet: Scenario, trigger: str = SLOW) -> list[str | None]:
    return [each.result for each in fleet.loop.store.select(Verification, incident=fleet.incident(trigger).id)]


@pytest.mark.parametrize("restarts", [False, True])
def test_what_is_verified_is_judged_by_the_threshold_under_which_it_opened(fleet: Scenario, restarts: bool) -> None:
    fleet.at(0).finish("t1", duration_s=90.0)
    fleet.at(10).complete(SLOW).expect_incident(SLOW, "Coder", "verifying")
    reload(fleet, trigger=closing_loosely())  # 80 s would be well by what is loaded now
    if restarts:
        fleet.restart()
    for number in range(3):
        fleet.at(20 + number).start(f"b{number}")
    for number in range(3):
        fleet.at(80 + number).finish(f"b{number}", duration_s=60.0)

    fleet.at(90)

    assert judged(fleet) == ["not_healed"]


def test_the_series_itself_and_new_incidents_follow_the_loaded_spec(fleet: Scenario) -> None:
    fleet.at(0).finish("t1", duration_s=90.0)
    fleet.at(1).expect_incident(SLOW, "Coder", "acting")
    reload(fleet, trigger=closing_loosely())
    fleet.at(5).finish("t1", "Tester", duration_s=90.0)

    fleet.at(10).expect_state(SLOW, "Coder", "recovering").expect_state(SLOW, "Tester", "inactive")

    assert fleet.incident(SLOW).threshold == 60


def test_its_steps_and_their_actions_are_those_of_its_own_spec(fleet: Scenario) -> None:
    fleet.at(0).finish("t1", attempt=3, duration_s=1.0)
    fleet.expect_incident(RETRIES, "Coder", "acting")
    first = reload(
        fleet,
        trigger=f'name = "{RETRIES}"\nactions = ["analyze_slow_tasks"]',
        action='name = "resolve_retry_failures"\nprompt = "Another."\nverification = { deadline = "1m" }',
    )
    fleet.at(5).finish("t2", "Tester", attempt=3, duration_s=1.0)

    fleet.at(6).expect_incident(RETRIES, "Coder", "verifying", plan=("resolve_retry_failures",))
    fleet.expect_incident(RETRIES, "Tester", "acting", plan=("analyze_slow_tasks",))

    [verification] = fleet.loop.store.select(Verification, incident=fleet.incident(RETRIES).id)
    assert (verification.deadline - verification.effect_at).total_seconds() >= 900
    told = Surface(fleet.loop).call("incident", {"id": fleet.incident(RETRIES).id})
    assert told["goes_on_by"] == first
    assert Surface(fleet.loop).call("incident", {"id": fleet.incident(RETRIES, "Tester").id})["goes_on_by"] is None


def test_what_waits_is_decided_by_its_own_spec_and_passes_the_gate(scenario: MakeScenario) -> None:
    fleet = scenario(settings={"constitution": {"limits": {"actions_per_minute": 1}}})
    fleet.at(0).finish("t1", "Tester", duration_s=90.0).finish("t1", attempt=3, duration_s=1.0)
    fleet.at(1)
    waiting = next(each for each in fleet.loop.register.open.values() if each.state == "open")
    first = reload(
        fleet,
        trigger=f'name = "{waiting.trigger}"\nactions = ["comprehensive_system_analysis"]',
        action='name = "resolve_retry_failures"\nprompt = "Another."',
    )

    fleet.at(62)

    [execution] = fleet.loop.store.select(Execution, incident=waiting.id)
    assert (execution.action, execution.status) == (waiting.plan[0], "dispatched")
    decision = fleet.loop.store.get(Decision, execution.decision)
    assert (decision.outcome, decision.proposal.spec_version) == (Outcome.ALLOW, first)


def test_a_version_is_kept_while_an_open_incident_has_it_and_then_no_more(fleet: Scenario) -> None:
    fleet.at(0).finish("t1", duration_s=90.0)
    fleet.at(5).complete(SLOW).expect_incident(SLOW, "Coder", "verifying")
    first = reload(fleet, trigger=f'name = "{SLOW}"\nseverity = "low"')
    fleet.at(6)
    second = fleet.loop.spec.version
    assert kept(fleet) == {first, second}

    good(fleet, 10)
    fleet.expect_incident(SLOW, "Coder", "closed", "healed").at(60)

    assert kept(fleet) == {second}


def test_where_its_trigger_measures_something_else_it_follows_the_loaded_spec(fleet: Scenario) -> None:
    fleet.at(0).finish("t1", attempt=3, duration_s=1.0)
    fleet.at(1).expect_incident(RETRIES, "Coder", "verifying")
    reload(fleet, trigger=f'name = "{RETRIES}"\nwhere = {{ model = "m" }}')
    fleet.at(2)

    assert fleet.loop.register.open, "nobody closed it"
    assert Surface(fleet.loop).call("incident", {"id": fleet.incident(RETRIES).id})["goes_on_by"] is None


def test_a_trigger_that_is_switched_off_lets_its_incident_go_whatever_its_version(fleet: Scenario) -> None:
    fleet.at(0).finish("t1", duration_s=90.0)
    fleet.at(1).expect_incident(SLOW, "Coder", "acting")
    reload(fleet, trigger=f'name = "{SLOW}"\nenabled = false')

    fleet.at(2).expect_incident(SLOW, "Coder", "closed", "dismissed")


@pytest.mark.parametrize("forgery", ["another text", "no entry", "an entry about another version", "no text"])
def test_a_version_that_the_records_do_not_bear_out_counts_for_nothing(fleet: Scenario, forgery: str) -> None:
    """Neither the row of an incident nor a fact makes a spec: it has to be on the audit log as loaded."""
    fleet.at(0).finish("t1", duration_s=90.0)
    fleet.at(10).complete(SLOW).expect_incident(SLOW, "Coder", "verifying")
    first = reload(fleet, trigger=f'name = "{SLOW}"\nseverity = "low"')
    store = fleet.loop.store
    genuine: Kept = store.fact(f"spec/{first}", Kept)
    lax = json.loads(genuine.text)
    lax["limits"]["attempts_per_incident"] = 99
    forged = Spec.model_validate(lax)
    incident = fleet.incident(SLOW)
    match forgery:
        case "another text":
            store.put_fact(f"spec/{first}", Kept(forged.text, genuine.entry))
        case "no entry":
            store.put_fact(f"spec/{forged.version}", Kept(forged.text, 10_000))
            store.put(msgspec.structs.replace(incident, spec_version=forged.version))
        case "an entry about another version":
            store.put_fact(f"spec/{forged.version}", Kept(forged.text, genuine.entry))
            store.put(msgspec.structs.replace(incident, spec_version=forged.version))
        case _:
            store.put_fact(f"spec/{first}", ["nonsense"])

    fleet.restart()

    assert fleet.loop._parts.versions.kept == {}
    assert fleet.loop._parts.versions.of(incident) is fleet.loop.spec


@pytest.mark.parametrize("window", ["5m", "15m"])
def test_what_was_over_does_not_come_back_with_a_longer_window(scenario: MakeScenario, window: str) -> None:
    fleet = scenario(step_s=10)
    fleet.at(0).finish("t1", duration_s=90.0).expect_incident(SLOW, "Coder", "acting")
    fleet.loop.dismiss(fleet.incident(SLOW).id, "Ada", "as planned")
    fleet.at(200).finish("t2", duration_s=1.0)
    reload(fleet.at(400, step_s=100), trigger=f'name = "{SLOW}"\nwindow = "{window}"\nseverity = "low"')

    fleet.at(420).expect_state(SLOW, "Coder", "inactive").expect_incident(SLOW, "Coder", "closed", "dismissed")
    fleet.finish("t3", duration_s=70.0).at(421).expect_incident(SLOW, "Coder", "acting", reopened=1)
