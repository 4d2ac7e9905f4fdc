"""The loop: nothing around the gate, nothing done that is not committed, and a state that fails is left alone."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from self_healing.clock import FakeClock, to_us
from self_healing.config import Settings
from self_healing.constitution.stop import STOP, resume, stop
from self_healing.errors import StateError, StorageError
from self_healing.measures import MICRO, Measure
from self_healing.model import (
    Decision,
    Directive,
    Execution,
    ExecutionStatus,
    Handoff,
    HandoffStatus,
    Incident,
    IncidentState,
    Outcome,
)
from self_healing.orchestrator import SelfHealingOrchestrator
from self_healing.storage import schema
from self_healing.storage.readonly import DATABASE

AT = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)


class Fleet:
    """Telemetry of a fleet in a directory, and the loop on it; each check is a process of its own."""

    def __init__(self, directory: Path, **sections: Any) -> None:
        self.directory = directory
        self.telemetry = directory / "telemetry"
        self.telemetry.mkdir(exist_ok=True)
        self.settings = Settings.model_validate(
            {
                "telemetry": {"dir": self.telemetry},
                "storage": {"state_dir": directory / "state", "logs_dir": directory / "logs"},
                **sections,
            }
        )

    def write(self, **event: Any) -> None:
        with (self.telemetry / "events.jsonl").open("a") as file:
            file.write(json.dumps(event) + "\n")

    def task(self, id: str, ended: float, duration_s: float = 5.0, **fields: Any) -> None:
        at = AT + timedelta(seconds=ended)
        event = {"agent": "Coder", "attempt": 1, "status": "success", "duration_s": duration_s}
        started = at.timestamp() - duration_s
        self.write(ts=at.isoformat(), type="task_finished", id=id, started_at=started, **{**event, **fields})

    def open(self, at: float, **options: Any) -> SelfHealingOrchestrator:
        clock = FakeClock(AT + timedelta(seconds=at))
        return SelfHealingOrchestrator.open(self.settings, clock=clock, **options)

    def check(self, at: float) -> dict[str, Any]:
        with self.open(at) as loop:
            return loop.check()


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path)


def test_a_check_says_what_the_contract_says(fleet: Fleet) -> None:
    fleet.task("slow", 0, 90.0)
    told = fleet.check(10)
    assert list(told) == [
        "triggers_evaluated",
        "triggers_fired",
        "actions_executed",
        "constitutional_violations",
        "incidents",
        "actions",
        "handoffs",
        "telemetry",
    ]
    assert (told["triggers_evaluated"], told["triggers_fired"], told["actions_executed"]) == (7, 1, 1)
    [incident], [action] = told["incidents"], told["actions"]
    assert list(incident) == ["id", "trigger", "group", "severity", "value", "threshold", "state"]
    assert (incident["trigger"], incident["group"], incident["state"]) == ("slow_tasks", {"agent": "Coder"}, "acting")
    assert action == {
        "action": "analyze_slow_tasks",
        "incident": incident["id"],
        "status": "dispatched",
        "target_agent": "ChiefArchitectAgent",
    }
    assert [Path(path).exists() for path in told["handoffs"]] == [True]
    assert fleet.check(11)["actions_executed"] == 0


def test_an_earlier_check_is_refused_and_changes_nothing(fleet: Fleet) -> None:
    fleet.check(10)
    with fleet.open(20) as loop:
        with pytest.raises(StateError, match="lies before"):
            loop.check(AT)
        assert loop.check()["triggers_evaluated"] == 7


def test_one_check_after_a_completion_and_three_good_tasks_heals(fleet: Fleet) -> None:
    fleet.task("slow", 0, 90.0)
    [path] = fleet.check(10)["handoffs"]
    handoff = json.loads(Path(path).read_text())["id"]
    fleet.task("repair", 60, agent="ChiefArchitectAgent", handoff_id=handoff)
    for number in range(3):
        fleet.task(f"good{number}", 70 + 5 * number)
    assert fleet.check(120)["incidents"] == []
    with fleet.open(121, read_only=True) as loop:
        [incident] = loop.store.select(Incident)
        assert incident.close_reason == "healed"


def test_a_coarse_grid_makes_no_running_task_older_than_it_is(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, triggers={"grid": 60})
    fleet.write(ts=AT.isoformat(), type="task_started", id="t", agent="Coder", started_at=AT.timestamp())
    assert fleet.check(59.5)["incidents"] == []
    assert [each["trigger"] for each in fleet.check(60.5)["incidents"]] == ["slow_tasks"]


def test_while_a_person_has_said_stop_nothing_is_proposed_and_nothing_violated(fleet: Fleet) -> None:
    stop(fleet.settings.storage.state_dir, "looking", "Ada", AT)
    fleet.task("slow", 0, 90.0)
    for at in (10, 11, 12):
        told = fleet.check(at)
        assert (told["actions"], told["constitutional_violations"]) == ([], 0)
        assert [each["state"] for each in told["incidents"]] == ["open"]
    resume(fleet.settings.storage.state_dir, "looked", "Ada", AT)
    assert fleet.check(13)["actions_executed"] == 1


def test_a_stop_and_its_end_are_each_on_the_audit_log_once(fleet: Fleet) -> None:
    state_dir = fleet.settings.storage.state_dir
    stop(state_dir, "looking", "Ada", AT)
    for at in (10, 11):
        fleet.check(at)
    resume(state_dir, "looked", "Ada", AT)
    for at in (12, 13):
        fleet.check(at)
    with fleet.open(14) as loop:
        said = [entry for entry in loop.audit.tail(100) if entry.kind in ("stopped", "resumed")]
    assert sorted((entry.kind, *entry.payload.values()) for entry in said) == [
        ("resumed", "Ada", "looked"),
        ("stopped", "Ada", "looking"),
    ]


def test_every_word_about_the_stop_is_on_the_audit_log_also_where_nobody_looked_in_between(fleet: Fleet) -> None:
    state_dir = fleet.settings.storage.state_dir
    fleet.check(10)
    stop(state_dir, "looking", "Ada", AT)
    resume(state_dir, "looked", "Bo", AT)
    stop(state_dir, "again", "Cy", AT)
    fleet.check(11)
    resume(state_dir, "good", "Di", AT)
    stop(state_dir, "no", "Ed", AT)
    (state_dir / STOP).unlink()  # by hand
    fleet.check(12)
    with fleet.open(13) as loop:
        said = [entry for entry in loop.audit.tail(100) if entry.kind in ("stopped", "resumed")]
    assert [(entry.kind, entry.payload.get("by")) for entry in said] == [
        ("stopped", "Ada"),
        ("resumed", "Bo"),
        ("stopped", "Cy"),
        ("resumed", "Di"),
        ("stopped", "Ed"),
        ("resumed", None),
    ]


def test_in_observe_mode_nothing_is_done_and_nothing_escalates(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, actions={"mode": "observe"})
    fleet.task("slow", 0, 90.0)
    for at in (10, 100, 200):
        told = fleet.check(at)
        assert [each["status"] for each in told["actions"]] == ["would"]
        assert (told["actions_executed"], told["handoffs"]) == (0, [])
    assert not (tmp_path / "logs" / "handoffs").exists()
    acting = Fleet(tmp_path)
    assert acting.check(210)["actions_executed"] == 1


def test_every_effect_has_an_allow_on_record_before_it(fleet: Fleet) -> None:
    known: list[tuple[str, str, int]] = []

    def look(point: str) -> None:
        if point == "intent.committed":
            with sqlite3.connect(fleet.settings.storage.state_dir / DATABASE) as other:
                outcomes = other.execute("SELECT outcome FROM decisions").fetchall()
                audit = other.execute("SELECT count(*) FROM audit WHERE kind = 'decision'").fetchone()
            known.append((point, outcomes[-1][0], audit[0]))

    fleet.task("retried", 0, attempt=3)
    with fleet.open(10, crash=look) as loop:
        loop.check()
        assert loop.audit.verify().ok
    assert known == [("intent.committed", "allow", 1)]


COMMANDS: list[Callable[[SelfHealingOrchestrator, str], object]] = [
    lambda loop, id: loop.acknowledge(id, "Ada", "seen"),
    lambda loop, id: loop.undo_directives([], "Ada", "no"),
    lambda loop, id: loop.override_trigger("slow_tasks", {"enabled": True}, "Ada"),
    lambda loop, id: loop.recover(),
    lambda loop, id: loop.rest(),
    lambda loop, id: loop.checked(loop.last_check),
    lambda loop, id: loop.health(),
    lambda loop, id: loop.verdicts(),
    lambda loop, id: loop.check(),
    lambda loop, id: loop.dismiss(id, "Ada", "no"),
]


def test_no_public_method_brings_about_an_effect_that_the_gate_did_not_allow(fleet: Fleet) -> None:
    stop(fleet.settings.storage.state_dir, "looking", "Ada", AT)
    fleet.task("slow", 0, 90.0)
    with fleet.open(10) as loop:
        [incident] = loop.check()["incidents"]
        for command in COMMANDS:
            command(loop, incident["id"])
        store = loop.store
        allowed = {each.id for each in store.select(Decision, outcome=Outcome.ALLOW.value)}
        assert [each for each in store.select(Execution) if each.key and each.decision not in allowed] == []
        assert (store.count(Directive), store.count(Handoff)) == (0, 0)


def test_a_loop_whose_write_failed_does_nothing_more_and_a_new_one_goes_on(fleet: Fleet) -> None:
    fleet.task("slow", 0, 90.0)
    loop = fleet.open(10)
    other = sqlite3.connect(fleet.settings.storage.state_dir / DATABASE, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageError, match="locked"):
        loop.check()
    other.execute("ROLLBACK")
    other.close()
    assert loop.health()["status"] == "unhealthy"
    for again in (loop.check, loop.recover, lambda: loop.cycle(AT)):
        with pytest.raises(StorageError, match="opened anew"):
            again()
    loop.close()
    assert fleet.check(11)["actions_executed"] == 1


def test_a_quiet_turn_writes_nothing(fleet: Fleet) -> None:
    with fleet.open(0) as loop:
        loop.cycle(AT)
        before = loop.store.rows(sa.select(schema.facts))
        data = loop.store.rows(sa.text("PRAGMA data_version"))  # type: ignore[arg-type] # a statement like any
        for second in range(1, 30):
            assert loop.cycle(AT + timedelta(seconds=second)).t_us == to_us(AT) + second * 10**6
        assert loop.store.rows(sa.select(schema.facts)) == before
        assert loop.store.rows(sa.text("PRAGMA data_version")) == data  # type: ignore[arg-type]


def test_telemetry_that_cannot_be_read_stops_the_loops_time_and_is_said(fleet: Fleet) -> None:
    fleet.task("slow", 0, 90.0)
    fleet.check(10)
    aside = fleet.directory / "aside"
    fleet.telemetry.rename(aside)
    with fleet.open(400) as loop:
        loop.check()
        assert (loop.health()["status"], loop.health()["telemetry_healthy"]) == ("degraded", False)
        assert loop.evaluated_us == to_us(AT) + 10 * 10**6
        aside.rename(fleet.telemetry)
        loop.check()
        assert loop.health()["status"] == "healthy"


def test_deadlines_and_what_expires_go_by_the_clock_where_no_telemetry_can_be_read(fleet: Fleet) -> None:
    fleet.task("retried", 0, 1.0, attempt=3)
    fleet.check(10)
    fleet.telemetry.rename(fleet.directory / "aside")
    with fleet.open(20) as loop:
        loop.cycle(loop.clock.now())
        assert isinstance(loop.clock, FakeClock)
        loop.clock.set(AT + timedelta(seconds=3_700))
        [directive] = loop.store.select(Directive)
        [handoff] = loop.store.select(Handoff)
        assert (directive.undone_at, handoff.status) == (None, HandoffStatus.DELIVERED)
        known = len(loop.store.select(Decision))

        loop.cycle(loop.clock.now())

        [directive] = loop.store.select(Directive)
        [handoff] = loop.store.select(Handoff)
        assert (directive.undone_reason, handoff.status) == ("expired", HandoffStatus.EXPIRED)
        assert len(loop.store.select(Decision)) == known
        assert loop.evaluated_us == to_us(AT) + 10 * 10**6


def test_a_file_of_bad_lines_is_named(fleet: Fleet) -> None:
    fleet.task("fine", 0)
    with (fleet.telemetry / "bad.jsonl").open("w") as file:
        file.write("nonsense\n")
    with fleet.open(10) as loop:
        loop.check()
        [issue] = loop.health()["issues"]
    assert issue.startswith("bad.jsonl: 1 of 1 lines")


def test_an_incident_whose_trigger_is_switched_off_closes_and_nothing_breaks(fleet: Fleet) -> None:
    fleet.task("slow", 0, 90.0)
    [incident] = fleet.check(10)["incidents"]
    off = fleet.directory / "off.toml"
    off.write_text('[[trigger]]\nname = "slow_tasks"\nenabled = false\n')
    changed = Fleet(fleet.directory, triggers={"files": [str(off)]})
    assert changed.check(20)["incidents"] == []
    with changed.open(21, read_only=True) as loop:
        assert loop.store.get(Incident, incident["id"]).closed_by == "the spec"


@pytest.mark.parametrize("killed_at", ["cycle.committed", "effect.directives"])
def test_what_was_decided_too_long_ago_is_decided_anew_begun_or_not(fleet: Fleet, killed_at: str) -> None:
    class Killed(BaseException):
        pass

    def kill(point: str) -> None:
        if point == killed_at:
            raise Killed

    fleet.task("slow", 0, 90.0)
    with fleet.open(10, crash=kill) as loop, pytest.raises(Killed):
        loop.check()
    fleet.task("slow again", 395, 90.0)
    fleet.check(400)
    with fleet.open(401, read_only=True) as loop:
        statuses = [each.status for each in loop.store.select(Execution)]
        assert statuses == [ExecutionStatus.FAILED, ExecutionStatus.DISPATCHED]
        created = [each.status for each in loop.store.select(Handoff)]
        assert created == [HandoffStatus.FAILED, HandoffStatus.DELIVERED]


def test_a_second_analysis_of_an_incident_has_a_key_of_its_own(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, constitution={"limits": {"attempts_per_target_per_day": 1, "cool_down": 0}})
    for agent in ("A", "B", "C"):
        fleet.task(f"slow {agent}", 0, 90.0, agent=agent)
    for agent in ("A", "B", "C"):
        fleet.task(f"retried {agent}", 1, agent=agent, attempt=3)
    for at in range(10, 400, 60):
        fleet.check(at)
    with fleet.open(400, read_only=True) as loop:
        analyses = [e for e in loop.store.select(Execution) if e.step < 0 and e.key is not None]
        escalated = loop.store.select(Incident, state=IncidentState.ESCALATED.value)
    assert escalated
    assert len({each.key for each in analyses}) == len(analyses) >= 2


def test_a_stop_between_the_decision_and_the_effect_costs_no_step_of_the_plan(fleet: Fleet) -> None:
    state_dir = fleet.settings.storage.state_dir
    fleet.task("slow", 0, 90.0)
    with fleet.open(10, crash=lambda point: None if point != "intent.committed" else _stop_now(state_dir)) as loop:
        loop.check()
    resume(state_dir, "looked", "Ada", AT)
    told = fleet.check(30)
    assert [each["state"] for each in told["incidents"]] == ["acting"]
    assert [each["action"] for each in told["actions"]] == ["analyze_slow_tasks"]


def _stop_now(state_dir: Path) -> None:
    stop(state_dir, "looking", "Ada", AT)


def test_an_answer_to_a_handoff_whose_delivery_was_never_written_down_is_heard(fleet: Fleet) -> None:
    fleet.task("slow", 0, 90.0)
    with fleet.open(10) as loop:
        loop.check()
        [handoff] = loop.store.select(Handoff)
        loop.store.put(msgspec.structs.replace(handoff, status=HandoffStatus.CREATED, delivered_at=None))
    repair = {"id": "r", "agent": handoff.target_agent, "handoff_id": handoff.id}
    fleet.write(ts=(AT + timedelta(seconds=20)).isoformat(), type="task_started", **repair)
    fleet.write(ts=(AT + timedelta(seconds=40)).isoformat(), type="task_finished", status="success", **repair)
    fleet.check(60)
    with fleet.open(60) as loop:
        assert loop.store.get(Handoff, handoff.id).status is HandoffStatus.COMPLETED


def test_what_a_trigger_gathered_is_let_go_when_it_measures_something_else(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path)
    fleet.task("slow", 0, 90.0)
    [incident] = fleet.check(10)["incidents"]
    with fleet.open(20) as loop:
        loop.dismiss(incident["id"], "Ada", "known")
    fleet.task("later", 25, 6.0)
    fleet.check(30)
    own = tmp_path / "own.toml"
    own.write_text(
        '[[trigger]]\nname = "slow_tasks"\nsignal = "task.attempts"\ncondition = {kind = "threshold", value = 3}\n'
    )
    changed = Fleet(tmp_path, triggers={"files": [own]})
    assert changed.check(40)["incidents"] == []


def test_a_state_that_is_ahead_of_the_clock_says_so(fleet: Fleet) -> None:
    fleet.task("ok", 0)
    fleet.check(86400)
    with fleet.open(60) as loop:
        health = loop.health()
    assert health["status"] == "degraded"
    assert any("lies ahead" in issue or "has not reached" in issue for issue in health["issues"])


def test_a_turn_takes_in_several_slices_and_commits_once_and_the_next_one_goes_on(fleet: Fleet) -> None:
    padding = "x" * 500_000  # so that three lines fill more than a slice, and a turn reads less than 20
    ids = [f"t{number}" for number in range(24)]
    for number, id in enumerate(ids):
        fleet.task(id, number, 90.0 if id == "t23" else 5.0, padding=padding)
    points: list[str] = []
    with fleet.open(30, crash=points.append) as loop:
        first = loop.cycle(AT + timedelta(seconds=30))
        assert (first.caught_up, points.count("cycle.committed")) == (False, 1)
        begun = loop.telemetry.accounting.aggregated
        assert 8 <= begun < 20
    with fleet.open(30) as loop:
        assert loop.telemetry.accounting.aggregated == begun
        second = loop.cycle(AT + timedelta(seconds=30))
        assert (second.caught_up, loop.telemetry.accounting.aggregated) == (True, 24)
        assert [incident.trigger for incident in loop.register.open.values()] == ["slow_tasks"]


def test_a_turn_of_several_slices_keeps_every_quarantined_line(fleet: Fleet) -> None:
    for number in range(6):
        fleet.task(f"t{number}", number, padding="x" * 900_000)
        fleet.write(ts="never", number=number)
    with fleet.open(30) as loop:
        assert loop.cycle(AT + timedelta(seconds=30)).caught_up
        assert loop.store.rows(sa.select(sa.func.count()).select_from(schema.quarantine))[0][0] == 6


def test_what_comes_late_is_folded_while_there_is_more_to_read(fleet: Fleet) -> None:
    fleet.task("first", 0)
    with fleet.open(60) as loop:
        assert loop.cycle(AT + timedelta(seconds=60)).caught_up
        for number in range(24):
            fleet.task(f"t{number}", number, padding="x" * 500_000)
        turn = loop.cycle(AT + timedelta(seconds=60.5))
        count = loop.telemetry.accounting
        assert (turn.caught_up, turn.t_us) == (False, to_us(AT + timedelta(seconds=60)))
        assert (count.in_flight, count.late) == (0, count.aggregated - 1)
        assert count.aggregated > 8


@pytest.mark.parametrize("late", [False, True])
def test_the_history_of_several_files_is_folded_in_the_order_of_time_however_it_is_sliced(
    fleet: Fleet, late: bool
) -> None:
    """The calls of a task are in another file than its end; were they folded after it, they would be late."""
    if late:
        fleet.write(ts=AT.isoformat(), type="heartbeat", agent="Coder")
        fleet.check(10)
    for number in range(40):
        seconds = number / 10
        times = {"agent": "Coder", "id": f"t{number}", "padding": "x" * 50_000}
        at = [(AT + timedelta(seconds=seconds + after)).isoformat() for after in (0.0, 0.01, 0.02)]
        fleet.write(ts=at[0], type="task_started", **times)
        with (fleet.telemetry / "calls.jsonl").open("a") as file:
            usage = {"total_tokens": 7}
            file.write(json.dumps({"ts": at[1], "type": "llm_call", "usage": usage, **times}) + "\n")
        fleet.write(ts=at[2], type="task_finished", status="success", **times)
    with fleet.open(11) as loop:
        assert loop.cycle(AT + timedelta(seconds=11)).caught_up
        trigger = loop.spec.trigger("token_usage_spike")
        totals = loop.telemetry.window(Measure.of(trigger), trigger.window * MICRO, to_us(AT + timedelta(seconds=11)))
        assert (totals.count.tolist(), totals.amount.tolist()) == ([40], [280 * MICRO])
        assert loop.telemetry.tasks.running == 0
