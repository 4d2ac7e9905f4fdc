"""Triggers: a condition on a signal, how its series come to fire and recover, and the plan of what is done then."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, model_validator

from self_healing.model import Severity
from self_healing.spec.conditions import (
    COUNTING,
    RATE_WINDOW_MOST_S,
    RATE_WINDOW_STEP_S,
    Absence,
    Aggregate,
    Baseline,
    Composite,
    Condition,
    RateOfChange,
    Threshold,
    check_clear,
)
from self_healing.spec.declared import Declared, Duration, Flag, Name, Number, Whole

FLAP_REST = 4
"""A flapping series rests for `flap_window` divided by this."""


class TriggerType(StrEnum):
    BOTTLENECK = "bottleneck"
    COST = "cost"
    QUALITY = "quality"
    PERFORMANCE = "performance"
    CUSTOM = "custom"


class NoData(StrEnum):
    """What missing data does to a series that fires or recovers."""

    KEEP = "keep"  # it stays
    CLEAR = "clear"  # it recovers
    FIRE = "fire"  # no data counts as the condition met


def _no_single_flap(times: int) -> int:
    if times == 1:
        raise ValueError("allowed is 0 for never, or 2 and more: to begin to fire once is no flapping")
    return times


UNASKED: dict[str, dict[str, Any]] = {
    "absence": {"aggregate": Aggregate.MAX, "window": 10},
    "composite": {
        "signal": "",
        "aggregate": Aggregate.MAX,
        "window": 10,
        "where": {},
        "min_samples": 1,
        "max_series": None,
    },
}
"""The keys that say nothing with these conditions, and what stands there instead; a file that gives them is refused."""

WHY_UNASKED = {
    "absence": "has no samples but the silence itself",
    "composite": "looks at other triggers, not at samples",
}


class StepOutcome(StrEnum):
    """What came of an earlier step of a plan."""

    NOT_HEALED = "not_healed"  # it was done, and did not help
    WORSE = "worse"  # it was done, made it worse, and was undone
    INCONCLUSIVE = "inconclusive"  # it was done, and too little was seen to judge by
    HEALED = "healed"  # it helped, and the trouble came back
    FAILED = "failed"  # its effect could not be brought about
    UNKNOWN = "unknown"  # nobody can tell whether its effect was brought about
    DENIED = "denied"  # the constitution said no
    SKIPPED = "skipped"  # its own condition was not met


def _some(value: Any) -> Any:
    """A list, of which one may stand for itself."""
    return (value,) if isinstance(value, str) else value


_LEAST = Field(min_length=1)
_Texts = Annotated[
    tuple[str, ...],
    BeforeValidator(_some, json_schema_input_type=str | Annotated[tuple[str, ...], _LEAST]),
    _LEAST,
]
_Outcomes = Annotated[
    tuple[StepOutcome, ...],
    BeforeValidator(_some, json_schema_input_type=StepOutcome | Annotated[tuple[StepOutcome, ...], _LEAST]),
    _LEAST,
]


class When(Declared):
    """When a step of a plan is for an incident; otherwise it is passed over. All that is given must be so.

    Args:
        severity: of the incident, one of these.
        group: what its group has for a key, one of these texts; of a parent, the group of any that is beneath it.
        attempt: the first attempt of the incident at which it may be made.
        after: what came of an earlier step, by its action: one of these outcomes.
    """

    severity: tuple[Severity, ...] = ()
    group: dict[str, _Texts] = Field(default={})
    attempt: Whole = Field(default=1, ge=1)
    after: dict[Name, _Outcomes] = Field(default={})


RUNNING_SIGNAL = "task.duration_s"
"""The signal of which what still runs is a sample, too, by how long it has run."""


class TriggerSpec(Declared):
    """A declared condition on a signal.

    Args:
        name: unique.
        type: what sort of trouble it finds.
        signal: what is measured: the name of a signal, or ``metric.`` and the name of a metric.
        aggregate: how the samples of a window become one value.
        window: how far back the value looks; at most 24 h.
        group_by: one series for each value of these columns.
        max_series: how many groups have a series of their own; further ones share one, overflow. As many as are kept
            apart at all when left out.
        where: only events whose columns have these values.
        condition: what must be so for it to fire.
        for_s: how long the condition must hold before it fires.
        clear: the value at which it recovers, for a threshold; the threshold when left out.
        keep_firing_for: how long it stays recovering.
        flap_after: as often as that it must begin to fire within `flap_window` to be flapping; 0 is never. A flapping
            series stays recovering for a quarter of `flap_window`, if that is longer than `keep_firing_for`.
        flap_window: over how long that is counted.
        inhibited_by: triggers that mute this one, each while it fires for the same group.
        min_samples: fewer say ``too_few_samples``.
        no_data: what missing data does to a series that fires or recovers.
        severity: how bad it is.
        target_agent: who is asked to repair it.
        actions: the plan, in order.
        when: by action of the plan, which incidents its step is for; all of them where left out.
        enabled: whether it is evaluated.
        description: for people.
    """

    name: Name
    type: TriggerType
    signal: str
    aggregate: Aggregate
    window: Annotated[Duration, Field(ge=10, le=86400)]
    group_by: tuple[str, ...] = ("agent",)
    max_series: Whole | None = Field(default=None, ge=1)
    where: dict[str, str] = Field(default={})
    condition: Condition
    for_s: Duration = Field(default=0, alias="for")
    clear: Number | None = None
    keep_firing_for: Duration = 60
    flap_after: Annotated[Whole, Field(ge=0, le=100), AfterValidator(_no_single_flap)] = 4
    flap_window: Annotated[Duration, Field(ge=60, le=86400)] = 3600
    inhibited_by: tuple[Name, ...] = ()
    min_samples: Whole = Field(default=1, ge=1)
    no_data: NoData = NoData.KEEP
    severity: Severity
    target_agent: str = Field(min_length=1)
    actions: tuple[Name, ...] = ()
    when: dict[Name, When] = Field(default={})
    enabled: Flag = True
    description: str = ""

    @model_validator(mode="before")
    @classmethod
    def _unasked(cls, values: Any) -> Any:
        """What is not asked of a silence or of other triggers: their values are seconds and a number of triggers."""
        condition = values.get("condition") if isinstance(values, Mapping) else None
        told = condition.model_dump() if isinstance(condition, BaseModel) else condition
        kind = told.get("kind") if isinstance(told, Mapping) else None
        return {**UNASKED[kind], **values} if kind in UNASKED else values

    @cached_property
    def fixed(self) -> Threshold | None:
        """The limit that the value is held against, where it is the same for all series at all times."""
        match self.condition:
            case Threshold() as threshold:
                return threshold
            case Absence(silent_for=silent_for):
                return Threshold(value=silent_for)
            case Composite(needed=needed):
                return Threshold(value=needed)
        return None

    @property
    def counts_running(self) -> bool:
        """Whether tasks that still run count by their age."""
        # A change is that of what ended: of the window before, nobody knows any more what ran in it.
        changes = isinstance(self.condition, RateOfChange)
        return self.signal == RUNNING_SIGNAL and self.aggregate is Aggregate.MAX and not changes

    @property
    def rest_s(self) -> int:
        """For how long a flapping series stays recovering, seconds."""
        return max(self.keep_firing_for, self.flap_window // FLAP_REST)

    @property
    def fires_on_silence(self) -> bool:
        """Whether nothing at all can meet its condition."""
        falls = self.aggregate in COUNTING and not self.rising
        return falls or self.no_data is NoData.FIRE or isinstance(self.condition, Absence)

    @property
    def rising(self) -> bool:
        """Whether more is worse."""
        condition = self.condition
        return not isinstance(condition, Threshold | RateOfChange) or condition.op.rising

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        match self.condition:
            case Threshold(op=op, value=value):
                check_clear(self.clear, op, value)
            case RateOfChange(op=op, value=value):
                check_clear(self.clear, op, value)
                if self.window > RATE_WINDOW_MOST_S or self.window % RATE_WINDOW_STEP_S:
                    raise ValueError(
                        f"window {self.window}s: allowed with rate_of_change are multiples of {RATE_WINDOW_STEP_S}s"
                        f" up to {RATE_WINDOW_MOST_S // 60}m"
                    )
            case Baseline():
                if self.clear is not None:
                    raise ValueError("clear: allowed only with a threshold or rate_of_change condition")
                if self.aggregate not in (Aggregate.MEAN, Aggregate.RATIO):
                    raise ValueError(
                        f"aggregate {self.aggregate.value!r}: a baseline condition compares means;"
                        " allowed is 'mean', or 'ratio' of a signal that is one"
                    )
            case Absence() | Composite():
                self._asks_nothing_else(self.condition.kind)
        return self

    def _asks_nothing_else(self, kind: str) -> None:
        for key, value in {**UNASKED[kind], "clear": None, "no_data": NoData.KEEP}.items():
            if getattr(self, key) != value:
                raise ValueError(f"{key}: allowed with {kind} is none: it {WHY_UNASKED[kind]}")


def limit_of(trigger: TriggerSpec, threshold: float | None, baseline: float | None) -> float | None:
    """From where on a single sample is too much, in the signal's unit; None where no sample is.

    Args:
        threshold: of an incident.
        baseline: of the incident.
    """
    match trigger.condition:
        case Absence() | Composite():
            return None  # their thresholds are seconds of silence and a number of triggers
        case RateOfChange(value=value, per=per):
            return None if baseline is None else baseline + value * trigger.window / per
    return threshold
