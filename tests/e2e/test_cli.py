"""The command line as people use it: real processes in an empty directory."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from fcntl import ioctl
from pathlib import Path
from typing import Any

import pytest

import self_healing
from self_healing.cli import COMMANDS
from self_healing.config import VARIABLE_PREFIX
from tests.ports import WITHOUT_PORTS

NOW = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
NOW_TEXT = "2026-01-05T10:00:00Z"
EVENTS = {"received", "accepted", "rejected", "aggregated", "quarantined", "dropped", "in_flight"}

COMMAND = [sys.executable, "-c", "from self_healing.cli import main; main()"]
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(VARIABLE_PREFIX)} | {
    "PYTHONPATH": str(Path(self_healing.__file__).parents[1]),
    "PYTHONWARNINGS": "error",
    **WITHOUT_PORTS,
}

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def cli(tmp_path: Path) -> Run:
    """Runs one command in an empty directory."""

    def run(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *words],
            cwd=tmp_path,
            env=ENVIRONMENT | variables,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    return run


def said(ran: subprocess.CompletedProcess[str], code: int = 0) -> Any:
    """The JSON that a command printed, which left with `code` and had nothing else to say."""
    assert (ran.returncode, ran.stderr) == (code, "")
    return json.loads(ran.stdout)


def refused(ran: subprocess.CompletedProcess[str]) -> str:
    """The message of a command that could not do its work."""
    assert ran.returncode == 1
    assert ran.stdout == ""
    assert "Traceback" not in ran.stderr
    assert ran.stderr.startswith("self-healing: ")
    return ran.stderr


def tell(directory: Path, at: datetime, agent: str, duration_s: float = 90.0, **fields: Any) -> None:
    """Five tasks of `agent` that ended just before `at`."""
    telemetry = directory / "logs/telemetry"
    telemetry.mkdir(parents=True, exist_ok=True)
    with (telemetry / f"events-{at:%Y%m%d}.jsonl").open("a") as file:
        for number in range(5):
            ts = at - timedelta(seconds=10 - number)
            event = {
                "ts": ts.isoformat(),
                "type": "task_finished",
                "id": f"{agent}-{ts:%H%M%S}",
                "agent": agent,
                "status": "success",
                "duration_s": duration_s,
                **fields,
            }
            file.write(json.dumps(event) + "\n")


def until(done: Callable[[], bool]) -> None:
    """Wait, ten seconds at most."""
    deadline = time.monotonic() + 10
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.1)


# -- help, and what is refused


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_the_overview_names_every_command(words: list[str], cli: Run) -> None:
    ran = cli(*words)
    assert ran.returncode == 0
    assert {line.split()[0] for line in ran.stdout.splitlines() if line.startswith("  ")} == set(COMMANDS)


def test_every_mistake_in_the_configuration_is_told_at_once(cli: Run, tmp_path: Path) -> None:
    (tmp_path / "self-healing.toml").write_text('[actions]\nmode = "sleep"\n[triggers]\nevery = 5\n')
    message = refused(cli("config", "validate"))
    assert "actions.mode" in message
    assert "triggers.every" in message


# -- set up


@pytest.mark.parametrize("setting", ["otlp_http_port", "otlp_grpc_port", "port"])
def test_a_port_that_is_taken_is_told_with_the_setting_that_moves_it_and_nothing_else(cli: Run, setting: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        told = refused(cli("run", **{f"{VARIABLE_PREFIX}SERVER_{setting.upper()}": str(number)}))
    assert told == (
        f"self-healing: server.{setting}: {number}: cannot be opened on 127.0.0.1: Address already in use;"
        " set another, or false for none\n"
    )


def test_init_writes_a_configuration_in_observe_mode_once(cli: Run, tmp_path: Path) -> None:
    assert cli("init", "--telemetry-dir", 'my "agents"').returncode == 0
    assert (tmp_path / 'my "agents"').is_dir()
    told = said(cli("config", "validate", "--format", "json"))
    assert told["settings"]["actions"]["mode"] == "observe"
    assert told["settings"]["telemetry"]["dir"] == 'my "agents"'
    assert told["file"] == "self-healing.toml"
    assert len(told["triggers"]) == 7
    (tmp_path / "self-healing.toml").write_text("# mine\n")
    assert "--force" in refused(cli("init"))
    assert (tmp_path / "self-healing.toml").read_text() == "# mine\n"
    assert cli("init", "--force").returncode == 0
    assert "observe" in (tmp_path / "self-healing.toml").read_text()


def test_init_says_when_the_telemetry_directory_cannot_be_made(cli: Run, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file\n")
    told = refused(cli("init", "--telemetry-dir", "taken/events"))
    assert "wrote self-healing.toml, but the telemetry directory taken/events cannot be made: Not a directory" in told


def test_config_schema_is_json_schema(cli: Run) -> None:
    assert set(said(cli("config", "schema"))["properties"]) >= {"telemetry", "triggers", "actions"}


# -- one cycle, and looking at it


def test_check_prints_the_contract_and_the_rest_agrees_with_it(cli: Run, tmp_path: Path) -> None:
    tell(tmp_path, NOW, "Coder")
    tell(tmp_path, NOW, "Tester", 3.0)
    report = said(cli("check", "--now", NOW_TEXT, "--format", "json", "--exit-code"), 3)
    assert list(report) == [
        "triggers_evaluated",
        "triggers_fired",
        "actions_executed",
        "constitutional_violations",
        "incidents",
        "actions",
        "handoffs",
        "telemetry",
    ]
    assert (report["triggers_evaluated"], report["triggers_fired"], report["actions_executed"]) == (7, 1, 1)
    (incident,) = report["incidents"]
    assert set(incident) == {"id", "trigger", "group", "severity", "value", "threshold", "state"}
    assert (incident["trigger"], incident["group"]) == ("slow_tasks", {"agent": "Coder"})
    (action,) = report["actions"]
    assert set(action) == {"action", "incident", "status", "target_agent"}
    assert (action["action"], action["status"]) == ("analyze_slow_tasks", "dispatched")
    assert set(report["telemetry"]) == EVENTS
    (path,) = report["handoffs"]
    assert json.loads((tmp_path / path).read_text())["target_agent"] == "ChiefArchitectAgent"

    health = said(cli("status", "--health", "--format", "json"))
    assert set(health) == {"status", "telemetry_healthy", "triggers_enabled", "actions_available", "issues"}
    assert (health["status"], health["triggers_enabled"], health["actions_available"]) == ("healthy", 7, 8)
    status = said(cli("status", "--format", "json"))
    assert set(status["telemetry"]) >= EVENTS
    assert status["incidents"][incident["state"]] == 1
    story = said(cli("incidents", "show", incident["id"], "--format", "json"))
    assert story["executions"][0]["status"] == "dispatched"
    assert said(cli("audit", "verify", "--format", "json"))["ok"]
    assert "lies before" in refused(cli("check", "--now", "2026-01-05T09:00:00Z"))


def test_what_people_say_is_done_by_their_login_name(cli: Run, tmp_path: Path) -> None:
    tell(tmp_path, NOW, "Coder")
    report = said(cli("check", "--now", NOW_TEXT, "--format", "json"))
    id = report["incidents"][0]["id"]
    acknowledged = said(cli("incidents", "ack", id, "--format", "json", LOGNAME="ada"))
    assert acknowledged["incident"]["acknowledged_by"] == "ada"
    handoff = said(cli("handoffs", "--format", "json"))["handoffs"][0]["id"]
    done = said(cli("handoffs", "complete", handoff, "--result", "mended", "--by", "bob", "--format", "json"))
    assert (done["handoff"]["status"], done["handoff"]["result"]) == ("completed", "mended")
    assert "it ended" in refused(cli("handoffs", "accept", handoff))
    closed = said(cli("incidents", "close", id, "--reason", "a drill", "--by", "bob", "--format", "json"))
    assert (closed["incident"]["close_reason"], closed["incident"]["closed_by"]) == ("dismissed", "bob")
    assert said(cli("incidents", "--format", "json"))["incidents"] == []
    assert said(cli("history", "--format", "json"))["history"][0]["outcome"] == "dismissed"


def test_a_changed_audit_log_is_exit_code_1(cli: Run, tmp_path: Path) -> None:
    tell(tmp_path, NOW, "Coder")
    assert cli("check", "--now", NOW_TEXT).returncode == 0
    with sqlite3.connect(tmp_path / ".self-healing/state.db") as connection:
        connection.execute("UPDATE audit SET payload = '{}' WHERE seq = 1")
    connection.close()
    report = said(cli("audit", "verify", "--format", "json"), 1)
    assert (report["ok"], report["first_bad_seq"]) == (False, 1)


def test_a_missing_telemetry_directory_is_degraded(cli: Run, tmp_path: Path) -> None:
    for _ in range(2):
        health = said(cli("status", "--health", "--format", "json"), 1)
        assert (health["status"], health["telemetry_healthy"]) == ("degraded", False)
        assert "logs/telemetry" in health["issues"][0]
        assert len(health["issues"]) == 1
        checked = cli("check", "--format", "json")
        assert checked.returncode == 1
        assert "telemetry directory logs/telemetry" in checked.stderr
        assert "--telemetry-dir" in checked.stderr
        assert json.loads(checked.stdout)["triggers_evaluated"] == 7


def test_health_says_that_no_service_runs_and_when_telemetry_waits_for_one(cli: Run, tmp_path: Path) -> None:
    tell(tmp_path, NOW, "Coder")
    assert cli("check", "--now", NOW_TEXT).returncode == 0
    printed = cli("status", "--health")
    assert (printed.returncode, printed.stdout) == (
        0,
        f"healthy\nservice: not running; last evaluated {NOW:%F %T} UTC\n",
    )
    tell(tmp_path, NOW, "Tester")
    long_ago = time.time() - 3600
    for file in (tmp_path / ".self-healing").glob("state.db*"):
        os.utime(file, (long_ago, long_ago))
    health = said(cli("status", "--health", "--format", "json"), 1)
    assert (health["status"], health["telemetry_healthy"]) == ("degraded", False)
    assert "no service runs" in health["issues"][0]
    assert "events-20260105.jsonl" in health["issues"][0]
    assert cli("check", "--now", NOW_TEXT).returncode == 0
    assert said(cli("status", "--health", "--format", "json"))["status"] == "healthy"


def test_a_check_far_in_the_future_is_refused_on_a_state_that_lives_by_the_clock(cli: Run, tmp_path: Path) -> None:
    (tmp_path / "logs/telemetry").mkdir(parents=True)
    future = (datetime.now(UTC) + timedelta(days=400)).isoformat()
    assert cli("check").returncode == 0
    message = refused(cli("check", "--now", future))
    assert "more than a day ahead of the clock" in message
    assert "--state-dir" in message
    assert said(cli("status", "--health", "--format", "json"))["status"] == "healthy"
    ahead = cli("check", "--now", future, "--state-dir", "another")
    assert ahead.returncode == 0
    assert ahead.stderr.startswith("warning: the state was evaluated up to ")
    health = said(cli("status", "--health", "--state-dir", "another", "--format", "json"), 1)
    assert "begin with another --state-dir" in health["issues"][0]


def test_a_line_in_quarantine_is_shown_with_its_place_and_what_is_wrong(cli: Run, tmp_path: Path) -> None:
    tell(tmp_path, NOW, "Coder", 3.0)
    file = tmp_path / "logs/telemetry/events-20260105.jsonl"
    offset = file.stat().st_size
    with file.open("a") as events:
        events.write('{"ts": "2026-01-05T09:59:59Z", "type": "task_finished", "agent": "Coder", "duration_s": -3}\n')
    checked = cli("check", "--now", NOW_TEXT)
    assert f"the newest is at byte {offset}, duration_s: -3: allowed is float >= 0" in checked.stderr
    shown = cli("status").stdout
    assert f"events-20260105.jsonl at byte {offset}: invalid_value: duration_s: -3: allowed is float >= 0" in shown
    (line,) = said(cli("status", "--format", "json"))["quarantine"]
    assert (line["file"], line["offset"], line["reason"]) == (file.name, offset, "invalid_value")
    logged = "".join(path.read_text() for path in (tmp_path / "logs/self_healing").glob("orchestrator-*.log"))
    assert "duration_s: -3" in logged


@pytest.mark.spoils_state
def test_a_state_that_cannot_be_read_is_unhealthy(cli: Run, tmp_path: Path) -> None:
    (tmp_path / ".self-healing").mkdir()
    (tmp_path / ".self-healing/state.db").write_bytes(b"not a database at all" * 1000)
    assert said(cli("status", "--health", "--format", "json"), 2)["status"] == "unhealthy"
    assert "state.db" in refused(cli("status"))


def test_the_stop_needs_no_state_and_holds_until_a_person_resumes(cli: Run, tmp_path: Path) -> None:
    tell(tmp_path, NOW, "Coder")
    assert cli("stop-healing", "--reason", "look first", "--by", "ada").returncode == 0
    checked = cli("check", "--now", NOW_TEXT, "--format", "json")
    assert (checked.returncode, checked.stderr.startswith("warning: healing is stopped by ada")) == (0, True)
    report = json.loads(checked.stdout)
    assert report["actions_executed"] == 0
    assert report["handoffs"] == []
    assert said(cli("status", "--format", "json"))["stopped"]["reason"] == "look first"
    assert cli("resume-healing", "--by", "ann", "--reason", "put out").stdout == "resumed by ann: put out\n"
    assert cli("resume-healing").stdout == "nothing was stopped\n"


def test_backtest_prints_the_contract(cli: Run, tmp_path: Path) -> None:
    tell(tmp_path, NOW, "Coder")
    told = said(cli("triggers", "backtest", "logs/telemetry/events-20260105.jsonl", "--format", "json"))
    assert list(told) == ["events", "span_s", "events_per_s", "incidents", "transitions", "telemetry", "triggers"]
    (incident,) = told["incidents"]
    assert set(incident) >= {"trigger", "group", "opened_at", "closed_at", "peak"}
    assert not (tmp_path / ".self-healing").exists()


# -- what people see


def on_terminal(words: list[str], directory: Path, columns: int, **variables: str) -> str:
    """What a command prints on a terminal of that width."""
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    environment = {name: value for name, value in ENVIRONMENT.items() if name not in ("COLUMNS", "NO_COLOR")}
    with subprocess.Popen(
        [*COMMAND, *words], cwd=directory, env=environment | {"TERM": "xterm"} | variables, stdout=theirs, stdin=theirs
    ) as process:
        os.close(theirs)
        printed = b""
        try:
            while chunk := os.read(ours, 65536):
                printed += chunk
        except OSError:
            pass  # how a terminal says that the other side is gone
    os.close(ours)
    assert process.returncode == 0
    return printed.decode()


def test_a_table_fits_a_terminal_of_80_columns_with_ids_whole(cli: Run, tmp_path: Path) -> None:
    tell(tmp_path, NOW, "AnAgentWithARatherLongName")
    report = said(cli("check", "--now", NOW_TEXT, "--format", "json"))
    id = report["incidents"][0]["id"]
    plain = on_terminal(["incidents"], tmp_path, 80, NO_COLOR="1")
    assert id in plain
    assert max(len(re.sub(r"\x1b\[[0-9;]*m", "", line)) for line in plain.splitlines()) <= 80
    coloured = re.compile(r"\x1b\[[0-9;]*3[0-7]m")
    assert coloured.search(plain) is None
    assert coloured.search(on_terminal(["incidents"], tmp_path, 80)) is not None
    # Through a pipe each row is one line.
    assert len(cli("incidents").stdout.splitlines()) == 2


@pytest.mark.parametrize("words", [["config", "schema"], [], ["demo"]], ids=["data", "overview", "demo"])
def test_a_reader_that_has_seen_enough_is_no_failure(words: list[str], tmp_path: Path) -> None:
    piped = f"set -o pipefail; {shlex.join([*COMMAND, *words])} | true"
    ran = subprocess.run(["bash", "-c", piped], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, b"")


# -- with a service


@pytest.fixture
def service(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A running service on the directory."""
    (tmp_path / "logs/telemetry").mkdir(parents=True)
    process = subprocess.Popen([*COMMAND, "run"], cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)
    yield process
    if process.poll() is None:
        process.kill()
    process.communicate()


