"""Says what is wrong with something that a person declared, in one line a mistake.

A line is ``where: key: value: what is allowed``; configuration, triggers and actions share it.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Collection
from datetime import date
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ValidationError
from pydantic.fields import FieldInfo

from self_healing.durations import ALLOWED
from self_healing.spec import parse_duration
from self_healing.wording import span

Where = Callable[[str], str]
"""Says for a dotted key (``""``: the whole) where it was given, such as ``triggers.toml:3: trigger slow_tasks``."""

USUAL = {
    "average": "mean",
    "avg": "mean",
    "median": "p50",
    "maximum": "max",
    "minimum": "min",
    "total": "sum",
    "above": ">",
    "below": "<",
    "gt": ">",
    "gte": ">=",
    "lt": "<",
    "lte": "<=",
    "input_tokens": "prompt_tokens",
    "output_tokens": "completion_tokens",
    "cost": "total_usd",
    "cost_usd": "total_usd",
}
"""What other systems say, and what it is called here; no likeness of letters leads from one to the other."""

_LONGEST = 80
_BOUNDS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
_KINDS = {
    bool: "is true or false",
    int: "is a whole number",
    float: "is a number",
    str: "is text",
    Path: "is a path",
    tuple: "is a list",
    dict: "is a table",
    date: "is a date such as 2026-01-05",
    AwareDatetime: "is a time with its zone, such as 2026-01-05T10:00:00Z",
}


def shown(value: Any) -> str:
    """`value` as it looks in TOML, cut to 80 characters, for a message."""
    text = json.dumps(value, ensure_ascii=True, default=str)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def one_line(text: str) -> str:
    """`text` with whatever does not print escaped, so that a key or a name can neither forge nor garble a line."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def listed(names: Collection[str]) -> str:
    """What is allowed where only `names` are, for the end of a message."""
    return f"allowed are {', '.join(names)}" if names else "allowed is none"


def suggestion(name: str, names: Collection[str]) -> str:
    """The question after the nearest of `names`, with a space before it; empty when none is near."""
    swapped = [each for each in names if sorted(each) == sorted(name)]  # => is nearer to >= than to >
    usual = [each for each in names if each == USUAL.get(name.lower())]
    near = swapped or usual or difflib.get_close_matches(name, list(names), n=1)
    return f" did you mean {near[0]}?" if near else ""


def unknown(name: str, names: Collection[str]) -> str:
    """That `name` is none of `names`, the nearest of them, and all of them, for the end of a message."""
    return f"unknown;{suggestion(name, names)} {listed(names)}"


def problems_of(error: ValidationError, where: Where, model: type[BaseModel], *, incomplete: bool = False) -> list[str]:
    """One line for each mistake that pydantic found when it validated `model`.

    Args:
        error: what the validation raised.
        where: says for a dotted key where it was given.
        model: the model that was validated; its fields say what is allowed.
        incomplete: whether a part of what was given could not be read, so that nothing is known to be missing.
    """
    lines: dict[str, None] = {}  # a set that keeps its order: each member of a union brings its own error for one value
    for detail in error.errors(include_url=False):
        if incomplete and detail["type"] in ("missing", "union_tag_not_found"):
            continue
        place = Place(model, detail["loc"])
        if place.member is not None and isinstance(detail["input"], dict) and not _is_model(place.member):
            continue  # a table was meant for the union's model, whose own errors say what is wrong
        lines[_line(dict(detail), place, where)] = None
    return list(lines)


def _line(detail: dict[str, Any], place: Place, where: Where) -> str:
    if not place.key and detail["type"] == "value_error":
        return f"{where('')}: {detail['ctx']['error']}"  # a whole model's validator names the key itself
    if detail["type"] == "missing":
        return f"{where(place.key)}: {place.key}: missing: {_allowed(place.at)}"
    return f"{where(place.key)}: {place.key}: {shown(detail['input'])}: {_complaint(detail, place)}"


def _complaint(detail: dict[str, Any], place: Place) -> str:
    context = detail.get("ctx", {})
    match detail["type"]:
        case "extra_forbidden":
            return unknown(str(detail["loc"][-1]), keys(place.owner))
        case "value_error":
            return str(context["error"])
        case "union_tag_not_found":
            return f"{context['discriminator'].strip(chr(39))} is missing: {listed(_tags(place.at))}"
        case "tuple_type" if isinstance(detail["input"], str):
            # A command that was written as for a shell is many arguments; any other text is one item.
            items = detail["input"].split() if place.key.endswith("argv") else []
            return f"allowed is a list, such as {shown(items or [detail['input']])}"
        case "union_tag_invalid":
            return f"unknown kind;{suggestion(context['tag'], _tags(place.at))} {listed(_tags(place.at))}"
        case "enum" | "literal_error" if isinstance(detail["input"], str) and _choices(place.at):
            return unknown(detail["input"], _choices(place.at))
        case "too_short":
            least = context["min_length"]
            return "allowed is at least one" if least == 1 else f"allowed are at least {least}"
        case "string_too_short":
            return "allowed is text that is not empty"
        case "finite_number":
            return "allowed is a finite number"
    for bound, words in _BOUNDS.items():
        if bound in context:
            limit = context[bound]
            return f"allowed is {words} {span(limit) if _is_duration(place.at) else limit}"
    return _allowed(place.at)


