from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from self_healing.clock import FakeClock
from self_healing.logs import DailyLines, Logs, OwnTelemetry

AT = datetime(2026, 1, 5, 23, 59, 59, 500000, tzinfo=UTC)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(AT)


def lines(file: Path) -> list[Any]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def test_each_log_is_a_file_of_json_lines_with_level_event_and_time(tmp_path: Path, clock: FakeClock) -> None:
    logs = Logs(tmp_path / "self_healing", clock)
    logs.triggers.info("cleared", trigger="slow_tasks", group={"agent": "Coder"})
    logs.actions.error("failed", execution="exe-1")
    logs.orchestrator.info("started")
    assert {file.name for file in (tmp_path / "self_healing").iterdir()} == {
        "triggers-20260105.log",
        "actions-20260105.log",
        "orchestrator-20260105.log",
    }
    [said] = lines(tmp_path / "self_healing" / "triggers-20260105.log")
    assert list(said.items()) == [
        ("level", "info"),
        ("event", "cleared"),
        ("at", "2026-01-05T23:59:59.500000Z"),
        ("trigger", "slow_tasks"),
        ("group", {"agent": "Coder"}),
    ]


def test_activations_are_warnings(tmp_path: Path, clock: FakeClock) -> None:
    logs = Logs(tmp_path, clock)
    logs.activated("triggers", "fired", trigger="slow_tasks")
    logs.activated("actions", "dispatched", action="strict")
    assert [lines(tmp_path / f"{name}-20260105.log")[0]["level"] for name in ("triggers", "actions")] == ["warning"] * 2


def test_a_new_day_of_the_clock_is_a_new_file(tmp_path: Path, clock: FakeClock) -> None:
    logs = Logs(tmp_path, clock)
    logs.triggers.info("before")
    clock.advance(1)
    logs.triggers.info("after")
    assert [each["event"] for each in lines(tmp_path / "triggers-20260106.log")] == ["after"]


def test_log_injection_and_secrets_do_not_get_through(tmp_path: Path, clock: FakeClock) -> None:
    Logs(tmp_path, clock).actions.info("failed\n{}", error='x\r\n{"level":"info"}\x1b[0m\u202e password=hunter2')
    text = (tmp_path / "actions-20260105.log").read_text("utf-8")
    assert text.count("\n") == 1
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "hunter2" not in text
    assert "\x1b" not in json.loads(text)["error"]


def test_a_field_cannot_pass_for_the_level_or_the_time(tmp_path: Path, clock: FakeClock) -> None:
    Logs(tmp_path, clock).actions.info("failed", level="critical", at="never")
    [said] = lines(tmp_path / "actions-20260105.log")
    assert (said["level"], said["at"]) == ("info", "2026-01-05T23:59:59.500000Z")


def test_an_exception_is_logged_with_its_traceback(tmp_path: Path, clock: FakeClock) -> None:
    logs = Logs(tmp_path, clock)
    try:
        raise ZeroDivisionError("a bug")
    except ZeroDivisionError:
        logs.orchestrator.exception("stopping")
    [said] = lines(tmp_path / "orchestrator-20260105.log")
    assert said["level"] == "error"
    assert said["exception"].endswith("ZeroDivisionError: a bug")


def test_logs_that_cannot_be_written_are_counted_and_told_and_stop_nothing(tmp_path: Path, clock: FakeClock) -> None:
    (tmp_path / "file").touch()
    logs = Logs(tmp_path / "file", clock)
    logs.triggers.info("one")
    logs.triggers.info("two")
    logs.actions.info("three")
    assert logs.lost == 3
    assert [problem.split(" cannot be written")[1] for problem in logs.problems] == [
        " (File exists); 2 lines are lost",
        " (File exists); 1 lines are lost",
    ]


def test_a_problem_that_passed_is_no_problem_any_more(tmp_path: Path, clock: FakeClock) -> None:
    blocker = tmp_path / "logs"
    blocker.touch()
    logs = Logs(blocker, clock)
    logs.triggers.info("lost")
    blocker.unlink()
    logs.triggers.info("written")
    assert (logs.problems, logs.lost) == ([], 1)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this machine has no /dev/full")
def test_a_full_disk_is_told(tmp_path: Path) -> None:
    (tmp_path / "x-20260105.log").symlink_to("/dev/full")
    daily = DailyLines(tmp_path, "x-", ".log", make_directory=False)
    assert daily.append(b"{}", AT) is False
    assert "No space left on device" in (daily.problem or "")


def test_a_file_that_is_held_open_is_let_go_of_for_another_day_and_at_the_end(tmp_path: Path) -> None:
    daily = DailyLines(tmp_path, "x-", ".log", make_directory=True)
    before = len(list(Path("/proc/self/fd").iterdir()))
    with daily.held():
        assert all(daily.append(b"{}", at) for at in (AT, AT, AT + timedelta(days=1)))
    assert [path.read_text() for path in sorted(tmp_path.iterdir())] == ["{}\n{}\n", "{}\n"]
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_torn_last_line_stays_alone(tmp_path: Path) -> None:
    file = tmp_path / "x-20260105.log"
    file.write_bytes(b'{"a":1}\n{"b":')
    assert DailyLines(tmp_path, "x-", ".log", make_directory=False).append(b'{"c":3}', AT)
    assert file.read_bytes() == b'{"a":1}\n{"b":\n{"c":3}\n'


def test_a_log_that_is_rotated_away_is_begun_anew(tmp_path: Path) -> None:
    daily = DailyLines(tmp_path, "x-", ".log", make_directory=False)
    daily.append(b"1", AT)
    (tmp_path / "x-20260105.log").rename(tmp_path / "old")
    daily.append(b"2", AT)
    assert (tmp_path / "x-20260105.log").read_bytes() == b"2\n"


def test_our_own_events_are_native_telemetry_lines(tmp_path: Path) -> None:
    own = OwnTelemetry(tmp_path)
    elsewhere = AT.astimezone(timezone(timedelta(hours=9)))
    assert own.emit("self_healing_trigger", elsewhere, trigger="slow_tasks", agent="Coder", value=90.0, ts="never")
    assert lines(tmp_path / "events-self-healing-20260105.jsonl") == [
        {
            "ts": "2026-01-05T23:59:59.500Z",
            "type": "self_healing_trigger",
            "trigger": "slow_tasks",
            "agent": "Coder",
            "value": 90.0,
        }
    ]
    assert (own.problem, own.lost) == (None, 0)


def test_our_own_events_and_logs_say_which_fleet_it_is(tmp_path: Path, clock: FakeClock) -> None:
    assert OwnTelemetry(tmp_path, "staging").emit("self_healing_summary", AT, environment="theirs")
    Logs(tmp_path, clock, "staging").triggers.info("cleared", environment="theirs")
    for name in ("events-self-healing-20260105.jsonl", "triggers-20260105.log"):
        (line,) = lines(tmp_path / name)
        assert line["environment"] == "staging"


def test_a_missing_telemetry_directory_is_told_and_not_made(tmp_path: Path) -> None:
    own = OwnTelemetry(tmp_path / "missing")
    assert own.emit("self_healing_summary", AT) is False
    assert not (tmp_path / "missing").exists()
    assert own.lost == 1
    assert "No such file or directory" in (own.problem or "")


def test_logs_cost_nothing_before_the_first_line() -> None:
    code = "import sys; import self_healing.logs; print('structlog' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout == "False\n"
