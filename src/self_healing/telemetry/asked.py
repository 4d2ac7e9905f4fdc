"""What may be asked of telemetry in a file: which signals there are, and what goes with each.

The rules read values as they stand in TOML; what is of a wrong type is left to the model, which says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from self_healing.declarations import Mistake, Values
from self_healing.problems import listed, unknown
from self_healing.spec import COUNTING, UNITS, ActionSpec, Aggregate
from self_healing.telemetry.signals import COLUMNS, METRIC, SIGNALS, is_column, signal_of, unit_of

KINDS = ("threshold", "baseline", "rate_of_change", "absence")
"""The conditions that look at a signal."""

OTHERWISE = {"absence": "s", "composite": "a number of triggers"}
"""What the thresholds of the conditions are in that look at no samples."""


def wrong_signal(values: Values) -> Iterator[Mistake]:
    """What is wrong with its `signal`, and with the `aggregate`, the `condition` and the `clear` that go with that."""
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


def wrong_units(values: Values, actions: Iterable[ActionSpec]) -> Iterator[Mistake]:
    """Which of its `actions` take a directive from an incident of it that would be in another unit.

    Args:
        actions: all there are.
    """
    known, plan = {action.name: action for action in actions}, values.get("actions")
    for number, name in enumerate(plan if isinstance(plan, list | tuple) else ()):
        action = known.get(name) if isinstance(name, str) else None
        wrong = [] if action is None else list(_taken_otherwise(values, action))
        if wrong:
            which, how = " and ".join(directive for directive, _ in wrong), "; ".join(told for _, told in wrong)
            yield f"actions.{number}", name, f"allowed are actions with a number of their own for {which}: {how}"


def _taken_otherwise(values: Values, action: ActionSpec) -> Iterator[tuple[str, str]]:
    """The directives that are taken from what is in another unit, each with how."""
    for directive, value in action.scaled.items():
        wanted, found = UNITS[directive], _unit(values, value.of)
        if found is not None and found != wanted:
            yield directive, f"it is {_said(wanted)}, and this one takes it from the {value.of}, {_said(found)} here"


def _said(unit: str) -> str:
    return unit if " " in unit else f"in {unit}" if unit else "a plain number"


def _unit(values: Values, of: str) -> str | None:
    """What the threshold or the baseline of a trigger is in; None where that is told to be wrong already."""
    name, aggregate, condition = (values.get(key) for key in ("signal", "aggregate", "condition"))
    kind = condition.get("kind") if isinstance(condition, Mapping) else None
    if kind in OTHERWISE:
        return OTHERWISE[kind]
    if not isinstance(name, str) or signal_of(name) is None or aggregate not in list(Aggregate):
        return None
    if name.startswith(METRIC) and aggregate not in COUNTING:
        return "in a unit that nobody knows"
    unit = unit_of(name, Aggregate(aggregate))
    return f"a change of {unit}" if kind == "rate_of_change" and of == "threshold" else unit


def wrong_where(values: Values) -> Iterator[Mistake]:
    """What is wrong with its `where`: each key is a column."""
    where = values.get("where")
    for column, value in where.items() if isinstance(where, Mapping) else ():
        if not is_column(column):
            yield f"where.{column}", value, unknown(column, COLUMNS)
