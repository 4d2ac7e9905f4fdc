"""Loads the declared triggers: the defaults, those of the pack that are asked for, a person's files, then overrides."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from self_healing.declarations import Declarations, Mistake, Reader, Values
from self_healing.documents import Read, read_document
from self_healing.problems import listed, unknown
from self_healing.spec import Aggregate, TriggerSpec
from self_healing.telemetry.signals import COLUMNS, METRIC, SIGNALS, is_column, signal_of
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


KINDS = ("threshold", "baseline", "rate_of_change", "absence")
"""The conditions that look at a signal."""


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
    read: Read = read_document,
) -> Declarations[TriggerSpec]:
    """Read triggers and what is wrong with them.

    Args:
        files: a person's TOML files of ``[[trigger]]`` tables; later ones win, key by key.
        overrides: changes made at run time, by trigger, such as ``{"slow_tasks": {"enabled": False}}``; they win.
        actions: the names that plans may use; unchecked when left out.
        read: how each of the files is read.
    """
    reader = Reader("trigger", TriggerSpec, lambda values: _check(values, actions), _together, beside=("maintenance",))
    reader.shipped(DEFAULTS)
    reader.offered(PACK)
    reader.files(files, read)
    reader.overrides(overrides or {})
    return reader.result()


def _check(values: Values, actions: Collection[str] | None) -> Iterator[Mistake]:
    """What a trigger's own model cannot know; values of a wrong type are left to the model."""
    yield from _signal(values)
    yield from _columns(values)
    yield from contradictions(values)
    yield from steps(values)
    if isinstance(values.get("target_agent"), str) and values["target_agent"].isspace():
        yield "target_agent", values["target_agent"], "allowed is text that is not empty"
    for number, action in _texts(values.get("actions")):
        if actions is not None and action not in actions:
            yield f"actions.{number}", action, unknown(action, actions)


def _together(tables: Mapping[str, Values]) -> Iterator[tuple[str, Mistake]]:
    """What is wrong with the triggers as they name each other."""
    yield from inhibitions(tables)
    yield from compositions(tables)


def _signal(values: Values) -> Iterator[Mistake]:
    name = values.get("signal")
    if not isinstance(name, str):
        return
    signal = signal_of(name)
    if signal is None:
        yield "signal", name, unknown(name, [*SIGNALS, f"{METRIC}NAME"])
        return
    condition = values.get("condition")
    condition = condition if isinstance(condition, Mapping) else {}
    absent, kind = not signal.aggregates, condition.get("kind")
    if kind in KINDS and absent != (kind == "absence"):
        silent = [each for each in SIGNALS.values() if not each.aggregates]
        others = f"allowed with {kind} are the signals of samples; {name} goes with absence"
        yield "signal", name, others if absent else f"{listed([each.name for each in silent])} with absence"
        return
    aggregate = values.get("aggregate")
    if not absent and aggregate in list(Aggregate) and aggregate not in signal.aggregates:
        yield "aggregate", aggregate, f"{listed([each.value for each in signal.aggregates])} for {name}"
    if kind == "rate_of_change":
        return  # per hour, a part may change by more than the whole
    limits = {"condition.value": condition.get("value"), "clear": values.get("clear")}
    for key, value in limits.items():
        if signal.ratio and isinstance(value, int | float) and not 0 <= value <= 1:
            yield key, value, f"allowed is 0 to 1, as {name} is a part of a whole"


def _columns(values: Values) -> Iterator[Mistake]:
    group_by = _texts(values.get("group_by"))
    for number, column in group_by:
        if not is_column(column):
            yield f"group_by.{number}", column, unknown(column, COLUMNS)
    if any(times > 1 for times in Counter(column for _, column in group_by).values()):
        yield "group_by", values["group_by"], "allowed is each column once"
    where = values.get("where")
    for column, value in where.items() if isinstance(where, Mapping) else ():
        if not is_column(column):
            yield f"where.{column}", value, unknown(column, COLUMNS)


def _texts(value: Any) -> list[tuple[int, str]]:
    """The texts in a list, with their places; none when it is no list."""
    items = enumerate(value) if isinstance(value, list | tuple) else ()
    return [(number, item) for number, item in items if isinstance(item, str)]
