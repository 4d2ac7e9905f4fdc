"""What the ports answer, on real segments: OTLP in both forms, events, and refusals that tell senders what to do."""

from __future__ import annotations

import asyncio
import gzip
import http.client
import json
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import CoroutineType
from typing import Any

import grpc
import msgspec
import pytest
import zstandard
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from prometheus_client.parser import text_string_to_metric_families
from starlette.routing import Route

from self_healing.api.bodies import MOST_BYTES
from self_healing.api.conversion import Conversion
from self_healing.api.server import Server
from self_healing.clock import FakeClock
from self_healing.config import ServerSettings
from self_healing.dashboard.changes import Changes
from self_healing.errors import ConfigError, NotFound, Overloaded, StorageError
from self_healing.telemetry.encoded import Encoded
from self_healing.telemetry.intake import Intake, Receipt
from self_healing.telemetry.segments import Segments
from tests.conversion import conversion as by_the_shared_process
from tests.unit.telemetry.query.test_find import places

AT = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
NOWHERE = Path("nowhere")
END_NS = 1_767_607_200 * 10**9

STATUS: dict[str, Any] = {
    "health": {"status": "degraded"},
    "stopped": None,
    "incidents": {"open": 2},
    "executions": {"succeeded": 3},
    "directives_in_force": 1,
    "constitutional_violations": 4,
    "version": "1.2.3",
    "spec_version": "abc",
    "environment": "staging",
    "evaluated_at": "2026-01-05T10:00:00.500000Z",
    "ingest_lag_s": 2.5,
    "firing": {"slow_tasks": 2, "high_retry_rate": 0},
    "telemetry": {
        "received": 10,
        "accepted": 9,
        "rejected": {"undated": 1},
        "aggregated": 8,
        "quarantined": {},
        "dropped": {"duplicate": 1},
        "in_flight": 0,
        "late": 0,
        "traces_lost": 7,
    },
    "requests_refused": {"too_large": 5},
}


async def ask(command: str, **arguments: Any) -> dict[str, Any]:
    if command == "incident":
        if arguments["id"] != "inc-1":
            raise NotFound("incident", arguments["id"])
        return {"evidence": {"agent": ["Coder"], "model": [], "since": AT.isoformat(), "until": None}}
    return STATUS if command in ("status", "figures") else {"status": "degraded"}


def unstarted(submit: Any, events: Path = NOWHERE, conversion: Conversion | None = None, **settings: Any) -> Server:
    """A server on free ports that is not started; `events` holds what somebody may ask for."""
    given = {"otlp_http_port": 0, "otlp_grpc_port": None, "port": 0, **settings}
    return Server(
        ServerSettings.model_validate(given),
        submit=submit,
        conversion=conversion or by_the_shared_process(),
        ask=ask,
        places=places(events),
        explain=lambda _: {},
        verify=dict,
        changes=Changes(),
        now=lambda: AT,
        environment="staging",
    )


@contextmanager
def serving(submit: Any, events: Path = NOWHERE, **settings: Any) -> Iterator[Server]:
    server = unstarted(submit, events, **settings)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def refuse(_batch: Any) -> Any:
    raise AssertionError("nothing is sent here")


def test_a_host_that_is_none_ends_the_start_with_the_setting() -> None:
    with (
        pytest.raises(ConfigError, match=r"server\.otlp_http_port: 0: cannot be opened on a\.\.b: no host of"),
        serving(refuse, host="a..b", token="t"),
    ):
        pass


@pytest.fixture
def segments(tmp_path: Path) -> Path:
    return tmp_path / "segments"


@pytest.fixture
def server(segments: Path) -> Iterator[Server]:
    clock = FakeClock(AT)
    intake = Intake(Segments(segments, now=clock.now), now=clock.now)
    intake.start()
    try:
        with serving(intake.submit) as running:
            yield running
    finally:
        intake.stop()


def post(
    server: Server, path: str, body: bytes, kind: str, headers: Mapping[str, str] | None = None, port: str = "port"
) -> tuple[int, dict[str, str], bytes]:
    return request(server, "POST", path, body, {"Content-Type": kind, **(headers or {})}, port)


