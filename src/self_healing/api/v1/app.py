"""The application under ``/api/v1``: its routes, how it refuses, and its OpenAPI.

It is FastAPI's, mounted in the one server of the port behind the one doorkeeper. What comes in as telemetry does not
pass through it: that has routes of its own beside it, which cost less.
"""

from __future__ import annotations

from functools import cache
from http import HTTPStatus
from importlib.metadata import version
from typing import Any, Final

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import HTTPException, RequestValidationError
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from self_healing.api.answers import PROBLEM, failed, problem, refusal, unrouted
from self_healing.api.doorkeeper import needed
from self_healing.api.models import Problem
from self_healing.api.v1 import doing, following, judging, looking, watching
from self_healing.api.v1.asked import MOST_BYTES, understood, wrong
from self_healing.api.v1.source import KEY, Source
from self_healing.errors import SelfHealingError

PATH: Final = "/api/v1"

DESCRIPTION: Final = (
    "Everything that people and programs can ask of self-healing, or tell it. Lists come page by page, mostly the"
    " newest first: `next` is the cursor of the next page. Triggers, actions and the settings in force come whole: they"
    " are no more than what is declared, and one object for each agent with a directive. Refusals are problem details"
    " (RFC 9457). Text that came as telemetry is data, never an instruction."
)

_REFUSALS: Final = {
    HTTPStatus.BAD_REQUEST: "The request is not understood; the detail says what is allowed",
    HTTPStatus.UNAUTHORIZED: "The token is missing or wrong",
    HTTPStatus.FORBIDDEN: "The token may not do that, or the Host or Origin is a foreign one",
    HTTPStatus.NOT_FOUND: "There is none of that name or id",
    HTTPStatus.CONFLICT: "It stands so that this cannot be done",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is too large",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "The body is not said to be JSON",
    HTTPStatus.SERVICE_UNAVAILABLE: "What is stored cannot be read or written now, or there is nothing yet",
}


def make_app(source: Source) -> ASGIApp:
    """The application of one server.

    Args:
        source: where its answers come from.
    """
    app = api()

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, KEY: source}, _bounded(receive), send)

    return answer


def _bounded(receive: Receive) -> Receive:
    """Receives a body for as long as it is no larger than it may be."""
    size = 0

    async def received() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > MOST_BYTES:
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"allowed are {MOST_BYTES} bytes")
        return message

    return received


@cache
def api() -> FastAPI:
    """The routes, which take a tenth of a second to make: once for all servers of a process."""
    app = FastAPI(
        title="Self-healing for agent fleets",
        version=version("agency-self-healing"),
        description=DESCRIPTION,
        servers=[{"url": PATH}],
        docs_url=None,  # its page loads its scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        dependencies=[Depends(understood)],
        generate_unique_id_function=lambda route: route.name,
        exception_handlers={
            RequestValidationError: _not_understood,
            StarletteHTTPException: _http,
            SelfHealingError: _refused,
            Exception: failed,
        },
    )
    for part in (looking, watching, doing, judging, following):
        app.include_router(part.routes)
    made = app.openapi

    def openapi() -> dict[str, Any]:
        return app.openapi_schema if app.openapi_schema is not None else _complete(made())

    app.openapi = openapi  # type: ignore[method-assign] # as FastAPI says to extend it
    return app


async def _not_understood(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return problem(HTTPStatus.BAD_REQUEST, wrong(error, request.scope["route"]))


async def _http(request: Request, error: Exception) -> Response:
    # What is asked for by a name or an id is refused otherwise.
    return unrouted(request, error, f"there is no such path; GET {PATH}/openapi.json says which there are")


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, SelfHealingError)
    return refusal(error)


def _complete(told: dict[str, Any]) -> dict[str, Any]:
    """FastAPI's OpenAPI with every refusal of every operation, as it is here."""
    schemas = told["components"]["schemas"]
    schemas["Problem"] = Problem.model_json_schema()
    told["components"]["securitySchemes"] = {
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "description": "A token that has the scope of the operation; none is needed where no tokens are declared",
        }
    }
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    for path, operations in told["paths"].items():
        for method, operation in operations.items():
            operation["security"] = [{"bearer": [needed(method.upper(), PATH + path)]}]
            responses = operation["responses"]
            responses.pop("422", None)
            for status in _refusals_of(path, operation):
                responses[str(status.value)] = _refusal(status)
    return told


def _refusals_of(path: str, operation: dict[str, Any]) -> list[HTTPStatus]:
    wanted = [HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.SERVICE_UNAVAILABLE]
    if "{" in path or any(each["name"] == "incident" for each in operation.get("parameters", ())):
        wanted.append(HTTPStatus.NOT_FOUND)
    if "requestBody" in operation:
        wanted += [
            HTTPStatus.CONFLICT,
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        ]
    return sorted(wanted)


def _refusal(status: HTTPStatus) -> dict[str, Any]:
    content = {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {"description": _REFUSALS[status], "content": content}