def ready(service: subprocess.Popen[str]) -> list[str]:
    """What a service says until it is ready."""
    assert service.stdout is not None
    lines = []
    for line in service.stdout:
        lines.append(line)
        if line.startswith("running"):
            return lines
    raise AssertionError("".join(lines))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_service_answers_commands_and_stops_cleanly(
    number: signal.Signals, service: subprocess.Popen[str], cli: Run, tmp_path: Path
) -> None:
    header = "".join(ready(service))
    assert ".self-healing/socket" in header
    assert re.search(r"^mode +act", header, re.MULTILINE)
    assert "slow_tasks" in header
    for what in ("otlp_http_port", "otlp_grpc_port", "port"):
        assert f"off: server.{what} is false" in header
    tell(tmp_path, datetime.now(UTC), "Coder")
    until(lambda: bool(said(cli("incidents", "--format", "json"))["incidents"]))
    status = said(cli("status", "--format", "json"))
    assert status["service_running"] is True
    assert status["health"]["status"] == "healthy"
    assert said(cli("check", "--format", "json"))["triggers_fired"] == 1
    assert "leave --now out" in refused(cli("check", "--now", "2030-01-01T00:00:00Z"))
    changed = said(cli("triggers", "disable", "slow_tasks", "--format", "json"))
    assert said(cli("status", "--format", "json"))["spec_version"] == changed["spec_version"]
    assert "no incident 'inc-1'" in refused(cli("incidents", "ack", "inc-1"))
    assert "use" in refused(cli("run"))
    service.send_signal(number)
    printed, _ = service.communicate(timeout=20)
    assert service.returncode == 0
    assert "detected" in printed
    assert "slow_tasks" in printed
    assert re.search(r"^stopped after \d+m?s.*: detected 1, ", printed, re.MULTILINE)
    assert said(cli("status", "--format", "json"))["service_running"] is False


