"""Functions: actions that are code of a person's own, with parameters that are checked when they are loaded.

A function is called with the handoff's nine keys, and with its parameters: as the pydantic model that its second
parameter is annotated with, else as a dict. It is called before the handoff is delivered, so that a handoff that
arrived says that the function has done its work.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, get_type_hints

from pydantic import BaseModel, ValidationError

from self_healing import plugins
from self_healing.declarations import Mistake, Values
from self_healing.errors import EffectError, EffectRefused, EffectUntold
from self_healing.model import Handoff
from self_healing.problems import keys, one_line, unknown
from self_healing.redaction import redact
from self_healing.spec import ActionSpec

GROUP = "self_healing.actions"
"""The group of entry points that functions are found in."""


def run(action: ActionSpec, handoff: Handoff) -> None:
    """Call the function of an action; returning says that it has done its work.

    Raises:
        EffectError: it says that nothing was done, and may be tried again.
        EffectRefused: it says that it never will be, it cannot be called, or its parameters are none any more.
        EffectUntold: it raised something else, and nobody can tell what was done.
    """
    about = f"action {action.name}: {action.function}"
    try:
        function = plugins.function(GROUP, action.function or "")
        model = _model(function)
        given = action.parameters if model is None else model.model_validate(action.parameters)
    except ValueError as error:
        raise EffectRefused(f"{about}: {plain(error)}") from error
    try:
        function(dict(handoff.message), given)
    except (EffectError, KeyboardInterrupt):
        raise
    except BaseException as error:  # sys.exit() and a cancelled task, too, cost their own execution and no service
        raise EffectUntold(f"{about} raised {plain(error)}") from error


def mistakes(values: Values) -> Iterator[Mistake]:
    """What is wrong with the function and the parameters of an action; values of a wrong type are left to the model."""
    wanted, parameters = values.get("function"), values.get("parameters", {})
    if not isinstance(wanted, str) or not isinstance(parameters, Mapping):
        return
    try:
        function = plugins.function(GROUP, wanted)
        model = _model(function)
    except ValueError as error:
        yield "function", wanted, f"{plain(error)}: allowed is an entry point in {GROUP}, or module:function"
        return
    if model is not None:
        yield from _wrong(model, parameters)


def _model(function: Callable[..., object]) -> type[BaseModel] | None:
    """What the parameters of a function are; None where it says nothing. Raises ValueError: it takes no two."""
    try:
        names = list(inspect.signature(function).parameters)
        hints = get_type_hints(function)
    except (TypeError, NameError) as error:
        raise ValueError(f"what it takes cannot be told: {error}") from error
    if len(names) != 2:
        raise ValueError(f"it takes {len(names)} arguments, not two: the handoff and the parameters")
    hint = hints.get(names[1])
    return hint if isinstance(hint, type) and issubclass(hint, BaseModel) else None


def plain(error: BaseException) -> str:
    """What an error says, in a line and without secrets."""
    return one_line(redact(str(error) if isinstance(error, ValueError) else repr(error)))


def _wrong(model: type[BaseModel], parameters: Mapping[str, Any]) -> Iterator[Mistake]:
    known = keys(model)
    for name in parameters:
        if name not in known:
            yield f"parameters.{name}", parameters[name], unknown(name, known)
    try:
        model.model_validate(dict(parameters))
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            key = ".".join(map(str, ("parameters", *detail["loc"])))
            if detail["type"] == "missing":
                yield key, None, "missing: allowed is a value"
            elif detail["type"] != "extra_forbidden":
                said = str(detail["msg"])
                yield key, detail["input"], f"allowed is what the function takes: {said[:1].lower()}{said[1:]}"
