"""The surface: what people ask is answered in JSON, what they tell is done, what is wrong is refused."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from self_healing import status, views
from self_healing.clock import FakeClock
from self_healing.config import Settings
from self_healing.constitution.stop import resume, stop
from self_healing.errors import NotFound, SelfHealingError, StateBusy, StateError, StorageError
from self_healing.given import load_settings
from self_healing.model import HandoffStatus
from self_healing.orchestrator import SelfHealingOrchestrator
from self_healing.storage.readonly import DATABASE
from self_healing.storage.store import Store
from self_healing.surface import COMMANDS, Surface, open_surface
from self_healing.testing import Scenario
from tests.scenarios.test_approvals import options as slow_tasks_erase
from tests.scenarios.test_causes import slow_by_model
from tests.unit.actions.test_directives import directive

NOW = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
HEALTH = ["status", "telemetry_healthy", "triggers_enabled", "actions_available", "issues"]


def tell(directory: Path, at: datetime, agent: str, **fields: Any) -> None:
    """Five tasks of `agent` that ended just before `at`."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / f"events-{at:%Y%m%d}.jsonl").open("a") as file:
        for number in range(5):
            ts = at - timedelta(seconds=10 - number)
            event = {
                "ts": ts.isoformat(),
                "type": "task_finished",
                "id": f"{agent}-{ts:%H%M%S}",
                "agent": agent,
                "attempt": 1,
                "status": "success",
                "duration_s": 3.0,
                **fields,
            }
            file.write(json.dumps(event) + "\n")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    flags = {
        "telemetry.dir": tmp_path / "telemetry",
        "storage.state_dir": tmp_path / "state",
        "storage.logs_dir": tmp_path / "logs",
    }
    (tmp_path / "empty.toml").touch()
    (tmp_path / "telemetry").mkdir()
    return load_settings(tmp_path / "empty.toml", environ={}, flags=flags)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW)


@pytest.fixture
def surface(settings: Settings, clock: FakeClock) -> Iterator[Surface]:
    """The surface of a state in which Coder is slow, and Tester needs many attempts."""
    tell(settings.telemetry.dir, NOW, "Coder", duration_s=90.0)
    tell(settings.telemetry.dir, NOW, "Tester", attempt=4)
    tell(settings.telemetry.dir, NOW, "Planner")
    with open_surface(settings, write=True, clock=clock) as opened:
        opened.call("check", {})
        yield opened