def request(
    server: Server,
    method: str,
    path: str,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    port: str = "port",
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(server.addresses[port].removeprefix("http://"), timeout=30)
    try:
        connection.request(method, path, body, dict(headers or {}))
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def span(number: int, **fields: Any) -> dict[str, Any]:
    return {
        "traceId": f"{1:032x}",
        "spanId": f"{number:016x}",
        "name": "invoke_agent",
        "startTimeUnixNano": str(END_NS - 10**9),
        "endTimeUnixNano": str(END_NS),
        "attributes": [
            {"key": "gen_ai.operation.name", "value": {"stringValue": "invoke_agent"}},
            {"key": "gen_ai.agent.name", "value": {"stringValue": "Coder"}},
        ],
        **fields,
    }


def traces(*spans: dict[str, Any]) -> bytes:
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": list(spans)}]}]}).encode()


def protobuf(*numbers: int) -> bytes:
    message = ExportTraceServiceRequest()
    spans = message.resource_spans.add().scope_spans.add().spans
    for number in numbers:
        spans.add(
            trace_id=(1).to_bytes(16, "big"),
            span_id=number.to_bytes(8, "big"),
            name="invoke_agent",
            start_time_unix_nano=END_NS - 10**9,
            end_time_unix_nano=END_NS,
        )
    return message.SerializeToString()


def stored(segments: Path) -> list[dict[str, Any]]:
    lines = [line for file in sorted(segments.iterdir()) for line in file.read_bytes().splitlines()]
    return [msgspec.json.decode(line) for line in lines]


@pytest.mark.parametrize("port", ["port", "otlp_http_port"])
def test_otlp_in_json_is_acknowledged_when_it_is_stored(server: Server, segments: Path, port: str) -> None:
    status, headers, body = post(server, "/v1/traces", traces(span(1), span(2)), "application/json", port=port)
    assert (status, headers["content-type"], json.loads(body)) == (200, "application/json", {})
    assert [line["agent"] for line in stored(segments)] == ["Coder", "Coder"]


@pytest.mark.parametrize("encoding", [None, "gzip", "zstd"])
def test_otlp_in_protobuf_is_answered_in_protobuf(server: Server, segments: Path, encoding: str | None) -> None:
    body = protobuf(1, 2)
    packed = {None: body, "gzip": gzip.compress(body), "zstd": zstandard.compress(body)}[encoding]
    headers = {} if encoding is None else {"Content-Encoding": encoding}
    status, answered, answer = post(server, "/v1/traces", packed, "application/x-protobuf", headers)
    assert (status, answered["content-type"]) == (200, "application/x-protobuf")
    assert not ExportTraceServiceResponse.FromString(answer).HasField("partial_success")
    assert len(stored(segments)) == 2


def test_what_is_bad_for_good_is_a_partial_success(server: Server, segments: Path) -> None:
    bad = span(2, endTimeUnixNano="0")
    status, _, body = post(server, "/v1/traces", traces(span(1), bad), "application/json")
    assert status == 200
    partial = json.loads(body)["partialSuccess"]
    assert partial["rejectedSpans"] == "1"
    assert "without a usable time" in partial["errorMessage"]
    assert [line["type"] for line in stored(segments)] == ["self_healing_intake", "span"]


def test_a_batch_that_comes_again_is_acknowledged_and_changes_nothing(server: Server, segments: Path) -> None:
    assert post(server, "/v1/traces", protobuf(1), "application/x-protobuf")[0] == 200
    assert post(server, "/v1/traces", protobuf(1), "application/x-protobuf")[0] == 200
    assert [line["type"] for line in stored(segments)] == ["span", "self_healing_intake"]
    assert stored(segments)[1]["dropped"] == {"duplicate": 1}


def test_bad_data_is_refused_in_the_form_that_it_came_in(server: Server) -> None:
    status, _, body = post(server, "/v1/traces", b"\xff\xff", "application/x-protobuf")
    assert status == 400
    assert Status.FromString(body).code == 3
    status, _, body = post(server, "/v1/traces", b"{", "application/json")
    assert status == 400
    assert json.loads(body)["code"] == 3


@pytest.mark.parametrize("kind", ["text/plain", ""])
def test_another_content_type_is_refused_with_those_that_are_allowed(server: Server, kind: str) -> None:
    status, _, body = post(server, "/v1/traces", b"", kind)
    assert status == 415
    assert "application/x-protobuf" in json.loads(body)["message"]


def test_a_bomb_is_refused(server: Server, segments: Path) -> None:
    bomb = gzip.compress(bytes(200 << 20))
    status, _, _ = post(server, "/v1/traces", bomb, "application/x-protobuf", {"Content-Encoding": "gzip"})
    assert status == 413
    assert stored(segments) == []


def test_a_bomb_of_items_is_refused(server: Server, segments: Path) -> None:
    bomb = gzip.compress(b'{"resourceSpans":[{"scopeSpans":[{"spans":[{}' + b",{}" * 200_000 + b"]}]}]}")
    assert len(bomb) < 2_000
    status, _, answer = post(server, "/v1/traces", bomb, "application/json", {"Content-Encoding": "gzip"})
    assert (status, json.loads(answer)["message"]) == (413, "the body has more than 50,000 items; send smaller batches")
    assert post(server, "/v1/events", b"{}\n" * 200_000, "application/x-ndjson")[0] == 413
    assert stored(segments) == []


def test_a_body_that_says_that_it_is_too_large_is_refused_unread(server: Server) -> None:
    status, _, _ = post(server, "/v1/traces", b"", "application/x-protobuf", {"Content-Length": str(21 << 20)})
    assert status == 413


@pytest.mark.parametrize(
    ("kind", "size", "status"),
    [("application/x-protobuf", 21 << 20, 413), ("text/plain", 8 << 20, 415)],
)
def test_who_closes_after_the_answer_is_heard_out_and_so_hears_why(
    server: Server, kind: str, size: int, status: int
) -> None:
    assert post(server, "/v1/traces", bytes(size), kind, {"Connection": "close"})[0] == status


class Failing:
    """A place to store batches that has no room, or no disk."""

    def __init__(self, at_once: Exception | None = None, later: Exception | None = None) -> None:
        self._at_once, self._later = at_once, later

    def __call__(self, batch: Encoded) -> Future[Receipt]:
        if self._at_once is not None:
            raise self._at_once
        result: Future[Receipt] = Future()
        result.set_exception(self._later)
        return result


def test_a_sender_that_goes_away_while_it_sends_is_counted_and_nothing_else_said(
    server: Server, capfd: pytest.CaptureFixture[str]
) -> None:
    host, _, port = server.addresses["otlp_http_port"].removeprefix("http://").rpartition(":")
    head = "POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n"
    with socket.create_connection((host, int(port))) as sender:
        sender.sendall(head.encode() + b"{")
    for _ in range(1000):
        if server.refused["abandoned"]:
            break
        time.sleep(0.01)
    assert {reason: count for reason, count in server.refused.items() if count} == {"abandoned": 1}
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("failing", "retry_after"),
    [(Failing(at_once=Overloaded(3.0)), "3"), (Failing(later=StorageError("the disk is full")), "5")],
)
@pytest.mark.parametrize("path", ["/v1/traces", "/v1/events"])
def test_what_cannot_be_stored_now_is_asked_for_again(failing: Failing, retry_after: str, path: str) -> None:
    with serving(failing) as server:
        status, headers, _ = post(server, path, traces(span(1)), "application/json")
    assert (status, headers["retry-after"]) == (503, retry_after)


