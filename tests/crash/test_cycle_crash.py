"""A check and a service are killed where it matters; the next start goes on, and nothing is lost or done twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from self_healing.actions.effect import CRASH_POINTS
from self_healing.clock import FakeClock
from self_healing.config import Settings
from self_healing.model import Directive, Execution, ExecutionStatus, Incident
from self_healing.orchestrator import SelfHealingOrchestrator, run_self_healing_check
from self_healing.storage.store import Store
from tests.accounts import committed
from tests.crash.killing import crash_at, killed
from tests.ports import WITHOUT_PORTS

ROOT = Path(__file__).parents[2]
AT = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)


def settings(directory: Path) -> Settings:
    return Settings.model_validate(
        {
            "telemetry": {"dir": directory / "telemetry"},
            "storage": {"state_dir": directory / "state", "logs_dir": directory / "logs"},
        }
    )


def doomed(directory: Path, point: str) -> None:
    crash = crash_at(point)
    with SelfHealingOrchestrator.open(settings(directory), clock=FakeClock(AT), crash=crash) as loop:
        loop.check(AT)


def line(number: int, ended: datetime, attempt: int = 1) -> str:
    event = {
        "ts": ended.isoformat(),
        "type": "task_finished",
        "id": f"t{number}",
        "agent": "Coder",
        "attempt": attempt,
        "status": "success",
        "duration_s": 5.0,
        "started_at": ended.timestamp() - 5,
    }
    return json.dumps(event) + "\n"


def told(directory: Path, at: datetime, *, config: Path | None = None) -> dict[str, object]:
    return run_self_healing_check(
        telemetry_dir=directory / "telemetry",
        state_dir=directory / "state",
        logs_dir=directory / "logs",
        config=config,
        now=at,
    )


def holds(directory: Path) -> int:
    """Assert both equations; returns how many events were aggregated."""
    count = committed(directory / "state")
    return int(count["aggregated"])


@pytest.mark.parametrize("point", ["cycle.written", "cycle.committed", *CRASH_POINTS])
def test_a_check_killed_at_any_point_is_gone_on_with(tmp_path: Path, point: str) -> None:
    (tmp_path / "telemetry").mkdir()
    events = [line(n, AT - timedelta(seconds=60 - n), attempt=3 if n == 7 else 1) for n in range(20)]
    (tmp_path / "telemetry" / "events-20260105.jsonl").write_text("".join(events))
    killed(doomed, tmp_path, point)

    report = told(tmp_path, AT + timedelta(seconds=1))
    assert holds(tmp_path) == 20
    assert [each["trigger"] for each in report["incidents"]] == ["high_retry_rate"]  # type: ignore[attr-defined]
    assert [each["status"] for each in report["actions"]] == ["dispatched"]  # type: ignore[attr-defined]
    assert len(list((tmp_path / "logs" / "handoffs").iterdir())) == 1
    with Store(tmp_path / "state") as store:
        assert (store.count(Incident), store.count(Execution), store.count(Directive)) == (1, 1, 1)


@pytest.mark.parametrize("point", ["cycle.committed", *CRASH_POINTS])
def test_what_a_killed_check_intended_is_gone_on_with_by_its_own_spec_though_another_is_loaded(
    tmp_path: Path, point: str
) -> None:
    (tmp_path / "telemetry").mkdir()
    (tmp_path / "telemetry" / "events-20260105.jsonl").write_text(line(1, AT - timedelta(seconds=5), attempt=3))
    killed(doomed, tmp_path, point)
    other = tmp_path / "actions.toml"
    other.write_text(
        '[[action]]\nname = "resolve_retry_failures"\nprompt = "Another."\nexpires = "5m"\npriority = "low"\n'
    )
    config = tmp_path / "self-healing.toml"
    config.write_text(f'[actions]\nfiles = ["{other}"]\n')

    for seconds in (1, 2):
        told(tmp_path, AT + timedelta(seconds=seconds), config=config)

    (handoff,) = (tmp_path / "logs" / "handoffs").iterdir()
    assert json.loads(handoff.read_text())["prompt"] != "Another."
    with Store(tmp_path / "state") as store:
        (execution,), (directive,) = store.select(Execution), store.select(Directive)
        assert execution.status is ExecutionStatus.DISPATCHED
        assert directive.expires_at - directive.created_at == timedelta(hours=1)


def test_a_service_killed_again_and_again_counts_every_event_once(tmp_path: Path) -> None:
    telemetry = tmp_path / "telemetry"
    telemetry.mkdir()
    command = [str(Path(sys.executable).with_name("self-healing")), "run", "--telemetry-dir", str(telemetry)]
    command += ["--state-dir", str(tmp_path / "state"), "--logs-dir", str(tmp_path / "logs")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), **WITHOUT_PORTS}
    written = 0
    for life_s in (1.6, 2.3, 1.9):
        running = subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=subprocess.DEVNULL)
        until = time.monotonic() + life_s
        while time.monotonic() < until:
            with (telemetry / "events-20260105.jsonl").open("a") as file:
                file.write(line(written, datetime.now(UTC), attempt=3 if written == 5 else 1))
            written += 1
            time.sleep(0.02)
        running.send_signal(signal.SIGKILL)
        running.wait()
    report = told(tmp_path, datetime.now(UTC) + timedelta(seconds=1))
    assert holds(tmp_path) == written
    assert report["telemetry"]["in_flight"] == 0  # type: ignore[index]
    with Store(tmp_path / "state") as store:
        assert [each.trigger for each in store.select(Incident)] == ["high_retry_rate"]
        begun = [each for each in store.select(Execution) if each.key is not None]
        assert len(list((tmp_path / "logs" / "handoffs").iterdir())) == len(begun) == 1
