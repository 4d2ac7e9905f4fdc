"""Calling: what an action does of a person's own before its handoff is delivered, so that this says that it is done.

A function is called, a program is run, or a web server is called; the last two as a channel of that kind would be.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from self_healing.actions import functions
from self_healing.declarations import Mistake, Values
from self_healing.errors import EffectError, EffectUntold
from self_healing.model import Handoff
from self_healing.problems import unknown
from self_healing.spec import ActionSpec, ActionType
from self_healing.spec.actions import NEEDED, NO_FUNCTION, OWN_KEYS, PARAMETER_TYPES

EVENT = "self_healing.action"
"""The type of the CloudEvent that asks a web server to do something."""

FORMS = {"argv": "a list", "url": "an http or https address", "secret_env": "the name of an environment variable"}
"""What is missing where one of these is, in words."""


def call(action: ActionSpec, handoff: Handoff) -> str | None:
    """Do the work of an action that calls something; returns what came back, which is worth keeping.

    Raises:
        EffectError: nothing was done; it may be tried again.
        EffectRefused: nothing was done, nor will be.
        EffectUntold: nobody can tell what was done.
    """
    try:
        return _called(action, handoff)
    except EffectError:
        raise
    except Exception as error:  # what nobody foresaw costs this execution, not the loop
        raise EffectUntold(f"action {action.name}: {action.calls}: {functions.plain(error)}") from error


def _called(action: ActionSpec, handoff: Handoff) -> str | None:
    from self_healing.handoffs import program, webhook  # which bring asyncio, and `status` reads actions too

    who = f"action {action.name}"
    match action.type:
        case ActionType.COMMAND:
            message = msgspec.json.encode(_told(action, handoff))
            about = f"{who}: {action.calls} for handoff {handoff.id}"
            argv, variables = action.argv or (), action.environment
            return program.done(argv, variables, message, timeout_s=action.timeout, about=about) or None
        case ActionType.WEBHOOK:
            to = webhook.Receiver(action.url or "", action.secret_env or "", action.allow, action.timeout)
            # Not by the handoff's id: whoever gets that as well by a channel would take the second for a repetition.
            id, told = handoff.execution, _told(action, handoff)
            return webhook.posted(handoff, told, to, id=id, type=EVENT, who=who, at=webhook.wall()) or None
        case _:
            functions.run(action, handoff)
            return None


def _told(action: ActionSpec, handoff: Handoff) -> dict[str, Any]:
    """The nine keys, and beside them what the action gives along."""
    told: dict[str, Any] = msgspec.to_builtins({**handoff.message, "parameters": action.parameters})
    return told


def mistakes(values: Values) -> Iterator[Mistake]:
    """What does not go together of what an action calls; values of a wrong type are left to the model."""
    type = values.get("type")
    if type not in list(ActionType):
        return  # which is told by itself; what goes with it nobody knows
    calling = ", ".join(OWN_KEYS)
    for kind, own in OWN_KEYS.items():
        for key in own if kind != type else ():
            if key in values:
                yield key, values[key], f"allowed with the type {kind.value} only"
    if type in NO_FUNCTION and values.get("function") is not None:
        yield "function", values["function"], f"allowed with other types than {ActionType(type).value} only"
    if type in OWN_KEYS:
        yield from _needed(ActionType(type), values)
        yield from _parameters(values)
    elif "parameter_types" in values:
        yield "parameter_types", values["parameter_types"], f"allowed with the types {calling} only"
    elif values.get("parameters") and values.get("function") is None:
        yield "parameters", values["parameters"], f"allowed with a function, and with the types {calling}"


def _needed(type: ActionType, values: Values) -> Iterator[Mistake]:
    for key in NEEDED[type]:
        if key not in values:
            yield key, None, f"missing: allowed is {FORMS[key]}"


def _parameters(values: Values) -> Iterator[Mistake]:
    """What is given is what was declared: all of it, nothing else, and each of its type."""
    types, given = values.get("parameter_types"), values.get("parameters", {})
    if not isinstance(types, Mapping) or not isinstance(given, Mapping):
        return
    for name in given:
        if name not in types:
            yield f"parameters.{name}", given[name], unknown(name, types)
    for name, wanted in types.items():
        kinds = PARAMETER_TYPES.get(wanted) if isinstance(wanted, str) else None
        value = given.get(name)
        if kinds is None:
            continue  # which its model says
        if name not in given:
            yield f"parameters.{name}", None, f"missing: allowed is a value of type {wanted}"
        elif not isinstance(value, kinds) or (isinstance(value, bool) and kinds is not bool):
            yield f"parameters.{name}", value, f"allowed is a value of type {wanted}"
