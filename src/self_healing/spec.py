"""What is declared: triggers, actions and limits, validated, frozen and hashed.

A :class:`Spec` is all of it together. Its hash is the *spec version* that every verdict and execution carries, so that
anyone can tell which rules stood behind what was done.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Mapping
from datetime import date
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from self_healing.model import Outcome, Severity

MAX_GROUPS = 20_000
"""How many groups are kept apart for each way to group, unless the spec says otherwise."""

WARM_UP_S = 60
"""Seconds after a start in which silence opens nothing, unless the spec says otherwise."""

FLAP_REST = 4
"""A flapping series rests for `flap_window` divided by this."""

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_duration(value: Any) -> Any:
    """Whole seconds of a duration such as ``90s``, ``5m``, ``24h`` or ``1d``; numbers pass as seconds."""
    match = re.fullmatch(r"(\d+)([smhd])", value) if isinstance(value, str) else None
    if isinstance(value, str | bool) and match is None:
        raise ValueError("allowed is a whole number and one of s, m, h, d, such as 90s, 5m, 24h")
    return value if match is None else int(match[1]) * _UNITS[match[2]]


Duration = Annotated[int, BeforeValidator(parse_duration), Field(ge=0)]
"""Seconds, written as ``90s``, ``5m``, ``24h`` or ``1d``."""

Whole = Annotated[int, Field(strict=True)]
Number = Annotated[float, Field(strict=True)]
Flag = Annotated[bool, Field(strict=True)]
"""What TOML has types for is of that type: neither ``"5"`` nor ``true`` is a number, and ``"yes"`` is no truth."""


def _name(value: str) -> str:
    if re.fullmatch(r"[a-z][a-z0-9_]*", value) is None:
        raise ValueError("allowed are small letters, digits and _, a letter first")
    return value


Name = Annotated[str, AfterValidator(_name), Field(json_schema_extra={"pattern": r"^[a-z][a-z0-9_]*$"})]
"""The name of a trigger or an action, such as ``slow_tasks``."""


class Declared(BaseModel):
    """Base of what is declared: frozen, and strict about unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, allow_inf_nan=False)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy with `update` in place of what it says, and without what was worked out of the original."""
        copied = super().model_copy(update=update, deep=deep)
        for worked_out in copied.__dict__.keys() - type(self).model_fields.keys():
            del copied.__dict__[worked_out]
        return copied


class TriggerType(StrEnum):
    BOTTLENECK = "bottleneck"
    COST = "cost"
    QUALITY = "quality"
    PERFORMANCE = "performance"
    CUSTOM = "custom"


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
    "composite": {"signal": "", "aggregate": Aggregate.MAX, "window": 10, "where": {}, "min_samples": 1},
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


def _some_texts(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


class When(Declared):
    """When a step of a plan is for an incident; otherwise it is passed over. All that is given must be so.

    Args:
        severity: of the incident, one of these.
        group: what its group has for a key, one of these texts; of a parent, the group of any that is beneath it.
        attempt: the first attempt of the incident at which it may be made.
        after: what came of an earlier step, by its action: one of these outcomes.
    """

    severity: tuple[Severity, ...] = ()
    group: dict[str, Annotated[tuple[str, ...], BeforeValidator(_some_texts), Field(min_length=1)]] = {}
    attempt: Whole = Field(default=1, ge=1)
    after: dict[Name, Annotated[tuple[StepOutcome, ...], BeforeValidator(_some_texts), Field(min_length=1)]] = {}


class TriggerSpec(Declared):
    """A declared condition on a signal.

    Args:
        name: unique.
        type: what sort of trouble it finds.
        signal: what is measured: the name of a signal, or ``metric.`` and the name of a metric.
        aggregate: how the samples of a window become one value.
        window: how far back the value looks; at most 24 h.
        group_by: one series for each value of these columns.
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
    where: dict[str, str] = {}
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
    when: dict[Name, When] = {}
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
        return not isinstance(condition, Threshold | RateOfChange) or condition.op in (Operator.GE, Operator.GT)

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        match self.condition:
            case Threshold(value=value):
                self._clears(value)
            case RateOfChange(value=value):
                self._clears(value)
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

    def _clears(self, value: float) -> None:
        """Raises ValueError where `clear` is worse than the condition's own value."""
        if self.clear is not None and (self.clear > value if self.rising else self.clear < value):
            side = "below or at" if self.rising else "above or at"
            raise ValueError(f"clear {self.clear}: allowed is {side} the threshold {value}")


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


