"""Telemetry that is no native file comes in by the command and by the service, and is counted once."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from self_healing.clock import FakeClock
from self_healing.config import ServerSettings, Settings
from self_healing.errors import StateError
from self_healing.orchestrator import SelfHealingOrchestrator
from self_healing.service import Service
from self_healing.status import accounting

AT = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
SUITE = "<testsuite><testcase name='a'/><testcase name='b'><failure/></testcase></testsuite>"


def settings(directory: Path, **telemetry: Any) -> Settings:
    (directory / "telemetry").mkdir(exist_ok=True)
    return Settings.model_validate(
        {
            "telemetry": {"dir": directory / "telemetry", **telemetry},
            "storage": {"state_dir": directory / "state", "logs_dir": directory / "logs"},
        }
    )


def put(path: Path, at: datetime) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(SUITE)
    os.utime(path, (at.timestamp(), at.timestamp()))
    return path


async def closed(service: Service, minutes: int) -> None:
    """After more than an hour, wait for the writer's thread to have closed the segment: a turn does not."""
    segments = service.loop.receiving.segments
    for _ in range(3_000 if minutes > 60 else 0):
        if segments.active is None:
            return
        await asyncio.sleep(0.01)


def test_the_command_brings_test_runs_in_and_the_next_check_counts_them_once(tmp_path: Path) -> None:
    file = put(tmp_path / "junit.xml", datetime.now(UTC) - timedelta(minutes=1))
    where = ["--telemetry-dir", "t", "--state-dir", "s", "--logs-dir", "l", "--format", "json"]
    (tmp_path / "t").mkdir()

    def run(*words: str, code: int = 0) -> dict[str, Any]:
        command = [str(Path(sys.executable).with_name("self-healing")), *words, *where]
        ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert ran.returncode == code
        told: dict[str, Any] = json.loads(ran.stdout)
        return told

    brought = run("ingest", "junit", str(file), "--agent", "Coder")
    assert brought == {"files": [{"path": str(file), "accepted": 1, "rejected": {}, "dropped": {}, "problems": []}]}
    assert run("ingest", "junit", "junit.xml")["files"][0]["dropped"] == {"duplicate": 1}
    for _ in range(2):
        count = run("check")["telemetry"]
        assert (count["received"], count["aggregated"], count["dropped"]) == (2, 1, {"duplicate": 1})
    (tmp_path / "page.xml").write_text("<html/>")
    (bad,) = run("ingest", "junit", "page.xml", code=1)["files"]
    assert bad["rejected"] == {"invalid_xml": 1}
    assert bad["problems"] == ["it is no JUnit XML: its root is neither testsuites nor testsuite"]


def test_the_service_answers_while_a_file_is_brought_in(tmp_path: Path) -> None:
    slow = tmp_path / "slow.xml"
    os.mkfifo(slow)  # reading it takes until somebody has written it
    answered = threading.Event()

    def write() -> None:
        answered.wait(2)
        slow.write_text(SUITE)

    async def scenario() -> None:
        service = Service(settings(tmp_path), clock=FakeClock(AT), stop=asyncio.Event())
        writing = threading.Thread(target=write)
        writing.start()
        bringing = asyncio.ensure_future(service.call("ingest_junit", {"paths": [str(slow)]}))
        await asyncio.sleep(0)
        assert (await service.call("status", {}))["telemetry"]["received"] == 0
        brought = bringing.done()
        answered.set()
        assert [each["accepted"] for each in (await bringing)["files"]] == [1]
        writing.join()
        await service.close()
        assert not brought

    asyncio.run(scenario())


def test_the_service_takes_what_lies_in_a_watched_folder_and_compacts_what_was_read(tmp_path: Path) -> None:
    put(tmp_path / "reports" / "a.xml", AT - timedelta(minutes=1))
    chosen = settings(tmp_path, junit_dirs=[str(tmp_path / "reports")], junit_agent="Coder")
    clock = FakeClock(AT)

    async def scenario() -> None:
        service = Service(chosen, clock=clock, stop=asyncio.Event())
        for minutes in (0, 61, 10):  # taken; closed; compacted
            clock.advance(timedelta(minutes=minutes).total_seconds())
            await service.turn()
            await closed(service, minutes)
        await service.close()

    asyncio.run(scenario())
    assert accounting(chosen)["aggregated"] == 1
    assert [file.name for file in (tmp_path / "state" / "segments").iterdir()] == ["0000000001.parquet"]


