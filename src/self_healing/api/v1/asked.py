"""What requests may say: the parameters that lists share, and refusals that say what is allowed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Annotated, Any, Final, get_args, get_origin

from annotated_types import Ge, Le
from fastapi import Query, Request
from fastapi.exceptions import HTTPException, RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel

from self_healing.problems import unknown

USUAL_LIMIT: Final = 50
MOST: Final = 200
"""So many records a page has, unless it is said how many, and at the very most."""

MOST_BYTES: Final = 10_000
"""Of a body: a name, a reason, a hash."""

Limit = Annotated[int, Query(ge=1, le=MOST, description="so many a page")]
Cursor = Annotated[
    str | None, Query(max_length=2_000, description="what the page before said as `next`; the first page when left out")
]

CURSOR: Final = "allowed is what the page before said as next"


def understood(request: Request) -> None:
    """Refuse parameters that the route does not have, single ones that come twice, and bodies that are no JSON.

    Raises HTTPException.
    """
    route = request.scope["route"]
    assert isinstance(route, APIRoute)
    known = {each.alias: each.field_info.annotation for each in route.dependant.query_params}
    for name in request.query_params:
        if name not in known:
            raise HTTPException(HTTPStatus.BAD_REQUEST, f"parameter {name!r}: {unknown(name, tuple(known))}")
        times = len(request.query_params.getlist(name))
        if times > 1 and get_origin(known[name]) is not list:
            raise HTTPException(HTTPStatus.BAD_REQUEST, f"{name}: given {times} times, allowed is once")
    # A page of another origin cannot send JSON without asking first, which is refused.
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if route.body_field is not None and kind != "application/json":
        raise HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "content-type: allowed is application/json")


def wrong(error: RequestValidationError, route: APIRoute) -> str:
    """What is wrong with a request, every mistake with what is allowed."""
    return "; ".join(dict.fromkeys(_mistakes(error, route)))


def _mistakes(error: RequestValidationError, route: APIRoute) -> Iterator[str]:
    notes = {each.alias: each.field_info.metadata for each in route.dependant.query_params}
    body = None if route.body_field is None else route.body_field.field_info.annotation
    for detail in error.errors():
        place, *keys = detail["loc"]
        name = ".".join(str(key) for key in keys if not isinstance(key, int) or place == "body")
        yield _mistake(detail, name, notes.get(name, ()) if place == "query" else (), body)


def _mistake(detail: Mapping[str, Any], name: str, notes: Any, body: Any) -> str:
    match detail["type"]:
        case "json_invalid":
            return f"the body is no JSON: {detail['ctx']['error']}"
        case "missing" if not name:
            return f"the body is missing; {_fields(body)}"
        case "missing":
            return f"{name}: missing; {_fields(body)}" if detail["loc"][0] == "body" else f"{name}: missing"
        case "extra_forbidden":
            return f"{name}: {unknown(str(detail['loc'][-1]), _names(body))}"
        case "enum" | "literal_error":
            return f"{name} {detail['input']!r}: allowed are {_listed(detail['ctx']['expected'])}"
        case "value_error":
            return f"{name} {detail['ctx']['error']}"
        case "string_too_short" | "string_pattern_mismatch":
            return f"{name}: allowed is text that is not empty"
    if name == "cursor":
        return f"cursor {detail['input']!r}: {CURSOR}"
    low = next((each.ge for each in notes if isinstance(each, Ge)), None)
    high = next((each.le for each in notes if isinstance(each, Le)), None)
    if low is not None and high is not None:
        return f"{name} {detail['input']!r}: allowed is {low} to {high}"
    said = detail["msg"].removeprefix("Value error, ")
    return f"{name or 'the body'}: {said[:1].lower()}{said[1:]}"


def _listed(expected: str) -> str:
    """pydantic's ``'a', 'b' or 'c'`` as messages have it elsewhere."""
    return expected.replace(" or ", ", ").replace("'", "")


def _names(body: Any) -> tuple[str, ...]:
    model = next((each for each in (body, *get_args(body)) if isinstance(each, type)), None)
    return tuple(model.model_fields) if model is not None and issubclass(model, BaseModel) else ()


def _fields(body: Any) -> str:
    return f"allowed is an object of {', '.join(_names(body))}"
