"""What may be asked of telemetry in a file: which signals there are, and what goes with each.

The rules read values as they stand in TOML; what is of a wrong type is left to the model, which says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from self_healing.declarations import Mistake, Values
from self_healing.problems import listed, unknown
from self_healing.spec import Aggregate
from self_healing.telemetry.signals import COLUMNS, METRIC, SIGNALS, is_column, signal_of

KINDS = ("threshold", "baseline", "rate_of_change", "absence")
"""The conditions that look at a signal."""


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


def wrong_where(values: Values) -> Iterator[Mistake]:
    """What is wrong with its `where`: each key is a column."""
    where = values.get("where")
    for column, value in where.items() if isinstance(where, Mapping) else ():
        if not is_column(column):
            yield f"where.{column}", value, unknown(column, COLUMNS)
