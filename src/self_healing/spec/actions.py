"""Actions: what is done, which settings of the fleet it may change, and how it is judged whether it helped."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from operator import not_
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from self_healing.spec.conditions import Aggregate, Threshold, check_clear
from self_healing.spec.declared import Declared, Duration, Flag, Name, Number, Whole
from self_healing.spec.outside import VISIBLE, Networks, Url, Variable, Words


class ActionType(StrEnum):
    AGENT_HANDOFF = "agent_handoff"
    QUALITY_ENFORCEMENT = "quality_enforcement"
    EMERGENCY_SHUTDOWN = "emergency_shutdown"
    COST_OPTIMIZATION = "cost_optimization"
    CONFIGURATION = "configuration"
    PERFORMANCE = "performance"
    DIAGNOSTIC = "diagnostic"
    COMMAND = "command"
    WEBHOOK = "webhook"


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

MAY_BE_ZERO = frozenset(("max_retries",))
"""The numbers that may be none at all, such as not to try again; what all others allow is more than that."""

MEANINGS: dict[str, str] = {
    "paused": "begin nothing new",
    "model": "use this model",
    "max_cost_usd": "spend at most this on a task",
    "token_budget": "use at most this many tokens on a task",
    "max_output_tokens": "ask a model for at most this many",
    "max_concurrency": "at most this many tasks at once",
    "timeout_s": "give up a task after this many seconds",
    "quality_gate": "`strict`: nothing passes without its checks",
    "max_retries": "try again at most this often",
}
"""What the fleet is to do about each."""

UNITS: dict[str, str] = {
    "max_cost_usd": "USD",
    "token_budget": "tokens",
    "max_output_tokens": "tokens",
    "max_concurrency": "",
    "timeout_s": "s",
    "max_retries": "attempts",
}
"""What each of those is in that may be taken from an incident; empty for a plain number."""

ALLOWED_DIRECTIVES: dict[ActionType, tuple[str, ...]] = {
    ActionType.AGENT_HANDOFF: (),
    ActionType.QUALITY_ENFORCEMENT: ("quality_gate", "max_retries"),
    ActionType.EMERGENCY_SHUTDOWN: ("paused",),
    ActionType.COST_OPTIMIZATION: ("token_budget", "max_output_tokens"),
    ActionType.CONFIGURATION: ("model", "max_cost_usd"),
    ActionType.PERFORMANCE: ("max_concurrency", "timeout_s"),
    ActionType.DIAGNOSTIC: (),
    ActionType.COMMAND: (),
    ActionType.WEBHOOK: (),
}
"""Which settings an action of each type may set."""

OWN_KEYS: dict[ActionType, tuple[str, ...]] = {
    ActionType.COMMAND: ("argv", "environment"),
    ActionType.WEBHOOK: ("url", "secret_env", "allow"),
}
"""The fields that an action has only where it is of that type, the same as a channel of that kind."""

NEEDED: dict[ActionType, tuple[str, ...]] = {
    ActionType.COMMAND: ("argv",),
    ActionType.WEBHOOK: ("url", "secret_env"),
}
"""Those of them that it cannot be without."""

NO_FUNCTION = (*OWN_KEYS, ActionType.DIAGNOSTIC)
"""The types of which no action calls a function: two call something else, and a diagnostic changes nothing."""

ParameterType = Literal["string", "integer", "number", "boolean", "array", "object"]

PARAMETER_TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "array": list,
    "object": dict,
}
"""What a parameter may be declared as, in JSON's words, as JSON is what it is sent as."""


class VerificationPlan(Declared):
    """How an action is judged: by what its trigger measures, or by a signal of its own.

    Args:
        min_samples: tasks begun after the effect; never fewer than the trigger's.
        deadline: from the effect on.
        signal: what it is judged by instead of the trigger's signal, of the same group; `aggregate` and `condition`
            go with it.
        aggregate: how the samples of that signal become one value.
        condition: what is not healed: a threshold.
        clear: what is healed, where that is not the threshold.
        where: only events whose columns have these values.
    """

    min_samples: Whole = Field(default=3, ge=3)
    deadline: Duration = Field(default=900, gt=0)
    signal: str | None = None
    aggregate: Aggregate | None = None
    condition: Threshold | None = None
    clear: Number | None = None
    where: dict[str, str] = Field(default={})

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if self.signal is None:
            if (self.aggregate, self.condition, self.clear, self.where) != (None, None, None, {}):
                raise ValueError("aggregate, condition, clear and where are allowed only with a signal of its own")
        elif self.aggregate is None or self.condition is None:
            raise ValueError("with a signal of its own, aggregate and condition must be given")
        else:
            check_clear(self.clear, self.condition.op, self.condition.value)
        return self