def test_of_many_senders_at_a_slow_disk_who_come_again_when_told_to_nobody_loses_anything(segments: Path) -> None:
    def slowly(_point: str) -> None:
        time.sleep(0.01)

    asked_again: list[float] = []

    def bring(server: Server, sender: int) -> None:
        line = {"ts": "2026-01-05T09:59:00Z", "type": "heartbeat", "agent": "A", "text": "x" * 300}
        for number in range(4):
            lines = b"".join(json.dumps({**line, "id": f"{sender}-{number}-{n}"}).encode() + b"\n" for n in range(3))
            while (answer := post(server, "/v1/events", lines, "application/x-ndjson"))[0] != 200:
                assert answer[0] == 503
                asked_again.append(float(answer[1]["retry-after"]))
                time.sleep(0.01)  # sooner than it was told to, which only makes it harder

    intake = Intake(Segments(segments, now=lambda: AT, queue_bytes=2_000, crash=slowly), now=lambda: AT)
    intake.start()
    try:
        with serving(intake.submit) as slow, ThreadPoolExecutor(4) as senders:
            list(senders.map(lambda sender: bring(slow, sender), range(4)))
    finally:
        intake.stop()
    assert set(asked_again) == {1.0}
    expected = sorted(f"{sender}-{number}-{n}" for sender in range(4) for number in range(4) for n in range(3))
    assert sorted(line["id"] for line in stored(segments) if line["type"] == "heartbeat") == expected


