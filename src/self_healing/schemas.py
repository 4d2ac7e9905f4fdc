"""JSON Schemas of the files that people write, from the models that read them, so that editors complete and check.

Draft 7, which editors of TOML understand best. An editor sees one file: what only shows beside the defaults, or between
two keys, is told when the file is loaded.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import DEFAULT_REF_TEMPLATE, GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from self_healing.actions.registry import read_actions
from self_healing.config import Settings
from self_healing.durations import WRITTEN, duration, multiples, written
from self_healing.spec import (
    ALLOWED_DIRECTIVES,
    DIRECTIVES,
    LONGEST_S,
    MAY_BE_ZERO,
    UNASKED,
    ActionSpec,
    ActionType,
    Aggregate,
    Maintenance,
    Operator,
    TriggerSpec,
    parse_duration,
)
from self_healing.spec.actions import NEEDED, NO_FUNCTION, OWN_KEYS
from self_healing.spec_tests.models import CaseFile
from self_healing.telemetry.asked import KINDS
from self_healing.telemetry.columns import ATTRIBUTE
from self_healing.telemetry.signals import GROUP_COLUMNS, METRIC, SIGNALS
from self_healing.triggers.contradictions import COARSE_S, FINE_S, FINE_UP_TO_S, LONGEST_TIMER_S
from self_healing.triggers.declared import read_triggers

Schema = dict[str, Any]

_DRAFT = "http://json-schema.org/draft-07/schema#"
_BOUNDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
_DIRECTIVES = {
    "paused": "begin nothing new",
    "model": "use this model",
    "max_cost_usd": "spend at most so many dollars on a task",
    "token_budget": "use at most so many tokens on a task",
    "max_output_tokens": "let the model answer with at most so many tokens",
    "max_concurrency": "work on at most so many tasks at once",
    "timeout_s": "give up a task after so many seconds",
    "quality_gate": "strict: nothing passes without its checks",
    "max_retries": "try again at most so often",
}
"""What each directive tells the fleet."""

EXACTLY_ONE = {"Baseline": ("ratio", "percent", "absolute"), "Composite": ("all", "any")}
"""Keys of a condition of which exactly one is given."""

_TYPES = {bool: "boolean", str: "string", int: "integer", (int, float): "number"}


def settings_schema() -> Schema:
    """The schema of the configuration file."""
    return _file("self-healing.toml: the configuration of self-healing.", _of(Settings))


def triggers_schema() -> Schema:
    """The schema of a file of ``[[trigger]]`` and ``[[maintenance]]`` tables.

    A table that is named like a default may leave out whatever that has.
    """
    trigger = _of(TriggerSpec)
    properties = trigger["properties"]
    shipped = read_triggers([])
    properties["name"] = _or_other(shipped.names, properties["name"])
    properties["signal"] |= _signals(SIGNALS)
    columns = _columns()
    properties["group_by"] |= {"items": columns, "uniqueItems": True}
    properties["target_agent"]["pattern"] = r"\S"
    properties["where"]["propertyNames"] = columns
    properties["flap_after"]["not"] = {"const": 1}
    properties["window"]["allOf"] = [{"anyOf": [*_up_to_an_hour(), *_of_long_panes()]}]
    for key in ("for", "keep_firing_for"):
        _within(properties[key], maximum=LONGEST_TIMER_S)
    _within(trigger["$defs"]["Baseline"]["properties"]["over"], minimum=COARSE_S)
    actions = _or_other(read_actions([]).names, properties["actions"]["items"])
    properties["actions"] |= {"items": actions, "uniqueItems": True}
    for name, keys in EXACTLY_ONE.items():
        trigger["$defs"][name]["oneOf"] = [{"required": [key]} for key in keys]
    trigger["allOf"] = [_complete_unless(shipped.names, trigger.pop("required")), *_aggregates(), *_unasked()]
    _ask_of_samples_alone(trigger["allOf"][0]["else"])
    window = _of(Maintenance)
    window["properties"]["keys"]["propertyNames"] = columns
    return _tables({"trigger": trigger, "maintenance": window}, "Triggers of self-healing: what is watched for.")


def actions_schema() -> Schema:
    """The schema of a file of ``[[action]]`` tables.

    A table that is named like a default may leave out whatever that has.
    """
    action = _of(ActionSpec)
    properties = action["properties"]
    for key in ("target_agent", "prompt"):
        properties[key]["pattern"] = r"\S"
    shipped = read_actions([])
    properties["name"] = _or_other(shipped.names, properties["name"])
    scaled = properties["directives"].pop("additionalProperties")["anyOf"][-1]
    properties["directives"] |= {
        "properties": {name: _directive(name, scaled) for name in DIRECTIVES},
        "additionalProperties": False,
    }
    action["$defs"]["Threshold"]["required"] = ["value"]  # no other kind goes there
    plan = action["$defs"]["VerificationPlan"]
    plan["properties"]["signal"] |= _signals([name for name, signal in SIGNALS.items() if signal.aggregates])
    plan["properties"]["where"]["propertyNames"] = _columns()
    plan["dependencies"] = {key: ["signal"] for key in ("aggregate", "condition", "clear", "where")}
    plan["dependencies"]["signal"] = ["aggregate", "condition"]
    plan["allOf"] = list(_aggregates())
    action["allOf"] = [
        _complete_unless(shipped.names, action.pop("required")),
        *(
            _when("type", [kind.value], {"properties": {"directives": {"propertyNames": {"enum": list(names)}}}})
            for kind, names in ALLOWED_DIRECTIVES.items()
        ),
        *(_when("type", [kind.value], {"required": list(keys)}) for kind, keys in NEEDED.items()),
        *(_when("type", _others(kind), {"properties": dict.fromkeys(own, False)}) for kind, own in OWN_KEYS.items()),
        _when("type", list(NO_FUNCTION), {"properties": {"function": False}}),
        _when("type", _others(*OWN_KEYS), {"properties": {"parameter_types": False}}),
    ]
    return _tables({"action": action}, "Actions of self-healing: what is done.")


def _others(*kinds: ActionType) -> list[str]:
    return [kind.value for kind in ActionType if kind not in kinds]


def tests_schema() -> Schema:
    """The schema of a file of ``[[test]]`` tables."""
    return _file("Tests of the triggers of self-healing: what is pushed, and what is expected of it.", _of(CaseFile))


SCHEMAS: dict[str, Callable[[], Schema]] = {
    "config": settings_schema,
    "triggers": triggers_schema,
    "actions": actions_schema,
    "tests": tests_schema,
}
"""Every kind of file that people write, with its schema."""


def keys_of(schema: Schema) -> Iterator[tuple[str, Any, str]]:
    """Each key that a file may have: dotted, with its default (None without one), and what it says."""
    yield from _keys(schema, schema, "")


def _keys(within: Schema, at: Schema, above: str) -> Iterator[tuple[str, Any, str]]:
    for name, part in at.get("properties", {}).items():
        inner = _followed(within, part)
        tables = inner.get("additionalProperties")
        if inner.get("properties"):
            yield from _keys(within, inner, f"{above}{name}.")
        elif isinstance(tables, dict) and "oneOf" in tables:  # named by a person, told apart by their kind
            kinds = [_keys(within, _followed(within, kind), f"{above}{name}.NAME.") for kind in tables["oneOf"]]
            yield from {(key, says): (key, default, says) for each in kinds for key, default, says in each}.values()
        elif _followed(within, inner.get("items", {})).get("properties"):
            yield from _keys(within, _followed(within, inner["items"]), f"{above}{name}.")
        else:
            yield f"{above}{name}", part.get("default"), part.get("description", "")


def _followed(within: Schema, part: Schema) -> Schema:
    """What `part` refers to, or `part` itself."""
    name = part.get("$ref", "").rpartition("/")[2]
    found: Schema = within["$defs"][name] if name else part
    return found


def _of(model: type[BaseModel]) -> Schema:
    schema: Schema = _tidy(model.model_json_schema(schema_generator=_Generator, ref_template=DEFAULT_REF_TEMPLATE))
    return schema


def _file(description: str, schema: Schema) -> Schema:
    return {"$schema": _DRAFT, **schema, "description": description}


def _tables(kinds: Mapping[str, Schema], description: str) -> Schema:
    """The schema of a file that has nothing but tables of those kinds."""
    definitions: Schema = {}
    arrays: Schema = {}
    for kind, table in kinds.items():
        definitions |= table.pop("$defs", {}) | {kind: table}
        arrays[kind] = {"type": "array", "items": {"$ref": f"#/$defs/{kind}"}}
        arrays[kind]["description"] = f"One [[{kind}]] table each."
    file = {"$defs": definitions, "type": "object", "properties": arrays, "additionalProperties": False}
    return _file(description, file)


def _or_other(names: Collection[str], other: Schema) -> Schema:
    """One of `names`, which an editor completes, or whatever `other` allows."""
    description = {"description": other["description"]} if "description" in other else {}
    return description | {"anyOf": [{"enum": list(names)}, {k: v for k, v in other.items() if k != "description"}]}


def _signals(names: Collection[str]) -> Schema:
    """One of these signals, each with what it says, or a metric."""
    says = [SIGNALS[name].says for name in names]
    metric = {"type": "string", "pattern": f"^{re.escape(METRIC)}."}
    return _or_other(names, metric) | {"x-taplo": {"docs": {"enumValues": says}}}


def _columns() -> Schema:
    return _or_other(GROUP_COLUMNS, {"type": "string", "pattern": f"^{re.escape(ATTRIBUTE)}."})


def _complete_unless(shipped: Collection[str], required: list[str]) -> Schema:
    known = {"properties": {"name": {"enum": list(shipped)}}, "required": ["name"]}
    return {"if": known, "then": {"required": ["name"]}, "else": {"required": required}}


def _when(key: str, values: list[str], then: Schema) -> Schema:
    return {"if": {"properties": {key: {"enum": values}}, "required": [key]}, "then": then}


def _ask_of_samples_alone(complete: Schema) -> None:
    """Require of a new table what its condition asks for: a silence has no window, and a composite no signal either."""
    keys = [key for key in complete["required"] if any(key in unasked for unasked in UNASKED.values())]
    complete["required"] = [key for key in complete["required"] if key not in keys]
    complete["allOf"] = [
        {**_of_kind([kind for kind in UNASKED if key in UNASKED[kind]]), "else": {"required": [key]}} for key in keys
    ]


def _unasked() -> Iterator[Schema]:
    """What does not go with a condition."""
    for kind, unasked in UNASKED.items():
        yield {**_of_kind([kind]), "then": {"properties": dict.fromkeys((*unasked, "clear"), False)}}
    means = {"enum": [Aggregate.MEAN.value, Aggregate.RATIO.value]}
    yield {**_of_kind(["baseline"]), "then": {"properties": {"clear": False, "aggregate": means}}}
    yield {**_of_kind(["rate_of_change"]), "then": {"properties": {"window": {"anyOf": _up_to_an_hour()}}}}
    yield from _changing()
    signs = {"enum": [name for name, signal in SIGNALS.items() if not signal.aggregates]}
    yield {**_of_kind(["absence"]), "then": {"properties": {"signal": signs}}}
    yield {
        **_of_kind([kind for kind in KINDS if kind != "absence"]),
        "then": {"properties": {"signal": {"not": signs}}},
    }


def _changing() -> Iterator[Schema]:
    """That no change at all neither meets a rate of change nor keeps it from recovering."""
    beside = {"exclusiveMinimum": 0}, {"minimum": 0}, {"exclusiveMaximum": 0}, {"maximum": 0}
    for op, limit in zip((Operator.GE, Operator.GT, Operator.LE, Operator.LT), beside, strict=True):
        said = ["kind"] if op is Operator.GE else ["kind", "op"]  # which is what it is where nothing is said
        condition = {"properties": {"kind": {"const": "rate_of_change"}, "op": {"const": op.value}}, "required": said}
        yield {
            "if": {"properties": {"condition": condition}, "required": ["condition"]},
            "then": {"properties": {"clear": limit, "condition": {"properties": {"value": limit}}}},
        }


def _up_to_an_hour() -> list[Schema]:
    """Windows of panes of ten seconds, as numbers and as texts."""
    short = {"type": "integer", "maximum": FINE_UP_TO_S, "multipleOf": FINE_S}
    return [short, {"allOf": [written(maximum=FINE_UP_TO_S), {"pattern": "(0s|[mhd])$"}]}]


def _of_long_panes() -> list[Schema]:
    """Windows of panes of a quarter of an hour."""
    return [{"type": "integer", "multipleOf": COARSE_S}, multiples(COARSE_S, maximum=LONGEST_TIMER_S)]


def _of_kind(kinds: list[str]) -> Schema:
    condition = {"properties": {"kind": {"enum": kinds}}, "required": ["kind"]}
    return {"if": {"properties": {"condition": condition}, "required": ["condition"]}}


def _aggregates() -> Iterator[Schema]:
    """What may be asked of each signal, and that a share lies between 0 and 1."""
    for aggregates in dict.fromkeys(signal.aggregates for signal in SIGNALS.values()):
        names = [signal.name for signal in SIGNALS.values() if signal.aggregates == aggregates]
        if not aggregates:
            continue  # it goes with a condition that asks for none
        yield _when("signal", names, {"properties": {"aggregate": {"enum": [each.value for each in aggregates]}}})
    share = {"minimum": 0, "maximum": 1}
    ratios = {"enum": [signal.name for signal in SIGNALS.values() if signal.ratio]}
    threshold = {"properties": {"kind": {"const": "threshold"}}, "required": ["kind"]}
    yield {
        "if": {"properties": {"signal": ratios, "condition": threshold}, "required": ["signal", "condition"]},
        "then": {"properties": {"clear": share, "condition": {"properties": {"value": share}}}},
    }


def _directive(name: str, scaled: Schema) -> Schema:
    plain: Schema = {"type": _TYPES[DIRECTIVES[name]]}
    if DIRECTIVES[name] not in (bool, str):
        plain = {"anyOf": [plain | {"minimum" if name in MAY_BE_ZERO else "exclusiveMinimum": 0}, scaled]}
    return {"description": _DIRECTIVES[name]} | plain


class _Generator(GenerateJsonSchema):
    """Durations may be text such as ``90s``, as in TOML; descriptions are those of the models' docstrings."""

    def function_before_schema(self, schema: core_schema.BeforeValidatorFunctionSchema) -> JsonSchemaValue:
        inner = super().function_before_schema(schema)
        if schema["function"]["function"] is not parse_duration:
            return inner
        return {"anyOf": [inner | {"maximum": LONGEST_S}, dict(WRITTEN)]}

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        model = schema["cls"]
        found = super().model_schema(schema)
        summary = (inspect.getdoc(model) or "").partition("\n\n")[0].replace("\n", " ")
        found["description"] = summary
        said = {name: words for each in reversed(model.mro()) for name, words in arguments_of(each).items()}
        for name, info in model.model_fields.items():
            part = found["properties"].get(info.alias or name, {})
            if name in said:
                part.setdefault("description", said[name])
            if "const" in part:  # the tag by which a table is told from others of its kind
                part["description"] = summary
                found["required"] = sorted({*found.get("required", ()), info.alias or name})
        return found


