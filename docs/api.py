"""Makes the reference of the API out of its OpenAPI: ``python docs/api.py``; a test holds the page to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from self_healing.api.v1.app import PATH, api

Json = dict[str, Any]

PAGE: Final = Path(__file__).parent / "reference/api.md"

INTRODUCTION: Final = """# API

Made from the OpenAPI, which a service serves as `GET /api/v1/openapi.json`, by `docs/api.py`. What holds of all of it,
refusals and pages among it, is under [ports](ports.md#api); [from Python](../how-to/ask-from-python.md) it is
`self_healing.Client`.
"""

TITLES: Final = {
    "state": "How it stands",
    "triggers": "What is watched for",
    "incidents": "Incidents, and what is done",
    "constitution": "The constitution",
    "changes": "Changes",
}


def page() -> str:
    """The whole page."""
    told = api().openapi()
    parts = [INTRODUCTION]
    for tag, title in TITLES.items():
        parts.append(f"## {title}\n")
        parts += [_operation(*each) for each in _operations(told) if tag in each[2]["tags"]]
    parts.append("## Models\n`?` marks what may be null; of a body what has a default may be left out.\n")
    schemas = told["components"]["schemas"]
    parts += [_model(name, schemas[name]) for name in sorted(schemas)]
    return "\n".join(parts)


def _operations(told: Json) -> Iterator[tuple[str, str, Json]]:
    for path, operations in told["paths"].items():
        for method, operation in operations.items():
            yield method.upper(), path, operation


def _operation(method: str, path: str, operation: Json) -> str:
    [scope] = operation["security"][0]["bearer"]
    lines = [f"### {method} {PATH}{path}", " ".join(operation["description"].split()), "", f"Scope `{scope}`."]
    if "requestBody" in operation:
        lines[-1] += f" Takes {_type(_schema(operation['requestBody']))}."
    answered = next(iter(operation["responses"]["200"]["content"].items()))
    lines[-1] += f" Answers {_type(_schema(operation['responses']['200']))}." if "json" in answered[0] else ""
    asked = [each for each in operation.get("parameters", ()) if each["in"] == "query"]
    if asked:
        rows = ((f"`{each['name']}`", _type(each["schema"]), _said(each)) for each in asked)
        lines += ["", _table(("parameter", "type", "what it says"), rows)]
    return "\n".join(lines) + "\n"


def _said(parameter: Json) -> str:
    schema, said = parameter["schema"], parameter.get("description", "")
    bounds = f" ({schema['default']}; {schema['minimum']} to {schema['maximum']})" if "maximum" in schema else ""
    several = "may be given several times" if schema.get("type") == "array" else ""
    return "; ".join(each for each in (said + bounds, several) if each)


def _model(name: str, schema: Json) -> str:
    said = " ".join(schema.get("description", "").split())
    if "enum" in schema:
        # The words are explained where they belong; of Python's own enums the docstring says nothing here.
        return f"### {name}\nOne of {', '.join(f'`{each}`' for each in schema['enum'])}.\n"
    fields = schema.get("properties", {}).items()
    rows = ((f"`{field}`", _type(each), each.get("description", "")) for field, each in fields)
    return f"### {name}\n{said}\n\n{_table(('field', 'type', 'what it is'), rows)}\n"


def _schema(body: Json) -> Json:
    [content] = body["content"].values()
    found: Json = content["schema"]
    return found


def _type(schema: Json) -> str:
    if "anyOf" in schema:
        members = [each for each in schema["anyOf"] if each.get("type") != "null"]
        return " or ".join(map(_type, members)) + ("?" if len(members) < len(schema["anyOf"]) else "")
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "enum" in schema:
        return " or ".join(f"`{each}`" for each in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    match schema.get("type"):
        case "array" if "prefixItems" in schema:
            return f"[{', '.join(map(_type, schema['prefixItems']))}]"
        case "array":
            return f"list of {_type(schema['items'])}"
        case "object" if isinstance(schema.get("additionalProperties"), dict):
            return f"{{name: {_type(schema['additionalProperties'])}}}"
        case "string":
            return "time" if schema.get("format") == "date-time" else "text"
        case str(kind):
            return kind
    return "anything"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(each)} |" for each in lines)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