def test_native_events_are_counted_by_what_became_of_them(server: Server, segments: Path) -> None:
    lines = b'{"ts":"2026-01-05T09:59:00Z","type":"heartbeat","agent":"A"}\n{"ts":1}\n'
    status, _, body = post(server, "/v1/events", lines, "application/x-ndjson", {"Idempotency-Key": "k"})
    problems = ["line 2: ts: 1: allowed is str | null, got int"]
    counts = {"accepted": 1, "rejected": {"invalid_value": 1}, "dropped": {}, "problems": problems}
    assert (status, json.loads(body)) == (200, counts)
    status, _, body = post(server, "/v1/events", lines, "application/x-ndjson", {"Idempotency-Key": "k"})
    assert (status, json.loads(body)["dropped"]) == (200, {"duplicate": 1})
    assert json.loads(body)["problems"] == problems
    assert [line["type"] for line in stored(segments)][1:2] == ["heartbeat"]


def test_native_events_without_a_key_are_known_again_by_their_bytes(server: Server, segments: Path) -> None:
    line = b'{"ts":"2026-01-05T09:59:00Z","type":"heartbeat","agent":"A"}'
    for body, dropped in ((line, {}), (line, {"duplicate": 1}), (line + b" ", {})):
        assert json.loads(post(server, "/v1/events", body, "application/json")[2])["dropped"] == dropped
    assert [line["type"] for line in stored(segments)].count("heartbeat") == 2


def test_events_of_which_none_is_good_are_a_bad_request(server: Server) -> None:
    status, _, body = post(server, "/v1/events", b'{"ts":1}', "application/json")
    assert (status, json.loads(body)["rejected"]) == (400, {"invalid_value": 1})


def test_who_sends_to_a_path_that_is_none_is_told_which_there_are(server: Server) -> None:
    ways = [route.path for route in server.apps["otlp_http_port"].routes if isinstance(route, Route)]
    for path, port in (("/v1/trace", "port"), ("/", "otlp_http_port")):
        status, _, body = post(server, path, b"{}", "application/json", port=port)
        told = f"there is no such path; telemetry is sent to {', '.join(ways)}"
        assert (status, json.loads(body)["detail"]) == (404, told)


def test_a_key_that_is_too_long_is_refused(server: Server) -> None:
    status, _, body = post(server, "/v1/events", b"{}", "application/json", {"Idempotency-Key": "k" * 257})
    assert status == 400
    assert "1 to 256" in json.loads(body)["message"]


def test_a_test_report_is_taken(server: Server, segments: Path) -> None:
    report = b'<testsuite name="s"><testcase name="a"/><testcase name="b"><failure/></testcase></testsuite>'
    status, _, body = post(server, "/v1/junit?agent=Coder", report, "application/xml")
    assert (status, json.loads(body)["accepted"]) == (200, 1)
    runs = [line for line in stored(segments) if line["type"] == "test_run"]
    assert [(run["agent"], run["passed"], run["failed"]) for run in runs] == [("Coder", 1, 1)]