def test_a_service_follows_its_configuration_on_change_and_on_sighup(
    service: subprocess.Popen[str], cli: Run, tmp_path: Path
) -> None:
    ready(service)
    before = said(cli("status", "--format", "json"))["spec_version"]
    (tmp_path / "triggers.toml").write_text('[[trigger]]\nname = "slow_tasks"\nwindow = "10m"\n')
    (tmp_path / "self-healing.toml").write_text('[triggers]\nfiles = ["triggers.toml"]\n')
    until(lambda: said(cli("status", "--format", "json"))["spec_version"] != before)
    (tmp_path / "triggers.toml").write_text("[[trigger")
    until(lambda: said(cli("status", "--format", "json"))["health"]["status"] == "degraded")
    (reload,) = said(cli("history", "--format", "json"))["reloads"]
    assert [(each["what"], each["before"], each["after"]) for each in reload["changes"]] == [
        ("trigger slow_tasks", 300, 600)
    ]
    shown = cli("history").stdout
    assert "  trigger slow_tasks: window: 300 -> 600\n" in shown
    assert ": trigger slow_tasks: window: 300 -> 600\n" in cli("status").stdout
    (tmp_path / "triggers.toml").write_text("")
    service.send_signal(signal.SIGHUP)
    until(lambda: said(cli("status", "--format", "json"))["spec_version"] == before)
    service.send_signal(signal.SIGTERM)
    printed, _ = service.communicate(timeout=20)
    assert " reloaded   self-healing.toml changed: trigger slow_tasks: window: 300 -> 600" in printed
    assert " refused    triggers.toml changed: spec " in printed
    assert service.returncode == 0


