"""The API: every answer is what its model says, lists page through all there is, and refusals say what is allowed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx2
import pytest

from self_healing.api import models
from self_healing.api.v1.app import make_app
from self_healing.api.v1.source import Source
from self_healing.constitution.checkpoints import verified
from self_healing.dashboard.changes import Changes
from self_healing.explaining.explain import explain
from self_healing.filenames import SEGMENTS
from self_healing.model import Incident
from self_healing.surface import Surface
from self_healing.telemetry.query.files import Places
from self_healing.testing import Scenario
from tests.scenarios.test_approvals import options
from tests.scenarios.test_causes import slow_by_model

Json = dict[str, Any]
ADA = {"by": "Ada", "reason": "tested"}


def source(fleet: Scenario, changes: Changes | None = None) -> Source:
    """Answers from a scenario's state."""
    loop = fleet.loop

    async def ask(command: str, **arguments: Any) -> Json:
        return Surface(loop).call(command, arguments)

    return Source(
        ask=ask,
        explain=lambda question: explain(loop.settings, question, now=loop.now(), ask=Surface(loop).call),
        verify=lambda: verified(loop.settings.storage.state_dir, loop.settings.storage.logs_dir),
        places=places_of(fleet),
        changes=changes or Changes(),
        now=loop.now,
    )


def places_of(fleet: Scenario) -> Places:
    """Where a scenario's events are."""
    settings = fleet.loop.settings
    return Places(telemetry=settings.telemetry.dir, segments=settings.storage.state_dir / SEGMENTS)


@contextmanager
def fleet_in(directory: Path) -> Iterator[Scenario]:
    """Coder is slow, and the answer to that waits for a person; Tester erred, was paused and is let back."""
    with Scenario(directory, settings=options(directory)) as made:
        made.start("slow", started_at=made.clock.now().timestamp() - 70)
        for number in range(12):
            made.finish(f"t-{number}", "Tester", status="failed", duration_s=2.0)
        made.finish("fine", "Writer", duration_s=2.0)
        made.expect_actions("slow_tasks", erase="awaiting_approval")
        made.complete("high_error_rate", "Tester")
        made.loop.cycle(made.clock.now())
        yield made


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Scenario]:
    with fleet_in(tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scenario]:
    """One for all who only look."""
    with fleet_in(tmp_path_factory.mktemp("fleet")) as made:
        yield made


def ask(fleet: Scenario, method: str, path: str, told: Any = None, **asked: Any) -> httpx2.Response:
    """The answer of the API to one request."""

    async def run() -> httpx2.Response:
        transport = httpx2.ASGITransport(make_app(source(fleet)))
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            query = f"?{urlencode(asked, doseq=True)}" if asked else ""
            return await client.request(method, path + query, json=told)

    return asyncio.run(run())


def get(fleet: Scenario, path: str, **asked: Any) -> Json:
    answer = ask(fleet, "GET", path, **asked)
    assert answer.status_code == 200, answer.text
    told: Json = answer.json()
    return told


def post(fleet: Scenario, path: str, told: Any = None) -> Json:
    answer = ask(fleet, "POST", path, told)
    assert answer.status_code == 200, answer.text
    said: Json = answer.json()
    return said


def exactly(model: type[models.Model], told: Json) -> None:
    """`told` has every field of the model and none besides."""
    model.model_validate(told, extra="forbid")


def first(fleet: Scenario, path: str, **asked: Any) -> Json:
    """The newest record of a list."""
    listed = get(fleet, path, limit=1, **asked)
    found: Json = next(value for value in listed.values() if isinstance(value, list))[0]
    return found


LOOKS: dict[str, type[models.Model]] = {
    "/health": models.Health,
    "/status": models.Status,
    "/telemetry": models.Telemetry,
    "/events": models.Events,
    "/agents": models.Agents,
    "/agents/Tester": models.AgentDetail,
    "/triggers": models.Triggers,
    "/triggers/slow_tasks": models.TriggerDetail,
    "/triggers/slow_tasks/explain": models.Explanation,
    "/series": models.SeriesPage,
    "/transitions": models.Transitions,
    "/incidents": models.Incidents,
    "/actions": models.Actions,
    "/executions": models.Executions,
    "/verifications": models.Verifications,
    "/directives": models.Directives,
    "/directives/effective": models.Effective,
    "/handoffs": models.Handoffs,
    "/silences": models.Silences,
    "/constitution": models.Constitution,
    "/decisions": models.Decisions,
    "/approvals": models.Approvals,
    "/audit": models.Entries,
    "/audit/verification": models.AuditReport,
}


