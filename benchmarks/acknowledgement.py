"""How long senders wait for their acknowledgement at a thousand events a second, and what the hostile ones cost."""

from __future__ import annotations

import gzip
import http.client
import json
import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.figure import Figure
from benchmarks.listening import Listening, children, listening

SECONDS = 20.0
BATCH = 10
BATCHES_PER_S = 100
SENDERS = 10
NDJSON = {"Content-Type": "application/x-ndjson"}
PROTOBUF_GZIP = {"Content-Type": "application/x-protobuf", "Content-Encoding": "gzip"}
BOMB_BYTES = 1 << 30
ATTRIBUTES = 10_000
ROUNDS = 20
MEMORY_MB = 128
ITEMS = 5_000_000


def _lines(number: int) -> bytes:
    ts = datetime.now(UTC).isoformat()
    event = {"ts": ts, "type": "task_finished", "agent": f"A{number % 50}", "status": "success", "duration_s": 1.0}
    return b"".join(json.dumps({**event, "id": f"{number}-{place}"}).encode() + b"\n" for place in range(BATCH))


def _send(host_port: str, began: float, sender: int) -> list[float]:
    """Every batch at its own moment, whatever became of the one before; returns from then to its acknowledgement."""
    connection = http.client.HTTPConnection(host_port)
    waits: list[float] = []
    for number in range(sender, int(SECONDS * BATCHES_PER_S), SENDERS):
        due = began + number / BATCHES_PER_S
        time.sleep(max(0.0, due - time.perf_counter()))
        connection.request("POST", "/v1/events", _lines(number), NDJSON)
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise RuntimeError(f"the service answered {answer.status}")
        waits.append(time.perf_counter() - due)
    connection.close()
    return waits


def _bare(directory: Path) -> list[float]:
    """How long one process alone takes to append and sync each of the same batches."""
    waits: list[float] = []
    with (directory / "bare").open("ab", buffering=0) as file:
        for number in range(500):
            lines = _lines(number)
            began = time.perf_counter()
            file.write(lines)
            os.fsync(file.fileno())
            waits.append(time.perf_counter() - began)
    return waits


def _percentiles(waits: list[float]) -> tuple[float, float]:
    """The median and the 99th percentile, in milliseconds."""
    ordered = sorted(waits)
    return ordered[len(ordered) // 2] * 1000, ordered[int(len(ordered) * 0.99)] * 1000


def acknowledged(service: Listening) -> tuple[float, float]:
    """Send to a service at that rate until it has folded all; the median and the 99th percentile of waits, ms."""
    before = _begin_to_convert(service)
    with ThreadPoolExecutor(SENDERS) as senders:
        began = time.perf_counter() + 1
        sent = [senders.submit(_send, service.host_port, began, sender) for sender in range(SENDERS)]
        waits = [wait for each in sent for wait in each.result()]
    service.folded(before + len(waits) * BATCH)
    return _percentiles(waits)


def _acknowledged() -> Figure:
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place)
        bare = _percentiles(_bare(directory))
        with listening(directory) as service:
            p50, p99 = acknowledged(service)
    return Figure(
        "acknowledgement at 1,000 events/s, in batches of ten",
        f"p50 {p50:.1f} ms, p99 {p99:.1f} ms",
        f"bare append and fsync: p50 {bare[0]:.1f} ms, p99 {bare[1]:.1f} ms",
        "p99 <= 250 ms",
        p99 <= 250,
    )


def _begin_to_convert(service: Listening) -> int:
    """Send a batch beforehand, as the first starts the process that converts; returns how many events are folded."""
    expected: int = service.counts()["aggregated"] + BATCH
    _post_all(service, [("/v1/events", _lines(int(SECONDS * BATCHES_PER_S)), NDJSON)], 200)
    service.folded(expected)
    return expected


def _peak_mb(pids: list[int]) -> float:
    """The most memory that each of some processes has had, together."""
    told = [Path(f"/proc/{pid}/status").read_text() for pid in pids]
    return sum(int(status.split("VmHWM:")[1].split()[0]) for status in told) / 1024


def _grown(bodies: list[tuple[str, bytes, dict[str, str]]], expected: int) -> float:
    """By how many megabytes the peak of a service's memory grows while it gets these again and again."""
    with tempfile.TemporaryDirectory() as place, listening(Path(place)) as service:
        _begin_to_convert(service)
        pids = [service.pid, *children(service.pid)]
        for pid in pids:
            Path(f"/proc/{pid}/clear_refs").write_text("5")  # the peak so far, of the start, is no measure
        before = _peak_mb(pids)
        _post_all(service, bodies * ROUNDS, expected)
        return _peak_mb(pids) - before


def _post_all(service: Listening, requests: list[tuple[str, bytes, dict[str, str]]], expected: int) -> None:
    for path, body, headers in requests:
        connection = http.client.HTTPConnection(service.host_port)
        connection.request("POST", path, body, headers)
        status = connection.getresponse().status
        connection.close()
        if status != expected:
            raise RuntimeError(f"the service answered {status}, not {expected}")


def _wide() -> bytes:
    """A span with far too many attributes."""
    now_ns = time.time_ns()
    attributes = [{"key": f"name.{number}", "value": {"stringValue": "x" * 100}} for number in range(ATTRIBUTES)]
    span = {
        "traceId": f"{1:032x}",
        "spanId": f"{1:016x}",
        "name": "wide",
        "startTimeUnixNano": str(now_ns - 10**9),
        "endTimeUnixNano": str(now_ns),
        "attributes": attributes,
    }
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).encode()


def _many() -> bytes:
    """As many spans with nothing in them as two bytes each can say."""
    spans = b"\x12\x00" * ITEMS
    for number in (2, 1):  # the scope, in field 2 of the resource, which is in field 1
        size = [len(spans) >> shift & 0x7F | 0x80 for shift in (0, 7, 14)]
        spans = bytes([number << 3 | 2, *size, len(spans) >> 21]) + spans
    return spans


def measure() -> list[Figure]:
    """The waits; and the memory that bombs, and spans with 10,000 attributes, cost the service at its peak."""
    bomb, wide, many = gzip.compress(bytes(BOMB_BYTES)), _wide(), gzip.compress(_many())
    lines = gzip.compress(b"{}\n" * ITEMS)
    grown = {
        f"memory: a gzip bomb of {BOMB_BYTES >> 30} GiB, {ROUNDS} times": (
            _grown([("/v1/traces", bomb, PROTOBUF_GZIP)], 413),
            len(bomb),
        ),
        f"memory: {ITEMS:,} empty spans in gzip, {ROUNDS} times": (
            _grown([("/v1/traces", many, PROTOBUF_GZIP)], 413),
            len(many),
        ),
        f"memory: {ITEMS:,} empty lines of JSON in gzip, {ROUNDS} times": (
            _grown([("/v1/events", lines, {**NDJSON, "Content-Encoding": "gzip"})], 413),
            len(lines),
        ),
        f"memory: a span of {ATTRIBUTES:,} attributes, {ROUNDS} times": (
            _grown([("/v1/traces", wide, {"Content-Type": "application/json"})], 200),
            len(wide),
        ),
    }
    figures = [_acknowledged()]
    for name, (megabytes, size) in grown.items():
        beside = f"the request as it came: {size / 1e6:.1f} MB"
        figures.append(Figure(name, f"+{megabytes:.0f} MB", beside, f"<= {MEMORY_MB} MB", megabytes <= MEMORY_MB))
    return figures
