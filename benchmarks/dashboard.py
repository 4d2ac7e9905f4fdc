"""What the dashboard costs: the first page of a large fleet with a long past, its liveness, and twenty of them open."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from benchmarks.acknowledgement import acknowledged
from benchmarks.figure import COMMAND, Figure
from benchmarks.listening import Listening, listening
from self_healing.local_socket import ask
from self_healing.model import CloseReason, Incident, IncidentState
from self_healing.storage.store import Store

AGENTS = 500
SLOW = 40
INCIDENTS = 10_000
LOOKS = 100
CHANGES = 20
DASHBOARDS = 20
PAGE_KB = 250
FIRST_PAGE_MS = 150
SCREEN_S = 1.0

OBSERVE = '[actions]\nmode = "observe"\n'


def _fleet(directory: Path) -> None:
    """Leave a state with so many agents, some of them unwell, and so many incidents of the past."""
    telemetry = directory / "logs" / "telemetry"
    telemetry.mkdir(parents=True)
    now = time.time()
    with (telemetry / "events-fleet.jsonl").open("w") as file:
        for number in range(AGENTS):
            duration_s = 90.0 if number < SLOW else 1.0
            event = {
                "ts": datetime.fromtimestamp(now, UTC).isoformat(),
                "type": "task_finished",
                "id": f"t{number}",
                "agent": f"Agent{number}",
                "status": "success",
                "started_at": now - duration_s,
                "finished_at": now,
                "duration_s": duration_s,
            }
            file.write(json.dumps(event) + "\n")
    (directory / "self-healing.toml").write_text(OBSERVE)
    subprocess.run([COMMAND, "check"], cwd=directory, check=True, stdout=subprocess.DEVNULL)
    store = Store(directory / ".self-healing")
    try:
        pattern = next(each for each in store.select(Incident) if not each.is_parent)
        with store.transaction():
            for number in range(INCIDENTS):
                store.put(_past(pattern, number))
    finally:
        store.close()


def _past(pattern: Incident, number: int) -> Incident:
    opened_at = pattern.opened_at - timedelta(minutes=number + 10)
    return msgspec.structs.replace(
        pattern,
        id=f"inc-{number:010d}",
        group=(("agent", f"Agent{number % AGENTS}"),),
        state=IncidentState.CLOSED,
        parent=None,
        opened_at=opened_at,
        first_opened_at=opened_at,
        updated_at=opened_at,
        closed_at=opened_at + timedelta(minutes=4),
        close_reason=CloseReason.HEALED if number % 2 else CloseReason.RECOVERED,
    )


def _page(host_port: str, path: str) -> tuple[int, float]:
    """How many bytes a page has, and how long it took, in milliseconds."""
    connection = http.client.HTTPConnection(host_port, timeout=30)
    began = time.perf_counter()
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    took_ms = (time.perf_counter() - began) * 1000
    connection.close()
    if answer.status != 200:
        raise RuntimeError(f"{path} answered {answer.status}")
    return len(body), took_ms


def _first_page(service: Listening) -> tuple[float, float, int]:
    """The median and the 95th percentile of making the first page anew, ms, and its bytes."""
    # Another query each time, so that none of them is a page that was made a moment ago.
    looks = [_page(service.dashboard, f"/?look={number}") for number in range(LOOKS)]
    waits = sorted(wait for _, wait in looks)
    return waits[LOOKS // 2], waits[int(LOOKS * 0.95)], max(size for size, _ in looks)


def _heard(following: socket.socket, after: float) -> float:
    """When the next change is told on a stream of changes."""
    following.settimeout(30)
    told = b""
    while b"event: changed" not in told:
        told += following.recv(65536)
    return time.perf_counter() - after


def _followed(host_port: str) -> socket.socket:
    host, _, port = host_port.rpartition(":")
    following = socket.create_connection((host, int(port)))
    headers = f"Host: {host_port}\r\nAccept: text/event-stream\r\n\r\n"
    following.sendall(f"GET /api/v1/changes HTTP/1.1\r\n{headers}".encode())
    return following


def _to_screen(service: Listening) -> list[float]:
    """From something done by a person to the page that shows it, in seconds."""
    waits = []
    with _followed(service.dashboard) as following:
        _heard(following, 0.0)  # the version that is
        for number in range(CHANGES):
            time.sleep(0.7)
            following.setblocking(False)
            try:
                while following.recv(65536):
                    pass
            except BlockingIOError:
                pass
            began = time.perf_counter()
            arguments = {"by": "bench", "reason": f"r{number}", "lasts_s": 3600, "keys": {"agent": f"Nobody{number}"}}
            if ask(service.state_dir, "silence", arguments) is None:
                raise RuntimeError("the service ended")
            _heard(following, began)
            _page(service.dashboard, "/")
            waits.append(time.perf_counter() - began)
    return waits


@contextmanager
def _open(service: Listening) -> Iterator[list[int]]:
    """So many dashboards that follow what changes, and ask for the first page each time; how often each did."""
    ending, counts = threading.Event(), [0] * DASHBOARDS

    def follow(number: int) -> None:
        with _followed(service.dashboard) as following:
            following.settimeout(1)
            while not ending.is_set():
                try:
                    if b"event: changed" in following.recv(65536):
                        _page(service.dashboard, "/")
                        counts[number] += 1
                except TimeoutError:
                    continue

    threads = [threading.Thread(target=follow, args=(number,)) for number in range(DASHBOARDS)]
    for thread in threads:
        thread.start()
    try:
        yield counts
    finally:
        ending.set()
        for thread in threads:
            thread.join()


def measure() -> list[Figure]:
    """All of it, on one state; acknowledgements with the dashboards open stand beside those with none."""
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place)
        _fleet(directory)
        with listening(directory, OBSERVE) as service:
            _page(service.dashboard, "/")
            _, bare_ms = min((_page(service.dashboard, "/healthz") for _ in range(20)), key=lambda each: each[1])
            p50, p95, size = _first_page(service)
            screen = sorted(_to_screen(service))
            alone = acknowledged(service)
            with _open(service) as counts:
                beside = acknowledged(service)
    pages = sum(counts)
    fleet = f"{AGENTS} agents, {INCIDENTS:,} incidents"
    return [
        Figure(
            f"first page made anew, {fleet}",
            f"p50 {p50:.0f} ms, p95 {p95:.0f} ms",
            f"/healthz: {bare_ms:.1f} ms",
            f"p95 <= {FIRST_PAGE_MS} ms",
            p95 <= FIRST_PAGE_MS,
        ),
        Figure("its size", f"{size / 1000:.0f} kB", "-", f"< {PAGE_KB} kB", size < PAGE_KB * 1000),
        Figure(
            f"change to screen, {CHANGES} times",
            f"p50 {screen[len(screen) // 2]:.2f} s, most {screen[-1]:.2f} s",
            "-",
            f"<= {SCREEN_S:g} s",
            screen[-1] <= SCREEN_S,
        ),
        Figure(
            f"acknowledgement at 1,000 events/s with {DASHBOARDS} dashboards open ({pages} pages made for them)",
            f"p50 {beside[0]:.1f} ms, p99 {beside[1]:.1f} ms",
            f"with none open: p50 {alone[0]:.1f} ms, p99 {alone[1]:.1f} ms",
            "p99 <= 250 ms",
            beside[1] <= 250,
        ),
    ]