def incident(surface: Surface, trigger: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = surface.call("incidents", {})["incidents"]
    return next(each for each in found if each["trigger"] == trigger)


def one(surface: Surface, command: str) -> dict[str, Any]:
    (found,) = surface.call(command, {})[command]
    told: dict[str, Any] = found
    return told


OF_APPROVALS = ("approval", "approve", "deny")
"""These want something that waits for a person."""


@pytest.mark.parametrize("command", [each for each in COMMANDS if each not in OF_APPROVALS])
def test_every_command_answers_in_json(command: str, surface: Surface, clock: FakeClock) -> None:
    slow, retries = incident(surface, "slow_tasks"), incident(surface, "high_retry_rate")
    handoff = surface.call("records", {"kind": "handoffs"})["handoffs"][0]["id"]
    person = {"by": "Ada", "reason": "tested"}
    arguments: dict[str, dict[str, Any]] = {
        "check": {"now": "2026-01-05T10:00:05Z"},
        "trigger": {"name": "slow_tasks"},
        "explain": {"name": "slow_tasks", "keys": {"agent": "Coder"}},
        "enable": {"name": "slow_tasks", "by": "Ada"},
        "disable": {"name": "slow_tasks", "by": "Ada"},
        "incidents": {"states": ["open", "closed"]},
        "incident": {"id": slow["id"]},
        "handed": {"id": slow["id"], "newest": 1},
        "ack": {"id": slow["id"], **person},
        "close": {"id": retries["id"], **person},
        "stop": person,
        "resume": person,
        "agent": {"name": "Coder"},
        "silence": {"trigger": "slow_tasks", "keys": {"agent": "Coder"}, "lasts_s": 60, **person},
        "history": {"limit": 5},
        "ingest_junit": {"paths": []},
        "undo": {"ids": [each["id"] for each in surface.call("directives", {})["directives"]], **person},
        "handoffs": {"statuses": ["delivered"], "limit": 5},
        "handoff": {"id": handoff},
        "accept": {"id": handoff, "by": "Ada"},
        "complete": {"id": handoff, "by": "Ada", "result": "mended"},
        "fail": {"id": handoff, "by": "Ada"},
        "series": {"triggers": ["slow_tasks"], "states": ["firing"], "limit": 1},
        "records": {"kind": "incidents", "where": {"state": ["acting"]}, "limit": 1},
        "execution": {"id": surface.call("records", {"kind": "executions"})["executions"][0]["id"]},
        "decision": {"id": surface.call("records", {"kind": "decisions"})["decisions"][0]["id"]},
    }
    if command == "unsilence":
        muted = surface.call("silence", arguments["silence"])["silence"]
        arguments["unsilence"] = {"id": muted["id"], "by": "Ada"}
    answer = surface.call(command, arguments.get(command, {}))
    assert isinstance(json.loads(json.dumps(answer, allow_nan=False)), dict)


@pytest.mark.parametrize("command", OF_APPROVALS)
def test_every_command_about_what_waits_for_a_person_answers_in_json(command: str, tmp_path: Path) -> None:
    with Scenario(tmp_path, settings=slow_tasks_erase(tmp_path)) as fleet:
        fleet.finish("slow", duration_s=70.0).expect_actions("slow_tasks", erase="awaiting_approval")
        surface = Surface(fleet.loop)
        [asked] = surface.call("approvals", {})["approvals"]
        person = {} if command == "approval" else {"by": "Ada", "reason": "tested"}
        answer = surface.call(command, {"id": asked["id"], **person})
    assert json.loads(json.dumps(answer, allow_nan=False))["approval"]["id"] == asked["id"]


def test_an_incident_names_the_filters_of_the_events_that_it_rests_on(surface: Surface) -> None:
    slow = incident(surface, "slow_tasks")
    told = surface.call("incident", {"id": slow["id"]})
    since = datetime.fromisoformat(slow["opened_at"]) - timedelta(minutes=5)
    evidence = told["evidence"]
    assert datetime.fromisoformat(evidence.pop("since")) == since
    assert evidence == {"agent": ["Coder"], "model": [], "until": None}
    surface.call("close", {"id": slow["id"], "by": "Ada", "reason": "tested"})
    closed = surface.call("incident", {"id": slow["id"]})
    assert closed["evidence"]["until"] == closed["incident"]["closed_at"]


def test_a_parent_tells_what_is_beneath_it_and_the_events_of_all_that_also_once_it_is_closed(tmp_path: Path) -> None:
    with Scenario(tmp_path) as fleet:
        ill = slow_by_model(fleet)
        surface = Surface(fleet.loop)
        [parent] = [each for each in surface.call("incidents", {})["incidents"] if "cause" in each["group"]]
        stands = surface.call("incident", {"id": parent["id"]})
        surface.call("close", {"id": parent["id"], "by": "Ada", "reason": "tested"})
        closed = surface.call("incident", {"id": parent["id"]})

    for told, state in ((stands, "open"), (closed, "closed")):
        assert [(each["group"]["agent"], each["state"]) for each in told["beneath"]] == [(each, state) for each in ill]
        assert told["evidence"]["agent"] == ill


def test_the_figures_count_what_fires_and_is_not_muted(surface: Surface) -> None:
    figures = surface.call("figures", {})
    assert {name for name, count in figures["firing"].items() if count} == {"slow_tasks", "high_retry_rate"}
    assert len(figures["firing"]) == figures["triggers_enabled"]
    assert figures["ingest_lag_s"] == 0
    surface.call("silence", {"trigger": "slow_tasks", "lasts_s": 60, "by": "Ada", "reason": "tested"})
    assert surface.call("figures", {})["firing"]["slow_tasks"] == 0


@pytest.mark.parametrize(
    ("command", "arguments", "said"),
    [
        ("explode", {}, "there is no command 'explode'; allowed is one of check, status"),
        ("status", {"loud": True}, "unknown field `loud`"),
        ("trigger", {}, "missing required field `name`"),
        ("trigger", {"name": 5}, "Expected `str`"),
        ("incidents", {"states": ["asleep"]}, "'asleep'"),
        ("check", {"now": "2026-01-05T10:00:05"}, "timezone"),
        ("history", {"limit": 0}, ">= 1"),
        ("ack", {"id": "inc-1", "by": " ", "reason": "x"}, "by: allowed is text that is not empty"),
        ("stop", {"by": "Ada", "reason": ""}, "reason: allowed is text that is not empty"),
        ("check", {"now": "0001-01-01T00:00:00Z"}, "now 0001-01-01T00:00:00+00:00: allowed is a time from 1970"),
    ],
)
def test_what_cannot_be_asked_is_refused(command: str, arguments: dict[str, Any], said: str, surface: Surface) -> None:
    with pytest.raises(SelfHealingError) as refused:
        surface.call(command, arguments)
    assert said in str(refused.value)


@pytest.mark.parametrize("command", ["trigger", "incident", "handoff"])
def test_what_is_not_there_is_named(command: str, surface: Surface) -> None:
    with pytest.raises(NotFound, match=f"no {command} 'nothing'"):
        surface.call(command, {"name" if command == "trigger" else "id": "nothing"})


def test_a_trigger_shows_each_series_with_its_reason(surface: Surface) -> None:
    told = surface.call("trigger", {"name": "slow_tasks"})
    assert told["trigger"]["for"] == 0
    by_agent = {each["group"]["agent"]: (each["state"], each["reason"], each["value"]) for each in told["series"]}
    assert by_agent == {
        "Coder": ("firing", "condition_met", 90.0),
        "Tester": ("inactive", "below_threshold", 3.0),
        "Planner": ("inactive", "below_threshold", 3.0),
    }
    listed = {each["name"]: each for each in surface.call("triggers", {})["triggers"]}
    assert (listed["slow_tasks"]["firing"], listed["slow_tasks"]["series"]) == (1, 3)
    assert listed["slow_tasks"]["condition"] == "max task.duration_s >= 1m"
    assert (told["condition"], told["unit"]) == ("max task.duration_s >= 1m", "s")
    assert listed["duration_increase"]["condition"] == "mean task.duration_s >= 1.5x baseline"


def test_an_incident_shows_its_whole_story(surface: Surface) -> None:
    told = surface.call("incident", {"id": incident(surface, "high_retry_rate")["id"]})
    assert told["incident"]["group"] == {"agent": "Tester"}
    assert told["timeline"][0]["what"] == "detected"
    (execution,) = told["executions"]
    assert (execution["action"], execution["status"]) == ("resolve_retry_failures", "dispatched")
    (decision,) = told["decisions"]
    assert decision["outcome"] == "allow"
    assert decision["articles"] == {"I": [], "II": [], "III": [], "IV": [], "V": []}
    (directive,) = told["directives"]
    assert (directive["name"], directive["value"]) == ("quality_gate", "strict")
    assert [each["target_agent"] for each in told["handoffs"]] == ["AuditorAgent"]


def test_what_a_person_says_of_an_incident_is_kept_with_the_name(surface: Surface) -> None:
    slow, retries = incident(surface, "slow_tasks")["id"], incident(surface, "high_retry_rate")["id"]
    acknowledged = surface.call("ack", {"id": slow, "by": "Ada", "reason": "on it"})["incident"]
    assert acknowledged["acknowledged_by"] == "Ada"
    closed = surface.call("close", {"id": retries, "by": "Ada", "reason": "a drill"})["incident"]
    assert (closed["state"], closed["close_reason"], closed["closed_by"]) == ("closed", "dismissed", "Ada")
    assert one(surface, "incidents")["id"] == slow
    states = surface.call("incidents", {"states": ["closed"]})["incidents"]
    assert [each["id"] for each in states] == [retries]


def test_of_directives_for_the_same_setting_one_is_effective_and_overrides_the_others(
    settings: Settings, clock: FakeClock
) -> None:
    until = NOW + timedelta(hours=1)
    with Store(settings.storage.state_dir) as store:
        store.put(
            directive("timeout_s", 30, id="dir-1", expires_at=until),
            directive("timeout_s", 60, id="dir-2", replaced=30, expires_at=until),
            directive("timeout_s", 60, id="dir-3", agent="Planner", expires_at=until),
            directive("timeout_s", 10, id="dir-4", expires_at=NOW),
        )
    with open_surface(settings, write=False, clock=clock) as surface:
        told = surface.call("directives", {})["directives"]
        assert [(each["id"], each["replaced"], each["overridden_by"]) for each in told] == [
            ("dir-1", None, None),
            ("dir-2", 30, "dir-1"),
            ("dir-3", None, None),
        ]
        assert surface.call("agent", {"name": "Coder"})["in_force"] == told[:2]


def test_a_directive_is_listed_until_it_is_undone_or_runs_out(surface: Surface, clock: FakeClock) -> None:
    told = surface.call("directives", {})
    assert told["effective"] == {"Tester": {"quality_gate": "strict"}}
    (directive,) = told["directives"]
    clock.advance(3601)
    assert surface.call("directives", {}) == {"directives": [], "effective": {}}
    clock.set(NOW)
    surface.call("undo", {"ids": [directive["id"]], "by": "Ada", "reason": "no need"})
    assert surface.call("directives", {})["directives"] == []


def test_a_handoff_is_answered_once(surface: Surface) -> None:
    handoff = surface.call("incident", {"id": incident(surface, "slow_tasks")["id"]})["handoffs"][0]
    assert Path(handoff["path"]).exists()
    assert surface.call("accept", {"id": handoff["id"], "by": "Ada"})["handoff"]["status"] == "accepted"
    done = surface.call("complete", {"id": handoff["id"], "by": "Ada", "result": "mended"})["handoff"]
    assert (done["status"], done["result"]) == ("completed", "mended")
    with pytest.raises(SelfHealingError, match="it ended"):
        surface.call("fail", {"id": handoff["id"], "by": "Ada"})
    open_ones = surface.call(
        "records", {"kind": "handoffs", "where": {"status": ["created", "delivered", "accepted"]}}
    )["handoffs"]
    assert handoff["id"] not in [each["id"] for each in open_ones]
    shown = surface.call("handoff", {"id": handoff["id"]})["handoff"]
    assert shown["message"]["id"] == handoff["id"]


def test_a_healed_incident_is_in_the_history_and_in_the_lessons(
    surface: Surface, settings: Settings, clock: FakeClock
) -> None:
    slow = incident(surface, "slow_tasks")["id"]
    handoff = surface.call("incident", {"id": slow})["handoffs"][0]["id"]
    (waiting,) = (each for each in surface.call("actions", {})["actions"] if each["name"] == "analyze_slow_tasks")
    assert (waiting["tries"], waiting["not_judged"], waiting["lessons"][0]["not_judged"]) == (1, 1, 1)
    clock.advance(30)
    surface.call("complete", {"id": handoff, "by": "Ada", "result": None})
    surface.call("check", {})
    clock.advance(60)
    tell(settings.telemetry.dir, clock.now(), "Coder")
    clock.advance(60)
    surface.call("check", {})
    newest = surface.call("history", {})["history"]
    (past,) = (each for each in newest if each["incident"] == slow)
    assert past["outcome"] == "healed"
    assert [(each["action"], each["result"]) for each in past["actions"]] == [("analyze_slow_tasks", "healed")]
    assert len(surface.call("history", {"limit": 1})["history"]) == 1
    (action,) = (each for each in surface.call("actions", {})["actions"] if each["name"] == "analyze_slow_tasks")
    assert action["answers"] == ["slow_tasks"]
    assert (action["tries"], action["healed"], action["not_judged"]) == (1, 1, 0)
    assert action["median_heal_s"] == pytest.approx(150)
    assert [(each["trigger"], each["agent"]) for each in action["lessons"]] == [("slow_tasks", "Coder")]


def test_a_handoff_that_ended_when_it_began_began_first(tmp_path: Path) -> None:
    with Scenario(tmp_path) as fleet:
        fleet.finish("slow", duration_s=90.0)
        [incident], handoff = fleet.loop.register.open.values(), fleet.expect_handoff("slow_tasks")
    done = msgspec.structs.replace(handoff, status=HandoffStatus.COMPLETED, ended_at=handoff.created_at)
    told = [each["what"] for each in views.timeline(incident, [done])]
    assert told.index("created") < told.index("completed")


def test_a_timeline_tells_what_became_of_what_was_handed_over(
    surface: Surface, settings: Settings, clock: FakeClock
) -> None:
    id = incident(surface, "slow_tasks")["id"]
    handoff = surface.call("incident", {"id": id})["handoffs"][0]["id"]
    for name, more in (("accept", {}), ("fail", {"result": "no access"})):
        clock.advance(30)
        surface.call(name, {"id": handoff, "by": "Ada", **more})
    surface.call("check", {})
    told = surface.call("incident", {"id": id})["timeline"]
    about = [(each["what"], each["text"]) for each in told if handoff in each["text"]]
    to = f"handoff {handoff} to ChiefArchitectAgent"
    assert about == [
        ("created", to),
        ("delivered", to),
        ("accepted", f"{to} by Ada"),
        ("failed", f"{to} by Ada: no access"),
    ]
    assert [each["at"] for each in told] == sorted(each["at"] for each in told)
    order = [each["what"] for each in told]
    assert order.index("acting") < order.index("created")
    assert order[order.index("failed") + 1 :][:2] == ["failed", "escalated"]  # what the incident made of it


def test_the_constitution_shows_what_is_used_of_its_limits(surface: Surface) -> None:
    told = surface.call("constitution", {})
    assert [each["number"] for each in told["articles"]] == ["I", "II", "III", "IV", "V"]
    assert all(each["policies"] for each in told["articles"])
    used = {each["name"]: each["used"] for each in told["limits"]}
    assert used["actions_per_minute"] == 2
    assert used["concurrent_actions"] == 0
    assert used["concurrent_per_target"] == 0
    assert used["attempts_per_target_per_day"] == 1
    assert used["fleet_stop_percent"] == 33
    assert told["violations"] == 0


def test_a_list_of_triggers_shows_the_series_that_fires_or_is_nearest_to_it(surface: Surface) -> None:
    told = {each["name"]: each["last"] for each in surface.call("sparks", {})["triggers"]}
    fires, quiet = told["slow_tasks"], told["high_error_rate"]
    assert (fires["state"], fires["group"]) == ("firing", {"agent": "Coder"})
    assert "90s" in fires["why"]
    assert quiet["state"] == "inactive"
    assert quiet["why"]
    assert told["cost_efficiency_degradation"] is None


def test_the_audit_log_is_verified(surface: Surface) -> None:
    report = surface.call("audit", {})
    assert report["ok"]
    assert report["entries"] > 0


def test_a_service_keeps_its_own_time(settings: Settings, clock: FakeClock) -> None:
    with SelfHealingOrchestrator.open(settings, clock=clock) as orchestrator:
        served = Surface(orchestrator)
        with pytest.raises(StateBusy, match="leave --now out"):
            served.call("check", {"now": "2026-01-05T10:00:05Z"})
        assert served.call("check", {})["triggers_evaluated"] == 7
        assert served.call("status", {})["service_running"] is True
        assert list(served.call("health", {})) == HEALTH


def test_a_disabled_trigger_stays_disabled_and_changes_the_spec_version(settings: Settings, clock: FakeClock) -> None:
    with open_surface(settings, write=True, clock=clock) as surface:
        before = surface.call("status", {})["spec_version"]
        changed = surface.call("disable", {"name": "slow_tasks", "by": "Ada"})
    assert changed["enabled"] is False
    assert changed["spec_version"] != before
    with open_surface(settings, write=False, clock=clock) as surface:
        told = surface.call("status", {})
        assert (told["triggers_enabled"], told["spec_version"]) == (6, changed["spec_version"])
    with open_surface(settings, write=True, clock=clock) as surface:
        assert surface.call("enable", {"name": "slow_tasks", "by": "Ada"})["spec_version"] != changed["spec_version"]


def test_a_trigger_of_the_pack_is_there_from_when_it_is_enabled_by_name(settings: Settings, clock: FakeClock) -> None:
    with open_surface(settings, write=True, clock=clock) as surface:
        assert surface.call("enable", {"name": "agent_silent", "by": "Ada"})["enabled"]
    with open_surface(settings, write=True, clock=clock) as surface:
        assert "agent_silent" in {each["name"] for each in surface.call("triggers", {})["triggers"]}
        assert not surface.call("disable", {"name": "agent_silent", "by": "Ada"})["enabled"]
        with pytest.raises(SelfHealingError, match="agent_silnt"):
            surface.call("enable", {"name": "agent_silnt", "by": "Ada"})


def test_a_state_that_is_not_there_yet_is_empty_and_looking_makes_none(settings: Settings, clock: FakeClock) -> None:
    with open_surface(settings, write=False, clock=clock) as surface:
        assert surface.call("incidents", {}) == {"incidents": []}
        assert len(surface.call("triggers", {})["triggers"]) == 7
        assert surface.call("audit", {})["ok"]
    assert not settings.storage.state_dir.exists()


def test_a_state_is_written_by_one_and_read_by_many(settings: Settings, clock: FakeClock) -> None:
    with open_surface(settings, write=True, clock=clock) as owner:
        owner.call("check", {})
        with open_surface(settings, write=False, clock=clock) as other:
            assert other.call("status", {})["evaluated_at"] == "2026-01-05T10:00:00Z"
        with pytest.raises(StateBusy), open_surface(settings, write=True, clock=clock):
            pass


# -- status, which is read without opening the state


def test_the_status_is_what_the_last_cycle_committed(surface: Surface, settings: Settings) -> None:
    told = status.status(settings, status.loaded_spec(settings), at=NOW)
    assert told["incidents"] == {"open": 0, "acting": 2, "verifying": 0, "mitigated": 0, "escalated": 0}
    assert told["executions"] == {"dispatched": 2}
    assert told["directives_in_force"] == 1
    assert told["constitutional_violations"] == 0
    assert told["evaluated_at"] == "2026-01-05T10:00:00Z"
    assert told["mode"] == "act"
    assert told["service_running"] is False
    assert told["stopped"] is None
    events = told["telemetry"]
    assert events["received"] == 15 == events["accepted"] + sum(events["rejected"].values())
    fates = sum(events["quarantined"].values()) + sum(events["dropped"].values()) + events["in_flight"]
    assert events["accepted"] == events["aggregated"] + fates
    assert (
        status.status(settings, status.loaded_spec(settings), at=NOW + timedelta(hours=2))["directives_in_force"] == 0
    )


def test_the_status_of_no_state_is_all_zero_and_healthy(settings: Settings) -> None:
    told = status.status(settings, status.loaded_spec(settings), at=NOW)
    assert told["health"] == {
        "status": "healthy",
        "telemetry_healthy": True,
        "triggers_enabled": 7,
        "actions_available": 8,
        "issues": [],
    }
    assert told["evaluated_at"] is None
    assert told["telemetry"]["received"] == 0


def test_a_missing_telemetry_directory_degrades_the_health_without_a_cycle(settings: Settings) -> None:
    settings.telemetry.dir.rmdir()
    told = status.last_health(settings, status.loaded_spec(settings), at=NOW)
    assert (told["status"], told["telemetry_healthy"]) == ("degraded", False)
    assert str(settings.telemetry.dir) in told["issues"][0]


def test_a_state_of_a_newer_release_degrades_the_health_without_a_cycle(settings: Settings, clock: FakeClock) -> None:
    with open_surface(settings, write=True, clock=clock) as surface:
        surface.call("check", {})
    with closing(sqlite3.connect(settings.storage.state_dir / DATABASE)) as other, other:
        other.execute("UPDATE alembic_version SET version_num = '9999'")
    (issue,) = status.last_health(settings, status.loaded_spec(settings), at=NOW)["issues"]
    assert issue.startswith("no service starts here: ")
    assert issue.endswith("schema version 9999, and 0007 is the newest that is known; use the release that wrote it")


def test_the_stop_shows_at_once_and_is_gone_with_it(settings: Settings, clock: FakeClock) -> None:
    spec = status.loaded_spec(settings)
    stop(settings.storage.state_dir, "look into it", "Ada", NOW)
    with open_surface(settings, write=True, clock=clock) as surface:
        surface.call("check", {})
    told = status.status(settings, spec, at=NOW)
    assert told["stopped"]["by"] == "Ada"
    assert told["health"]["status"] == "degraded"
    assert len(told["health"]["issues"]) == 1
    resume(settings.storage.state_dir, "looked", "Ada", NOW)
    assert status.last_health(settings, spec, at=NOW)["status"] == "healthy"


def test_a_database_that_is_being_made_is_an_empty_state(settings: Settings) -> None:
    settings.storage.state_dir.mkdir()
    (settings.storage.state_dir / "state.db").touch()
    assert status.status(settings, status.loaded_spec(settings), at=NOW)["executions"] == {}


@pytest.mark.spoils_state
def test_a_database_that_is_none_is_said_to_be(settings: Settings) -> None:
    settings.storage.state_dir.mkdir()
    (settings.storage.state_dir / "state.db").write_bytes(b"no database at all" * 1000)
    with pytest.raises((StateError, StorageError)):
        status.accounting(settings)
