"""OFREP: the official provider and plain HTTP read what was published; what is over does not count."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from openfeature import api
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import Reason

from self_healing.actions.publication import told
from self_healing.api.ofrep import _flag
from self_healing.clock import FakeClock
from self_healing.config import ServerSettings
from self_healing.guard import Guard
from self_healing.service import Service
from self_healing.storage.store import Store
from tests.e2e.test_service import settings
from tests.unit.test_guard import lasting, seen_within

FLAGS = "/ofrep/v1/evaluate/flags"
CODER = {"context": {"targetingKey": "Coder"}}
PORTS = ServerSettings(port=0, otlp_http_port=None, otlp_grpc_port=None)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(datetime.now(UTC))


@pytest.fixture
def address(tmp_path: Path, clock: FakeClock) -> Iterator[str]:
    """Of a service's port, with directives in its state; nothing turns, and nobody waits for a turn."""

    async def listen() -> Any:
        service = Service(settings(tmp_path, PORTS), clock=clock, stop=asyncio.Event())
        server = await service.listen()
        assert server is not None
        return service, server

    made = settings(tmp_path, PORTS)
    with Store(made.storage.state_dir) as store:
        store.put(lasting("max_concurrency", 2, 60), lasting("timeout_s", 30, 60), lasting("model", "small", 60))
    service, server = asyncio.run(listen())
    service.loop.store.put(lasting("max_concurrency", 1, 30, id="dir-short", owner="inc-7", reason="slow"))
    yield server.addresses["port"]
    server.stop()
    service.loop.close()


def test_the_official_client_obeys_and_falls_back(address: str) -> None:
    api.set_provider(OFREPProvider(address))
    client, coder = api.get_client(), EvaluationContext("Coder")
    found = client.get_integer_details("max_concurrency", 8, coder)
    assert (found.value, found.reason) == (1, Reason.TARGETING_MATCH)
    assert (found.flag_metadata["owner"], found.flag_metadata["reason"]) == ("inc-7", "slow")
    until = datetime.fromisoformat(str(found.flag_metadata["expires_at"]))
    assert until.timestamp() == found.flag_metadata["expires_unix_s"]
    assert timedelta(0) < until - datetime.now(UTC) < timedelta(seconds=30)
    assert client.get_float_value("timeout_s", 9.0, coder) == 30.0
    assert client.get_string_value("model", "large", coder) == "small"
    default = client.get_boolean_details("paused", False, coder)
    assert (default.value, default.reason, default.error_code) == (False, Reason.DEFAULT, None)
    assert client.get_integer_value("max_concurrency", 8, EvaluationContext("Other")) == 8
    assert client.get_boolean_details("pause", False, coder).error_code is ErrorCode.FLAG_NOT_FOUND
    assert client.get_boolean_details("paused", False).error_code is ErrorCode.TARGETING_KEY_MISSING
    api.clear_providers()


def test_what_did_not_change_is_not_sent_again_and_what_is_over_does_not_count(address: str, clock: FakeClock) -> None:
    with httpx2.Client(base_url=address) as client:
        first = client.post(FLAGS, json=CODER)
        values = {flag["key"]: flag.get("value") for flag in first.json()["flags"]}
        assert (len(values), values["max_concurrency"], values["paused"]) == (9, 1, None)
        tag = first.headers["etag"]
        again = client.post(FLAGS, json=CODER, headers={"If-None-Match": tag})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        with Guard("Coder", url=address, refresh_s=0.05) as guard:
            assert guard.max_concurrency(8) == 1
            clock.advance(55)
            assert seen_within(guard, "max_concurrency", 2)
            assert guard.problem is None
        later = client.post(FLAGS, json=CODER, headers={"If-None-Match": tag})
        assert later.status_code == 200
        assert client.post(f"{FLAGS}/max_concurrency", json=CODER).json()["value"] == 2


def test_a_setting_is_over_at_the_very_instant_at_which_it_ends() -> None:
    at = datetime(2026, 1, 5, tzinfo=UTC)
    published = told([lasting("paused", True, 0, created_at=at, expires_at=at)])["Coder"]
    assert _flag("paused", published, at - timedelta(microseconds=1)).get("value") is True
    assert "value" not in _flag("paused", published, at)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "TARGETING_KEY_MISSING"),
        (b"{}", "TARGETING_KEY_MISSING"),
        (b'{"context": {"targetingKey": ""}}', "TARGETING_KEY_MISSING"),
        (b"{", "PARSE_ERROR"),
        (b"\xff", "PARSE_ERROR"),
        (b"[]", "INVALID_CONTEXT"),
        (b'{"context": 1}', "INVALID_CONTEXT"),
        (b'{"context": {"targetingKey": 1}}', "INVALID_CONTEXT"),
        (b" " * 70_000, "INVALID_CONTEXT"),
    ],
)
def test_a_request_that_is_none_is_refused_with_the_protocols_code(address: str, body: bytes, code: str) -> None:
    for path in (FLAGS, f"{FLAGS}/paused"):
        answer = httpx2.post(address + path, content=body)
        assert (answer.status_code, answer.json()["errorCode"]) == (400, code)


def test_a_flag_that_there_is_not_is_not_found(address: str) -> None:
    answer = httpx2.post(f"{address}{FLAGS}/pause", json=CODER)
    assert (answer.status_code, answer.json()["errorCode"], answer.json()["key"]) == (404, "FLAG_NOT_FOUND", "pause")
