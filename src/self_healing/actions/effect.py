"""Bringing one execution's effect about, once, whatever happens to the process: the core that all executors share.

Intent, then effect, then outcome, each committed before the next::

    (gate) intent committed -> directives and the try committed -> handoff delivered -> outcome committed

A crash between any two leaves an execution ``intended``. Without a try on record nothing was begun, and it simply
runs. With one, the channel is asked whether the handoff arrived: yes, and only the outcome is missing; no, and it is
delivered; nobody can tell, and it is repeated only where that is harmless. What nobody can tell in the end is
``unknown``, never failed. Nothing is begun or gone on with by a
decision that is too old: what was set is undone then, and it is decided anew.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol, TypeVar

import msgspec

from self_healing.actions import calling
from self_healing.actions.directing import Allowing, AuditAppend, Directives
from self_healing.errors import ConstitutionBypass, EffectError, EffectRefused, EffectUntold
from self_healing.handoffs.channel import Channel, Receipt, delivered, repeatable
from self_healing.model import Decision, Execution, ExecutionStatus, Handoff, HandoffStatus, Note
from self_healing.spec import ActionSpec, Priority
from self_healing.storage.store import Store

T = TypeVar("T")

CRASH_POINTS = ("intent.committed", "effect.directives", "effect.delivered", "outcome.committed")
"""Where a crash matters, in order; the names that tests kill the process at."""

CALLED = "effect.called"
"""The same where an action calls something: it has returned, and its handoff is not delivered yet."""

ENDING_S = 3
"""Beyond its own limit, for a program to be killed with what it started, and for what it said to be read."""

STOPPED = "stopped by a person"
"""The error of an execution that the stop kept from its effect."""

OBSERVED = "mode is observe"
"""The error of an execution that observe mode kept from its effect."""

STALE = "its decision is too old to act on"
"""The error of an execution that was not done because its decision was too old by then; it is decided anew."""

FAILURES = (EffectError, TimeoutError)
"""What a try may end with so that another one makes sense."""

Retry = Callable[[int, Callable[[], Awaitable[None]]], Awaitable[None]]
"""Tries something at most so many times, again after each of FAILURES; raises the last one."""


class Call(Protocol):
    """How a call that may block is made."""

    async def __call__(self, function: Callable[[Handoff], T], handoff: Handoff, timeout_s: float) -> T:
        """What ``function(handoff)`` returns. Raises what it raises, and TimeoutError when it takes too long."""
        ...


class _Untold(Exception):
    """A handoff was begun, and nobody can tell whether it arrived."""


class _Refused(Exception):
    """The effect must not be brought about any more; the text says why."""


def _untold(error: Exception) -> bool:
    """Whether a try ended in such a way that nobody knows whether the effect is there."""
    return isinstance(error, TimeoutError | EffectUntold)


def _said(error: Exception, spec: ActionSpec) -> str:
    return f"no answer within {spec.timeout} s" if isinstance(error, TimeoutError) else str(error)


def _nothing(_point: str) -> None:
    """No crash."""


class Effect:
    """What becomes of executions.

    Args:
        store: the state; used only where `run` is awaited, never inside `call`.
        channel: delivers the handoffs.
        directives: sets what an execution puts in force.
        allowing: finds the decision on record.
        fresh: whether a decision is still new enough to act on, and of the spec that its incident goes on by; asked
            right before each try.
        audit: puts one entry on the audit log.
        action: the action that an execution is of, as declared. Raises KeyError when it is no longer.
        now: the present instant.
        stopped: whether a person stopped all effects; asked right before each.
        observe: whether no effect may be brought about at all.
        bypassed: hears of what the gate did not allow, in the transaction that ends it.
        crash: called with each name of CRASH_POINTS, and CALLED, as it is passed.
    """

    def __init__(
        self,
        store: Store,
        channel: Channel,
        directives: Directives,
        *,
        allowing: Allowing,
        fresh: Callable[[Decision], bool],
        audit: AuditAppend,
        action: Callable[[Execution], ActionSpec],
        now: Callable[[], datetime],
        stopped: Callable[[], bool],
        observe: Callable[[], bool],
        bypassed: Callable[[ConstitutionBypass], None],
        crash: Callable[[str], None] = _nothing,
    ) -> None:
        self._store = store
        self._channel = channel
        self._directives = directives
        self._allowing = allowing
        self._fresh = fresh
        self._audit = audit
        self._action = action
        self._now = now
        self._stopped = stopped
        self._observe = observe
        self._bypassed = bypassed
        self._crash = crash

    def allowed(self, id: str) -> Execution:
        """The execution of that id, with the gate's leave checked against what it would do.

        Raises:
            NotFound: there is none.
            ConstitutionBypass: it is intended, but no decision on record allows it, or its handoff is another's.
        """
        execution = self._store.get(Execution, id)
        if execution.status is ExecutionStatus.INTENDED:
            self._allowing(execution)
            if execution.handoff is not None and self._own_handoff(execution) is None:
                raise ConstitutionBypass(id, f"handoff {execution.handoff} is not its own")
        return execution

    def _own_handoff(self, execution: Execution) -> Handoff | None:
        found = None if execution.handoff is None else self._store.find(Handoff, execution.handoff)
        own = (execution.id, execution.target_agent)
        return found if found is not None and (found.execution, found.target_agent) == own else None

    def intended(self) -> list[Execution]:
        """The executions without an outcome, oldest first; what the gate did not allow is ended as failed, aloud."""
        left: list[Execution] = []
        for execution in self._store.select(Execution, status=ExecutionStatus.INTENDED.value):
            try:
                left.append(self.allowed(execution.id))
            except ConstitutionBypass as bypass:
                self._refuse(bypass)
        return left

    def _refuse(self, bypass: ConstitutionBypass) -> None:
        """End what somebody wrote into the state past the gate, so that the rest goes on."""
        with self._store.joined():
            self._failed(bypass.execution, str(bypass))
            self._bypassed(bypass)

    def rank(self, execution: Execution) -> int:
        """0 for what goes first; by the priority of its action."""
        order = list(Priority)
        try:
            return order.index(self._action(execution).priority)
        except KeyError:
            return len(order)

    async def run(self, id: str, call: Call, retry: Retry) -> None:
        """Bring the effect about and write its outcome; nothing when there is an outcome already.

        What is not what the gate allowed is ended as failed, aloud.

        Raises:
            NotFound: there is none.
            StorageError: the state could not be written; the execution is still intended, and may be run again.
        """
        try:
            execution = self.allowed(id)
            if execution.status is ExecutionStatus.INTENDED:
                await self._run(execution, call, retry)
        except ConstitutionBypass as bypass:
            self._refuse(bypass)

    async def _run(self, execution: Execution, call: Call, retry: Retry) -> None:
        id = execution.id
        self._crash("intent.committed")
        try:
            spec = self._action(execution)
        except KeyError:
            self._failed(id, f"action {execution.action!r} is no longer declared")
            return
        certain = not execution.tries  # that nothing was done so far
        receipt: Receipt | None = None
        last: str | None = None

        async def once() -> None:
            nonlocal certain, receipt, last
            there, again = await self._left(id, spec, call)
            if there:
                return
            certain = certain or there is False
            if not certain and not again:
                raise _Untold
            try:
                receipt = await self._once(id, spec, call)
            except EffectRefused as error:
                raise _Refused(str(error)) from error
            except FAILURES as error:
                certain = certain and not _untold(error)
                last = _said(error, spec)
                raise

        try:
            await retry(max(1, spec.tries - execution.tries), once)
        except _Refused as error:
            if certain:
                self._failed(id, str(error))
            else:
                self._unknown(id, spec, last)
        except _Untold:
            self._unknown(id, spec, last)
        except FAILURES as error:
            await self._gave_up(id, spec, call, _said(error, spec), certain)
        else:
            self._dispatched(id, spec, receipt)

    async def _once(self, id: str, spec: ActionSpec, call: Call) -> Receipt | None:
        """One try. Returns when the effect is there, with what the channel has to tell of it."""
        execution = self._store.get(Execution, id)
        handoff = self._handoff(execution)
        if handoff is not None and handoff.status is not HandoffStatus.CREATED:
            raise _Refused(f"handoff {handoff.id} is {handoff.status.value} before it was delivered")
        if self._observe():
            raise _Refused(OBSERVED)
        if self._stopped():
            raise _Refused(STOPPED)
        if not self._fresh(self._allowing(execution)):
            raise _Refused(STALE)
        self._begin(execution, spec)
        self._crash("effect.directives")
        receipt = None if handoff is None else await self._deliver(handoff, spec, call)
        self._crash("effect.delivered")
        return receipt

    async def _deliver(self, handoff: Handoff, spec: ActionSpec, call: Call) -> Receipt | None:
        """Deliver a handoff: after what its action calls has done its work, where it calls something."""
        if spec.calls is None:
            return await call(self._channel.deliver, handoff, spec.timeout)
        said = await call(partial(calling.call, spec), handoff, spec.timeout + ENDING_S)
        handoff = self._store.get(Handoff, handoff.id)  # its recipient may have told of it meanwhile
        if said is not None:
            note = Note(at=self._now(), what="output", text=said)
            handoff = msgspec.structs.replace(handoff, notes=(*handoff.notes, note))
            self._store.put(handoff)
        self._crash(CALLED)
        if handoff.status is not HandoffStatus.CREATED:
            return None
        try:
            return await call(self._channel.deliver, handoff, spec.timeout)
        except EffectRefused as error:
            raise _Untold from error  # to call it again would not deliver it
        except EffectError as error:
            raise EffectUntold(f"{spec.calls} has done its work, and its handoff was not delivered: {error}") from error

    def _handoff(self, execution: Execution) -> Handoff | None:
        return None if execution.handoff is None else self._store.get(Handoff, execution.handoff)

    async def _left(self, id: str, spec: ActionSpec, call: Call) -> tuple[bool | None, bool]:
        """What earlier tries left: whether the effect is there, and whether doing it again changes nothing if it is.

        None when nobody can tell whether it is there.
        """
        execution = self._store.get(Execution, id)
        handoff = self._handoff(execution)
        if not execution.tries:
            return False, True
        if handoff is None:
            return True, True  # its directives were committed with the try
        try:
            there = await call(self._channel.probe, handoff, spec.timeout)
        except FAILURES:
            there = None
        again = there is False or repeatable(self._channel, handoff)
        if spec.calls is None:
            return there, again
        # Without a handoff what it calls may have done its work all the same.
        return there or None, again and spec.idempotent

    def _begin(self, execution: Execution, spec: ActionSpec) -> None:
        """Put the directives in force and the try on record, together."""
        at = self._now()
        effect_at = execution.effect_at or (at if execution.settings else None)
        begun = msgspec.structs.replace(execution, tries=execution.tries + 1, effect_at=effect_at, updated_at=at)
        with self._store.joined():
            self._store.put(begun)
            self._directives.set(
                begun,
                begun.settings,
                at=at,
                expires_at=at + timedelta(seconds=spec.expires),
                reason=f"{begun.action} for {begun.trigger}",
            )

    async def _gave_up(self, id: str, spec: ActionSpec, call: Call, text: str, certain: bool) -> None:
        """After the last try, which ended with `text`: it, or one before, may have done its work all the same."""
        there, _ = await self._left(id, spec, call)
        if there:
            self._dispatched(id, spec, None)
        elif there is None and not certain:
            self._unknown(id, spec, text)
        else:
            self._failed(id, text)

    def _dispatched(self, id: str, spec: ActionSpec, receipt: Receipt | None) -> None:
        at = self._now()
        with self._store.joined():
            execution = self._store.get(Execution, id)
            handoff = self._handoff(execution)
            if handoff is not None and handoff.status is HandoffStatus.CREATED:
                self._store.put(delivered(handoff, receipt, at))
            if handoff is not None and spec.calls is not None:
                execution = msgspec.structs.replace(execution, effect_at=execution.effect_at or at)
            self._end(execution, ExecutionStatus.DISPATCHED, at, None)
        self._crash("outcome.committed")

    def _failed(self, id: str, error: str) -> None:
        at = self._now()
        with self._store.joined():
            execution = self._store.get(Execution, id)
            self._directives.undo([directive.id for directive in self._directives.of(execution)], at=at, reason=error)
            handoff = self._own_handoff(execution)
            if handoff is not None and handoff.status is HandoffStatus.CREATED:
                ended = msgspec.structs.replace(handoff, status=HandoffStatus.FAILED, ended_at=at, result=error)
                self._store.put(ended)
            self._end(execution, ExecutionStatus.FAILED, at, error)
        self._crash("outcome.committed")

    def _unknown(self, id: str, spec: ActionSpec, why: str | None) -> None:
        """Its directives stay until they expire or a person undoes them; what they restrain may be dangerous.

        Args:
            why: how the last try ended; None where an earlier process made it.
        """
        execution = self._store.get(Execution, id)
        again = "twice" if execution.tries < 2 else "again"
        error = (
            f"whether handoff {execution.handoff} was delivered cannot be told, and it is not sent {again}; "
            f"ask {execution.target_agent} whether it came"
        )
        if spec.calls is not None:
            error = (
                f"whether {spec.calls} did its work for handoff {execution.handoff} cannot be told, and it is not "
                f"called {again}; look whether it did"
            )
        said = error if why is None else f"{why}; {error}"
        self._end(execution, ExecutionStatus.UNKNOWN, self._now(), said)
        self._crash("outcome.committed")

    def _end(self, execution: Execution, status: ExecutionStatus, at: datetime, error: str | None) -> None:
        with self._store.joined():
            self._store.put(msgspec.structs.replace(execution, status=status, updated_at=at, error=error))
            told = {"execution": execution.id, "handoff": execution.handoff, "status": status.value, "error": error}
            self._audit("outcome", told, at)