class ActionType(StrEnum):
    AGENT_HANDOFF = "agent_handoff"
    QUALITY_ENFORCEMENT = "quality_enforcement"
    EMERGENCY_SHUTDOWN = "emergency_shutdown"
    COST_OPTIMIZATION = "cost_optimization"
    CONFIGURATION = "configuration"
    PERFORMANCE = "performance"
    DIAGNOSTIC = "diagnostic"


class Priority(StrEnum):
    """Which of several waiting proposals goes first."""

    EMERGENCY = "emergency"
    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class Scaled(Declared):
    """A directive's value taken from the incident: `times` its threshold or its baseline.

    Args:
        of: ``threshold``, or ``baseline`` (the threshold where there is no baseline).
        times: the factor.
        whole: round up to a whole number of at least 1.
    """

    of: Literal["threshold", "baseline"]
    times: Number = Field(gt=0)
    whole: Flag = False


IRREVERSIBLE: frozenset[ActionType] = frozenset()
"""The types whose effects cannot be undone unless the action says that they can; the others hand over, and set
directives that expire."""

DIRECTIVES: dict[str, type | tuple[type, ...]] = {
    "paused": bool,
    "model": str,
    "max_cost_usd": (int, float),
    "token_budget": int,
    "max_output_tokens": int,
    "max_concurrency": int,
    "timeout_s": (int, float),
    "quality_gate": str,
    "max_retries": int,
}
"""The settings that a fleet can read, and their types."""

ALLOWED_DIRECTIVES: dict[ActionType, tuple[str, ...]] = {
    ActionType.AGENT_HANDOFF: (),
    ActionType.QUALITY_ENFORCEMENT: ("quality_gate", "max_retries"),
    ActionType.EMERGENCY_SHUTDOWN: ("paused",),
    ActionType.COST_OPTIMIZATION: ("token_budget", "max_output_tokens"),
    ActionType.CONFIGURATION: ("model", "max_cost_usd"),
    ActionType.PERFORMANCE: ("max_concurrency", "timeout_s"),
    ActionType.DIAGNOSTIC: (),
}
"""Which settings an action of each type may set."""


class VerificationPlan(Declared):
    """How an action is judged.

    Args:
        min_samples: tasks begun after the effect; never fewer than the trigger's.
        deadline: from the effect on.
    """

    min_samples: Whole = Field(default=3, ge=3)
    deadline: Duration = Field(default=900, gt=0)


