"""The loop, its stages in order.

::

    sense -> detect -> hear -> verify, learn -> decide -> act
      ^                                          |
      +---- the fleet obeys directives, works handoffs, and emits telemetry again

:meth:`SelfHealingOrchestrator.cycle` is one turn of it. What one turn reads, sees, decides and intends commits in one
transaction; only then are effects begun. So a process that is killed at any moment goes on where its last turn ended.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from self_healing.clock import SECOND_US, Clock, FakeClock, SystemClock, from_us, to_us
from self_healing.errors import ConfigError, StateError, TelemetryError
from self_healing.given import load_settings
from self_healing.local_socket import ask
from self_healing.loop.attending import Attended
from self_healing.loop.treatment import FOLLOWED
from self_healing.model import Execution, Incident, IncidentState, Transition
from self_healing.status import evaluated_at
from self_healing.telemetry.attributes import Beyond
from self_healing.telemetry.collector import collector_off
from self_healing.telemetry.reader import SLICE_BYTES, Batch
from self_healing.watching import refuse_far_ahead

_PEAKING = frozenset((IncidentState.OPEN, IncidentState.ACTING))

TURN_SLICES = 8
"""How many slices one turn reads at most, before it commits what came of them."""


@dataclass(slots=True)
class Turn:
    """What one cycle did.

    Args:
        t_us: the instant that was evaluated, microseconds.
        caught_up: whether everything there is was read; only then is anything done.
        transitions: the series that changed their state.
        begun: executions whose effect was begun.
        violations: denials that were new.
    """

    t_us: int
    caught_up: bool
    transitions: list[Transition]
    begun: list[str]
    violations: int


@dataclass(frozen=True)
class Check:
    """What one check did.

    Args:
        begun: executions that it began or took up.
        violations: denials that were new.
    """

    begun: tuple[str, ...] = ()
    violations: int = 0


class SelfHealingOrchestrator(Attended):
    """Owns the state of one fleet and turns the loop; build it with :meth:`open`, as its base ``Owner`` says."""

    last_check = Check()

    def cycle(self, now: datetime, *, exact: bool = False) -> Turn:
        """One turn of the loop at `now`.

        Args:
            exact: evaluate at `now` itself, not at the last instant of the grid before it.

        Raises:
            StorageError: nothing of this turn was committed; build a new orchestrator on the state and go on.
        """
        with collector_off(), self._committing():
            self.executor.check()
            batch = self._sense(self.reader.read, now)
            t_us = self._parts.detecting.instant(batch, to_us(now), exact=exact)
            turn = Turn(t_us, batch is None or batch.caught_up, [], [], 0)
            if self._idle(batch, t_us):
                self._parts.progress.evaluated_us = t_us
                return turn
            known = self.violations
            with self.store.transaction():
                if batch is not None:
                    batch = self._take_in(batch, turn, now, exact=exact)
                at = from_us(turn.t_us)
                # Where nothing can be read, outcomes, deadlines and what expires go by the clock.
                self._hear(at if batch is not None else self.now())
                if batch is not None and turn.caught_up:
                    self._verify(at)
                    turn.begun = self._decide(at)
                self._commit(batch, turn.transitions)
            turn.violations = self.violations - known
            self._crash("cycle.committed")
            self._telling.changed(turn.transitions, at, self.spec, len(self.register.open))
            self._telling.publish()
            if self.published.problem is not None:
                self.published.publish()
            self._act(turn.begun)
        return turn

    def _sense(self, read: Callable[[int, int], Batch], now: datetime) -> Batch | None:
        """Read a slice of what is new. None when it cannot be read: the loop's time stands still until it can."""
        try:
            batch = read(to_us(now), SLICE_BYTES)
        except TelemetryError as error:
            self._health.unreadable(str(error))
            return None
        self._telling.quarantined(self._health.read(batch, to_us(now)))
        if batch.received or batch.rejected or batch.dropped:
            quarantined = {bad.value: n for bad, n in batch.quarantined.items()}
            self.telemetry.account(batch.received, quarantined, rejected=batch.rejected, dropped=batch.dropped)
        if batch.events:
            self.telemetry.queue(batch.events, batch.kind, batch.ts, batch.beyond)
            batch.events, batch.beyond = [], Beyond()  # they are let go of as soon as they are folded
        return batch

    def _take_in(self, batch: Batch, turn: Turn, now: datetime, *, exact: bool) -> Batch:
        """Fold and evaluate slice after slice, until all is read or the turn is long enough; returns the last one."""
        detecting = self._parts.detecting
        turn.transitions = self._detect(turn.t_us, batch)
        for _ in range(TURN_SLICES - 1):
            further = None if batch.caught_up else self._sense(self.reader.read_on, now)
            if further is None:
                break
            further.bad = batch.bad + further.bad
            batch = further
            turn.t_us = detecting.instant(batch, to_us(now), exact=exact)
            turn.transitions += self._detect(turn.t_us, batch)
        turn.caught_up = batch.caught_up
        return batch

    def _idle(self, batch: Batch | None, t_us: int) -> bool:
        """Whether nothing can come of this turn: nothing read, nothing due, nobody waiting. Then nothing is written."""
        parts = self._parts
        if self._touched or self.published.problem is not None or self._outside():
            return False
        if parts.unstored("health", self.health()):
            return False
        if batch is None:
            return not parts.due_by_clock(self.now())
        if batch.received or batch.bad or batch.positions != parts.progress.positions or not self._aligned:
            return False
        next_us = parts.detecting.next_us(self.evaluated_us)
        return (next_us is None or next_us > t_us) and not parts.due(from_us(t_us))

    def _outside(self) -> bool:
        """Whether somebody outside is to be told or asked something, or has answered."""
        return self._notices.due(self.now()) or self._following.due(self.now())

    def next_turn_us(self) -> int | None:
        """The instant, microseconds, at which a turn is due next if nothing new comes in; None when none is."""
        parts = self._parts
        soon_us = self.evaluated_us + self.spec.grid * SECOND_US
        if self._touched or not self._aligned or self._outside() or parts.due(from_us(soon_us)):
            return soon_us
        due = (parts.detecting.next_us(self.evaluated_us), parts.due_us)
        return min((each for each in due if each is not None), default=None)

    @property
    def at_rest(self) -> bool:
        """Whether nothing is open, under way, asked or due: then only what triggers see can make anything happen."""
        parts = self._parts
        waiting = self._touched or parts.due_us is not None or parts.diagnoser.pending or len(parts.underway) > 0
        return not (waiting or self.register.open or self._outside())

    def gathered(self, incident: Incident) -> dict[str, Any]:
        """What whoever an open incident were handed to now would be told of it."""
        return self._parts.gathering.so_far(incident)

    def pass_over(self, until: datetime) -> None:
        """Look at no instant before `until`, for whoever calls knows that nothing can happen there."""
        self._parts.detecting.quiet_until_us = to_us(until)

    def _detect(self, t_us: int, batch: Batch) -> list[Transition]:
        """Fold what was read, evaluate the triggers up to `t_us`, open incidents and let them go."""
        if not self._aligned:
            self.register.follow_spec(from_us(self.evaluated_us or t_us))
            self._aligned = True
        return self._parts.detecting.step(t_us, caught_up=batch.caught_up, complete_us=batch.complete_to_us)

    def _hear(self, at: datetime) -> None:
        """What the fleet says of its handoffs, what ran out, and what became of effects."""
        parts = self._parts
        parts.hearing.hear(at)
        parts.directives.expire(at)
        for execution in parts.underway.hear(at):
            ended = parts.diagnoser.ended(execution)
            parts.underway.effects.add(ended)
            self._telling.ended(ended)
        parts.treatment.let_go(at)

    def _verify(self, at: datetime) -> None:
        """Carry every incident on as far as its effect and its verification allow; lessons are learnt on the way."""
        met = self.framework.met_at(to_us(at))
        for id in list(self.register.open):
            # As it stands now: following a parent moves on what is beneath it.
            incident = self.register.open[id]
            if incident.state in _PEAKING and not incident.is_parent:
                # A value on too few samples is no measure of how bad it was.
                value = met(incident.trigger, incident.group)
                if value != incident.peak:  # in a storm nearly all are as they were
                    incident = self.register.peak(incident, value)
            if incident.state in FOLLOWED:
                self._parts.treatment.follow(incident, at)
        self.register.tend(at)
        for opened in self.register.unmute(at):
            self._parts.diagnoser.count(opened, at)
        self._parts.grouping.group(at)
        for silence in self._parts.silences.settle(at):
            self._telling.silence(silence, "over", at)
        self._parts.diagnoser.count(None, at)

    def _decide(self, at: datetime) -> list[str]:
        """Propose what is next to the gate; returns the executions that may begin. Not while a person has said stop."""
        parts, stop = self._parts, self._stopping.stands()
        if stop is not None:
            parts.proposer.rest(stop.by or "a person", at)
            parts.diagnoser.rest(at)
            parts.diagnoser.tell(at)
            return []
        decide = parts.judging.at(at)
        allowed = parts.proposer.propose(decide, at)
        parts.diagnoser.tell(at)
        return allowed + parts.diagnoser.diagnose(decide, at)

    def _act(self, allowed: Sequence[str]) -> None:
        """Begin the effects that were intended, and tell people what they must hear."""
        if allowed:
            self.executor.submit(allowed)
        self._notices.deliver(self.now)
        self._following.ask(self.now())

    def recover(self) -> list[str]:
        """Take up what an earlier process intended and did not finish; call once after opening for writing.

        What was decided too long ago is not done, nor gone on with, but decided anew.

        Returns:
            The executions that are taken up.
        """
        with self._committing():
            self._recovered = True
            return [execution.id for execution in self.executor.recover()]

    def check(self, now: datetime | None = None) -> dict[str, Any]:
        """One whole cycle: read what is new, evaluate at `now`, act, and say what was found and done.

        Args:
            now: aware; the clock's when left out. It may not lie before the last evaluated instant.

        Raises:
            StateError: `now` lies before the last evaluated instant.
            StorageError: nothing of it was committed.
        """
        at = self.now() if now is None else now
        if to_us(at) < self.evaluated_us:
            last = from_us(self.evaluated_us).isoformat()
            raise StateError(f"{at.isoformat()} lies before {last}, which was evaluated already; give a later --now")
        self._checked_at, known = at, self.violations
        try:
            # A service has taken up long ago what was left; what is under way there was begun by another turn.
            begun = [] if self._recovered else self.recover()
            turn = self.cycle(at, exact=True)
            while not turn.caught_up:
                turn = self.cycle(at, exact=True)
            self.last_check = Check((*begun, *turn.begun), self.violations - known)
            self.summarise(at)
            return self.checked(self.last_check)
        finally:
            self._checked_at = None

    def checked(self, check: Check) -> dict[str, Any]:
        """What a check found and did, once its effects have come to their outcomes.

        Args:
            check: one's own: another may have been made while its effects were under way.
        """
        at = self.now()
        with self._committing():
            with self.store.transaction():
                self.telemetry.fold()
                if self.evaluated_us:
                    self._hear(at)
                self._commit(None)
            self._telling.publish()
            executed = sum(self.store.get(Execution, id).tries > 0 for id in check.begun)
            return self.report(executed, check.violations)


