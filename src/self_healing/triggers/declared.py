"""Loads the declared triggers: the defaults, those of the pack that are asked for, a person's files, then overrides."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from self_healing.declarations import Declarations, Mistake, Reader, Values
from self_healing.documents import Read, read_document
from self_healing.problems import unknown
from self_healing.spec import ActionSpec, TriggerSpec
from self_healing.telemetry.asked import wrong_signal, wrong_units, wrong_where
from self_healing.telemetry.signals import COLUMNS, is_column
from self_healing.triggers.composition import compositions
from self_healing.triggers.contradictions import contradictions
from self_healing.triggers.inhibition import inhibitions
from self_healing.triggers.steps import steps

DEFAULTS = Path(__file__).with_name("defaults.toml")
"""The seven default triggers."""

PACK = Path(__file__).with_name("pack.toml")
"""Triggers that are off, and no part of the spec, until somebody enables or declares them."""


def in_pack() -> frozenset[str]:
    """The names of the triggers of the pack."""
    return frozenset(table["name"] for table in read_document(PACK).values["trigger"])


def from_pack(name: str) -> TriggerSpec:
    """A trigger of the pack as it comes along, which is off."""
    offered = load_triggers([], overrides={name: {"enabled": False}})
    return next(trigger for trigger in offered if trigger.name == name)


def load_triggers(
    files: Sequence[Path], *, overrides: Mapping[str, Values] | None = None, actions: Collection[str] | None = None
) -> tuple[TriggerSpec, ...]:
    """The triggers to run with, as :func:`read_triggers` reads them. Raises ConfigError with every problem."""
    return read_triggers(files, overrides=overrides, actions=actions).checked()


def read_triggers(
    files: Sequence[Path],
    *,
    overrides: Mapping[str, Values] | None = None,
    actions: Collection[str] | None = None,
    declared: Sequence[ActionSpec] = (),
    read: Read = read_document,
) -> Declarations[TriggerSpec]:
    """Read triggers and what is wrong with them.

    Args:
        files: a person's TOML files of ``[[trigger]]`` tables; later ones win, key by key.
        overrides: changes made at run time, by trigger, such as ``{"slow_tasks": {"enabled": False}}``; they win.
        actions: the names that plans may use; unchecked when left out.
        declared: those of the actions that are valid; what they take from incidents has to be in their units.
        read: how each of the files is read.
    """

    def check(values: Values) -> Iterator[Mistake]:
        yield from _check(values, actions)
        yield from wrong_units(values, declared)

    reader = Reader("trigger", TriggerSpec, check, _together, beside=("maintenance",))
    reader.shipped(DEFAULTS)
    reader.offered(PACK)
    reader.files(files, read)
    reader.overrides(overrides or {})
    return reader.result()


def _check(values: Values, actions: Collection[str] | None) -> Iterator[Mistake]:
    """What a trigger's own model cannot know; values of a wrong type are left to the model."""
    yield from wrong_signal(values)
    yield from wrong_where(values)
    yield from _group_by(values)
    yield from contradictions(values)
    yield from steps(values)
    if isinstance(values.get("target_agent"), str) and values["target_agent"].isspace():
        yield "target_agent", values["target_agent"], "allowed is text that is not empty"
    plan = _texts(values.get("actions"))
    if len({action for _, action in plan}) < len(plan):
        yield "actions", values["actions"], "allowed is each action once, as a step is named by it"
    for number, action in plan:
        if actions is not None and action not in actions:
            yield f"actions.{number}", action, unknown(action, actions)


def _together(tables: Mapping[str, Values]) -> Iterator[tuple[str, Mistake]]:
    """What is wrong with the triggers as they name each other."""
    for name, (key, other, allowed) in chain(inhibitions(tables), compositions(tables)):
        if other not in tables and other in in_pack():
            how = f"a table that names it, or `self-healing triggers enable {other}`, switches it on"
            yield name, (key, other, f"off, as is all of the pack; {how}")
        else:
            yield name, (key, other, allowed)


def _group_by(values: Values) -> Iterator[Mistake]:
    group_by = _texts(values.get("group_by"))
    for number, column in group_by:
        if not is_column(column):
            yield f"group_by.{number}", column, unknown(column, COLUMNS)
    if any(times > 1 for times in Counter(column for _, column in group_by).values()):
        yield "group_by", values["group_by"], "allowed is each column once"


def _texts(value: Any) -> list[tuple[int, str]]:
    """The texts in a list, with their places; none when it is no list."""
    items = enumerate(value) if isinstance(value, list | tuple) else ()
    return [(number, item) for number, item in items if isinstance(item, str)]