def test_a_service_that_was_killed_is_not_asked(service: subprocess.Popen[str], cli: Run) -> None:
    ready(service)
    service.kill()
    service.wait()
    assert said(cli("check", "--format", "json"))["triggers_evaluated"] == 7


def test_a_service_that_hangs_is_unhealthy(service: subprocess.Popen[str], cli: Run) -> None:
    ready(service)
    service.send_signal(signal.SIGSTOP)
    health = said(cli("status", "--health", "--format", "json"), 2)
    assert "did not answer" in health["issues"][0]
    service.send_signal(signal.SIGCONT)


# -- looking at events


def test_events_are_shown_and_followed_while_a_service_runs(
    service: subprocess.Popen[str], cli: Run, tmp_path: Path
) -> None:
    ready(service)
    now = datetime.now(UTC)
    tell(tmp_path, now, "Coder")
    told = said(cli("events", "--agent", "Coder", "--since", "1h", "--limit", "2", "--format", "json"))
    assert [each["agent"] for each in told["events"]] == ["Coder", "Coder"]
    words = ["events", "--follow", "--limit", "1", "--format", "json"]
    environ = {**ENVIRONMENT, "SELF_HEALING_ENVIRONMENT": "staging"}
    with subprocess.Popen([*COMMAND, *words], cwd=tmp_path, env=environ, stdout=subprocess.PIPE) as following:
        assert following.stdout is not None
        line = json.loads(following.stdout.readline())
        assert (line["environment"], line["agent"]) == ("staging", "Coder")
        tell(tmp_path, now, "Tester")
        assert {json.loads(following.stdout.readline())["agent"] for _ in range(5)} == {"Tester"}
        following.send_signal(signal.SIGINT)
        assert (following.wait(30), following.stdout.read()) == (-signal.SIGINT, b"")


