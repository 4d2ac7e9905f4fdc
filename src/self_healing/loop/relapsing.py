"""Relapsing: what came back without its directives gets them again, where the gate allows that."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec

from self_healing.actions.directing import EXPIRED, Directives
from self_healing.incidents.lifecycle import noted
from self_healing.incidents.register import Register
from self_healing.loop.renewing import Renewing, refused
from self_healing.loop.verifying import Verifying
from self_healing.model import (
    Decision,
    Directive,
    Execution,
    Incident,
    Outcome,
    Result,
    Verification,
    VerificationPhase,
)
from self_healing.spec import ActionSpec, Spec
from self_healing.storage.store import Store
from self_healing.verification import Judgement

MOST_RELAPSES = 3
TO_SEE = "undone to see whether it stays well"


class Held(NamedTuple):
    """What an execution had in force until it was undone to see."""

    by: Execution
    action: ActionSpec
    directives: list[Directive]


class Relapsing:
    """What follows for an incident that was mitigated and came back.

    Args:
        store: the state; written in the transaction that is open.
        verifying: judges what was done.
        register: the incidents.
        renewing: asks the gate again before anything is restored.
        directives: what is in force.
        spec_of: the spec that an incident goes on by.
    """

    def __init__(
        self,
        store: Store,
        verifying: Verifying,
        register: Register,
        renewing: Renewing,
        directives: Directives,
        spec_of: Callable[[Incident], Spec],
    ) -> None:
        self._store = store
        self._verifying = verifying
        self._register = register
        self._renewing = renewing
        self._directives = directives
        self._spec_of = spec_of

    def relapsed(
        self,
        incident: Incident,
        execution: Execution,
        action: ActionSpec,
        verification: Verification,
        judgement: Judgement,
        said: str,
        at: datetime,
    ) -> None:
        """It came back without the directives: put them in force again.

        Args:
            said: the judgement in words.
        """
        held = list(self._held(incident, execution))
        if not held:
            # A person undid it, and knows why; whether it is to be set again is for a person to say.
            self._verifying.judged(verification, judgement, at)
            self._verifying.learn(incident, execution, Result.INCONCLUSIVE, at)
            self._register.escalate(incident, at, f"{said} since a person undid the directive")
            return
        decisions: list[Decision] = []
        for by, declared, ours in held:
            decision = self._renewing.ask(incident, by, declared, {each.name: each.value for each in ours}, at)
            if decision is None:
                return
            decisions.append(decision)
        self._verifying.judged(verification, judgement, at)
        against = next((each for each in decisions if each.outcome is not Outcome.ALLOW), None)
        if against is not None:
            self._verifying.learn(incident, execution, Result.NOT_HEALED, at)
            self._register.escalate(incident, at, f"{said}, and restoring the directive is {refused(against)}")
            return
        for (by, declared, ours), decision in zip(held, decisions, strict=True):
            until = at + timedelta(seconds=declared.expires)
            ids = [each.id for each in ours]
            self._directives.restore(by, ids, at=at, expires_at=until, renewal=decision.id)
        self._again(incident, execution, action, said, at)

    def _held(self, incident: Incident, execution: Execution) -> Iterator[Held]:
        """What was undone to see, of this execution and of those of earlier steps: what they set stayed in force."""
        actions = {each.name: each for each in self._spec_of(incident).actions}
        for by in self._store.select(Execution, incident=incident.id):
            action = actions.get(by.action)
            if action is None:
                continue
            endings = (TO_SEE, EXPIRED) if by.id == execution.id else (TO_SEE,)
            ours = [each for each in self._directives.of(by) if each.undone_reason in endings]
            if action.probation:
                ours = [each for each in ours if each.name in action.probation]
            if ours:
                yield Held(by, action, ours)

    def _again(self, incident: Incident, execution: Execution, action: ActionSpec, said: str, at: datetime) -> None:
        """The directive is in force again, for longer before the next look."""
        again = msgspec.structs.replace(
            incident,
            relapses=incident.relapses + 1,
            attempts=incident.attempts + 1,
            hold_s=incident.hold_s * 2,
        )
        again = noted(again, at, "relapse", f"{said}; the directive is restored")
        if again.relapses >= MOST_RELAPSES:
            self._verifying.learn(incident, execution, Result.NOT_HEALED, at)
            self._register.escalate(again, at, "it came back each time the directive was undone")
        else:
            self._verifying.begin(again, execution, action, VerificationPhase.EFFECT, at, at)
