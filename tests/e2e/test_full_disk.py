"""A disk that takes nothing more: nothing is acknowledged, health says so until it is over, and nothing is lost."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest

from self_healing.local_socket import ask

FULL_BYTES = 36_000
"""How large a file may become: the state can be opened, which takes 32 KiB; a batch does not fit."""

ALL = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


@contextmanager
def running(directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A service in a process of its own, in which no file may become larger than that."""
    env = {
        **os.environ,
        "SELF_HEALING_SERVER_PORT": "0",
        "SELF_HEALING_SERVER_OTLP_HTTP_PORT": "false",
        "SELF_HEALING_SERVER_OTLP_GRPC_PORT": "false",
    }
    (directory / "logs" / "telemetry").mkdir(parents=True)
    with (directory / "out").open("wb") as out:
        process = subprocess.Popen(
            [Path(sys.executable).with_name("self-healing"), "run"], cwd=directory, env=env, stdout=out, stderr=out
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(20)


def address(directory: Path) -> str:
    for _ in range(400):
        for line in (directory / "out").read_text().splitlines():
            if line.startswith("dashboard"):
                return line.split()[1]
        time.sleep(0.1)
    raise AssertionError((directory / "out").read_text())


def send(base: str, number: int) -> int:
    """A batch of 50 events; answers with the status."""
    ts = datetime.now(UTC).isoformat()
    event = {"ts": ts, "type": "task_finished", "agent": "F", "status": "success", "duration_s": 1, "pad": "x" * 1000}
    body = json.dumps([{**event, "id": f"{number}-{each}"} for each in range(50)]).encode()
    headers = {"content-type": "application/json", "idempotency-key": str(number)}
    answer = httpx2.post(f"{base}/v1/events", content=body, headers=headers, timeout=30)
    assert answer.status_code == 200 or answer.headers["retry-after"]
    return int(answer.status_code)


def until_taken(base: str, number: int) -> None:
    """Send a batch again for as long as it is not taken, as a refusal asks for: the state is opened anew first."""
    for _ in range(100):
        if send(base, number) == 200:
            return
        time.sleep(0.1)
    raise AssertionError("there is room, and the batch is still refused")


def asked(directory: Path, command: str) -> dict[str, Any]:
    answer = ask(directory / ".self-healing", command, {})
    assert answer is not None
    return answer


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="the limits of another process are set on Linux only")
def test_a_full_disk_is_unhealthy_until_there_is_room_and_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    with running(tmp_path) as process:
        base = address(tmp_path)
        assert send(base, 0) == 200
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (FULL_BYTES, resource.RLIM_INFINITY))
        assert send(base, 1) == 503
        ended = time.monotonic() + 4  # long enough for the state to be opened anew, and to fail again
        statuses = set()
        while time.monotonic() < ended:
            with suppress(OSError):
                statuses.add(asked(tmp_path, "health")["status"])
            time.sleep(0.05)
        assert "healthy" not in statuses
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, ALL)
        for number in (1, 0):
            until_taken(base, number)
        for _ in range(150):
            told = asked(tmp_path, "status")
            if told["health"]["status"] == "healthy" and told["telemetry"]["received"] == 150:
                break
            time.sleep(0.1)
        assert told["health"]["issues"] == []
        count = told["telemetry"]
        # The batch that was acknowledged before is known when it comes again.
        assert (count["received"], count["dropped"]["duplicate"]) == (150, 50)
        assert (count["aggregated"], count["in_flight"]) == (100, 0)