@pytest.mark.parametrize("limit", [{"keep": "24h"}, {"keep_bytes": 0}])
def test_the_service_deletes_what_is_too_old_or_too_much_and_its_counts_stay(
    tmp_path: Path, limit: dict[str, Any]
) -> None:
    put(tmp_path / "reports" / "a.xml", AT - timedelta(minutes=1))
    chosen = settings(tmp_path, junit_dirs=[str(tmp_path / "reports")], junit_agent="Coder", **limit)
    clock = FakeClock(AT)

    async def scenario() -> None:
        service = Service(chosen, clock=clock, stop=asyncio.Event())
        for minutes in (0, 61, 10, 10, 24 * 60, 10, 10):  # taken; closed; compacted; too old; each seen to meanwhile
            clock.advance(timedelta(minutes=minutes).total_seconds())
            await service.turn()
            await closed(service, minutes)
        await service.close()

    asyncio.run(scenario())
    (left,) = (tmp_path / "state" / "segments").iterdir()
    assert (left.name, left.stat().st_size) == ("0000000001.deleted", 0)
    count = accounting(chosen)
    assert (count["received"], count["aggregated"], count["in_flight"]) == (1, 1, 0)


def test_a_port_that_answers_no_more_degrades_the_service_which_logs_it_and_goes_on(tmp_path: Path) -> None:
    ports = ServerSettings(otlp_http_port=0, otlp_grpc_port=None, port=0)
    chosen = settings(tmp_path).model_copy(update={"server": ports})
    heard: list[tuple[str, str]] = []

    async def scenario() -> None:
        service = Service(chosen, clock=FakeClock(AT), stop=asyncio.Event(), on_health=lambda *told: heard.append(told))
        server = await service.listen()
        assert server is not None
        await service.turn()
        assert (await service.call("health", {}))["status"] == "healthy"
        task = server._serving["port"]
        task.get_loop().call_soon_threadsafe(task.cancel)
        while not task.done():
            await asyncio.sleep(0.01)
        await service.turn()
        health = await service.call("health", {})
        assert (health["status"], health["telemetry_healthy"], len(health["issues"])) == ("degraded", True, 1)
        await asyncio.to_thread(server.stop)
        await service.close()

    asyncio.run(scenario())
    ((status, issue),) = heard
    assert (status, issue.partition(":")[0]) == ("degraded", "server.port")
    (log,) = (tmp_path / "logs" / "self_healing").glob("orchestrator-*.log")
    told = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["news"] for line in told if line["event"] == "health_changed"] == [issue]


def test_metrics_are_what_a_running_service_says_of_itself(tmp_path: Path) -> None:
    ports = ServerSettings(otlp_http_port=None, otlp_grpc_port=None, port=0)
    chosen = settings(tmp_path).model_copy(update={"server": ports})
    ended = {"ts": AT.isoformat(), "type": "task_finished", "id": "t", "agent": "Coder", "duration_s": 90.0}
    (tmp_path / "telemetry" / "events.jsonl").write_text(json.dumps(ended) + "\n")

    async def scenario() -> str:
        service = Service(chosen, clock=FakeClock(AT), stop=asyncio.Event())
        server = await service.listen()
        assert server is not None
        await service.turn()
        with pytest.raises(HTTPError):
            await asyncio.to_thread(urlopen, f"{server.addresses['port']}/v1/traces", b"{", timeout=30)
        assert (await service.call("status", {}))["requests_refused"]["unsupported"] == 1
        shown = await asyncio.to_thread(urlopen, f"{server.addresses['port']}/metrics", timeout=30)
        await asyncio.to_thread(server.stop)
        await service.close()
        text: str = shown.read().decode()
        return text

    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(asyncio.run(scenario()))
        for sample in family.samples
    }
    assert samples["self_healing_firing_series", "slow_tasks"] == 1
    assert samples["self_healing_last_evaluation_timestamp_seconds",] == AT.timestamp()
    assert samples["self_healing_ingest_lag_seconds",] == 0
    assert samples["self_healing_events_aggregated_total",] == 1
    assert samples["self_healing_requests_refused_total", "unsupported"] == 1


def test_what_is_only_looked_at_takes_nothing_in(tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    SelfHealingOrchestrator.open(chosen, clock=FakeClock(AT)).close()
    with (
        SelfHealingOrchestrator.open(chosen, clock=FakeClock(AT), read_only=True) as looking,
        pytest.raises(StateError, match="only looked at"),
    ):
        looking.receiving.look(())
