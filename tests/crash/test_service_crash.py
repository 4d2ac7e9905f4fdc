"""A service that takes telemetry over HTTP is killed again and again while its senders try again until it answers."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from tests.accounts import committed
from tests.e2e.frameworks.test_service import folded

LIVES = 4
BATCH = 5
BETWEEN_KILLS = 25
"""So many batches of each sender are acknowledged before the service is killed once more."""

Batch = Callable[[int], tuple[str, bytes, dict[str, str]]]
"""What a sender sends as its number so and so: path, body and headers."""


def spans(number: int) -> tuple[str, bytes, dict[str, str]]:
    """Tasks as spans, each with an id of its own."""
    message = ExportTraceServiceRequest()
    several = message.resource_spans.add().scope_spans.add().spans
    named = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "Spans"}
    for place in range(BATCH):
        id = number * BATCH + place + 1
        several.add(
            trace_id=id.to_bytes(16, "big"),
            span_id=id.to_bytes(8, "big"),
            name="invoke_agent",
            start_time_unix_nano=time.time_ns() - 10**9,
            end_time_unix_nano=time.time_ns(),
            attributes=[KeyValue(key=key, value=AnyValue(string_value=value)) for key, value in named.items()],
        )
    return "/v1/traces", message.SerializeToString(), {"Content-Type": "application/x-protobuf"}


def events(number: int) -> tuple[str, bytes, dict[str, str]]:
    """Tasks as native lines, known again by the batch's key."""
    line = {"ts": datetime.now(UTC).isoformat(), "type": "task_finished", "agent": "Lines", "status": "success"}
    lines = [json.dumps({**line, "id": f"{number}-{place}", "duration_s": 1.0}) for place in range(BATCH)]
    headers = {"Content-Type": "application/x-ndjson", "Idempotency-Key": f"batch-{number}"}
    return "/v1/events", "\n".join(lines).encode(), headers


class Sender:
    """Sends batch after batch, each until it is acknowledged."""

    def __init__(self, port: int, batch: Batch) -> None:
        self.acknowledged = 0
        self._port, self._batch = port, batch
        self._ending = threading.Event()

    def send(self) -> None:
        """Until it is told to end."""
        while not self._ending.is_set():
            path, body, headers = self._batch(self.acknowledged)
            until = time.monotonic() + 60
            while not self._taken(path, body, headers):
                assert time.monotonic() < until, "no service came back"
                time.sleep(0.02)
            self.acknowledged += 1

    def _taken(self, path: str, body: bytes, headers: dict[str, str]) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        try:
            connection.request("POST", path, body, headers)
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
        assert status in (200, 503)
        return status == 200

    def reach(self, acknowledged: int) -> None:
        """Wait until so many batches are acknowledged."""
        until = time.monotonic() + 60
        while self.acknowledged < acknowledged:
            assert time.monotonic() < until, f"{self.acknowledged} of {acknowledged} batches were acknowledged"
            time.sleep(0.01)

    def end(self) -> None:
        """Let it end with the batch that it is sending."""
        self._ending.set()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def start(directory: Path) -> subprocess.Popen[bytes]:
    command = [str(Path(sys.executable).with_name("self-healing")), "run", "--telemetry-dir", "telemetry"]
    command += ["--state-dir", "state", "--logs-dir", "logs"]
    return subprocess.Popen(command, cwd=directory, stdout=subprocess.DEVNULL)


def wait_until_folded(directory: Path, items: int) -> None:
    until = time.monotonic() + 60
    while (counts := committed(directory / "state"))["aggregated"] < items:
        assert time.monotonic() < until, f"{items} were acknowledged: {counts}"
        time.sleep(0.1)


def test_whatever_a_killed_service_acknowledged_is_folded_once(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "telemetry").mkdir()
    ports = f"[server]\notlp_http_port = {port}\notlp_grpc_port = false\nport = false\n"
    (tmp_path / "self-healing.toml").write_text(ports)
    senders = [Sender(port, spans), Sender(port, events)]
    with ThreadPoolExecutor(len(senders)) as pool:
        sending = [pool.submit(sender.send) for sender in senders]
        for life in range(1, LIVES + 1):
            service = start(tmp_path)
            try:
                for sender in senders:
                    sender.reach(life * BETWEEN_KILLS)
                if life == LIVES:
                    for sender in senders:
                        sender.end()
                    for sent in sending:
                        sent.result()
                    items = sum(sender.acknowledged for sender in senders) * BATCH
                    wait_until_folded(tmp_path, items)
            finally:
                service.send_signal(signal.SIGTERM if life == LIVES else signal.SIGKILL)
                service.wait(timeout=30)
    counts = committed(tmp_path / "state")
    assert (counts["aggregated"], counts["rejected"], counts["quarantined"]) == (items, {}, {})
    assert counts["in_flight"] == 0
    assert set(counts["dropped"]) <= {"duplicate"}  # what was there, and its sender had not heard
    tasks = {agent: count for agent, (count, _) in folded(tmp_path, "slow_tasks").items()}
    assert tasks == {"Spans": senders[0].acknowledged * BATCH, "Lines": senders[1].acknowledged * BATCH}
