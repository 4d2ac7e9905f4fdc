"""The declared actions: loads them, finds them, and works out the directives that one sets."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from self_healing.actions import calling, functions
from self_healing.declarations import Declarations, Mistake, Reader, Values, seconds_of
from self_healing.documents import Read, read_document
from self_healing.errors import NotFound
from self_healing.problems import listed, unknown
from self_healing.spec import ALLOWED_DIRECTIVES, DIRECTIVES, MAY_BE_ZERO, ActionSpec, ActionType, Scaled, TriggerSpec
from self_healing.telemetry.asked import wrong_signal, wrong_where
from self_healing.wording import span

DEFAULTS = Path(__file__).with_name("defaults.toml")
"""The eight default actions."""

DIAGNOSTIC = "comprehensive_system_analysis"
"""The action that three open incidents and every escalation call for; it changes nothing and needs no attempt."""

PAUSE_KEYS = ("hold_off", "expires")
"""How long the first pause of a shutdown lasts, and when any does at the latest."""

KINDS = {bool: "true or false", str: "text", int: "a whole number", (int, float): "a number"}
"""The types of settings, in words."""


class ActionRegistry:
    """Every action there is, by its name.

    Args:
        actions: with different names, in the order in which they are listed.
    """

    def __init__(self, actions: Iterable[ActionSpec]) -> None:
        self._actions = {action.name: action for action in actions}

    @classmethod
    def from_defaults(cls) -> Self:
        """The eight default actions."""
        return cls(load_actions([]))

    def __iter__(self) -> Iterator[ActionSpec]:
        return iter(self._actions.values())

    def __len__(self) -> int:
        return len(self._actions)

    @property
    def names(self) -> tuple[str, ...]:
        """The name of each, in their order."""
        return tuple(self._actions)

    def get(self, name: str) -> ActionSpec:
        """The action of that name. Raises NotFound."""
        try:
            return self._actions[name]
        except KeyError:
            raise NotFound("action", name) from None

    def answering(self, trigger_name: str, triggers: Iterable[TriggerSpec]) -> tuple[ActionSpec, ...]:
        """The actions that answer a trigger, in the order of its plan.

        Raises NotFound when `triggers` has none of that name, or its plan names an action that is not here.
        """
        for trigger in triggers:
            if trigger.name == trigger_name:
                return tuple(self.get(name) for name in trigger.actions)
        raise NotFound("trigger", trigger_name)

    def settings(self, action: ActionSpec, *, threshold: float | None, baseline: float | None) -> dict[str, Any]:
        """The directives that `action` sets for the affected agent, by name, the same for the same incident.

        Args:
            action: whose directives they are.
            threshold: of the incident, in the signal's unit.
            baseline: of the incident, in the signal's unit.

        A scaled setting is left out while what it is taken from is unknown, or is not above zero: a budget of nothing
        would stop the agent, and that is a pause, which is another action.
        """
        known = {
            name: _scaled(value, threshold, baseline) if isinstance(value, Scaled) else value
            for name, value in action.directives.items()
        }
        return {name: value for name, value in known.items() if value is not None}


def _scaled(value: Scaled, threshold: float | None, baseline: float | None) -> int | float | None:
    base = baseline if value.of == "baseline" and baseline is not None else threshold
    if base is None or base <= 0:
        return None
    amount = round(base * value.times, 6)  # before rounding up, or 1.1 times 100 would be 111
    return max(math.ceil(amount), 1) if value.whole else amount


def load_actions(files: Sequence[Path]) -> tuple[ActionSpec, ...]:
    """The actions to run with, as :func:`read_actions` reads them. Raises ConfigError with every problem."""
    return read_actions(files).checked()


def read_actions(
    files: Sequence[Path], *, read: Read = read_document, looking: bool = False
) -> Declarations[ActionSpec]:
    """Read actions and what is wrong with them.

    Args:
        files: a person's TOML files of ``[[action]]`` tables; later ones win, key by key.
        read: how each of them is read.
        looking: nothing is done by them, so that their functions need not be there.
    """
    reader = Reader("action", ActionSpec, _check if looking else _check_all)
    reader.shipped(DEFAULTS)
    reader.files(files, read)
    return reader.result()


def _check(values: Values) -> Iterator[Mistake]:
    """What an action's own model does not hold, or tells one by one; values of a wrong type are left to the model."""
    for key in ("target_agent", "prompt"):
        if isinstance(values.get(key), str) and values[key].isspace():
            yield key, values[key], "allowed is text that is not empty"
    if values.get("name") == DIAGNOSTIC and values.get("type") != ActionType.DIAGNOSTIC:
        yield "type", values.get("type"), "allowed is diagnostic, as every escalation calls for it"
    yield from calling.mistakes(values)
    yield from _judged(values.get("verification"))
    kind = next((each for each in ActionType if each == values.get("type")), None)
    directives = values.get("directives", {})
    if not isinstance(directives, Mapping):
        return
    for name, value in directives.items():
        if name not in DIRECTIVES:
            yield f"directives.{name}", value, unknown(name, ALLOWED_DIRECTIVES[kind] if kind else DIRECTIVES)
        elif kind is not None and name not in ALLOWED_DIRECTIVES[kind]:
            yield f"directives.{name}", value, f"{listed(ALLOWED_DIRECTIVES[kind])} for {kind.value}"
        else:
            yield from _directive(name, value)
    if kind is ActionType.EMERGENCY_SHUTDOWN:
        yield from _pause(values, directives)


