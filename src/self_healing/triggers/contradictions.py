"""Settings of a trigger that are right one by one and make no sense together; a file that gives them is refused.

The rules read the values as they stand in TOML. What is of a wrong type is left to the model, which says so, and the
rules that do not need it are tried all the same: so every mistake is told at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from self_healing.declarations import Mistake, Values, seconds_of
from self_healing.spec import UNASKED, WHY_UNASKED, Aggregate, Baseline, NoData, Operator
from self_healing.wording import span

FINE_S, FINE_UP_TO_S, COARSE_S = 10, 3600, 900
"""How long panes are, for windows up to which length, and beyond that; as :mod:`self_healing.measures` has it, whose
import would cost every command that loads a spec a tenth of a second."""

LONGEST_TIMER_S = 86_400
"""A series that is without samples for a day is closed and forgotten, so that no timer of it should run for longer."""

_MOST_A_SECOND = 100_000
"""More samples in a second than this are more than one process takes in."""

_RISING = (Operator.GE, Operator.GT)

_DISTANCES = ("ratio", "percent", "absolute")


def contradictions(values: Values) -> Iterator[Mistake]:
    """What in the merged values of a trigger contradicts something else in it, or the panes that it is made of."""
    yield from _unasked(values)
    yield from _window(values)
    yield from _baseline(values)
    yield from _clear(values)
    yield from _steady(values)
    yield from _min_samples(values)
    for key in ("for", "keep_firing_for"):
        seconds = seconds_of(values.get(key))
        if seconds is not None and seconds > LONGEST_TIMER_S:
            allowed = f"at most {span(LONGEST_TIMER_S)}: a series is forgotten after a day of silence"
            yield key, values[key], f"allowed is {allowed}"


def _unasked(values: Values) -> Iterator[Mistake]:
    kind = _condition(values).get("kind")
    if kind not in UNASKED:
        return
    for key in (*UNASKED[kind], "clear"):
        if key in values:
            yield key, values[key], f"allowed with {kind} is none: it {WHY_UNASKED[kind]}"
    if values.get("no_data", NoData.KEEP) != NoData.KEEP and values["no_data"] in list(NoData):
        yield "no_data", values["no_data"], f"allowed with {kind} is keep: it {WHY_UNASKED[kind]}"


def _window(values: Values) -> Iterator[Mistake]:
    window_s = seconds_of(values.get("window"))
    if window_s is None or not FINE_S <= window_s <= LONGEST_TIMER_S:
        return
    if window_s <= FINE_UP_TO_S:
        if window_s % FINE_S:
            yield "window", values["window"], f"allowed is a multiple of {span(FINE_S)}, the length of its panes"
    elif _condition(values).get("kind") == "rate_of_change":
        most = "1h, which is how long panes of 10 s are kept twice over"
        yield "window", values["window"], f"allowed with rate_of_change is at most {most}"
    elif window_s % COARSE_S:
        yield "window", values["window"], "allowed above 1h is a multiple of 15m, the length of its panes"


def _baseline(values: Values) -> Iterator[Mistake]:
    condition = _condition(values)
    if condition.get("kind") != "baseline":
        return
    given = [key for key in _DISTANCES if condition.get(key) is not None]
    if len(given) > 1:  # which the model does not come to say where one of them is out of its range
        listed = ", ".join(_DISTANCES)
        yield "condition", condition, f"{' and '.join(given)} given: allowed is exactly one of {listed}"
    over_s = seconds_of(condition.get("over", Baseline.model_fields["over"].default))
    window_s = seconds_of(values.get("window"))
    if over_s is not None and over_s < max(window_s or 0, COARSE_S):
        what = "the window that it is compared with" if (window_s or 0) > COARSE_S else "one of its panes"
        least = span(max(window_s or 0, COARSE_S))
        yield "condition.over", condition.get("over"), f"allowed is at least {least}, {what}"
    elif over_s is not None and over_s % COARSE_S:
        yield "condition.over", condition["over"], "allowed is a multiple of 15m, the length of its panes"
    if values.get("clear") is not None:
        yield "clear", values["clear"], "allowed only with a threshold condition; a baseline's is its own"
    aggregate = values.get("aggregate")
    if aggregate in list(Aggregate) and aggregate not in (Aggregate.MEAN, Aggregate.RATIO):
        yield "aggregate", aggregate, "allowed are mean and ratio with a baseline condition, which compares means"


def _clear(values: Values) -> Iterator[Mistake]:
    condition = _condition(values)
    clear, limit, op = _number(values.get("clear")), _number(condition.get("value")), _operator(condition)
    if clear is None or limit is None or op is None:
        return
    if op in _RISING and clear > limit:
        yield "clear", values["clear"], f"allowed is at most {limit:g}, the threshold; above it fires"
    if op not in _RISING and clear < limit:
        yield "clear", values["clear"], f"allowed is at least {limit:g}, the threshold; below it fires"


def _steady(values: Values) -> Iterator[Mistake]:
    """A change that is none at all must not meet the condition, and must clear it: most work is steady."""
    condition = _condition(values)
    op = _operator(condition)
    if condition.get("kind") != "rate_of_change" or op is None:
        return
    for key, value in (("condition.value", condition.get("value")), ("clear", values.get("clear"))):
        limit = _number(value)
        if limit is not None and _MET_BY_NONE[op](limit):
            what = "would fire" if key != "clear" else "would never recover"
            yield key, value, f"allowed is {_BESIDE_NONE[op]} with {op.value}: work that does not change {what}"
            return


_MET_BY_NONE: Final = {
    Operator.GE: lambda limit: limit <= 0,
    Operator.GT: lambda limit: limit < 0,
    Operator.LE: lambda limit: limit >= 0,
    Operator.LT: lambda limit: limit > 0,
}
"""Whether no change at all stands in that relation to a limit."""

_BESIDE_NONE: Final = {
    Operator.GE: "above 0",
    Operator.GT: "at least 0",
    Operator.LE: "below 0",
    Operator.LT: "at most 0",
}


def _min_samples(values: Values) -> Iterator[Mistake]:
    least, window_s = values.get("min_samples", 1), seconds_of(values.get("window"))
    if not isinstance(least, int) or window_s is None or not FINE_S <= window_s <= LONGEST_TIMER_S:
        return
    # One test run may bring any number of tests, each of which is a sample.
    if values.get("signal") != "task.tests" and least > window_s * _MOST_A_SECOND:
        yield "min_samples", least, f"allowed is at most {window_s * _MOST_A_SECOND}: a window never holds more"


def _condition(values: Values) -> Values:
    condition = values.get("condition")
    return condition if isinstance(condition, Mapping) else {}


def _operator(condition: Values) -> Operator | None:
    op = condition.get("op", Operator.GE)
    stands = condition.get("kind", "threshold") in ("threshold", "rate_of_change")
    return Operator(op) if op in list(Operator) and stands else None


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
