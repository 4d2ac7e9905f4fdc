"""Conditions: what must be so for a trigger to fire, and of which value of a window."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from self_healing.spec.declared import Declared, Duration, Name, Number, Whole


class Aggregate(StrEnum):
    """How the samples of a window become one value."""

    COUNT = "count"
    SUM = "sum"
    MEAN = "mean"
    MIN = "min"
    MAX = "max"
    RATE = "rate"  # samples a second
    RATIO = "ratio"  # for signals that count something of something, such as task.errors
    P50 = "p50"  # the smallest sample that half of all do not exceed; told to 2.2 %, like the other quantiles
    P75 = "p75"
    P90 = "p90"
    P95 = "p95"
    P99 = "p99"


PERCENT = {each: int(each.value[1:]) for each in Aggregate if each.value[1:].isdigit()}
"""The quantiles among the aggregates, each with its percentage."""

COUNTING = (Aggregate.COUNT, Aggregate.RATE)
"""Of these, no sample is a value too: zero."""


class Operator(StrEnum):
    GE = ">="
    GT = ">"
    LE = "<="
    LT = "<"

    @property
    def rising(self) -> bool:
        """Whether more meets it."""
        return self in (Operator.GE, Operator.GT)


class Threshold(Declared):
    """Met while the window's value stands in that relation to a fixed one.

    Args:
        op: the relation.
        value: in the signal's unit.
    """

    kind: Literal["threshold"] = "threshold"
    op: Operator = Operator.GE
    value: Number


class Baseline(Declared):
    """Met while the window's mean is so far above the mean of the time before it; exactly one of three says how far.

    Args:
        ratio: times as much; 4.0 says four times.
        percent: per cent above it; 300 says four times.
        absolute: above it in the signal's unit.
        over: length of the baseline, which ends where the window begins.
        min_samples: fewer in the baseline say ``no_baseline``.
    """

    kind: Literal["baseline"]
    ratio: Number | None = Field(default=None, gt=1)
    percent: Number | None = Field(default=None, gt=0)
    absolute: Number | None = Field(default=None, gt=0)
    over: Duration = 86400
    min_samples: Whole = Field(default=20, ge=1)

    @property
    def times(self) -> float:
        """By what the baseline is multiplied for the limit."""
        return self.ratio or 1 + (self.percent or 0.0) / 100

    @property
    def plus(self) -> float:
        """What is added to it, in the signal's unit."""
        return self.absolute or 0.0

    @model_validator(mode="after")
    def _one_distance(self) -> Self:
        _only_one(ratio=self.ratio, percent=self.percent, absolute=self.absolute)
        return self


class RateOfChange(Declared):
    """Met while the window's value less that of the window right before it, `per` so long, stands in that relation.

    Args:
        op: the relation.
        value: in the signal's unit; below zero for a fall.
        per: the length of time in which it changes so much.
    """

    kind: Literal["rate_of_change"]
    op: Operator = Operator.GE
    value: Number
    per: Annotated[Duration, Field(ge=1)] = 60


class Absence(Declared):
    """Met while a group that once spoke has been silent for so long.

    Args:
        silent_for: since its last sign of life; less than a day, after which nobody expects one any more.
    """

    kind: Literal["absence"]
    silent_for: Annotated[Duration, Field(ge=10, lt=86400)] = 600


class Composite(Declared):
    """Met while all, or any, of some other triggers fire for the same group at the same instant.

    Args:
        all_of, any_of: their names (``all`` and ``any`` in TOML); exactly one of the two.
    """

    kind: Literal["composite"]
    all_of: tuple[Name, ...] | None = Field(default=None, alias="all", min_length=2)
    any_of: tuple[Name, ...] | None = Field(default=None, alias="any", min_length=2)

    @property
    def members(self) -> tuple[str, ...]:
        """The triggers that it is made of."""
        return self.all_of or self.any_of or ()

    @property
    def needed(self) -> int:
        """How many of them must fire."""
        return 1 if self.all_of is None else len(self.all_of)

    @model_validator(mode="after")
    def _one_list(self) -> Self:
        _only_one(all=self.all_of, any=self.any_of)
        if len(set(self.members)) < len(self.members):
            raise ValueError("allowed is each trigger once")
        return self


def check_clear(clear: float | None, op: Operator, value: float) -> None:
    """Raises ValueError where `clear` is worse than the condition's own value."""
    if clear is not None and (clear > value if op.rising else clear < value):
        side = "below or at" if op.rising else "above or at"
        raise ValueError(f"clear {clear}: allowed is {side} the threshold {value}")


def _only_one(**values: object) -> None:
    """Raises ValueError unless exactly one of the values is given."""
    given = [name for name, value in values.items() if value is not None]
    if len(given) != 1:
        raise ValueError(f"{' and '.join(given) or 'none'} given: allowed is exactly one of {', '.join(values)}")


Condition = Annotated[Threshold | Baseline | RateOfChange | Absence | Composite, Field(discriminator="kind")]
"""What must be so for a trigger to fire."""

RATE_WINDOW_STEP_S = 10

RATE_WINDOW_MOST_S = 3600
"""Windows of a rate of change are of whole panes, and no longer than fine panes are kept: the two are then as long."""