def test_what_an_incident_rests_on_is_found_by_its_id(cli: Run, tmp_path: Path) -> None:
    tell(tmp_path, NOW, "Coder")
    tell(tmp_path, NOW, "Planner", duration_s=1.0)
    report = said(cli("check", "--now", NOW_TEXT, "--format", "json"))
    (incident,) = [each["id"] for each in report["incidents"]]
    told = said(cli("events", "--incident", incident, "--format", "json"))
    assert {each["agent"] for each in told["events"]} == {"Coder"}
    assert "no incident 'inc-0'" in refused(cli("events", "--incident", "inc-0"))


def test_following_ends_when_nobody_reads_any_more(cli: Run, tmp_path: Path) -> None:
    tell(tmp_path, NOW, "Coder")
    words = ["events", "--follow"]
    with subprocess.Popen(
        [*COMMAND, *words], cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as following:
        assert following.stdout is not None
        assert following.stderr is not None
        assert b"task_finished" in following.stdout.readline()
        following.stdout.close()
        assert (following.wait(30), following.stderr.read()) == (0, b"")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--kind", "task_finishd"], "task_finished"),
        (["--since", "yesterday"], "--since 'yesterday': allowed is a length of time"),
        (["--since", "2026-01-05T10:00:00"], "a time with its zone"),
        (["--agnt", "Coder"], "Did you mean --agent?"),
        ([], "no telemetry yet: logs/telemetry does not exist"),
    ],
    ids=["kind", "since", "zone", "option", "nothing"],
)
def test_events_says_what_it_cannot_use(words: list[str], told: str, cli: Run) -> None:
    assert told in refused(cli("events", *words))