def test_an_alert_is_taken(server: Server, segments: Path) -> None:
    alert = {"status": "firing", "labels": {"alertname": "Slow", "agent": "Coder"}, "startsAt": "2026-01-05T09:59:00Z"}
    body = json.dumps({"version": "4", "alerts": [alert]}).encode()
    assert post(server, "/v1/alertmanager", body, "application/json")[0] == 200
    assert [line["agent"] for line in stored(segments) if line.get("type") is None] == ["Coder"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "localhost:1"}, 200),
        ({"Host": "[::1]:8787"}, 200),
        ({"Host": "evil.example"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Host": "localhost:1", "Origin": "http://localhost:1"}, 200),
        ({"Host": "localhost:1", "Origin": "null"}, 403),
    ],
)
def test_a_web_page_of_another_place_may_not_speak_to_it(server: Server, headers: dict[str, str], status: int) -> None:
    assert post(server, "/v1/traces", traces(), "application/json", headers)[0] == status


def test_with_a_token_only_who_shows_it_is_let_in() -> None:
    with serving(Failing(), token="secret") as server:
        refused = post(server, "/v1/events", b"{}", "application/json", {"Authorization": "Bearer other"})
        assert (refused[0], refused[1]["www-authenticate"]) == (401, "Bearer")
        assert server.refused["unauthenticated"] == 1
        assert request(server, "GET", "/metrics")[0] == 401
        assert request(server, "GET", "/metrics", headers={"Authorization": "Bearer secret"})[0] == 200
        assert request(server, "GET", "/healthz")[0] == 200