def _check_all(values: Values) -> Iterator[Mistake]:
    """The same, and whether its function is there and takes its parameters."""
    yield from _check(values)
    yield from functions.mistakes(values)


def _judged(plan: Any) -> Iterator[Mistake]:
    """A signal of its own is one that there is, and what goes with it goes with that signal."""
    if isinstance(plan, Mapping):
        condition = plan.get("condition")
        told = {"kind": "threshold", **condition} if isinstance(condition, Mapping) else condition
        for key, value, allowed in (*wrong_signal({**plan, "condition": told}), *wrong_where(plan)):
            yield f"verification.{key}", value, allowed


def _pause(values: Values, directives: Values) -> Iterator[Mistake]:
    """A shutdown pauses, for as long as it says at first."""
    if directives.get("paused", False) is False:
        yield "directives", directives, "allowed is paused = true in an emergency_shutdown"
    hold_off_s, expires_s = (seconds_of(values.get(key, ActionSpec.model_fields[key].default)) for key in PAUSE_KEYS)
    if hold_off_s is not None and expires_s is not None and hold_off_s > expires_s > 0:
        yield "hold_off", values.get("hold_off"), f"allowed is at most {span(expires_s)}, when the pause expires"


def _directive(name: str, value: Any) -> Iterator[Mistake]:
    """Most numbers must be above zero, and only numbers can be scaled, those of whole things to whole ones."""
    kinds = DIRECTIVES[name]
    if isinstance(value, Mapping):
        if kinds in (bool, str):
            yield f"directives.{name}", value, "allowed is a value that is not scaled"
        elif kinds is int and value.get("whole") is not True:
            yield f"directives.{name}", value, "allowed is a scaled value with whole = true"
    elif not isinstance(value, bool | int | float | str):
        return
    elif not isinstance(value, kinds) or (isinstance(value, bool) and kinds is not bool):
        yield f"directives.{name}", value, f"allowed is {KINDS[kinds]}"
    elif isinstance(value, int | float) and not isinstance(value, bool):
        if name in MAY_BE_ZERO:
            wrong, allowed = value < 0, "allowed is at least 0"
        else:
            wrong, allowed = value <= 0, "allowed is more than 0"
        if wrong:
            yield f"directives.{name}", value, allowed