@pytest.mark.parametrize("words", [["events"], ["incidents"], ["incidents", "show", "inc-1"]], ids=" ".join)
def test_telemetry_that_is_named_and_not_there_is_no_empty_answer(words: list[str], cli: Run, tmp_path: Path) -> None:
    tell(tmp_path, NOW, "Coder")
    assert "--telemetry-dir /nope: there is no such directory" in refused(cli(*words, "--telemetry-dir", "/nope"))


def test_a_service_says_once_what_is_wrong_and_when_it_is_over(service: subprocess.Popen[str], cli: Run) -> None:
    ready(service)
    assert cli("stop-healing", "--reason", "a drill", "--by", "ada").returncode == 0
    assert service.stdout is not None
    stopped = service.stdout.readline()
    assert re.match(r"\d\d:\d\d:\d\d degraded   healing is stopped by ada: a drill;", stopped)
    assert cli("resume-healing").returncode == 0
    assert re.match(r"\d\d:\d\d:\d\d healthy    over: healing is stopped by ada", service.stdout.readline())


def test_a_running_service_takes_a_silence_and_test_runs(
    service: subprocess.Popen[str], cli: Run, tmp_path: Path
) -> None:
    ready(service)
    said(cli("silences", "add", "--trigger", "slow_tasks", "--reason", "a drill", "--format", "json"))
    assert len(said(cli("silences", "--format", "json"))["silences"]) == 1
    (tmp_path / "junit.xml").write_text("<testsuite><testcase name='a'/></testsuite>")
    brought = said(cli("ingest", "junit", "junit.xml", "--agent", "Coder", "--format", "json"))
    assert brought["files"][0]["accepted"] == 1
    until(lambda: said(cli("status", "--format", "json"))["telemetry"]["aggregated"] == 1)
    tell(tmp_path, datetime.now(UTC), "Coder")
    until(lambda: said(cli("status", "--format", "json"))["telemetry"]["aggregated"] == 6)
    assert said(cli("check", "--format", "json"))["triggers_fired"] == 0
    assert said(cli("incidents", "--format", "json"))["incidents"] == []


