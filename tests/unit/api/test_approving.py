"""Approving over HTTP: who may answer, what an answer must say, and how a refusal is told."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from self_healing.testing import Scenario
from tests.scenarios.test_approvals import options
from tests.unit.dashboard.test_pages import serving

YES = {"by": "Ada", "reason": "it is a copy"}


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Scenario]:
    """Coder is slow, and the answer to that waits for a person."""
    with Scenario(tmp_path, settings=options(tmp_path)) as made:
        made.start("slow", started_at=made.clock.now().timestamp() - 70)
        made.expect_actions("slow_tasks", erase="awaiting_approval")
        yield made


def ask(port: int, path: str = "", told: Any = None, **headers: str) -> tuple[int, Any]:
    """The answer to a GET, or with something to tell to a POST."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    method, body = ("GET", None) if told is None else ("POST", json.dumps(told))
    try:
        headers = {"Content-Type": "application/json", **headers}
        connection.request(method, f"/api/v1/approvals{path}", body, headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def test_what_waits_is_listed_shown_and_answered_once(fleet: Scenario) -> None:
    with serving(fleet.loop) as port:
        [listed] = ask(port)[1]["approvals"]
        shown = ask(port, f"/{listed['id']}")[1]
        answer = {**YES, "plan": shown["approval"]["plan"]}
        status, told = ask(port, f"/{listed['id']}/approve", answer)
        again, refused = ask(port, f"/{listed['id']}/deny", answer)

    assert shown["facts"]["reversible"] is False
    assert (status, told["approval"]["status"], told["approval"]["by"]) == (200, "approved", "Ada")
    assert (again, refused["title"]) == (409, "Conflict")
    assert "it is approved by Ada at 2026-01-05 10:00:00, and answered once only" in refused["detail"]


def test_an_answer_about_another_plan_changes_nothing(fleet: Scenario) -> None:
    with serving(fleet.loop) as port:
        [listed] = ask(port)[1]["approvals"]
        status, refused = ask(port, f"/{listed['id']}/approve", {**YES, "plan": "0" * 64})
        [after] = ask(port)[1]["approvals"]
    assert (status, "not 000000000000; look at it again" in refused["detail"]) == (409, True)
    assert after["status"] == "pending"


@pytest.mark.parametrize(
    ("told", "status", "detail"),
    [
        (YES, 400, "plan: missing; allowed is an object of by, reason, plan"),
        ({**YES, "plan": 5}, 400, "plan: input should be a valid string"),
        ({**YES, "plan": "x", "force": True}, 400, "force: unknown; allowed are by, reason, plan"),
        ({**YES, "plan": "x", "reason": "long " * 3000}, 413, "allowed are 10000 bytes"),
        ({**YES, "plan": "x", "by": " "}, 400, "by: allowed is text that is not empty"),
        ([], 400, "the body: input should be a valid dictionary"),
    ],
)
def test_an_answer_that_is_none_is_refused_with_what_is_wrong(
    fleet: Scenario, told: Any, status: int, detail: str
) -> None:
    with serving(fleet.loop) as port:
        [listed] = ask(port)[1]["approvals"]
        found = ask(port, f"/{listed['id']}/approve", told)
        [after] = ask(port)[1]["approvals"]
    assert found[0] == status
    assert detail in found[1]["detail"]
    assert after["status"] == "pending"


def test_what_a_page_can_send_without_asking_first_is_no_answer(fleet: Scenario) -> None:
    with serving(fleet.loop) as port:
        [listed] = ask(port)[1]["approvals"]
        status, told = ask(port, f"/{listed['id']}/approve", YES, **{"Content-Type": "text/plain"})
    assert (status, told["detail"]) == (415, "content-type: allowed is application/json")


def test_what_nobody_was_asked_is_not_found(fleet: Scenario) -> None:
    with serving(fleet.loop) as port:
        assert ask(port, "/apr-none")[0] == 404
        assert ask(port, "/apr-none/approve", {**YES, "plan": "x"})[0] == 404


@pytest.mark.parametrize("path", ["", "/ID", "/ID/approve", "/ID/deny"])
def test_only_who_holds_the_token_may_look_and_answer(fleet: Scenario, path: str) -> None:
    with serving(fleet.loop, token="secret") as port:
        bearer = {"Authorization": "Bearer secret"}
        [listed] = ask(port, **bearer)[1]["approvals"]
        told = {**YES, "plan": listed["plan"]} if path.count("/") == 2 else None
        path = path.replace("ID", listed["id"])
        assert ask(port, path, told)[0] == 401
        assert ask(port, path, told, Authorization="Bearer guessed")[0] == 401
        [after] = ask(port, **bearer)[1]["approvals"]
        assert after["status"] == "pending"
        assert ask(port, path, told, **bearer)[0] == 200


@pytest.mark.parametrize("answer", ["approve", "deny"])
def test_a_page_of_another_origin_cannot_answer(fleet: Scenario, answer: str) -> None:
    with serving(fleet.loop) as port:
        [listed] = ask(port)[1]["approvals"]
        told = {**YES, "plan": listed["plan"]}
        assert ask(port, f"/{listed['id']}/{answer}", told, Origin="http://evil.example")[0] == 403
        [after] = ask(port)[1]["approvals"]
    assert after["status"] == "pending"