class ActionSpec(Declared):
    """A declared correction.

    Args:
        name: unique.
        type: what sort of correction it is; it says which directives it may set.
        priority: which of several waiting proposals goes first.
        target_agent: who gets its handoff.
        prompt: what the recipient of the handoff is asked to do; fixed text, never filled from telemetry.
        directives: settings for the affected agent.
        expires: when they end by themselves.
        hold_off: for emergency_shutdown, how long the first pause lasts.
        handoff_deadline: when an unanswered handoff counts as expired.
        timeout: seconds one try of the effect may take.
        tries: how often a failing effect is tried.
        concurrent: how many of it may be under way at once, in the whole fleet; as many as of all when left out.
        verification: how it is judged whether it helped.
        reversible: whether what it does can be undone; what cannot is asked for. As its type has it when left out.
        tags: words that its handoffs carry.
        description: for people.
    """

    name: Name
    type: ActionType
    priority: Priority
    target_agent: str = Field(min_length=1)
    prompt: str = Field(min_length=1)
    directives: dict[str, bool | int | float | str | Scaled] = {}
    expires: Annotated[Duration, Field(gt=0)] = 3600
    hold_off: Annotated[Duration, Field(gt=0)] = 300
    handoff_deadline: Annotated[Duration, Field(gt=0)] = 900
    timeout: Annotated[Duration, Field(gt=0)] = 30
    tries: Whole = Field(default=3, ge=1, le=10)
    concurrent: Whole | None = Field(default=None, ge=1)
    verification: VerificationPlan = VerificationPlan()
    reversible: Flag = True
    tags: tuple[str, ...] = ()
    description: str = ""

    @property
    def probation(self) -> dict[str, int]:
        """What an agent that the action pauses is let back with, half-open; empty where nothing is paused."""
        return {"max_concurrency": 1} if self.type is ActionType.EMERGENCY_SHUTDOWN else {}

    @model_validator(mode="before")
    @classmethod
    def _as_its_type(cls, values: Any) -> Any:
        """What is not said of whether it can be undone."""
        irreversible = isinstance(values, Mapping) and values.get("type") in IRREVERSIBLE
        return {"reversible": False, **values} if irreversible else values

    @model_validator(mode="after")
    def _settings(self) -> Self:
        allowed = ALLOWED_DIRECTIVES[self.type]
        for name, value in self.directives.items():
            if name not in allowed:
                can = ", ".join(allowed) or "none"
                raise ValueError(f"directives.{name}: allowed for {self.type.value}: {can}")
            kinds = DIRECTIVES[name]
            if not isinstance(value, Scaled) and (
                not isinstance(value, kinds) or (isinstance(value, bool) and kinds is not bool)
            ):
                raise ValueError(f"directives.{name} = {value!r}: not a value of that setting")
        if self.type is ActionType.EMERGENCY_SHUTDOWN and self.directives.get("paused") is not True:
            raise ValueError("directives: an emergency_shutdown sets paused = true")
        return self


class Weekday(StrEnum):
    MON = "mon"
    TUE = "tue"
    WED = "wed"
    THU = "thu"
    FRI = "fri"
    SAT = "sat"
    SUN = "sun"


def _clock_time(value: str) -> str:
    if re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d|24:00", value) is None:
        raise ValueError("allowed is a time such as 22:00, from 00:00 to 24:00")
    return value


def _some_day(days: tuple[Weekday, ...]) -> tuple[Weekday, ...]:
    if not days:
        raise ValueError("allowed is at least one day; leave it out for all of them")
    return days


def _timezone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        zones = {zone.lower(): zone for zone in available_timezones()}
        near = difflib.get_close_matches(value.lower(), zones, n=1)
        question = f"did you mean {zones[near[0]]}? " if near else ""
        raise ValueError(f"{question}allowed is a time zone such as UTC or Europe/Berlin") from error
    return value


class Maintenance(Declared):
    """A window of time, on some days of the week, in which series are muted as by a silence.

    Args:
        name: unique among the windows.
        days: the days on which it begins.
        timezone: of which place, such as ``Europe/Berlin``.
        from_, to: by the clock there; one that ends no later than it begins ends on the next day.
        starts, ends: the first and the last day on which it begins; no such bound where left out.
        triggers: whose series; of all triggers when empty.
        keys: what a group must have among its own, such as ``{"agent": "Coder"}``.
        reason: for people.
    """

    name: Name
    days: Annotated[tuple[Weekday, ...], AfterValidator(_some_day)] = tuple(Weekday)
    from_: Annotated[str, AfterValidator(_clock_time)] = Field(default="00:00", alias="from")
    to: Annotated[str, AfterValidator(_clock_time)] = "24:00"
    timezone: Annotated[str, AfterValidator(_timezone)] = "UTC"
    starts: date | None = None
    ends: date | None = None
    triggers: tuple[Name, ...] = ()
    keys: dict[str, str] = {}
    reason: str = ""

    @model_validator(mode="after")
    def _is_some_time(self) -> Self:
        if self.from_ in (self.to, "24:00"):
            raise ValueError(f"from {self.from_} to {self.to}: allowed are two times, the first one before 24:00")
        if self.starts is not None and self.ends is not None and self.ends < self.starts:
            raise ValueError(f"ends {self.ends}: allowed is {self.starts}, the day on which it starts, or later")
        return self


