"""Whether it helped: verifications, what they judged, and the lessons of it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec

from self_healing.model.base import Group, Record


class VerificationPhase(StrEnum):
    EFFECT = "effect"  # judging what the action did
    PROBATION = "probation"  # judging the probes of an agent that was let back half-open
    UNDONE = "undone"  # judging whether it stays good without the directive


class Result(StrEnum):
    HEALED = "healed"  # the symptom went
    NOT_HEALED = "not_healed"  # it is still there
    WORSE = "worse"  # it is beyond the peak from before
    INCONCLUSIVE = "inconclusive"  # too few samples, or between clear and condition, at the deadline


class Verification(Record, frozen=True, kw_only=True):
    """The judgement, on work begun after the effect only, whether the symptom went."""

    id: str
    incident: str
    execution: str
    trigger: str
    group: Group
    action: str
    phase: VerificationPhase
    effect_at: datetime
    deadline: datetime
    needed: int  # samples
    tasks: int = 3  # that they come of, at least
    peak: float | None  # the worst value before the effect
    threshold: float | None  # in the signal's unit
    baseline: float | None = None  # what it was before, in the signal's unit
    members: dict[str, tuple[float | None, float | None]] = msgspec.field(
        default_factory=dict
    )  # threshold and baseline of the triggers it looks at
    judged_by: str | None = None  # the action's own aggregate and signal, where it is not judged by its trigger's
    unit: str | None = None  # of its values; None where an earlier release did not say
    extended: int = 0
    result: Result | None = None
    value: float | None = None
    samples: int = 0
    judged_at: datetime | None = None
    credit: float | None = None  # 0..1, for healed


class Judged(Record, frozen=True, kw_only=True):
    """One outcome that counts for or against an action, and when it was known."""

    at: datetime
    result: Result  # healed, not_healed or worse


class Lesson(Record, frozen=True, kw_only=True):
    """What the outcomes say about an action for a trigger and an agent."""

    id: str  # trigger/action/agent
    trigger: str
    action: str
    agent: str
    tries: int = 0
    healed: int = 0
    not_healed: int = 0
    worse: int = 0
    inconclusive: int = 0
    credit: float = 0.0  # sum over the healed
    heal_s: tuple[float, ...] = ()  # the newest hundred times from opening to healed
    recent: tuple[Judged, ...] = ()  # the newest ten, oldest first
    last_at: datetime | None = None
