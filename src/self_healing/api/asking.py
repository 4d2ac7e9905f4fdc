"""Asking what is stored: events, page by page, and how everything is; what is wrong with a request is told in JSON.

Refusals are problem details, as `RFC 9457 <https://www.rfc-editor.org/rfc/rfc9457>`_ has them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final, get_args

import msgspec
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from self_healing.api.looking import Ask
from self_healing.errors import NotFound, TelemetryError
from self_healing.model import KindName, StatusName
from self_healing.problems import unknown
from self_healing.telemetry.query.files import Places
from self_healing.telemetry.query.instants import instant_us
from self_healing.telemetry.query.pages import Page, page
from self_healing.telemetry.query.rows import Wanted

USUAL_LIMIT: Final = 50
MOST: Final = 1_000
"""So many events a page has, unless it is said how many, and at the very most."""

AT_ONCE: Final = 2
"""So many requests look through the files at once; others wait, and senders of telemetry never do."""

_FILTERS: Final = {
    "agent": "agents",
    "task": "tasks",
    "kind": "kinds",
    "status": "statuses",
    "model": "models",
    "source": "sources",
    "trace": "traces",
}
"""The parameters that may be given several times, and what each fills."""

_VALUES: Final = {"kind": get_args(KindName), "status": get_args(StatusName)}

_ONCE: Final = ("incident", "since", "until", "limit", "cursor")


def routes(places: Places, ask: Ask) -> list[Route]:
    """The routes that answer from what is stored.

    Args:
        places: where events are.
        ask: asks the service one of its commands.
    """
    looking = asyncio.Semaphore(AT_ONCE)

    async def events(request: Request) -> Response:
        try:
            look = _look(places, request.query_params, await _evidence(request.query_params, ask))
            async with looking:
                return as_json(_told(await asyncio.to_thread(look)))
        except ValueError as error:
            return problem(HTTPStatus.BAD_REQUEST, str(error))
        except NotFound as error:
            return problem(HTTPStatus.NOT_FOUND, str(error))
        except TelemetryError as error:
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error))

    async def status(_request: Request) -> Response:
        return as_json(await ask("status"))

    return [Route("/api/v1/events", events, methods=["GET"]), Route("/api/v1/status", status, methods=["GET"])]


async def _evidence(asked: QueryParams, ask: Ask) -> dict[str, Any]:
    """The filters of what the incident that is asked for is about; none without one. Raises NotFound, ValueError."""
    incident = _once(asked, "incident")
    found: dict[str, Any] = {} if incident is None else (await ask("incident", id=incident))["evidence"]
    return found


def _look(places: Places, asked: QueryParams, about: Mapping[str, Any]) -> Callable[[], Page]:
    """What a request asks for, to be called on a thread.

    Args:
        places: where events are.
        asked: the parameters.
        about: filters beside them; a time that is asked for comes before theirs.

    Raises:
        ValueError: it is none that is understood.
    """
    for name in asked:
        if name not in _FILTERS and name not in _ONCE:
            raise ValueError(f"parameter {name!r}: {unknown(name, (*_FILTERS, *_ONCE))}")
    once = {name: _once(asked, name) for name in _ONCE}
    now = datetime.now(UTC)
    wanted = Wanted(
        **{field: _values(name, [*asked.getlist(name), *about.get(name, ())]) for name, field in _FILTERS.items()},
        since_us=_instant_us("since", once["since"] or about.get("since"), now),
        until_us=_instant_us("until", once["until"] or about.get("until"), now),
    )
    limit = _limit(once["limit"])
    return lambda: page(places, wanted, limit, once["cursor"])


def _once(asked: QueryParams, name: str) -> str | None:
    given = asked.getlist(name)
    if len(given) > 1:
        raise ValueError(f"{name}: given {len(given)} times, allowed is once")
    return given[0] if given else None


def _values(name: str, given: list[str]) -> tuple[str, ...]:
    allowed = _VALUES.get(name)
    for value in given:
        if allowed is not None and value not in allowed:
            raise ValueError(f"{name} {value!r}: allowed are {', '.join(allowed)}")
    return tuple(given)


def _instant_us(name: str, text: str | None, now: datetime) -> int | None:
    try:
        return None if text is None else instant_us(text, now)
    except ValueError as error:
        raise ValueError(f"{name} {error}") from error


def _limit(text: str | None) -> int:
    if text is None:
        return USUAL_LIMIT
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= MOST):
        raise ValueError(f"limit {text!r}: allowed is 1 to {MOST}")
    return int(text)


def _told(found: Page) -> dict[str, Any]:
    return {"events": [row.told for row in found.rows], "warnings": found.warnings, "next": found.cursor}


def as_json(value: Any) -> Response:
    """`value` as the body of an answer."""
    return Response(msgspec.json.encode(value), media_type="application/json")


def problem(status: HTTPStatus, detail: str) -> Response:
    """A refusal, with what was wrong and what is allowed."""
    told = {"type": "about:blank", "title": status.phrase, "status": status.value, "detail": detail}
    return Response(msgspec.json.encode(told), status, media_type="application/problem+json")