def keys(model: type[BaseModel]) -> list[str]:
    """The keys that `model` has in TOML."""
    return [field.alias or name for name, field in model.model_fields.items()]


class Place:
    """A place in a model: the key as a person writes it, without pydantic's labels of unions, and the annotation there.

    Args:
        model: where the walk begins.
        loc: pydantic's location.
    """

    def __init__(self, model: type[BaseModel], loc: tuple[int | str, ...]) -> None:
        self.owner = model  # the model that the last key belongs to
        self.at: Any = model
        self.member: Any = None  # of a plain union, the member that the error is about
        parts: list[str] = []
        for number, item in enumerate(loc, start=1):
            if len(_members(self.at)) > 1:
                self._choose(str(item), last=number == len(loc))
            else:
                parts.append(str(item))
                self._descend(str(item))
        self.key = ".".join(parts)

    def holds(self, *kinds: type) -> bool:
        """Whether a value there is one of `kinds` itself, rather than a list or table of them."""
        return _plain(self.at) in kinds

    def _choose(self, label: str, *, last: bool) -> None:
        chosen = [member for member in _members(self.at) if label in _labels(member)]
        if len(chosen) == 1 and label == chosen[0].__name__:
            self.member = chosen[0]
        if chosen and _is_model(chosen[0]) and not last:  # else the value is no member at all: any of them is allowed
            self.at = chosen[0]

    def _descend(self, key: str) -> None:
        if _is_model(self.at):
            self.owner = self.at
            self.at = {field.alias or name: field_type(field) for name, field in self.at.model_fields.items()}.get(key)
        else:
            plain = _alone(self.at)
            arguments = get_args(plain)
            self.at = arguments[-1 if get_origin(plain) is dict else 0] if arguments else None


def field_type(field: FieldInfo) -> Any:
    """The annotation of `field`, with the constraints that stand beside it."""
    return field.rebuild_annotation()


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _plain(annotation: Any) -> Any:
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _alone(annotation: Any) -> Any:
    """The one that may stand there where that is one or nothing; else the annotation as it is."""
    members = _members(annotation)
    return _plain(members[0]) if len(members) == 1 else _plain(annotation)


def _is_duration(annotation: Any) -> bool:
    notes = get_args(annotation)[1:] if get_origin(annotation) is Annotated else ()
    return any(isinstance(note, BeforeValidator) and note.func is parse_duration for note in notes)


def _members(annotation: Any) -> list[Any]:
    """The members of a union but None; else the annotation alone."""
    plain = _plain(annotation)
    if get_origin(plain) in (Union, UnionType):
        return [member for member in get_args(plain) if member is not type(None)]
    return [plain]


def _labels(member: Any) -> list[str]:
    """What pydantic may call a member of a union: its name, or the tag by which it is chosen."""
    fields = member.model_fields.values() if _is_model(member) else ()
    return [member.__name__, *[value for field in fields for value in _choices(field.annotation)]]


def _tags(union: Any) -> list[str]:
    """The values by which the members of a tagged union are chosen."""
    return [_labels(member)[1] for member in _members(union)]


def _choices(annotation: Any) -> tuple[str, ...]:
    """The texts that may stand there; none where others may too, or anything but text."""
    members = _members(annotation)
    if len(members) > 1:
        each = [_choices(member) for member in members]
        return tuple(choice for choices in each for choice in choices) if all(each) else ()
    plain = _alone(annotation)
    if get_origin(plain) is Literal:
        return tuple(map(str, get_args(plain)))
    if isinstance(plain, type) and issubclass(plain, Enum):
        return tuple(str(member.value) for member in plain)
    return ()


def _allowed(annotation: Any) -> str:
    """What a value of that annotation may be, for the end of a message."""
    if _is_duration(annotation):
        return ALLOWED
    members = _members(annotation)
    kinds = dict.fromkeys(_kind(member) for member in members)
    if len(members) > 1 and all(_is_model(member) for member in members):
        return f"allowed is a table with one of the kinds {', '.join(_tags(annotation))}"
    return " or ".join(["allowed " + next(iter(kinds)), *[kind.removeprefix("is ") for kind in list(kinds)[1:]]])


def _kind(member: Any) -> str:
    choices = _choices(member)
    if choices:
        return f"are {', '.join(choices)}"
    if _is_model(member):
        return f"is a table of {', '.join(keys(member))}"
    plain = get_origin(_plain(member)) or _plain(member)
    return _KINDS.get(plain, "is a valid value")
