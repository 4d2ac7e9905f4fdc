"""The OpenAPI is what the API does: schemathesis asks each operation what is right and what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, assume, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.config import SchemathesisConfig
from starlette.applications import Starlette
from starlette.routing import Mount

from self_healing.api.doorkeeper import Doorkeeper
from self_healing.api.sessions import Sessions
from self_healing.api.tokens import Tokens
from self_healing.api.v1.app import PATH, api, make_app
from self_healing.config import ServerSettings
from tests.unit.api.test_v1 import fleet_in, source

EXAMPLES = 2
"""Of each operation, right ones and wrong ones each; more are for a person to ask for."""

SAID: dict[str, Any] = {
    "since": "2026-01-05T09:00:00Z",
    "until": "1m",
    "at": "2026-01-05T10:00:00Z",
    "group": ["agent=Coder"],
}
"""Right values of parameters of which no schema says all that is allowed; so is a cursor, which the API gives."""

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


def following(operation: Any) -> dict[str, str]:
    """The cursor of the second page of a list; nothing where there is one page only."""
    cursor = operation.Case(query={"limit": 1}).call(headers=HEADERS).json()["next"]
    return {} if cursor is None else {"cursor": cursor}


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_an_operation_answers_as_it_says(schema: Any, method: str, path: str, mode: GenerationMode) -> None:
    operation = schema[path][method]
    parameters = api().openapi()["paths"][path][method.lower()].get("parameters", ())
    taken = {each["name"] for each in parameters}
    lists = {each["name"] for each in parameters if each["schema"].get("type") == "array"}
    right = {name: value for name, value in SAID.items() if name in taken}
    if "cursor" in taken and mode is GenerationMode.POSITIVE:
        right |= following(operation)

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy(generation_mode=mode))
    def ask(case: Case[Any]) -> None:
        if mode is GenerationMode.POSITIVE:
            case.query.pop("cursor", None)
            case.query = {**case.query, **right}
        else:  # what is meant as no list is, in a query, a list of one
            assume(all(isinstance(case.query.get(name, []), list) for name in lists))
        case.call_and_validate(headers=HEADERS)

    ask()