class ActionSpec(Declared):
    """A declared correction.

    Args:
        name: unique.
        type: what sort of correction it is; it says which directives it may set.
        priority: which of several waiting proposals goes first.
        target_agent: who gets its handoff.
        prompt: what the recipient of the handoff is asked to do; fixed text, never filled from telemetry.
        function: of your own, which is called before the handoff is delivered: the name of an entry point in the group
            `self_healing.actions`, or `module:function`.
        argv: for command, the program that is run before the handoff is delivered, with its arguments; no shell is
            involved.
        environment: for command, names of the variables that the program may see; nothing else is passed on.
        url: for webhook, where it is posted before the handoff is delivered; plain http only to networks in `allow`.
        secret_env: for webhook, the variable with the secret of Standard Webhooks (`whsec_` and base64).
        allow: for webhook, networks that are no public ones and may be sent to all the same.
        parameters: what the function, the program or the web server gets beside the handoff; of a function checked by
            the pydantic model that it takes.
        parameter_types: for command and webhook, what each parameter must be: string, integer, number, boolean, array
            or object. Where it is given, each of those must be there, and no other.
        idempotent: whether to do it again for the same handoff changes nothing more.
        directives: settings for the affected agent.
        expires: when they end by themselves.
        hold_off: for emergency_shutdown, how long the first pause lasts.
        handoff_deadline: when an unanswered handoff counts as expired.
        timeout: seconds one try of the effect may take; a program is killed then, with all that it started.
        tries: how often a failing effect is tried.
        concurrent: how many of it may be under way at once, in the whole fleet; as many as of all when left out.
        verification: how it is judged whether it helped.
        reversible: whether what it does can be undone; what cannot is asked for. Left out: directives expire, and
            it can, but not where it calls a function, a program or a web server.
        tags: words that its handoffs carry.
        description: for people.
    """

    name: Name
    type: ActionType
    priority: Priority
    target_agent: str = Field(min_length=1)
    prompt: str = Field(min_length=1)
    function: str | None = Field(default=None, min_length=1)
    # What only some have is no part of the spec's text elsewhere, whose version stays what it was.
    argv: Words | None = Field(default=None, exclude_if=not_)
    environment: tuple[Variable, ...] = Field(default=VISIBLE, exclude_if=VISIBLE.__eq__)
    url: Url | None = Field(default=None, exclude_if=not_)
    secret_env: Variable | None = Field(default=None, exclude_if=not_)
    allow: Networks = Field(default=(), exclude_if=not_)
    parameters: dict[str, Any] = Field(default={})
    parameter_types: dict[str, ParameterType] = Field(default={}, exclude_if=not_)
    idempotent: Flag = False
    directives: dict[str, bool | int | float | str | Scaled] = Field(default={})
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
    def scaled(self) -> dict[str, Scaled]:
        """The directives whose values are taken from the incident, by name."""
        return {name: value for name, value in self.directives.items() if isinstance(value, Scaled)}

    @property
    def probation(self) -> dict[str, int]:
        """What an agent that the action pauses is let back with, half-open; empty where nothing is paused."""
        return {"max_concurrency": 1} if self.type is ActionType.EMERGENCY_SHUTDOWN else {}

    @property
    def calls(self) -> str | None:
        """What of a person's own it calls before its handoff is delivered, in a word; None where it calls nothing."""
        if self.url is not None:
            return urlsplit(self.url).hostname  # the rest of an address may be a secret
        return self.function if self.argv is None else self.argv[0]

    @model_validator(mode="before")
    @classmethod
    def _undone_or_not(cls, values: Any) -> Any:
        """What is called of a person's own is not taken for what can be undone, unless they say so."""
        calls = isinstance(values, Mapping) and (values.get("function") is not None or values.get("type") in OWN_KEYS)
        return {"reversible": False, **values} if calls else values

    @model_validator(mode="after")
    def _calling(self) -> Self:
        """What it calls is of its type, and all that this needs is there."""
        for kind, own in OWN_KEYS.items():
            given = self.model_fields_set.intersection(own)
            if given and kind is not self.type:
                raise ValueError(f"{min(given)}: allowed only where type is {kind.value}")
        for key in NEEDED.get(self.type, ()):
            if getattr(self, key) is None:
                raise ValueError(f"{key}: missing where type is {self.type.value}")
        if self.function is not None and self.type in NO_FUNCTION:
            raise ValueError(f"function: allowed only where type is not {self.type.value}")
        return self

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
