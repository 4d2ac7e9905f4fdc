"""The OpenAPI is what the API does: schemathesis asks each operation what is right and what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import positive_data_acceptance
from starlette.applications import Starlette
from starlette.routing import Mount

from self_healing import listing
from self_healing.api.doorkeeper import Doorkeeper
from self_healing.api.sessions import Sessions
from self_healing.api.tokens import Tokens
from self_healing.api.v1.app import PATH, api, make_app
from self_healing.config import ServerSettings
from tests.unit.api.test_v1 import fleet_in, source

EXAMPLES = 2
"""Of each operation, right ones and wrong ones each; more are for a person to ask for."""

ODD_EXAMPLES = 8
"""Of each operation that takes a time, a group or a cursor: so many are seen to find an edge of each."""

LENGTHS = st.builds("{}{}".format, st.integers(0, 3650), st.sampled_from("smhd"))
TIMES = st.datetimes(datetime(1970, 1, 2), datetime(2026, 1, 4), timezones=st.timezones()).map(datetime.isoformat)
SAID: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(("since", "until", "at"), LENGTHS | TIMES),
    "group": st.lists(st.builds("agent={}".format, st.text(min_size=1, max_size=9)), max_size=2),
}
"""Right values of parameters of which no schema says all that is allowed; so is a cursor, which the API gives."""

EDGES = ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59-14:00", "1969-12-31T23:59:59Z", "999999d", "٣m", "")
NUMBERS = st.sampled_from((-1, 0, 1, 2**63, 2**64 - 1))
ODD: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(("since", "until", "at"), st.sampled_from(EDGES) | st.datetimes().map(str) | st.text(max_size=9)),
    "group": st.lists(st.text(max_size=9) | st.just("agent="), max_size=2),
    "cursor": NUMBERS.map(str) | st.text(max_size=9),
}
"""What may be said there, and mostly is none of the right values."""

HEADERS = {"Authorization": "Bearer secret", "Host": "localhost"}
# A text that is far too long is refused as a body that is too large.
REFUSED = {
    "checks": {"negative_data_rejection": {"expected-statuses": [400, 401, 403, 404, 405, 409, 413, 415, "5xx"]}}
}
OPERATIONS = [
    (method.upper(), path)
    for path, operations in api().openapi()["paths"].items()
    for method in operations
    if path != "/changes"  # its answer does not end
]


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The OpenAPI of an API behind its door, about a fleet in which something is wrong."""
    with fleet_in(Path(tmp_path_factory.mktemp("fleet"))) as fleet:
        made = ServerSettings(token="secret")
        app = Starlette(routes=[Mount(PATH, make_app(source(fleet)))])
        door = Doorkeeper(app, made, Tokens(made, {}), Sessions(fleet.loop.now), lambda _status: None)
        yield schemathesis.openapi.from_asgi(
            f"{PATH}/openapi.json", door, headers=HEADERS, config=SchemathesisConfig.from_dict(REFUSED)
        )


def following(operation: Any) -> dict[str, st.SearchStrategy[str]]:
    """The cursor of the second page of a list; nothing where there is one page only."""
    cursor = operation.Case(query={"limit": 1}).call(headers=HEADERS).json()["next"]
    return {} if cursor is None else {"cursor": st.just(cursor)}


def parameters_of(method: str, path: str) -> dict[str, Any]:
    told = api().openapi()["paths"][path][method.lower()].get("parameters", ())
    return {each["name"]: each["schema"] for each in told}


def drawn(count: int) -> settings:
    return settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_an_operation_answers_as_it_says(schema: Any, method: str, path: str, mode: GenerationMode) -> None:
    operation = schema[path][method]
    taken = parameters_of(method, path)
    lists = {name for name, each in taken.items() if each.get("type") == "array"}
    right: dict[str, Any] = {}
    if mode is GenerationMode.POSITIVE:
        right = {name: values for name, values in SAID.items() if name in taken}
        right |= following(operation) if "cursor" in taken else {}

    @drawn(EXAMPLES)
    @given(operation.as_strategy(generation_mode=mode), st.fixed_dictionaries(right))
    def ask(case: Case[Any], said: dict[str, Any]) -> None:
        if mode is GenerationMode.POSITIVE:
            case.query.pop("cursor", None)
            case.query = {**case.query, **said}
        else:  # what is meant as no list is, in a query, a list of one
            assume(all(isinstance(case.query.get(name, []), list) for name in lists))
        case.call_and_validate(headers=HEADERS)

    ask()


@pytest.mark.parametrize(("method", "path"), [each for each in OPERATIONS if ODD.keys() & parameters_of(*each).keys()])
def test_whatever_is_said_where_no_schema_says_all_it_is_answered_or_refused(
    schema: Any, method: str, path: str
) -> None:
    operation = schema[path][method]
    odd = {name: values for name, values in ODD.items() if name in parameters_of(method, path)}
    if "cursor" in odd:  # one that is a cursor of this list, though none that the API ever gave
        kind = {"/audit": "entries"}.get(path, path[1:])
        odd["cursor"] |= st.builds(listing.sealed, st.just(kind), NUMBERS | st.text(max_size=9))

    @drawn(ODD_EXAMPLES)
    @given(operation.as_strategy(), st.fixed_dictionaries({}, optional=odd))
    def ask(case: Case[Any], said: dict[str, Any]) -> None:
        case.query = {**case.query, **said}
        case.call_and_validate(headers=HEADERS, excluded_checks=[positive_data_acceptance])

    ask()
