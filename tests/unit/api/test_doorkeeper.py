"""The one door: every route of every port without a token, with a wrong one, and with one that may do too little."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.types import Receive, Send

from self_healing.api.doorkeeper import OPEN_PATHS, Doorkeeper, needed
from self_healing.api.server import Server
from self_healing.api.sessions import Sessions
from self_healing.api.tokens import Tokens
from self_healing.api.v1.app import PATH, api
from self_healing.config import Scope, ServerSettings
from self_healing.errors import ConfigError
from tests.unit.api.test_server import AT, refuse, unstarted

HASHED = hashlib.sha256(b"read-it").hexdigest()
TOKENS: dict[str, Any] = {
    "all": {"env": "ALL", "scopes": list(Scope)},
    **{f"not-{each}": {"env": f"NOT_{each.upper()}", "scopes": [s for s in Scope if s is not each]} for each in Scope},
}
ENVIRON = {declared["env"]: f"secret-of-{name}" for name, declared in TOKENS.items()}


def door(
    environ: dict[str, str] | None = None, told: Callable[[int], None] = lambda _status: None, **settings: Any
) -> Doorkeeper:
    """A door behind which everything is answered with 204."""

    async def there(scope: Any, receive: Receive, send: Send) -> None:
        await Response(status_code=204)(scope, receive, send)

    made = ServerSettings.model_validate(settings)
    return Doorkeeper(there, made, Tokens(made, environ or {}), Sessions(lambda: AT), told)


def knock(at: Doorkeeper, method: str, path: str, token: str | None = None, **headers: str) -> httpx2.Response:
    async def run() -> httpx2.Response:
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(at), base_url="http://127.0.0.1:1") as client:
            shown = {} if token is None else {"Authorization": f"Bearer {token}"}
            return await client.request(method, path, headers={**shown, **headers})

    return asyncio.run(run())


def routes() -> Iterator[tuple[str, str]]:
    """Method and path of every route of every port."""
    server: Server = unstarted(refuse)
    for app in server.apps.values():
        yield from _routes(app)


def _routes(app: Starlette) -> Iterator[tuple[str, str]]:
    for route in app.routes:
        match route:
            case Route(path=path, methods=methods):
                # One without methods is an application of its own, such as MCP's.
                yield from ((method, path) for method in methods or ("GET", "POST", "DELETE"))
            case Mount(path=path) if path == PATH:
                yield from ((method, PATH + below) for method, below in _operations())
            case Mount(path=path):
                yield "GET", f"{path}/x"
            case _:
                raise AssertionError(f"{route}: how is it asked?")


def _operations() -> Iterator[tuple[str, str]]:
    for path, operations in api().openapi()["paths"].items():
        yield from ((method.upper(), path) for method in operations)
    yield "GET", "/openapi.json"


GUARDED = sorted({each for each in routes() if each[1] not in OPEN_PATHS})


def test_every_route_is_asked() -> None:
    assert len(GUARDED) > 80
    assert {("POST", "/v1/traces"), ("POST", "/api/v1/stop"), ("GET", "/"), ("POST", "/mcp")} <= set(GUARDED)


def test_no_route_answers_without_the_token_with_a_wrong_one_or_with_one_that_may_do_too_little() -> None:
    at = door(ENVIRON, tokens=TOKENS)
    for method, path in GUARDED:
        scope = needed(method, path)
        answers = {
            "none": knock(at, method, path),
            "wrong": knock(at, method, path, "secret-of"),
            "too little": knock(at, method, path, f"secret-of-not-{scope}"),
            "all": knock(at, method, path, "secret-of-all"),
        }
        statuses = {shown: answer.status_code for shown, answer in answers.items()}
        assert statuses == {"none": 401, "wrong": 401, "too little": 403, "all": 204}, (method, path)
        assert answers["none"].headers["www-authenticate"] == "Bearer"
        assert method == "HEAD" or f"takes the scope {scope}" in answers["too little"].json()["detail"]


def test_no_route_answers_a_foreign_host_or_a_page_from_elsewhere_whatever_token_is_shown() -> None:
    at, evil = door(ENVIRON, tokens=TOKENS), "http://evil.example"
    for method, path in (*GUARDED, *(("GET", path) for path in sorted(OPEN_PATHS))):
        by_host = knock(at, method, path, "secret-of-all", Host="evil.example")
        by_origin = knock(at, method, path, "secret-of-all", Origin=evil)
        assert (by_host.status_code, by_origin.status_code) == (403, 403), (method, path)


def test_only_of_requests_with_telemetry_is_told_that_they_were_turned_away() -> None:
    told: list[int] = []
    at = door(ENVIRON, told=told.append, tokens=TOKENS)
    for method, path in (("POST", "/v1/traces"), ("GET", "/v1/traces"), ("GET", "/metrics"), ("POST", "/ofrep/v1/x")):
        knock(at, method, path)
        knock(at, method, path, "secret-of-not-send", Origin="http://elsewhere")
    knock(at, "POST", "/v1/traces", "secret-of-not-send")
    knock(at, "POST", "/v1/traces", "secret-of-all")
    assert told == [401, 403, 403]


def test_what_changes_anything_takes_more_than_reading() -> None:
    by_scope: dict[Scope, set[str]] = {scope: set() for scope in Scope}
    for method, path in GUARDED:
        by_scope[needed(method, path)].add(path)
        if method not in ("GET", "HEAD") and not path.startswith(("/v1/", "/ofrep/", "/logout", "/mcp")):
            assert needed(method, path) in (Scope.OPERATE, Scope.APPROVE)
    below = ("/approvals/{id}", "/api/v1/approvals/{id}")
    answers = {f"{approval}/{answer}" for approval in below for answer in ("approve", "deny")}
    assert by_scope[Scope.APPROVE] == answers
    assert by_scope[Scope.SEND] == {
        *("/v1/traces", "/v1/logs", "/v1/metrics", "/v1/events", "/v1/junit", "/v1/alertmanager"),
        *("/ofrep/v1/evaluate/flags", "/ofrep/v1/evaluate/flags/{key}"),
    }


@pytest.mark.parametrize("path", sorted(OPEN_PATHS))
def test_probes_and_logging_in_need_no_token(path: str) -> None:
    assert knock(door(token="secret"), "GET", path).status_code == 204


@pytest.mark.parametrize(
    ("settings", "headers", "status"),
    [
        ({}, {"Host": "localhost:1"}, 204),
        ({}, {"Host": "[::1]:8787"}, 204),
        ({}, {"Host": "evil.example"}, 403),
        ({}, {"Host": "10.0.0.1"}, 403),
        ({}, {"Host": "["}, 403),
        ({}, {"Host": "healing.example"}, 403),
        ({"hosts": ["Healing.example"]}, {"Host": "healing.example:80"}, 204),
        ({"token": "t"}, {"Host": "10.0.0.1"}, 204),
        ({"token": "t"}, {"Host": "evil.example"}, 403),
        ({"token": "t", "host": "box.lan"}, {"Host": "box.lan:8787"}, 204),
        ({}, {"Origin": "http://127.0.0.1:1"}, 204),
        ({}, {"Origin": "http://127.0.0.1:2"}, 403),
        ({}, {"Origin": "http://evil.example"}, 403),
        ({}, {"Origin": "null"}, 403),
        ({}, {"Origin": "http://["}, 403),
        ({"origins": ["https://healing.example"]}, {"Origin": "https://healing.example"}, 204),
        ({"origins": ["https://healing.example"]}, {"Origin": "http://healing.example"}, 403),
    ],
    ids=str,
)
def test_a_foreign_host_or_origin_is_refused_on_every_path(
    settings: dict[str, Any], headers: dict[str, str], status: int
) -> None:
    at = door(**settings)
    for method, path in (("GET", "/"), ("POST", "/v1/traces"), ("POST", "/api/v1/stop"), ("GET", "/healthz")):
        assert knock(at, method, path, "t", **headers).status_code == status


def test_the_token_of_the_settings_may_do_all_beside_narrower_ones() -> None:
    at = door(token="secret", tokens={"grafana": {"sha256": HASHED, "scopes": ["read"]}})
    assert knock(at, "POST", "/api/v1/stop", "secret").status_code == 204
    assert knock(at, "GET", "/metrics", "read-it").status_code == 204
    assert knock(at, "POST", "/api/v1/stop", "read-it").status_code == 403
    assert knock(at, "GET", "/metrics", HASHED).status_code == 401


def test_answers_say_to_browsers_what_they_may_do_with_them() -> None:
    answer = knock(door(), "GET", "/api/v1/status")
    assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_variable_that_is_not_set_stops_the_start_with_its_name() -> None:
    with pytest.raises(ConfigError, match=r"server\.tokens\.ci\.env: 'CI_TOKEN': the variable is not set"):
        door(tokens={"ci": {"env": "CI_TOKEN", "scopes": ["send"]}})


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"tokens": {"a": {"scopes": ["read"]}}}, "allowed is either sha256 or env"),
        ({"tokens": {"a": {"sha256": HASHED, "env": "A", "scopes": ["read"]}}}, "allowed is either sha256 or env"),
        ({"tokens": {"a": {"sha256": "secret", "scopes": ["read"]}}}, "pattern"),
        ({"tokens": {"a": {"sha256": HASHED, "scopes": []}}}, "at least 1"),
        ({"tokens": {"a": {"sha256": HASHED, "scopes": ["all"]}}}, "'send', 'read', 'operate' or 'approve'"),
        ({"hosts": ["http://a"]}, "allowed is the name of a host"),
        ({"origins": ["healing.example"]}, "allowed is an origin"),
        ({"host": "0.0.0.0"}, "allowed without a token are localhost and loopback addresses"),
    ],
    ids=str,
)
def test_what_cannot_guard_is_refused_at_the_start(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        ServerSettings.model_validate(settings)


def test_any_token_lets_another_address_be_listened_on() -> None:
    ServerSettings.model_validate({"host": "0.0.0.0", "tokens": {"a": {"sha256": HASHED, "scopes": ["read"]}}})