# -- at once


@pytest.mark.parametrize(
    ("words", "heavy"),
    [
        (["--help"], {"cyclopts", "rich", "pydantic", "msgspec", "sqlalchemy", "numpy", "duckdb"}),
        (["status"], {"rich", "asyncio", "sqlalchemy", "numpy", "cedarpy", "structlog", "duckdb"}),
        (
            ["status", "--health", "--format", "json"],
            {"rich", "asyncio", "sqlalchemy", "numpy", "cedarpy", "structlog", "duckdb"},
        ),
    ],
    ids=["help", "status", "health"],
)
def test_what_must_be_quick_imports_nothing_heavy(words: list[str], heavy: set[str], cli: Run, tmp_path: Path) -> None:
    tell(tmp_path, NOW, "Coder")
    assert cli("check", "--now", NOW_TEXT).returncode == 0
    code = (
        "import sys; from self_healing.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    print(*sys.modules, file=sys.stderr)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    assert ran.stdout
    never = {"duckdb", "starlette", "uvicorn", "google.protobuf", "opentelemetry", "genai_prices", "prometheus_client"}
    assert (heavy | never) & set(ran.stderr.split()) == set()


def test_the_doctor_exits_with_1_while_there_is_a_problem_and_prints_nothing_but_json(cli: Run, tmp_path: Path) -> None:
    well = cli("doctor", "--format", "json")
    assert (well.returncode, json.loads(well.stdout)["counts"]["problem"], well.stderr) == (0, 0, "")
    (tmp_path / "logs").write_text("")
    ill = cli("doctor")
    assert ill.returncode == 1
    assert "problem  logs directory" in ill.stdout


def test_why_a_trigger_fired_is_explained_then_and_now(tmp_path: Path, cli: Run) -> None:
    tell(tmp_path, NOW, "Coder")
    assert cli("check", "--now", NOW_TEXT).returncode == 0
    now = said(cli("explain", "slow_tasks", "agent=Coder", "--format", "json"))
    past = said(cli("explain", "slow_tasks", "agent=Coder", "--at", NOW_TEXT, "--for", "10m", "--format", "json"))
    assert (now["source"], past["source"]) == ("live", "recomputed")
    for name in ("state", "since", "reason", "value", "samples", "why"):
        assert now["series"][0][name] == past["series"][0][name]
    shown = cli("explain", "slow_tasks", "agent=Coder", "--at", NOW_TEXT, PYTHONIOENCODING="ascii")
    assert shown.returncode == 0
    assert "fires: max task.duration_s is 90s, >= 1m" in shown.stdout
    assert shown.stdout.isascii()
    assert "- threshold" in shown.stdout


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["slow_task"], "did you mean slow_tasks?"),
        (["slow_tasks", "Coder"], "allowed is a key and a value, such as agent=Coder"),
        (["slow_tasks", "--at", "yesterday"], "--at 'yesterday': allowed is a length of time such as"),
        (["slow_tasks", "--at", "2999-01-01T00:00:00Z"], "lies in the future"),
        (["slow_tasks", "--for", "0m"], "allowed is a length above 0"),
    ],
)
def test_what_cannot_be_explained_is_refused(words: list[str], why: str, tmp_path: Path, cli: Run) -> None:
    tell(tmp_path, NOW, "Coder")
    assert why in refused(cli("explain", *words))
