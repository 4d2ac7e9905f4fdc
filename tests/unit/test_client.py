"""The client, asked of a service: typed answers, lists over their pages, changes as they come, refusals as errors."""

from __future__ import annotations

import inspect
import socket
from collections.abc import Iterator
from datetime import timedelta
from itertools import islice
from pathlib import Path

import pytest

from self_healing import Client
from self_healing.api import models
from self_healing.api.server import Server
from self_healing.api.v1.app import api
from self_healing.config import ServerSettings
from self_healing.dashboard.changes import Changes
from self_healing.errors import ServiceRefused, ServiceUnreachable
from self_healing.model import ExecutionStatus, HandoffStatus, IncidentState
from self_healing.surface import Surface
from self_healing.testing import Scenario
from tests.conversion import conversion
from tests.unit.api.test_v1 import fleet_in, source

TOKEN = "secret"


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Scenario]:
    with fleet_in(tmp_path) as made:
        yield made


@pytest.fixture
def changes() -> Changes:
    return Changes()


@pytest.fixture
def server(fleet: Scenario, changes: Changes) -> Iterator[Server]:
    here = source(fleet, changes)
    made = Server(
        ServerSettings(port=0, otlp_http_port=None, otlp_grpc_port=None, token=TOKEN),
        submit=lambda *_: pytest.fail("nothing is sent here"),
        conversion=conversion(),
        ask=here.ask,
        explain=here.explain,
        verify=here.verify,
        places=here.places,
        changes=changes,
        now=here.now,
    )
    made.start()
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(server.addresses["port"], token=TOKEN, page=1) as made:
        yield made


def test_every_operation_of_the_api_is_a_method() -> None:
    operations = {operation["operationId"] for each in api().openapi()["paths"].values() for operation in each.values()}
    methods = {name for name, _ in inspect.getmembers(Client, inspect.isfunction) if not name.startswith("_")}
    assert methods == operations | {"close"}


def test_what_is_asked_comes_typed(client: Client, fleet: Scenario) -> None:
    assert client.health().status == "healthy"
    assert client.status().telemetry.received == client.telemetry().telemetry.received == 14
    assert {each.agent for each in client.agents()} == {"Coder", "Tester", "Writer"}
    assert client.agent("Tester").directives == client.effective()["Tester"]
    assert [each.name for each in client.triggers() if each.firing] == ["slow_tasks", "high_error_rate"]
    assert client.trigger("slow_tasks").condition == "max task.duration_s >= 1m"
    told = client.explain("slow_tasks")
    assert [each.group for each in told.series if each.state == "firing"] == [{"agent": "Coder"}]
    assert {each.name for each in client.actions()} > {"erase"}
    assert client.constitution().articles[2].number == "III"
    assert client.verify_audit().ok
    incident = client.incident(fleet.incident("slow_tasks").id)
    assert (incident.timeline[0].what, incident.incident.opened_at) == ("detected", fleet.start_at)
    assert client.decision(incident.decisions[0].id).why[2].held[0].policy == "cannot_be_undone"


def test_a_list_goes_on_over_its_pages(client: Client) -> None:
    assert [each.trigger for each in client.incidents()] == ["high_error_rate", "slow_tasks"]
    assert len(list(client.events(agent=["Tester"], kind=["task_finished"]))) == 12
    assert [each.state for each in client.series(state=["firing"])] == ["firing", "firing"]
    assert {each.after for each in client.transitions(trigger=["slow_tasks"])} == {"firing"}
    assert [each.status for each in client.executions(status=[ExecutionStatus.AWAITING_APPROVAL])] == [
        "awaiting_approval"
    ]
    assert len(list(client.decisions())) == len(list(client.audit(kind=["decision"])))
    assert {each.about for each in client.handoffs(status=[HandoffStatus.DELIVERED])} == {"Coder"}
    assert [each.about for each in client.handoffs(agent=["Tester"])] == ["Tester"]
    assert [each.trigger for each in client.incidents(agent=["Coder"])] == ["slow_tasks"]
    assert [each.agent for each in client.directives(agent=["Tester"], open=True)] == ["Tester"]
    assert [each.phase for each in client.verifications()]
    assert list(client.silences()) == []
    assert [each.id for each in islice(client.incidents(), 1)] == [next(client.incidents()).id]


def test_what_it_is_told_is_done(client: Client, fleet: Scenario) -> None:
    id = fleet.incident("slow_tasks").id
    assert client.acknowledge_incident(id, by="Ada", reason="seen").acknowledged_by == "Ada"
    [approval] = client.approvals(open=True)
    assert client.approval(approval.id).incident.id == id
    yes = client.approve(approval.id, by="Ada", reason="a copy", plan=approval.plan)
    assert yes.status == "approved"
    muted = client.silence(by="Ada", reason="known", lasts_s=60, trigger="slow_tasks", keys={"agent": "Coder"})
    assert muted.ends_at - muted.starts_at == timedelta(seconds=60)
    assert client.remove_silence(muted.id, by="Ada").removed_by == "Ada"
    [directive] = client.directives(open=True)
    assert client.undo_directive(directive.id, by="Ada", reason="enough")[0].undone_at is not None
    [handoff] = client.handoffs(status=[HandoffStatus.DELIVERED])
    assert client.accept_handoff(handoff.id, by="Operator").status == "accepted"
    assert client.complete_handoff(handoff.id, by="Operator", result="looked").result == "looked"
    assert client.handoff(handoff.id).message["prompt"]
    assert client.stop(by="Ada", reason="a drill").by == "Ada"
    assert [client.resume(by="Ada", reason="it is over") for _ in range(2)] == [True, False]
    assert client.disable_trigger("slow_tasks", by="Ada").dismissed == [id]
    assert client.enable_trigger("slow_tasks", by="Ada").enabled
    assert next(client.incidents(state=[IncidentState.CLOSED])).id == id


def test_changes_are_heard_as_they_come(client: Client, changes: Changes) -> None:
    heard = client.changes()
    assert next(heard) == 0
    changes.changed()
    assert next(heard) == 1
    changes.end()
    with pytest.raises(ServiceUnreachable, match="ended the stream"):
        next(heard)


def test_a_refusal_says_what_the_service_said(client: Client, server: Server) -> None:
    with pytest.raises(ServiceRefused, match="no incident 'inc-none'") as refused:
        client.incident("inc-none")
    assert refused.value.status == 404
    with Client(server.addresses["port"], token="guessed") as other:
        with pytest.raises(ServiceRefused, match="the token is missing or wrong"):
            other.health()
        with pytest.raises(ServiceRefused, match="the token is missing or wrong"):
            next(other.changes())


def test_a_service_that_is_not_there_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with Client(f"http://127.0.0.1:{port}") as client, pytest.raises(ServiceUnreachable, match=str(port)):
        client.health()


def test_an_answer_of_a_newer_service_is_understood(fleet: Scenario) -> None:
    newer = Surface(fleet.loop).call("health", {}) | {"mood": "sunny"}
    assert models.Health.model_validate(newer).status == "healthy"
