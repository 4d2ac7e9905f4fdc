"""Explaining as people ask for it: now and in the past, one series or all, and why where there is none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from self_healing.api import models
from self_healing.clock import to_us
from self_healing.config import Settings, StorageSettings, TelemetrySettings
from self_healing.errors import SelfHealingError
from self_healing.explaining.explain import Question, explain
from self_healing.explaining.past import Looking, look_back
from self_healing.status import loaded_spec
from self_healing.surface import Surface
from self_healing.testing import Scenario

Json = dict[str, Any]


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Scenario]:
    with Scenario(tmp_path) as opened:
        yield opened


def asked(fleet: Scenario, trigger: str, at_s: float | None = None, span_s: int = 600, **keys: str) -> Json:
    """What is answered to somebody who asks the engine that runs."""
    fleet.handoffs("nobody")  # which looks at this instant
    at = None if at_s is None else fleet.start_at + timedelta(seconds=at_s)
    question = Question(trigger=trigger, keys=keys, at=at, span=timedelta(seconds=span_s))
    return explain(fleet.settings, question, now=fleet.clock.now(), ask=Surface(fleet.loop).call)


def one(told: Json) -> Json:
    (series,) = told["series"]
    found: Json = series
    return found


def slow(fleet: Scenario) -> None:
    """Coder is slow at 60 s, and well again from 80 s on."""
    fleet.finish("t0", duration_s=2.0)
    fleet.at(60).finish("t1", duration_s=90.0)
    fleet.at(70).complete("slow_tasks")
    for number in range(6):
        fleet.at(80 + 10 * number).finish(f"g{number}", duration_s=3.0)
    fleet.at(200)


def test_now_is_what_the_engine_says_with_the_stretch_before_it(fleet: Scenario) -> None:
    slow(fleet)
    told = asked(fleet, "slow_tasks", agent="Coder")
    series = one(told)

    assert (told["source"], series["state"], series["reason"]) == ("live", "inactive", "below_threshold")
    models.Explanation.model_validate(told, extra="forbid")
    last = told["history"]["points"][-1]
    assert (last["value"], last["state"]) == (series["value"], series["state"])
    assert [each["to"] for each in told["history"]["transitions"]] == ["firing"]
    assert [mark["what"] for mark in told["history"]["marks"]] == ["detected", "acting", "healed"]


@pytest.mark.parametrize(("at_s", "retries"), [(None, "firing"), (5.0, "inactive")])
def test_of_a_composite_it_is_said_how_each_stands_that_it_looks_at(
    tmp_path: Path, at_s: float | None, retries: str
) -> None:
    (tmp_path / "own.toml").write_text(
        """[[trigger]]\nname = "both"\ntype = "custom"\nseverity = "low"\ntarget_agent = "Planner"
        condition = { kind = "composite", all = ["high_retry_rate", "slow_tasks"] }"""
    )
    with Scenario(tmp_path, settings={"triggers": {"files": [tmp_path / "own.toml"]}}) as fleet:
        fleet.finish("t0", duration_s=2.0)
        for number in range(10):
            fleet.at(10).finish(f"t{number + 1}", duration_s=2.0, attempt=3)
        told = one(asked(fleet.at(20), "both", at_s, agent="Coder"))

    assert f"how many fire of high_retry_rate ({retries}), slow_tasks (inactive)" in told["to_fire"]


@pytest.mark.parametrize("trigger", ["slow_tasks", "token_usage_spike", "duration_increase"])
def test_what_is_drawn_has_the_values_that_a_whole_look_back_finds(tmp_path: Path, trigger: str) -> None:
    usual, worse = [(600 * number, 2, 100) for number in range(24)], [(14400 + 10 * n, 90, 900) for n in range(6)]
    directory, start = tmp_path / "telemetry", datetime(2026, 1, 5, 10, tzinfo=UTC)
    directory.mkdir()
    with (directory / "events-20260105.jsonl").open("w") as file:
        for at_s, duration_s, tokens in (*usual, *worse):
            at = (start + timedelta(seconds=at_s)).isoformat()
            event = {"ts": at, "type": "task_finished", "id": f"t{at_s}", "agent": "Coder", "status": "success"}
            file.write(json.dumps({**event, "duration_s": duration_s, "usage": {"total_tokens": tokens}}) + "\n")
    settings = Settings(
        telemetry=TelemetrySettings(dir=directory), storage=StorageSettings(state_dir=tmp_path / "state")
    )
    spec, until = loaded_spec(settings, looking=True), start + timedelta(seconds=14800)

    whole, drawn = (
        look_back(settings, spec, trigger, {"agent": "Coder"}, until, timedelta(hours=2), drawn=drawn)["history"]
        for drawn in (False, True)
    )
    found, expected = (
        {each["at"]: (each["value"], each["threshold"], each["baseline"]) for each in told["points"]}
        for told in (drawn, whole)
    )
    assert len(found) > 15
    assert {at: values for at, values in expected.items() if at in found} == found
    assert all(value is None for at, (value, *_) in expected.items() if at not in found)


def test_the_moment_it_fired_names_its_incident_and_what_is_on_record(fleet: Scenario) -> None:
    slow(fleet)
    told = asked(fleet, "slow_tasks", at_s=65, agent="Coder")
    series, incident = one(told), fleet.incident("slow_tasks")

    assert series["why"] == "fires: max task.duration_s is 90s, >= 1m"
    assert series["since"] == series["recorded"]["since"] == "2026-01-05T10:01:00Z"
    assert series["recorded"]["spec_version"] == told["spec_version"]
    assert (series["incident"]["id"], series["incident"]["state"]) == (incident.id, "closed")


def test_after_healing_the_window_holds_what_the_verification_saw_then_and_now(fleet: Scenario) -> None:
    slow(fleet)
    closed_at = fleet.incident("slow_tasks").closed_at
    assert closed_at is not None
    after_s = (closed_at - fleet.start_at).total_seconds() + 1
    told = one(asked(fleet, "slow_tasks", at_s=after_s, agent="Coder"))
    # The slow task of 60 s lies within the five minutes, and counts no more.
    assert (told["state"], told["value"]) == ("inactive", 3.0)
    assert told["since"] == told["recorded"]["since"]


def test_without_a_group_every_series_is_told_those_that_fire_first(fleet: Scenario) -> None:
    fleet.finish("a", "Ada", duration_s=2.0).finish("b", "Zoe", duration_s=90.0)
    told = asked(fleet, "slow_tasks")

    assert [each["group"]["agent"] for each in told["series"]] == ["Zoe", "Ada"]
    assert told["history"] is None
    assert asked(fleet, "slow_tasks", at_s=0)["series"][1]["why"] == told["series"][1]["why"]


def test_what_mutes_is_named(fleet: Scenario) -> None:
    fleet.finish("t", duration_s=90.0)
    silence = fleet.loop.silence("slow_tasks", {"agent": "Coder"}, timedelta(hours=1), "ada", "a migration")
    for told in (asked(fleet, "slow_tasks", agent="Coder"), asked(fleet, "slow_tasks", at_s=0, agent="Coder")):
        muted = one(told)["muted_by"]
        assert (muted["kind"], muted["what"], muted["by"]) == ("silenced", silence.id, "ada")
        assert "a migration" in one(told)["why"]


@pytest.mark.parametrize(
    ("trigger", "keys", "said"),
    [
        ("slow_task", {}, "no trigger 'slow_task'; did you mean slow_tasks?"),
        (
            "slow_tasks",
            {"agnt": "Coder"},
            "slow_tasks does not group by 'agnt'; did you mean agent? it groups by agent",
        ),
        (
            "slow_tasks",
            {"agent": "Codr"},
            "no series 'slow_tasks agent=Codr'; no event that is stored has agent = Codr; did you mean Coder?",
        ),
    ],
)
@pytest.mark.parametrize("at_s", [None, 1])
def test_a_wrong_name_is_refused_with_the_nearest(
    trigger: str, keys: dict[str, str], said: str, at_s: int | None, fleet: Scenario
) -> None:
    fleet.finish("t", duration_s=3.0).at(2)
    with pytest.raises(SelfHealingError) as refused:
        asked(fleet, trigger, at_s, 600, **keys)
    assert str(refused.value).startswith(said)


def test_the_future_is_refused(fleet: Scenario) -> None:
    with pytest.raises(SelfHealingError, match="lies in the future"):
        asked(fleet, "slow_tasks", at_s=1)


def test_where_there_is_no_series_it_says_why(fleet: Scenario) -> None:
    fleet.finish("t", duration_s=3.0).at(5)
    assert "measured on test_run events, and none came since" in asked(fleet, "test_failure_spike")["why_none"]
    # It spoke, but never ran a test.
    assert asked(fleet, "test_failure_spike", agent="Coder")["why_none"].startswith("task.tests is measured on")
    fleet.tests(5, 0, "Tester").at(8)
    assert "none of agent=Coder came since" in asked(fleet, "test_failure_spike", agent="Coder")["why_none"]


def test_a_group_beyond_the_limit_of_its_trigger_is_told_to_be_part_of_the_overflow(tmp_path: Path) -> None:
    (tmp_path / "triggers.toml").write_text('[[trigger]]\nname = "slow_tasks"\nmax_series = 1\n')
    with Scenario(tmp_path, settings={"triggers": {"files": [tmp_path / "triggers.toml"]}}) as fleet:
        fleet.finish("t", duration_s=3.0).finish("u", "Other", duration_s=70.0).at(5)
        told = asked(fleet, "slow_tasks", agent="Other")
        assert told["series"] == []
        assert (
            told["why_none"] == "further groups than are kept apart (max_series = 1) count for the one series overflow"
        )
        assert one(asked(fleet, "slow_tasks", agent="overflow"))["state"] == "firing"
        assert asked(fleet, "slow_tasks")["warnings"] == [told["why_none"]]
        assert told["why_none"] in asked(fleet, "slow_tasks", at_s=5)["warnings"]
        assert not any("overflow" in issue for issue in fleet.loop.health()["issues"])
        assert asked(fleet, "slow_tasks", at_s=5, agent="Other")["why_none"] == told["why_none"]
        assert one(asked(fleet, "slow_tasks", at_s=5, agent="overflow"))["state"] == "firing"


def test_a_group_beyond_the_limit_of_all_groups_is_part_of_the_overflow_of_the_past_as_well(tmp_path: Path) -> None:
    with Scenario(tmp_path, settings={"triggers": {"max_groups": 1}}) as fleet:
        fleet.finish("t", duration_s=3.0).finish("u", "Other", duration_s=70.0).at(5)
        now, before = asked(fleet, "slow_tasks", agent="Other"), asked(fleet, "slow_tasks", at_s=5, agent="Other")
        assert (before["series"], before["why_none"]) == ([], now["why_none"])
        assert one(asked(fleet, "slow_tasks", at_s=5, agent="overflow"))["state"] == "firing"


def test_what_an_overflow_does_not_inhibit_is_told_now_and_of_the_past(tmp_path: Path) -> None:
    (tmp_path / "triggers.toml").write_text(
        '[[trigger]]\nname = "slow_tasks"\nmax_series = 1\n'
        '[[trigger]]\nname = "high_retry_rate"\ninhibited_by = ["slow_tasks"]\n'
    )
    with Scenario(tmp_path, settings={"triggers": {"files": [tmp_path / "triggers.toml"]}}) as fleet:
        fleet.finish("t", duration_s=3.0).finish("u", "Other", duration_s=70.0, attempt=3).at(5)
        now, before = asked(fleet, "high_retry_rate", agent="Other"), asked(fleet, "high_retry_rate", 5, agent="Other")
    for told in (now, before):
        assert one(told)["reason"] == "condition_met"
        assert "agent=Other is not inhibited by slow_tasks: what fires there is overflow" in told["warnings"][-1]


def test_a_trigger_that_is_off_says_so(fleet: Scenario) -> None:
    fleet.finish("t", duration_s=3.0).at(5)
    fleet.loop.override_trigger("slow_tasks", {"enabled": False}, "ada")
    told = asked(fleet, "slow_tasks", at_s=2)
    assert told["why_none"] is None or "is off" in told["why_none"]
    assert all(each["reason"] == "disabled" and "enable slow_tasks" in each["why"] for each in told["series"])
    assert not told["enabled"]


def test_a_spec_that_changed_since_is_said_where_that_concerns_the_trigger(fleet: Scenario) -> None:
    slow(fleet)
    before = fleet.loop.spec.version
    fleet.loop.override_trigger("high_retry_rate", {"enabled": False}, "ada")
    fleet.loop.override_trigger("slow_tasks", {"severity": "low"}, "ada")
    told = asked(fleet, "slow_tasks", at_s=65, agent="Coder")
    assert not any("the spec has changed" in each for each in told["warnings"])
    assert one(told)["recorded"]["spec_version"] == before != told["spec_version"]
    fleet.loop.override_trigger("slow_tasks", {"window": "10m"}, "ada")
    told = asked(fleet, "slow_tasks", at_s=65, agent="Coder")
    assert any(f"the spec has changed: around then it was {before}" in each for each in told["warnings"])


@pytest.mark.parametrize("at_s", [None, 1])
def test_a_trigger_of_the_pack_that_nobody_enabled_is_off_and_not_unknown(fleet: Scenario, at_s: float | None) -> None:
    fleet.finish("t", duration_s=3.0).at(5)
    told = asked(fleet, "stuck_tasks", at_s=at_s)
    assert (told["enabled"], told["series"]) == (False, [])
    assert told["why_none"] == "stuck_tasks is off: `self-healing triggers enable stuck_tasks` switches it on"
    shown = Surface(fleet.loop).call("trigger", {"name": "stuck_tasks"})
    assert (shown["trigger"]["enabled"], shown["series"]) == (False, [])


def test_history_that_begins_too_late_is_said_and_one_that_is_whole_is_not(fleet: Scenario) -> None:
    fleet.finish("t0", duration_s=3.0).at(700).finish("t1", duration_s=3.0)
    whole, short = asked(fleet, "slow_tasks", at_s=690), asked(fleet, "slow_tasks", at_s=100)
    assert whole["warnings"] == []
    assert any(each.startswith("stored history begins at 2026-01-05 10:00:00") for each in short["warnings"])


def test_before_anything_was_evaluated_it_says_what_it_would_say(fleet: Scenario) -> None:
    fleet.finish("t", duration_s=90.0).at(1)
    nothing_yet: Json = {"trigger": "slow_tasks", "at": None, "series": []}
    question = Question(trigger="slow_tasks", keys={"agent": "Coder"})
    told = explain(fleet.settings, question, now=fleet.clock.now(), ask=lambda _command, _arguments: nothing_yet)
    assert told["warnings"][0].startswith("nothing has been evaluated yet")
    assert one(told)["state"] == "firing"


def test_what_only_stored_history_has_is_said_where_the_engine_has_no_series(fleet: Scenario) -> None:
    fleet.finish("t", duration_s=90.0).at(1)
    without: Json = {"at": fleet.clock.now().isoformat(), "series": [], "why_none": None, "warnings": []}
    question = Question(trigger="slow_tasks", keys={"agent": "Coder"})
    told = explain(fleet.settings, question, now=fleet.clock.now(), ask=lambda _command, _arguments: without)
    assert told["why_none"].startswith("the engine has no sample of it: what stored history has came before this state")


def test_without_any_telemetry_that_is_said(fleet: Scenario) -> None:
    told = asked(fleet, "slow_tasks", at_s=0)
    assert told["why_none"].startswith("no event came since")
    assert told["warnings"][0].startswith("no event up to then is stored in")


def test_where_nothing_happened_a_replay_begins_no_earlier_than_what_it_needs(fleet: Scenario) -> None:
    fleet.finish("t0", duration_s=2.0)
    later = fleet.start_at + timedelta(days=100)

    looking = Looking(fleet.settings, fleet.loop.spec, "slow_tasks", {}, later, span_s=600)

    assert looking.past.events == []
    assert to_us(later - timedelta(days=2)) < looking.replay.t_us < to_us(later)