def test_every_answer_is_what_its_model_says(fleet: Scenario) -> None:
    post(fleet, "/silences", {**ADA, "lasts_s": 60, "trigger": "slow_tasks", "keys": {"agent": "Writer"}})
    for path, model in LOOKS.items():
        told = get(fleet, path)
        exactly(model, told)
        assert all(told[name] for name in told if name not in OFTEN_EMPTY), (path, told)


OFTEN_EMPTY = (
    *("next", "warnings", "issues", "restart_needed", "last_reload", "stopped", "quarantine", "muted", "past"),
    *("constitutional_violations", "violations", "denials", "why_none", "history", "first_bad_seq", "problem", "for_s"),
    *("handoffs", "in_force", "environment", "deleted", "requests_refused", "trimmed"),
)
"""What says nothing where all is well."""


def test_a_parent_is_answered_with_what_is_beneath_it(tmp_path: Path) -> None:
    with Scenario(tmp_path) as made:
        slow_by_model(made)
        [parent] = [each for each in made.loop.register.open.values() if each.is_parent]
        told = get(made, f"/incidents/{parent.id}")
    exactly(models.IncidentDetail, told)
    assert {each["parent"] for each in told["beneath"]} == {parent.id}


@pytest.mark.parametrize(
    ("listed", "key", "model"),
    [
        ("/incidents", "incident", models.IncidentDetail),
        ("/executions", "execution", models.ExecutionDetail),
        ("/handoffs", "handoff", models.HandoffDetail),
        ("/approvals", "approval", models.ApprovalDetail),
    ],
)
def test_one_of_a_list_is_told_in_full(still: Scenario, listed: str, key: str, model: type[models.Model]) -> None:
    one = first(still, listed)
    told = get(still, f"{listed}/{one['id']}")
    exactly(model, told)
    assert told[key]["id"] == one["id"]


def test_a_decision_is_told_with_why_it_was_so(still: Scenario) -> None:
    asked = first(still, "/decisions", outcome="ask")
    told = get(still, f"/decisions/{asked['id']}")
    exactly(models.DecisionDetail, told)
    assert [(each["article"], held["policy"]) for each in told["why"] for held in each["held"]] == [
        ("III", "cannot_be_undone")
    ]


@pytest.mark.parametrize("path", ["/incidents", "/executions", "/decisions", "/handoffs", "/approvals", "/triggers"])
def test_what_is_not_there_is_a_problem_that_names_it(still: Scenario, path: str) -> None:
    answer = ask(still, "GET", f"{path}/nothing")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    told = models.Problem.model_validate(answer.json())
    assert (told.title, "'nothing'" in told.detail) == ("Not Found", True)


@pytest.mark.parametrize("path", ["/agents", "/series", "/transitions", "/incidents", "/audit", "/decisions"])
def test_pages_hold_each_record_once_and_in_order(still: Scenario, path: str) -> None:
    whole = get(still, path, limit=200)
    [key] = [name for name, value in whole.items() if isinstance(value, list)]
    assert whole["next"] is None
    paged: list[Json] = []
    cursor: dict[str, str] = {}
    while True:
        page = get(still, path, limit=2, **cursor)
        paged += page[key]
        if page["next"] is None:
            break
        assert len(page[key]) == 2
        cursor = {"cursor": page["next"]}
    assert paged == whole[key]
    assert len(paged) > 1


