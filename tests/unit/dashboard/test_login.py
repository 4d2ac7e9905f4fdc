"""Logging in by a browser: the token is shown once; its cookie does what it may, from pages of this port only."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from self_healing.api.server import Server
from self_healing.api.sessions import COOKIE, LASTS, Sessions
from self_healing.clock import FakeClock
from self_healing.config import Scope, ServerSettings
from self_healing.dashboard.changes import Changes
from self_healing.model import Handoff
from self_healing.surface import Surface
from self_healing.testing import Scenario
from tests.conversion import conversion
from tests.unit.api.test_v1 import fleet_in, places_of

ORIGIN = "http://127.0.0.1:8787"
TOKENS: dict[str, Any] = {
    "viewer": {"env": "VIEWER", "scopes": ["read"]},
    "operator": {"env": "OPERATOR", "scopes": ["read", "operate"]},
}


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scenario]:
    monkeypatch.setenv("VIEWER", "look")
    monkeypatch.setenv("OPERATOR", "act")
    with fleet_in(tmp_path) as made:
        yield made


class Browser:
    """A browser at one port: it keeps cookies, and says from which page a form comes."""

    def __init__(self, fleet: Scenario) -> None:
        async def ask(command: str, **arguments: Any) -> dict[str, Any]:
            return Surface(fleet.loop).call(command, arguments)

        self.changes = Changes()
        settings = ServerSettings.model_validate({"token": "all", "tokens": TOKENS, "otlp_grpc_port": False})
        server = Server(
            settings,
            submit=lambda *_: pytest.fail("nothing is sent here"),
            conversion=conversion(),
            ask=ask,
            explain=lambda _: {},
            verify=dict,
            places=places_of(fleet),
            changes=self.changes,
            now=fleet.loop.now,
        )
        self.door = server.door("port")
        self.cookies = httpx2.Cookies()

    def get(self, path: str, **headers: str) -> httpx2.Response:
        return self._ask("GET", path, None, {"Accept": "text/html", **headers})

    def post(self, path: str, form: dict[str, str], origin: str | None = ORIGIN, **headers: str) -> httpx2.Response:
        return self._ask("POST", path, form, headers | ({} if origin is None else {"Origin": origin}))

    def login(self, token: str, then: str = "/") -> httpx2.Response:
        return self.post("/login", {"token": token, "next": then})

    def _ask(self, method: str, path: str, form: Any, headers: dict[str, str]) -> httpx2.Response:
        async def run() -> httpx2.Response:
            transport = httpx2.ASGITransport(self.door)
            async with httpx2.AsyncClient(transport=transport, base_url=ORIGIN, cookies=self.cookies) as client:
                answer = await client.request(method, path, data=form, headers=headers)
                self.cookies = client.cookies
                return answer

        return asyncio.run(run())


def test_a_page_without_a_login_leads_to_the_one_that_asks_for_the_token_and_back(fleet: Scenario) -> None:
    browser = Browser(fleet)
    page = "/triggers/slow_tasks/try?threshold=70%20s"
    sent = browser.get(page)
    assert (sent.status_code, sent.headers["location"].partition("=")[0]) == (303, "/login?next")
    assert f'value="{page}"' in browser.get(sent.headers["location"]).text
    back = browser.login("all", page)
    assert (back.status_code, back.headers["location"]) == (303, page)
    shown = browser.get("/incidents")
    assert (shown.status_code, "Log out" in shown.text) == (200, True)


@pytest.mark.parametrize(
    ("path", "referer", "to"),
    [
        ("/stop", f"{ORIGIN}/incidents?cursor=a%20b", "/login?next=/incidents%3Fcursor%3Da%2520b&undone=yes"),
        ("/stop", None, "/login?next=/&undone=yes"),
        ("/stop", "http://evil.example/stop", "/login?next=/&undone=yes"),
        ("/logout", f"{ORIGIN}/stop", "/login"),
    ],
)
def test_a_form_sent_after_the_login_was_over_leads_to_the_one_that_asks_for_the_token_and_back(
    fleet: Scenario, path: str, referer: str | None, to: str
) -> None:
    browser = Browser(fleet)
    form, headers = {"by": "Ada", "reason": "x"}, {"Accept": "text/html"} | ({"Referer": referer} if referer else {})
    sent = browser.post(path, form, **headers)
    assert (sent.status_code, sent.headers["location"]) == (303, to)
    assert ("Nothing was done" in browser.get(to).text) == (path != "/logout")
    assert "Resume" not in (browser.login("all"), browser.get("/stop"))[1].text


def test_the_cookie_is_kept_from_scripts_and_from_other_sites(fleet: Scenario) -> None:
    cookie = Browser(fleet).login("all").headers["set-cookie"]
    assert cookie.startswith(f"{COOKIE}=")
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(cookie.split("; "))
    assert "all" not in cookie


def test_a_wrong_token_logs_nobody_in(fleet: Scenario) -> None:
    browser = Browser(fleet)
    refused = browser.login("guessed")
    assert (refused.status_code, "set-cookie" in refused.headers) == (401, False)
    assert "There is no such token" in refused.text
    assert browser.get("/").status_code == 303


@pytest.mark.parametrize(
    "then", ["//evil.example", "https://evil.example", "/\\evil.example", "evil", "/\n/evil", "/api/v1/changes"]
)
def test_nobody_is_led_away_by_a_login(fleet: Scenario, then: str) -> None:
    assert Browser(fleet).login("all", then).headers["location"] == "/"


def test_a_program_is_told_that_the_token_is_missing(fleet: Scenario) -> None:
    answer = Browser(fleet).get("/api/v1/status", Accept="application/json")
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")


@pytest.mark.parametrize(
    ("path", "headers"), [("/api/v1/changes", {}), ("/api/v1/status", {}), ("/", {"HX-Request": "true"})]
)
def test_what_the_script_of_a_page_asks_for_is_refused_and_not_led_to_the_login(
    fleet: Scenario, path: str, headers: dict[str, str]
) -> None:
    browser = Browser(fleet)
    browser.login("look")
    assert isinstance(fleet.loop.clock, FakeClock)
    fleet.loop.clock.advance(LASTS.total_seconds())
    answer = browser.get(path, Accept="text/html, text/event-stream", **headers)
    assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")


def test_a_stream_of_changes_ends_with_the_session_of_whoever_follows(fleet: Scenario) -> None:
    browser = Browser(fleet)
    browser.login("look")

    async def follow() -> list[bytes]:
        told, heard = list[bytes](), asyncio.Event()

        async def receive() -> Any:
            await asyncio.Event().wait()

        async def send(message: Any) -> None:
            told.append(message.get("body", b""))
            if told[-1]:
                heard.set()

        cookie = f"{COOKIE}={browser.cookies[COOKIE]}".encode()
        headers = [(b"host", b"127.0.0.1:8787"), (b"cookie", cookie)]
        scope = {"type": "http", "method": "GET", "path": "/api/v1/changes", "query_string": b"", "headers": headers}
        following = asyncio.ensure_future(browser.door(scope, receive, send))
        await asyncio.wait_for(heard.wait(), 30)
        await asyncio.to_thread(browser.post, "/logout", {})
        browser.changes.changed()
        await asyncio.wait_for(following, 30)
        return [each for each in told if each]

    assert asyncio.run(follow()) == [b"event: changed\nid: 0\ndata: 0\n\n"]


def test_logging_out_ends_the_session_for_whoever_has_its_cookie(fleet: Scenario) -> None:
    browser = Browser(fleet)
    browser.login("look")
    kept = browser.cookies[COOKIE]
    assert browser.post("/logout", {}).headers["location"] == "/login"
    assert COOKIE not in browser.cookies
    assert browser.get("/", Cookie=f"{COOKIE}={kept}").status_code == 303


@pytest.mark.parametrize("origin", [None, "http://evil.example", "http://127.0.0.1:9999", "null"])
def test_a_form_beside_a_cookie_counts_only_from_a_page_of_this_port(fleet: Scenario, origin: str | None) -> None:
    browser = Browser(fleet)
    browser.login("act")
    assert browser.post("/stop", {"by": "Ada", "reason": "x"}, origin).status_code == 403
    assert browser.post("/stop", {"by": "Ada", "reason": "x"}).status_code == 303


def test_a_page_offers_and_a_form_does_only_what_the_token_may(fleet: Scenario) -> None:
    incident, handoff = fleet.incident("slow_tasks").id, fleet.loop.store.select(Handoff, status="delivered")[0].id
    [approval] = Surface(fleet.loop).call("approvals", {})["approvals"]
    forms = {
        "/stop": "Stop healing</button>",
        f"/incidents/{incident}": "I have seen it</button>",
        f"/handoffs/{handoff}": "It is done</button>",
        f"/approvals/{approval['id']}": "Yes, do it</button>",
    }
    viewer, operator = Browser(fleet), Browser(fleet)
    viewer.login("look")
    operator.login("act")
    assert [path for path, button in forms.items() if button in viewer.get(path).text] == []
    assert [path for path, button in forms.items() if button in operator.get(path).text] == list(forms)[:3]
    assert viewer.post("/stop", {"by": "Eve", "reason": "x"}).status_code == 403
    yes = {"by": "Eve", "reason": "x", "plan": approval["plan"]}
    assert operator.post(f"/approvals/{approval['id']}/approve", yes).status_code == 403
    assert operator.post(f"/incidents/{incident}/ack", {"by": "Ada", "reason": "seen"}).status_code == 303


def test_one_persons_page_is_not_shown_to_who_may_do_less(fleet: Scenario) -> None:
    both = Browser(fleet)
    both.login("act")
    assert "Stop healing</button>" in both.get("/stop").text
    both.login("look")
    assert "Stop healing</button>" not in both.get("/stop").text


def test_a_session_ends_by_itself() -> None:
    clock = FakeClock(datetime(2026, 1, 5, tzinfo=UTC))
    sessions = Sessions(clock.now)
    id = sessions.begin(frozenset({Scope.READ}))
    clock.advance((LASTS - timedelta(seconds=1)).total_seconds())
    assert sessions.scopes(id) == frozenset({Scope.READ})
    clock.advance(1)
    assert sessions.scopes(id) is None
