"""What is declared: triggers, actions and limits, validated, frozen and hashed.

A :class:`Spec` is all of it together. Its hash is the *spec version* that every verdict and execution carries, so that
anyone can tell which rules stood behind what was done.
"""

from self_healing.spec.actions import (
    ALLOWED_DIRECTIVES,
    DIRECTIVES,
    ActionSpec,
    ActionType,
    Priority,
    Scaled,
    VerificationPlan,
)
from self_healing.spec.conditions import (
    COUNTING,
    PERCENT,
    RATE_WINDOW_MOST_S,
    RATE_WINDOW_STEP_S,
    Absence,
    Aggregate,
    Baseline,
    Composite,
    Condition,
    Operator,
    RateOfChange,
    Threshold,
)
from self_healing.spec.declared import Day, Declared, Duration, Flag, Moment, Name, Number, Whole, parse_duration
from self_healing.spec.maintenance import Maintenance, Weekday
from self_healing.spec.triggers import (
    FLAP_REST,
    UNASKED,
    WHY_UNASKED,
    NoData,
    StepOutcome,
    TriggerSpec,
    TriggerType,
    When,
    limit_of,
)
from self_healing.spec.whole import MAX_GROUPS, WARM_UP_S, Limits, OwnArticle, Spec, judged_by

__all__ = [
    "ALLOWED_DIRECTIVES",
    "COUNTING",
    "DIRECTIVES",
    "FLAP_REST",
    "MAX_GROUPS",
    "PERCENT",
    "RATE_WINDOW_MOST_S",
    "RATE_WINDOW_STEP_S",
    "UNASKED",
    "WARM_UP_S",
    "WHY_UNASKED",
    "Absence",
    "ActionSpec",
    "ActionType",
    "Aggregate",
    "Baseline",
    "Composite",
    "Condition",
    "Day",
    "Declared",
    "Duration",
    "Flag",
    "Limits",
    "Maintenance",
    "Moment",
    "Name",
    "NoData",
    "Number",
    "Operator",
    "OwnArticle",
    "Priority",
    "RateOfChange",
    "Scaled",
    "Spec",
    "StepOutcome",
    "Threshold",
    "TriggerSpec",
    "TriggerType",
    "VerificationPlan",
    "Weekday",
    "When",
    "Whole",
    "judged_by",
    "limit_of",
    "parse_duration",
]