def test_a_page_goes_on_where_it_ended_whatever_came_in_meanwhile(fleet: Scenario) -> None:
    before = get(fleet, "/incidents")["incidents"]
    page = get(fleet, "/incidents", limit=1)
    fleet.at(2).finish("later", "Writer", duration_s=99.0)
    fleet.loop.cycle(fleet.clock.now())
    following = get(fleet, "/incidents", cursor=page["next"])["incidents"]
    assert [each["id"] for each in page["incidents"] + following] == [each["id"] for each in before]
    assert len(get(fleet, "/incidents")["incidents"]) == len(before) + 1


@pytest.mark.parametrize(
    ("path", "asked", "expected"),
    [
        ("/incidents", {"trigger": "slow_tasks"}, ["slow_tasks"]),
        ("/incidents", {"trigger": ["slow_tasks", "cost_spike"]}, ["slow_tasks"]),
        ("/incidents", {"state": "closed"}, []),
        ("/incidents", {"agent": "Tester"}, ["high_error_rate"]),
        ("/incidents", {"agent": ["Writer", "Coder"]}, ["slow_tasks"]),
        ("/series", {"state": "firing"}, ["high_error_rate", "slow_tasks"]),
        ("/series", {"trigger": "high_error_rate", "state": "firing"}, ["high_error_rate"]),
        ("/series", {"trigger": "high_error_rate", "state": "pending"}, []),
        ("/executions", {"status": "denied"}, []),
    ],
)
def test_a_list_is_filtered(still: Scenario, path: str, asked: Json, expected: list[str]) -> None:
    found = next(value for value in get(still, path, **asked).values() if isinstance(value, list))
    assert [each["trigger"] for each in found] == expected


@pytest.mark.parametrize(("agent", "found"), [("Tester", 1), ("TestGeneratorAgent", 1), ("Writer", 0)])
def test_the_handoffs_of_an_agent_are_about_it_or_for_it(still: Scenario, agent: str, found: int) -> None:
    assert len(get(still, "/handoffs", agent=agent)["handoffs"]) == found


def test_what_is_done_by_the_api_is_done(fleet: Scenario) -> None:
    incident, directive = fleet.incident("slow_tasks"), first(fleet, "/directives")
    exactly(models.ChangedIncident, post(fleet, f"/incidents/{incident.id}/ack", ADA))
    assert fleet.incident("slow_tasks").acknowledged_by == "Ada"
    undone = post(fleet, f"/directives/{directive['id']}/undo", ADA)
    exactly(models.UndoneDirectives, undone)
    assert undone["directives"][0]["undone_reason"].startswith("Ada")
    muted = post(fleet, "/silences", {**ADA, "lasts_s": 60, "trigger": "slow_tasks"})
    exactly(models.AddedSilence, muted)
    exactly(models.ChangedSilence, post(fleet, f"/silences/{muted['silence']['id']}/remove", {"by": "Ada"}))
    off = post(fleet, "/triggers/slow_tasks/disable", {"by": "Ada"})
    exactly(models.Switched, off)
    assert off["dismissed"] == [incident.id]
    assert post(fleet, "/triggers/slow_tasks/enable", {"by": "Ada"})["enabled"]
    exactly(models.Stopped, post(fleet, "/stop", ADA))
    assert get(fleet, "/status")["stopped"]["reason"] == "tested"
    assert post(fleet, "/resume", ADA) == {"resumed": True}


def test_a_handoff_is_worked_by_the_api(fleet: Scenario) -> None:
    id = first(fleet, "/handoffs", status="delivered")["id"]
    exactly(models.MovedHandoff, post(fleet, f"/handoffs/{id}/accept", {"by": "Operator"}))
    done = post(fleet, f"/handoffs/{id}/complete", {"by": "Operator", "result": "looked at"})
    assert (done["handoff"]["status"], done["handoff"]["result"]) == ("completed", "looked at")
    again = ask(fleet, "POST", f"/handoffs/{id}/fail", {"by": "Operator"})
    assert (again.status_code, again.json()["title"]) == (409, "Conflict")


def test_an_incident_is_closed_once(fleet: Scenario) -> None:
    id = fleet.incident("slow_tasks").id
    assert post(fleet, f"/incidents/{id}/close", ADA)["incident"]["close_reason"] == "dismissed"
    assert fleet.loop.store.get(Incident, id).closed_by == "Ada"
    assert ask(fleet, "POST", f"/incidents/{id}/close", ADA).status_code == 409


