"""OpenTelemetry's own example requests are accepted by a running service, in JSON and in protobuf."""

from __future__ import annotations

import asyncio
import http.client
import json
from pathlib import Path
from typing import Any

import pytest

from tests.accounts import held
from tests.e2e.test_service import running
from tests.unit.telemetry.otlp.bodies import protobuf_of

PATHS = {"resourceSpans": "/v1/traces", "resourceLogs": "/v1/logs", "resourceMetrics": "/v1/metrics"}
ITEMS = {"trace": 1, "logs": 1, "events": 1, "metrics": 4}
"""The requests, and how many spans, records and points each holds."""


def post(address: str, path: str, body: bytes, kind: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=30)
    try:
        connection.request("POST", path, body, {"Content-Type": kind})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize("form", ["json", "protobuf"])
@pytest.mark.parametrize("name", ITEMS)
def test_an_example_of_opentelemetry_is_accepted(name: str, form: str, data_dir: Path, tmp_path: Path) -> None:
    file = data_dir / "otlp" / f"{name}.json"
    if not file.exists():
        pytest.skip(f"{data_dir} has no otlp/{name}.json")
    request: dict[str, Any] = json.loads(file.read_bytes())
    (field,) = request
    body = file.read_bytes() if form == "json" else protobuf_of(request)
    kind = "application/json" if form == "json" else "application/x-protobuf"
    (tmp_path / "telemetry").mkdir()

    async def story() -> dict[str, Any]:
        addresses: dict[str, str] = {}
        server = {"otlp_http_port": 0, "otlp_grpc_port": False, "port": False}
        async with running(tmp_path, server=server, addresses=addresses) as tell:
            answer = await asyncio.to_thread(post, addresses["otlp_http_port"], PATHS[field], body, kind)
            assert answer == (200, b"{}" if form == "json" else b"")
            for _ in range(100):
                counts: dict[str, Any] = (await tell("status"))["telemetry"]
                if counts["received"] and not counts["in_flight"]:
                    break
                await asyncio.sleep(0.05)
            return counts

    counts = held(asyncio.run(story()))
    assert (counts["received"], counts["rejected"], counts["quarantined"]) == (ITEMS[name], {}, {})