SERVICE_ANSWERS_S = 600.0
"""How long a service may take for a check; it may have much to catch up with."""


def run_self_healing_check(
    *,
    telemetry_dir: str | Path | None = None,
    state_dir: str | Path | None = None,
    logs_dir: str | Path | None = None,
    config: str | Path | None = None,
    now: datetime | None = None,
) -> dict[str, Any]:
    """One whole cycle from Python; returns the same mapping as ``self-healing check --format json``.

    A service that runs on the same state is asked to make it.

    Args:
        telemetry_dir: the fleet's native telemetry; as configured when left out, like the other three.
        now: aware; the machine's time when left out.

    Raises:
        ConfigError: the configuration or the spec is refused.
        StateBusy: another process owns the state.
        StateError: `now` lies before the last evaluated instant, or more than a day ahead of the clock on a state that
            has lived by it.
    """
    flags = {
        "telemetry.dir": None if telemetry_dir is None else str(telemetry_dir),
        "storage.state_dir": None if state_dir is None else str(state_dir),
        "storage.logs_dir": None if logs_dir is None else str(logs_dir),
    }
    settings = load_settings(None if config is None else Path(config), environ=os.environ, flags=flags)
    if now is not None and now.tzinfo is None:
        raise ConfigError([f"now = {now!r}: allowed is an aware datetime, such as datetime.now(UTC)"])
    if now is None:
        answer = ask(settings.storage.state_dir, "check", timeout_s=SERVICE_ANSWERS_S)
        if answer is not None:
            return answer
    if now is not None:
        refuse_far_ahead(evaluated_at(settings), now, datetime.now(UTC))
    clock: Clock = SystemClock() if now is None else FakeClock(now.astimezone(UTC))
    with SelfHealingOrchestrator.open(settings, clock=clock) as orchestrator:
        return orchestrator.check(now)
