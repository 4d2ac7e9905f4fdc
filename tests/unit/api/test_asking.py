"""Events over HTTP: the filters of the command, pages, refusals that say what is allowed, and ingest going on."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PosixPath
from typing import Any
from urllib.parse import urlencode

import pytest

from self_healing.api.server import Server
from self_healing.model import Ingested
from tests.unit.api.test_server import STATUS, refuse, request, serving
from tests.unit.telemetry.query.test_find import native, segment, ts

Json = dict[str, Any]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    native(
        tmp_path,
        {"ts": ts(1), "type": "task_finished", "id": "t1", "agent": "Coder", "status": "failed", "model": "m"},
        {"ts": ts(2), "type": "heartbeat", "id": "t2", "agent": "Tester"},
    )
    segment(tmp_path, Ingested(ts=ts(3), kind="tool_call", task_id="t3", agent="Coder", trace_id="tr"))
    with serving(refuse, tmp_path) as running:
        yield running


def get(server: Server, **asked: Any) -> tuple[int, Json, str]:
    status, headers, body = request(server, "GET", f"/api/v1/events?{urlencode(asked, doseq=True)}")
    return status, json.loads(body), headers["content-type"]


def tasks(server: Server, **asked: Any) -> list[str]:
    status, told, _ = get(server, **asked)
    assert status == 200, told
    return [event["task_id"] for event in told["events"]]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, ["t3", "t2", "t1"]),
        ({"agent": "Coder"}, ["t3", "t1"]),
        ({"agent": ["Coder", "Tester"], "kind": ["heartbeat", "tool_call"]}, ["t3", "t2"]),
        ({"task": "t2"}, ["t2"]),
        ({"status": "failed"}, ["t1"]),
        ({"model": "m"}, ["t1"]),
        ({"source": "otlp"}, ["t3"]),
        ({"trace": "tr"}, ["t3"]),
        ({"since": ts(2)}, ["t3", "t2"]),
        ({"until": ts(2)}, ["t1"]),
        ({"since": "90s"}, ["t3", "t2", "t1"]),  # before the present as the service has it
        ({"until": "90s"}, []),
        ({"limit": 1}, ["t3"]),
    ],
    ids=str,
)
def test_it_filters_as_the_command_does(asked: Json, expected: list[str], server: Server) -> None:
    assert tasks(server, **asked) == expected


def test_each_page_says_where_the_next_begins(server: Server) -> None:
    _, first, kind = get(server, limit=2)
    _, second, _ = get(server, limit=2, cursor=first["next"])
    assert kind == "application/json"
    assert [event["task_id"] for event in first["events"] + second["events"]] == ["t3", "t2", "t1"]
    assert (second["next"], second["warnings"]) == (None, [])


@pytest.mark.parametrize(
    ("asked", "detail"),
    [
        ({"agnet": "A"}, "parameter 'agnet': unknown; did you mean agent? allowed are agent, task, kind"),
        ({"kind": "task_finish"}, "kind 'task_finish': allowed are task_started, task_finished"),
        ({"status": "bad"}, "status 'bad': allowed are success, failed, timeout, canceled"),
        ({"since": "yesterday"}, "since 'yesterday': allowed is a length of time such as 90s"),
        ({"until": "0001-01-01T00:00:00Z"}, "until '0001-01-01T00:00:00Z': allowed is a time from 1970 until before"),
        ({"limit": 0}, "limit '0': allowed is 1 to 1000"),
        ({"limit": 1001}, "limit '1001': allowed is 1 to 1000"),
        ({"limit": "٣"}, "limit '٣': allowed is 1 to 1000"),
        ({"limit": [1, 2]}, "limit: given 2 times, allowed is once"),
        ({"cursor": "x"}, "cursor 'x': allowed is what the page before said as next"),
    ],
    ids=lambda each: next(iter(each)) if isinstance(each, dict) else None,
)
def test_a_mistake_is_a_problem_with_what_is_allowed(asked: Json, detail: str, server: Server) -> None:
    status, told, kind = get(server, **asked)
    assert (status, kind) == (400, "application/problem+json")
    assert told.pop("detail").startswith(detail)
    assert told == {"type": "about:blank", "title": "Bad Request", "status": 400}


def test_what_an_incident_rests_on_is_found_by_its_id(server: Server) -> None:
    assert tasks(server, incident="inc-1") == ["t3", "t1"]
    assert tasks(server, incident="inc-1", since=ts(2)) == ["t3"]
    status, told, _ = get(server, incident="inc-2")
    assert (status, told["title"]) == (404, "Not Found")


def test_an_agent_that_no_event_has_is_answered_with_the_nearest(server: Server) -> None:
    _, told, _ = get(server, agent="Codre")
    assert told["warnings"] == ["no event has the agent 'Codre'; did you mean Coder?"]


def test_without_any_telemetry_it_says_where_it_should_be(tmp_path: Path) -> None:
    with serving(refuse, tmp_path) as server:
        status, told, _ = get(server)
    assert (status, told["title"]) == (503, "Service Unavailable")
    assert told["detail"].startswith("no telemetry yet:")


class Gate(PosixPath):
    """A directory that lets nobody look into it until it is opened."""

    reached = threading.Event()
    opened = threading.Event()

    def __fspath__(self) -> str:
        self.reached.set()
        assert self.opened.wait(60)
        return super().__fspath__()


def test_other_requests_are_answered_while_events_are_looked_for(tmp_path: Path) -> None:
    native(tmp_path, {"ts": ts(0), "id": "t"})
    with serving(refuse, Gate(tmp_path)) as server, ThreadPoolExecutor() as pool:
        look = pool.submit(get, server)
        assert Gate.reached.wait(60)
        assert request(server, "GET", "/healthz")[0] == 200
        assert not look.done()
        Gate.opened.set()
        assert look.result()[0] == 200


def test_the_status_is_answered_with_its_accounting(server: Server) -> None:
    status, _, body = request(server, "GET", "/api/v1/status")
    assert (status, json.loads(body)) == (200, STATUS)


def test_the_port_for_otlp_and_strangers_are_told_nothing(server: Server) -> None:
    assert request(server, "GET", "/api/v1/events", port="otlp_http_port")[0] == 404
    assert request(server, "GET", "/api/v1/events", headers={"Origin": "http://elsewhere"})[0] == 403
