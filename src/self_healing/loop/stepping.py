"""Stepping: whether a step of a plan is for an incident, by what its trigger says of when it is made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from self_healing.incidents.register import Register
from self_healing.model import (
    Execution,
    ExecutionStatus,
    Group,
    Handoff,
    HandoffStatus,
    Incident,
    Verification,
    group_dict,
)
from self_healing.spec import Spec, StepOutcome, When
from self_healing.storage.store import Store

_ENDED = {
    ExecutionStatus.FAILED: StepOutcome.FAILED,
    ExecutionStatus.UNKNOWN: StepOutcome.UNKNOWN,
    ExecutionStatus.DENIED: StepOutcome.DENIED,
}


class Stepping:
    """Says of which incidents a step is, from the records; the proposer and the gate ask it, each for itself.

    Args:
        store: the state.
        register: the incidents.
        spec_of: the spec that an incident goes on by.
    """

    def __init__(self, store: Store, register: Register, spec_of: Callable[[Incident], Spec]) -> None:
        self._store = store
        self._register = register
        self._spec_of = spec_of

    def unmet(self, incident: Incident, action: str) -> str | None:
        """What of the condition of an action's step is not so, in words; None where the step is for the incident."""
        trigger = next((each for each in self._spec_of(incident).triggers if each.name == incident.trigger), None)
        when = None if trigger is None else trigger.when.get(action)
        if when is None:
            return None
        about = self._register.children(incident) if incident.is_parent else [incident]
        return unmet(self._store, incident, when, [each.group for each in about])

    def left(self, incident: Incident) -> bool:
        """Whether a step that is for the incident is left after its present one."""
        return any(self.unmet(incident, action) is None for action in incident.plan[incident.step + 1 :])


def unmet(store: Store, incident: Incident, when: When, groups: Sequence[Group]) -> str | None:
    """What of its condition is not so, in words; None where the step is for the incident.

    Args:
        store: the state.
        incident: at whose step it is.
        when: the step's condition.
        groups: whom the incident is about: its own, or those beneath it.
    """
    if when.severity and incident.severity not in when.severity:
        return f"it is for severity {_or(each.value for each in when.severity)}, and this is {incident.severity.value}"
    if incident.attempts + 1 < when.attempt:
        return f"it is from attempt {when.attempt} on, and this would be {incident.attempts + 1}"
    for key, values in when.group.items():
        found = sorted({group_dict(group).get(key, "none") for group in groups})
        if not set(values) & set(found):
            return f"it is for {key} {_or(values)}, and this is {_or(found)}"
    for action, outcomes in when.after.items():
        came = outcome(store, incident, action)
        if came not in outcomes:
            return f"it is after {action} was {_or(each.value for each in outcomes)}, and that was {came.value}"
    return None


def outcome(store: Store, incident: Incident, action: str) -> StepOutcome:
    """What came of the newest try of an action for an incident."""
    made = [each for each in store.select(Execution, incident=incident.id) if each.action == action and each.step >= 0]
    if not made:
        return StepOutcome.SKIPPED
    if made[-1].status in _ENDED:
        return _ENDED[made[-1].status]
    handoff = None if made[-1].handoff is None else store.find(Handoff, made[-1].handoff)
    if handoff is not None and handoff.status is HandoffStatus.FAILED:
        return StepOutcome.FAILED  # its recipient could not do it
    judged = [each for each in store.select(Verification, incident=incident.id) if each.execution == made[-1].id]
    results = [each.result for each in judged if each.result is not None]
    return StepOutcome(results[-1].value) if results else StepOutcome.INCONCLUSIVE


def _or(texts: Iterable[str]) -> str:
    return " or ".join(texts)
