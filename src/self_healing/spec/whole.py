"""The whole: all that is declared, with the limits that hold for it, frozen and hashed."""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from typing import Annotated, Literal

from pydantic import Field

from self_healing.model import Outcome
from self_healing.spec.actions import ActionSpec
from self_healing.spec.conditions import Composite
from self_healing.spec.declared import Declared, Duration, Name, Whole
from self_healing.spec.maintenance import Maintenance
from self_healing.spec.triggers import UNASKED, TriggerSpec

UNSEEING = {"type", "severity", "target_agent", "actions", "when", "description"}
"""The fields of a trigger by which it sees nothing else: what is done about it, and by whom."""

MAX_GROUPS = 20_000
"""How many groups are kept apart for each way to group, unless the spec says otherwise."""

WARM_UP_S = 60
"""Seconds after a start in which silence opens nothing, unless the spec says otherwise."""


DAY_S = 86_400
"""No window is longer."""


class Limits(Declared):
    """What automation may do; facts of article III, and part of the spec version."""

    concurrent_actions: Whole = Field(default=5, ge=1, description="under way at once, in the whole fleet")
    concurrent_per_target: Whole = Field(default=1, ge=1, description="under way at once for one agent")
    actions_per_minute: Whole = Field(default=6, ge=1, description="begun in a minute, in the whole fleet")
    actions_per_minute_unwell: Whole = Field(default=2, ge=1, description="when more than half of the fleet is unwell")
    blast_radius_percent: Whole = Field(
        default=10, ge=1, le=100, description="of the fleet, for one kind of action, at least 1"
    )
    fleet_stop_percent: Whole = Field(
        default=40, ge=1, le=100, description="unwell with one cause, of a fleet of 3 or more"
    )
    attempts_per_incident: Whole = Field(default=3, ge=1, description="before a person gets it")
    attempts_per_target_per_day: Whole = Field(default=5, ge=1, description="at one agent in a day")
    cool_down: Duration = Field(default=10, description="between two actions for one agent; it doubles each time")
    cool_down_max: Duration = Field(default=300, description="no cool-down becomes longer")
    cool_down_reset: Duration = Field(default=600, description="healthy time after which the cool-down starts anew")
    causal_depth: Whole = Field(
        default=3, ge=1, description="actions that may each have caused the incident that the next one is for"
    )
    independent_signals: Whole = Field(
        default=2, ge=1, description="that agree before a person is asked for what cannot be undone"
    )
    approve_within: Annotated[Duration, Field(gt=0)] = Field(
        default=900, description="until then a person says yes; later it is a no"
    )
    breaker_failures: Whole = Field(default=5, ge=1, description="failures in a row that open an action's breaker")
    breaker_half_open_after: Duration = Field(default=300, description="then the action is tried once")
    freshness: Duration = Field(default=60, description="ingest lag beyond which nothing is done")
    plan_freshness: Duration = Field(default=300, description="an older decision is made anew before the effect")
    defer_at_most: Duration = Field(default=900, description="what has to wait for longer goes to a person")


def judged_by(trigger: TriggerSpec, action: ActionSpec) -> TriggerSpec:
    """What says whether `action` helped against `trigger`: that itself, or the same series by the action's own signal.

    The latter has a name that no declared trigger can have.
    """
    plan = action.verification
    if plan.signal is None:
        return trigger
    # These have no window of samples; a number over a time is then one over the time that there is to judge in.
    window = min(plan.deadline, DAY_S) if trigger.condition.kind in UNASKED else trigger.window
    own = {name: getattr(plan, name) for name in ("signal", "aggregate", "condition", "clear", "where")}
    return trigger.model_copy(update={**own, "name": f"{trigger.name}/{action.name}", "window": window})


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
    max_groups: Whole = Field(default=MAX_GROUPS, ge=1)
    maintenance: tuple[Maintenance, ...] = ()
    warm_up: Duration = WARM_UP_S
    articles: tuple[OwnArticle, ...] = ()

    @cached_property
    def warming(self) -> frozenset[str]:
        """The triggers that mere silence can make fire; of these nothing opens within `warm_up` after a start."""
        silent = {each.name for each in self.triggers if each.fires_on_silence}
        composites = {each.name: each.condition for each in self.triggers if isinstance(each.condition, Composite)}
        return frozenset(silent | {name for name, made in composites.items() if silent & set(made.members)})

    @cached_property
    def measured(self) -> tuple[TriggerSpec, ...]:
        """All for which samples are taken: the triggers, and what actions of their plans are judged by instead."""
        judged = (
            judged_by(trigger, self._actions[name])
            for trigger in self.triggers
            for name in trigger.actions
            if name in self._actions
        )
        return (*self.triggers, *(each for each in judged if each.name not in self._triggers))

    @property
    def text(self) -> str:
        """The canonical JSON of the whole spec."""
        return json.dumps(self.model_dump(mode="json", by_alias=True), sort_keys=True, separators=(",", ":"))

    @cached_property
    def version(self) -> str:
        """The first 16 hex digits of the sha256 over its canonical JSON."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:16]

    @property
    def prints(self) -> dict[str, str]:
        """Of each trigger a hash of that by which it sees what it does; of what is for all of them, as ``""``."""
        whole = self.model_dump(mode="json", include={"grid", "max_groups", "maintenance", "warm_up"})
        seen = {each.name: each.model_dump(mode="json", by_alias=True, exclude=UNSEEING) for each in self.triggers}
        hashed = {name: json.dumps(of, sort_keys=True).encode() for name, of in {"": whole, **seen}.items()}
        return {name: hashlib.sha256(text).hexdigest()[:8] for name, text in hashed.items()}

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