def arguments_of(model: type) -> dict[str, str]:
    """What the docstring of `model` says of each of its arguments."""
    text = (inspect.getdoc(model) or "").partition("Args:\n")[2]
    said: dict[str, str] = {}
    names: list[str] = []
    for line in text.splitlines():
        match = re.match(r" {4}(\w[\w, ]*): (.*)", line)
        if match is not None:
            names = match[1].split(", ")
            said |= dict.fromkeys(names, match[2])
        elif line.startswith(" " * 8):
            said |= {name: f"{said[name]} {line.strip()}" for name in names}
        else:
            break
    return {name: re.sub(r"``(.*?)``", r"`\1`", words) for name, words in said.items()}


def _tidy(part: Any) -> Any:
    """Without what TOML has no use for, with durations as people write them."""
    if isinstance(part, list):
        return [_tidy(each) for each in part if each != {"type": "null"}]
    if not isinstance(part, dict):
        return part
    tidy = {key: _tidy(value) for key, value in part.items() if not (key == "title" and isinstance(value, str))}
    if tidy.get("default", ...) is None:
        del tidy["default"]
    tidy.pop("discriminator", None)
    if WRITTEN in tidy.get("anyOf", ()):
        _as_duration(tidy)
    if len(tidy.get("anyOf", ())) == 1:
        tidy |= tidy.pop("anyOf")[0]
    return tidy


def _as_duration(part: Schema) -> None:
    whole = part["anyOf"][0]
    for bound, name in _BOUNDS.items():
        if bound in part:
            whole[name] = part.pop(bound)
    part["anyOf"] = [whole, _text_of(whole)]
    part["examples"] = ["90s", "5m", "24h"]
    if isinstance(part.get("default"), int):
        part["default"] = duration(part["default"])


def _within(part: Schema, **bounds: int) -> None:
    """Lay further bounds, of seconds, upon the schema of a duration."""
    whole = part["anyOf"][0] | bounds
    part["anyOf"] = [whole, _text_of(whole)]


def _text_of(whole: Schema) -> Schema:
    """The schema of the texts of durations that are, as whole seconds, within these bounds."""
    above, below = whole.get("exclusiveMinimum"), whole.get("exclusiveMaximum")
    minimum = whole.get("minimum", 0) if above is None else above + 1
    return written(minimum=minimum, maximum=whole.get("maximum") if below is None else below - 1)