def metrics(server: Server) -> dict[tuple[str, ...], float]:
    """The samples of all metrics, by name and the values of the labels beside that of the fleet."""
    status, _, body = request(server, "GET", "/metrics")
    assert status == 200
    return {
        (sample.name, *(value for name, value in sample.labels.items() if name != "environment")): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def test_each_request_that_is_refused_whole_is_counted_by_its_reason() -> None:
    good = traces(span(1))
    for failing, path, body, kind, reason in (
        (Failing(), "/v1/traces", b"{", "application/json", "not_understood"),
        (Failing(), "/v1/logs", b"{}", "text/plain", "unsupported"),
        (Failing(), "/v1/events", b"{}", "text/plain", "unsupported"),
        (Failing(), "/v1/events", b" " * (MOST_BYTES + 1), "application/json", "too_large"),
        (Failing(), "/v1/events", b"{}\n" * 200_000, "application/x-ndjson", "too_large"),
        (Failing(at_once=Overloaded(3.0)), "/v1/traces", good, "application/json", "overloaded"),
        (Failing(later=StorageError("the disk is full")), "/v1/traces", good, "application/json", "not_stored"),
        (Failing(later=TimeoutError()), "/v1/traces", good, "application/json", "timed_out"),
    ):
        with serving(failing) as server:
            assert post(server, path, body, kind)[0] >= 400
            assert {why: count for why, count in server.refused.items() if count} == {reason: 1}


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/", "/api/v1/status", "/nowhere"])
def test_every_answer_says_which_fleet_it_is(server: Server, path: str) -> None:
    _, headers, _ = request(server, "GET", path)
    assert headers["self-healing-environment"] == "staging"


def test_metrics_carry_the_accounting() -> None:
    with serving(Failing()) as server:
        samples = metrics(server)
    assert samples["self_healing_events_received_total",] == 10
    assert samples["self_healing_events_rejected_total", "undated"] == 1
    assert samples["self_healing_events_dropped_total", "duplicate"] == 1
    assert samples["self_healing_traces_lost_total",] == 7
    assert samples["self_healing_requests_refused_total", "too_large"] == 5
    assert samples["self_healing_requests_refused_total", "overloaded"] == 0
    assert samples["self_healing_incidents", "open"] == 2
    assert samples["self_healing_health", "degraded"] == 1
    assert samples["self_healing_health", "healthy"] == 0


def test_every_metric_says_which_fleet_it_is(server: Server) -> None:
    _, _, body = request(server, "GET", "/metrics")
    samples = [sample for family in text_string_to_metric_families(body.decode()) for sample in family.samples]
    assert {sample.labels.get("environment") for sample in samples} == {"staging"}


def test_metrics_say_what_runs_how_far_it_is_and_what_fires() -> None:
    with serving(Failing()) as server:
        samples = metrics(server)
    assert samples["self_healing_build_info", "abc", "1.2.3"] == 1
    assert samples["self_healing_last_evaluation_timestamp_seconds",] == AT.timestamp() + 0.5
    assert samples["self_healing_ingest_lag_seconds",] == 2.5
    assert samples["self_healing_firing_series", "slow_tasks"] == 2
    assert samples["self_healing_firing_series", "high_retry_rate"] == 0


def test_a_reason_that_never_came_up_is_there_at_zero_so_that_its_first_time_is_an_increase() -> None:
    with serving(Failing()) as server:
        samples = metrics(server)
    assert samples["self_healing_events_quarantined_total", "torn"] == 0
    assert samples["self_healing_events_rejected_total", "invalid_id"] == 0
    assert samples["self_healing_events_dropped_total", "too_late"] == 0


def test_readiness_follows_health() -> None:
    with serving(Failing()) as server:
        assert request(server, "GET", "/healthz")[0] == 200
        assert request(server, "GET", "/readyz")[0] == 200


def test_the_port_for_otlp_shows_nothing() -> None:
    with serving(Failing()) as server:
        assert request(server, "GET", "/metrics", port="otlp_http_port")[0] == 404


@pytest.mark.parametrize("setting", ["port", "otlp_http_port", "otlp_grpc_port"])
def test_a_port_that_answers_no_more_is_a_problem_that_names_it(setting: str) -> None:
    with serving(Failing(), otlp_grpc_port=0) as server:
        assert server.problems == []
        end(server._serving[setting])
        problem = eventually(lambda: server.problems)
        address = server.addresses[setting]
        expected = f"server.{setting}: {address} answers no more: what serves it ended; start the service again"
        assert problem == [expected]
    assert server.problems == [expected]


def end(task: asyncio.Task[object]) -> None:
    """End what serves a port behind its back; gRPC's server itself, whose waiting is not the serving."""
    coroutine = task.get_coro()
    assert isinstance(coroutine, CoroutineType)
    assert coroutine.cr_frame is not None
    served = coroutine.cr_frame.f_locals["self"]
    if isinstance(served, grpc.aio.Server):
        asyncio.run_coroutine_threadsafe(served.stop(0), task.get_loop())
    else:
        task.get_loop().call_soon_threadsafe(task.cancel)


def test_a_thread_that_ends_is_a_problem_of_every_port() -> None:
    with serving(Failing()) as server:
        loop = server._serving["port"].get_loop()
        loop.call_soon_threadsafe(lambda: [task.cancel() for task in asyncio.all_tasks(loop)])
        server._thread.join(30)
        assert [problem.partition(":")[0] for problem in server.problems] == ["server.otlp_http_port", "server.port"]
        assert all("its thread ended with CancelledError" in problem for problem in server.problems)


def test_a_server_that_was_stopped_has_no_problem() -> None:
    with serving(Failing(), otlp_grpc_port=0) as server:
        pass
    assert server.problems == []


def eventually(told: Callable[[], list[str]]) -> list[str]:
    """What it tells once that is something."""
    for _ in range(3_000):
        if found := told():
            return found
        time.sleep(0.01)
    raise AssertionError("it never told anything")


@pytest.mark.parametrize("setting", ["port", "otlp_http_port", "otlp_grpc_port"])
def test_a_port_that_is_taken_is_named_with_the_setting_that_moves_it(setting: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        with (
            pytest.raises(ConfigError, match=f"server.{setting}: {number}: cannot be opened"),
            serving(Failing(), **{setting: number}),
        ):
            pass


def test_a_stop_frees_the_ports_and_may_be_said_twice() -> None:
    with serving(Failing()) as server:
        number = int(server.addresses["port"].rpartition(":")[2])
    server.stop()
    with socket.create_server(("127.0.0.1", number)):
        pass