class Limits(Declared):
    """What automation may do; facts of article III, and part of the spec version."""

    concurrent_actions: int = Field(default=5, ge=1, description="under way at once, in the whole fleet")
    concurrent_per_target: int = Field(default=1, ge=1, description="under way at once for one agent")
    actions_per_minute: int = Field(default=6, ge=1, description="begun in a minute, in the whole fleet")
    actions_per_minute_unwell: int = Field(default=2, ge=1, description="when more than half of the fleet is unwell")
    blast_radius_percent: int = Field(
        default=10, ge=1, le=100, description="of the fleet, for one kind of action, at least 1"
    )
    fleet_stop_percent: int = Field(
        default=40, ge=1, le=100, description="unwell with one cause, of a fleet of 3 or more"
    )
    attempts_per_incident: int = Field(default=3, ge=1, description="before a person gets it")
    attempts_per_target_per_day: int = Field(default=5, ge=1, description="at one agent in a day")
    cool_down: Duration = Field(default=10, description="between two actions for one agent; it doubles each time")
    cool_down_max: Duration = Field(default=300, description="no cool-down becomes longer")
    cool_down_reset: Duration = Field(default=600, description="healthy time after which the cool-down starts anew")
    causal_depth: int = Field(
        default=3, ge=1, description="actions that may each have caused the incident that the next one is for"
    )
    independent_signals: int = Field(
        default=2, ge=1, description="that agree before a person is asked for what cannot be undone"
    )
    approve_within: Annotated[Duration, Field(gt=0)] = Field(
        default=900, description="until then a person says yes; later it is a no"
    )
    breaker_failures: int = Field(default=5, ge=1, description="failures in a row that open an action's breaker")
    breaker_half_open_after: Duration = Field(default=300, description="then the action is tried once")
    freshness: Duration = Field(default=60, description="ingest lag beyond which nothing is done")
    plan_freshness: Duration = Field(default=300, description="an older decision is made anew before the effect")
    defer_at_most: Duration = Field(default=900, description="what has to wait for longer goes to a person")


class OwnArticle(Declared):
    """A policy of a person's own, which the gate holds every proposal to beside the five articles.

    Args:
        name: its ``@id``, which is the reason that people see.
        outcome: what it makes of a proposal; never an allow.
        text: the policy in Cedar, as it was written.
    """

    name: Name
    outcome: Literal[Outcome.DENY, Outcome.DEFER, Outcome.ASK]
    text: str


class Spec(Declared):
    """All that is declared, together."""

    triggers: tuple[TriggerSpec, ...]
    actions: tuple[ActionSpec, ...]
    limits: Limits = Limits()
    grid: Annotated[Duration, Field(ge=1, le=60)] = 1
    max_groups: int = Field(default=MAX_GROUPS, ge=1)
    maintenance: tuple[Maintenance, ...] = ()
    warm_up: Duration = WARM_UP_S
    articles: tuple[OwnArticle, ...] = ()

    @cached_property
    def warming(self) -> frozenset[str]:
        """The triggers that mere silence can make fire; of these nothing opens within `warm_up` after a start."""
        silent = {each.name for each in self.triggers if each.fires_on_silence}
        composites = {each.name: each.condition for each in self.triggers if isinstance(each.condition, Composite)}
        return frozenset(silent | {name for name, made in composites.items() if silent & set(made.members)})

    @property
    def text(self) -> str:
        """The canonical JSON of the whole spec."""
        return json.dumps(self.model_dump(mode="json", by_alias=True), sort_keys=True, separators=(",", ":"))

    @cached_property
    def version(self) -> str:
        """The first 16 hex digits of the sha256 over its canonical JSON."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:16]

    @cached_property
    def _triggers(self) -> dict[str, TriggerSpec]:
        return {trigger.name: trigger for trigger in self.triggers}

    @cached_property
    def _actions(self) -> dict[str, ActionSpec]:
        return {action.name: action for action in self.actions}

    def trigger(self, name: str) -> TriggerSpec:
        """The trigger of that name. Raises KeyError."""
        return self._triggers[name]

    def action(self, name: str) -> ActionSpec:
        """The action of that name. Raises KeyError."""
        return self._actions[name]