@pytest.mark.parametrize(
    ("path", "asked", "detail"),
    [
        ("/incidents", {"stat": "open"}, "parameter 'stat': unknown; did you mean state? allowed are state, trigger"),
        ("/incidents", {"state": "shut"}, "state 'shut': allowed are open, acting, verifying"),
        ("/incidents", {"limit": 201}, "limit '201': allowed is 1 to 200"),
        ("/incidents", {"cursor": "kqlpbmM"}, "cursor 'kqlpbmM': allowed is what the page before said as next"),
        ("/incidents", {"cursor": "é"}, "cursor 'é': allowed is what the page before said as next"),
        ("/incidents", {"cursor": ["a", "b"]}, "cursor: given 2 times, allowed is once"),
        ("/approvals", {"open": "perhaps"}, "open: input should be a valid boolean"),
        ("/triggers/slow_tasks/explain", {"group": "Coder"}, "group 'Coder': allowed is a key and a value"),
        ("/triggers/slow_tasks/explain", {"at": "now"}, "at 'now': allowed is a length of time such as 90s"),
        *(
            ("/triggers/slow_tasks/explain", {"at": at}, f"at '{at}': allowed is a time from 1970 until before 9000")
            for at in ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59-14:00")
        ),
        ("/triggers/slow_tasks/explain", {"group": "model=m"}, "slow_tasks does not group by 'model'"),
    ],
)
def test_a_mistake_is_a_problem_with_what_is_allowed(still: Scenario, path: str, asked: Json, detail: str) -> None:
    answer = ask(still, "GET", path, **asked)
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    assert answer.json()["detail"].startswith(detail)


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
def test_a_silence_begins_at_a_time_that_people_may_mean(still: Scenario, at: str) -> None:
    told = {**ADA, "lasts_s": 60, "trigger": "slow_tasks", "starts_at": at}
    answer = ask(still, "POST", "/silences", told)
    assert answer.status_code == 400
    assert "starts_at" in answer.json()["detail"]


def test_a_failure_that_nobody_foresaw_is_a_problem_too(still: Scenario) -> None:
    async def failing(command: str, **arguments: Any) -> Json:
        raise KeyError(command, arguments)

    async def run() -> httpx2.Response:
        here = replace(source(still), ask=failing)
        transport = httpx2.ASGITransport(make_app(here), raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.get("/status")

    answer = asyncio.run(run())
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert "KeyError" in models.Problem.model_validate(answer.json()).detail


def test_the_cursor_of_one_list_is_none_of_another(still: Scenario) -> None:
    cursor = get(still, "/audit", limit=1)["next"]
    assert ask(still, "GET", "/decisions", cursor=cursor).status_code == 400


def test_a_path_that_is_none_and_a_method_that_it_has_not_are_problems(still: Scenario) -> None:
    missing, wrong = ask(still, "GET", "/nothing"), ask(still, "GET", "/stop")
    assert (missing.status_code, wrong.status_code, wrong.headers["allow"]) == (404, 405, "POST")
    assert "openapi.json" in missing.json()["detail"]
    assert (wrong.json()["title"], wrong.json()["detail"]) == ("Method Not Allowed", "GET: allowed here is POST")


def test_changes_are_told_as_they_come(fleet: Scenario) -> None:
    changes = Changes()

    async def run() -> list[str]:
        sent: list[str] = []
        connected = asyncio.Event()

        async def receive() -> Json:
            await connected.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message.get("body", b"").decode())
            if len(sent) == 2:
                changes.changed()
            if len(sent) == 3:
                changes.end()

        path = {"path": "/changes", "raw_path": b"/changes", "query_string": b"", "headers": []}
        scope = {"type": "http", "method": "GET", "http_version": "1.1", "scheme": "http", **path}
        await asyncio.wait_for(make_app(source(fleet, changes))(scope, receive, send), 30)
        return sent

    sent = asyncio.run(run())
    assert sent[1:3] == ["event: changed\nid: 0\ndata: 0\n\n", "event: changed\nid: 1\ndata: 1\n\n"]
