"""The loop, its stages in order.

::

    sense -> detect -> decide -> act -> verify -> learn
      ^                            |
      +---- the fleet obeys directives, works handoffs, and emits telemetry again

:meth:`SelfHealingOrchestrator.cycle` is one turn of it. What one turn reads, sees, decides and intends commits in one
transaction; only then are effects begun. So a process that is killed at any moment goes on where its last turn ended.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import msgspec

from self_healing import checkpoint
from self_healing.actions.directing import Directives
from self_healing.actions.effect import Effect
from self_healing.actions.planning import DIAGNOSTIC_STEP, WAITING, Planner
from self_healing.actions.registry import DIAGNOSTIC, ActionRegistry
from self_healing.actions.runner import Executor, InlineExecutor
from self_healing.clock import SECOND_US, Clock, FakeClock, SystemClock, from_us, to_us
from self_healing.config import Mode, Settings, load_settings, load_spec
from self_healing.constitution.audit import Audit
from self_healing.constitution.circumstances import Circumstances, Fleet
from self_healing.constitution.effects import Effects
from self_healing.constitution.facts import gather
from self_healing.constitution.gate import Gate
from self_healing.constitution.stop import stopped
from self_healing.errors import ConfigError, NotFound, SelfHealingError, StateError, TelemetryError
from self_healing.handoffs.channel import Channel
from self_healing.handoffs.evidence import evidence
from self_healing.handoffs.file import FileChannel
from self_healing.handoffs.inbox import HandoffRefused, Inbox
from self_healing.incidents.register import Register
from self_healing.incidents.treatment import Treatment
from self_healing.learning import begun, lesson_id
from self_healing.logs import Logs, OwnTelemetry
from self_healing.model import (
    CloseReason,
    Decision,
    Directive,
    Event,
    Execution,
    ExecutionStatus,
    Handoff,
    HandoffStatus,
    Incident,
    IncidentState,
    Kind,
    Lesson,
    Note,
    Outcome,
    Proposal,
    SeriesState,
    Transition,
    Verdict,
    affected_agent,
    group_dict,
)
from self_healing.spec import ActionSpec, ActionType, Priority, Spec, TriggerSpec
from self_healing.storage.store import Store
from self_healing.telemetry.reader import Batch, DirectoryReader
from self_healing.telemetry.samples import duration_of, tokens_of
from self_healing.telemetry.tasks import Repair
from self_healing.telemetry.telemetry import Telemetry
from self_healing.triggers.framework import TriggerFramework
from self_healing.triggers.selftest import failures

CROWD = 3
"""So many open incidents at once ask for a comprehensive analysis."""

SHARED_ESCALATION = timedelta(minutes=5)
"""Escalations within this time share one report and one notification."""

QUARANTINE_SHARE = 0.05
NOTIFICATION = "notification"
MOST_EXAMPLES = 5
MOST_SIMILAR = 5


class Diagnosis(msgspec.Struct):
    """What is known between cycles about comprehensive analyses.

    Args:
        armed: whether the next crossing to three open incidents asks for one.
        pending: incidents whose analysis is asked for and not begun, and since when.
        escalated_at: when an escalation last got its report.
    """

    armed: bool = True
    pending: dict[str, datetime] = {}
    escalated_at: datetime | None = None


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


class SelfHealingOrchestrator:
    """Owns the state of one fleet and turns the loop; build it with :meth:`open`.

    Args:
        settings: the configuration.
        store: the state; closed with the orchestrator.
        clock: the time.
        executor: makes the executor from the core of effects; everything is done at once when left out.
        channel: delivers handoffs; files in ``logs/handoffs`` when left out.
        crash: called at named points; for crash tests.
        on_note: hears every new line of an incident's timeline.

    Raises:
        ConfigError: the spec is refused, or one of its own tests fails.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        store: Store,
        clock: Clock,
        executor: Callable[[Effect, Callable[[], Any]], Executor] | None = None,
        channel: Channel | None = None,
        crash: Callable[[str], None] = lambda _point: None,
        on_note: Callable[[Incident, Note], None] | None = None,
    ) -> None:
        self.settings = settings
        self.store = store
        self.clock = clock
        self._crash = crash
        self._on_note = on_note
        self.spec = self._load_spec(store.fact("overrides") or {})
        self.registry = ActionRegistry(self.spec.actions)
        self.telemetry = Telemetry(self.spec.triggers)
        self.framework = TriggerFramework(self.spec, self.telemetry)
        self._progress = checkpoint.load(store, self.telemetry, self.framework)
        self.reader = DirectoryReader(settings.telemetry.dir, self._progress.positions)
        self.logs = Logs(settings.storage.logs_dir / "self_healing", clock)
        self.own = OwnTelemetry(settings.telemetry.dir)
        self.audit = Audit(store)
        self.gate = Gate()
        self.directives = Directives(store)
        self.inbox = Inbox(store, self.audit.append)
        self.register = Register(
            store,
            self.framework,
            restart=self.telemetry.restart,
            undo=lambda owner, at, reason: self.directives.undo_owned(owner, at=at, reason=reason),
            spec=lambda: self.spec,
            told=self._told,
        )
        self._noted = {id: len(incident.notes) for id, incident in self.register.open.items()}
        self.planner = Planner(
            store,
            self.registry,
            self.spec,
            audit=self.audit.append,
            context=self._context,
            handoffs_dir=self.handoffs_dir,
            fallback=settings.actions.fallback,
            observe=settings.actions.mode is Mode.OBSERVE,
        )
        self.treatment = Treatment(
            store,
            self.register,
            self.directives,
            self.inbox,
            self.spec,
            watch=self.telemetry.watch,
            accumulators=lambda: self.telemetry.taps.accumulators,
        )
        self.effects = Effects(store.select(Execution))
        self._intended = {e.id for e in store.select(Execution, status=ExecutionStatus.INTENDED.value)}
        self.diagnosis = store.fact("diagnosis", Diagnosis) or Diagnosis()
        self._violations: set[tuple[str, int, str]] = set(store.fact("violations", list[tuple[str, int, str]]) or [])
        self._problem: str | None = None
        self._file_problems: list[str] = []
        self.missed_ticks = 0
        self.channel = channel or FileChannel(self.handoffs_dir)
        effect = Effect(
            store,
            self.channel,
            action=self.spec.action,
            now=self._now,
            stopped=lambda: stopped(settings.storage.state_dir) is not None,
            crash=crash,
        )
        self.executor = executor(effect, lambda: self.spec.limits) if executor else InlineExecutor(effect)
        self._at = clock.now()

    @classmethod
    def open(cls, settings: Settings, *, clock: Clock | None = None, read_only: bool = False, **options: Any) -> Self:
        """Open the state and build the loop on it.

        Args:
            settings: the configuration.
            clock: the machine's when left out.
            read_only: to look only; nothing may be changed then.
            options: as the class takes them.

        Raises:
            StateBusy, StateError, StateCorrupt: the state cannot be used.
            ConfigError: the spec is refused.
        """
        store = Store(settings.storage.state_dir, read_only=read_only)
        try:
            return cls(settings, store=store, clock=clock or SystemClock(), **options)
        except BaseException:
            store.close()
            raise

    def _load_spec(self, overrides: Mapping[str, Mapping[str, Any]]) -> Spec:
        spec = load_spec(self.settings, {name: dict(changes) for name, changes in overrides.items()})
        failed = failures(spec)
        if failed:
            raise ConfigError(failed)
        return spec

    @property
    def handoffs_dir(self) -> Path:
        """Where handoff files are."""
        return self.settings.storage.logs_dir / "handoffs"

    @property
    def evaluated_us(self) -> int:
        """The newest instant that was evaluated, microseconds; 0 before the first."""
        return self._progress.evaluated_us

    def _now(self) -> datetime:
        # Effects carry the time of the cycle that intended them or later, so that a check of the past acts in the past.
        return max(self._at, self.clock.now()) if not isinstance(self.clock, FakeClock) else self._at

    # ================================================================================================ the loop

    def cycle(self, now: datetime) -> Turn:
        """One turn of the loop at `now`.

        Raises:
            StorageError: nothing of this turn was committed; build a new orchestrator on the state and go on.
        """
        self.executor.check()
        batch = self._sense(now)
        t_us, caught_up = self._instant(batch, to_us(now))
        if self._idle(batch, t_us, caught_up):
            self._progress.evaluated_us = max(self._progress.evaluated_us, t_us)
            return Turn(t_us, caught_up, [], [], 0)
        at = self._at = from_us(t_us)
        known = len(self._violations)
        with self.store.transaction():
            transitions = self._detect(t_us, caught_up)
            begun_now: list[str] = []
            if caught_up:
                self._hear(at)
                self._verify(at)
                begun_now = self._decide(at)
            self._commit(batch)
        self._crash("cycle.committed")
        self._act(begun_now)
        self._tell(transitions, at)
        return Turn(t_us, caught_up, transitions, begun_now, len(self._violations) - known)

    # ---------------------------------------------------------------------------------------------- sense

    def _sense(self, now: datetime) -> Batch | None:
        """Read what is new; None when the directory cannot be read, which health will say."""
        try:
            batch = self.reader.read(to_us(now))
        except TelemetryError as error:
            self._problem = str(error)
            return None
        self._problem, self._file_problems = None, batch.problems
        if batch.received:
            self.telemetry.account(batch.received, batch.quarantined)
        if batch.events:
            self.telemetry.queue(batch.events, batch.kind, batch.ts)
        return batch

    def _instant(self, batch: Batch | None, now_us: int) -> tuple[int, bool]:
        """The instant to evaluate, and whether everything there is has been read."""
        grid_us = self.spec.grid * SECOND_US
        caught_up = batch is None or batch.caught_up
        until_us = now_us
        if not caught_up and batch is not None and batch.newest_ts_us is not None:
            until_us = min(now_us, batch.newest_ts_us)
        return max(until_us // grid_us * grid_us, self._progress.evaluated_us), caught_up

    def _idle(self, batch: Batch | None, t_us: int, caught_up: bool) -> bool:
        """Whether nothing can come of this turn: nothing read, nothing due, nobody waiting."""
        if batch is not None and (batch.received or batch.bad or batch.positions != self._progress.positions):
            return False
        if self.telemetry.queued or self.register.open or self._intended or self.diagnosis.pending:
            return False
        if self._progress.evaluated_us == 0:
            return False
        due_us = self.framework.next_due_us(self._progress.evaluated_us, self.spec.grid * SECOND_US)
        return due_us is None or due_us > t_us

    # ---------------------------------------------------------------------------------------------- detect

    def _detect(self, t_us: int, caught_up: bool) -> list[Transition]:
        """Fold what was read, and evaluate every instant of the grid on the way to `t_us` at which something can change.

        A fresh state starts at now: its history only fills panes and baselines.
        """
        if self._progress.evaluated_us == 0:
            self.telemetry.fold()
            return self._evaluate(t_us) if caught_up else []
        transitions: list[Transition] = []
        grid_us = self.spec.grid * SECOND_US
        last_us = self._progress.evaluated_us
        while (next_us := self._next_us(last_us, grid_us)) is not None and next_us <= t_us:
            self.telemetry.fold(next_us, evaluated_us=last_us)
            transitions += self._evaluate(next_us)
            last_us = next_us
        self._progress.evaluated_us = t_us
        return transitions

    def _next_us(self, last_us: int, grid_us: int) -> int | None:
        due = [self.framework.next_due_us(last_us, grid_us)]
        queued_us = self.telemetry.next_queued_us()
        if queued_us is not None:
            due.append(max(-(-queued_us // grid_us) * grid_us, last_us + grid_us))
        return min((instant for instant in due if instant is not None), default=None)

    def _evaluate(self, t_us: int) -> list[Transition]:
        self.telemetry.give_up_lost(t_us)
        transitions = self.framework.evaluate(t_us)
        self._progress.evaluated_us = t_us
        for transition in transitions:
            crowd = len(self.register.open)
            self.register.take(transition)
            if len(self.register.open) > crowd and len(self.register.open) >= CROWD and self.diagnosis.armed:
                self.diagnosis.armed = False
                opened = self.register.of(transition.verdict.trigger, transition.verdict.group)
                if opened is not None:
                    self.diagnosis.pending[opened.id] = from_us(t_us)
        return transitions

    # ---------------------------------------------------------------------------------------------- hear

    def _hear(self, at: datetime) -> None:
        """What the fleet says of its handoffs, and what ran out meanwhile."""
        for repair in self.telemetry.repairs:
            self._hear_repair(repair, at)
        self.telemetry.repairs.clear()
        self.inbox.expire(at)
        self.directives.expire(at)
        for id in list(self._intended):
            execution = self.store.get(Execution, id)
            self.effects.add(execution)
            if execution.status is not ExecutionStatus.INTENDED:
                self._intended.discard(id)
                self._ended(execution)
        self.effects.forget(at)

    def _hear_repair(self, repair: Repair, at: datetime) -> None:
        by = repair.agent or "unknown"
        try:
            if repair.kind == Kind.TASK_STARTED:
                if self.store.get(Handoff, repair.handoff).status is not HandoffStatus.ACCEPTED:
                    self.inbox.accept(repair.handoff, by=by, at=at)
            elif repair.status == "success":
                self.inbox.complete(repair.handoff, by=by, at=at)
            elif repair.status in ("failed", "timeout"):
                self.inbox.fail(repair.handoff, by=by, at=at, result=repair.error or repair.status)
        except (NotFound, HandoffRefused) as error:
            # The fleet's word about a handoff that is over or not ours changes nothing; it is written down.
            self.logs.orchestrator.info("handoff_refused", handoff=repair.handoff, by=by, why=str(error))

    # ---------------------------------------------------------------------------------------------- verify, learn

    def _verify(self, at: datetime) -> None:
        """Carry every incident on as far as its execution and its verification allow; lessons are learnt on the way."""
        for incident in list(self.register.open.values()):
            if incident.state in (IncidentState.OPEN, IncidentState.ACTING):
                verdict = self.framework.verdict(incident.trigger, incident.group, to_us(at))
                if verdict.state is SeriesState.FIRING:
                    incident = self.register.peak(incident, verdict.value)
            self.treatment.follow(incident, at)
        self.register.tend(at)

    # ---------------------------------------------------------------------------------------------- decide

    def _decide(self, at: datetime) -> list[str]:
        """Propose the next step of every open incident to the gate; returns the executions that may begin."""
        begun_now: list[str] = []
        waiting = [i for i in self.register.open.values() if i.state is IncidentState.OPEN]
        for incident in sorted(waiting, key=self._urgency):
            begun_now += self._step(incident, at)
        escalated = [i for i in self.register.open.values() if i.state is IncidentState.ESCALATED]
        for incident in escalated:
            if incident.escalated_at == at:
                self._after_escalation(incident, at)
        if len(self.register.open) < CROWD:
            self.diagnosis.armed = True
        for id, since in list(self.diagnosis.pending.items()):
            begun_now += self._diagnose(id, since, at)
        return begun_now

    def _urgency(self, incident: Incident) -> tuple[int, datetime]:
        order = list(Priority)
        action = self._action_of(incident)
        return (len(order) if action is None else order.index(action.priority), incident.opened_at)

    def _action_of(self, incident: Incident) -> ActionSpec | None:
        if incident.step >= len(incident.plan):
            return None
        try:
            return self.spec.action(incident.plan[incident.step])
        except KeyError:
            return None

    def _step(self, incident: Incident, at: datetime) -> list[str]:
        """The next step of one incident: propose it, wait with it, go on to the next, or escalate."""
        before = self.store.find(Execution, incident.execution) if incident.execution else None
        if before is not None and before.status is ExecutionStatus.WOULD:
            return []
        if self.framework.state_of(incident.trigger, incident.group) is not SeriesState.FIRING:
            return []
        action = self._action_of(incident)
        if action is None:
            done = "no action is declared for it" if not incident.plan else "no action of its plan is left"
            self._escalate(incident, at, done)
            return []
        carried = before if before is not None and before.status in WAITING and before.step == incident.step else None
        execution = self.planner.propose(incident, action, incident.step, self._judge(at), at, carried)
        return self._answered(incident, execution, carried, at)

    def _answered(self, incident: Incident, execution: Execution, before: Execution | None, at: datetime) -> list[str]:
        """Go on as the gate said."""
        incident = msgspec.structs.replace(incident, execution=execution.id)
        match execution.status:
            case ExecutionStatus.INTENDED:
                self._intend(execution, at)
                acting = msgspec.structs.replace(
                    incident, state=IncidentState.ACTING, attempts=incident.attempts + 1, updated_at=at
                )
                text = f"{execution.action} for {execution.target}, handed to {execution.target_agent}{_settings(execution)}"
                self.register.note(acting, at, "acting", text)
                return [execution.id]
            case ExecutionStatus.WOULD:
                self.register.note(incident, at, "would", f"{execution.action}{_settings(execution)}; mode is observe")
            case ExecutionStatus.DENIED:
                self.treatment.skip(incident, at, f"{execution.action} is denied: {execution.reason}")
                if execution.reason and _final(execution.reason):
                    self._escalate(self.register.open[incident.id], at, f"denied: {execution.reason}")
            case _:
                self._wait(incident, execution, before, at)
        return []

    def _wait(self, incident: Incident, execution: Execution, before: Execution | None, at: datetime) -> None:
        if at - execution.created_at >= timedelta(seconds=self.spec.limits.defer_at_most):
            self._escalate(self.register.put(incident), at, f"{execution.action} waited too long: {execution.reason}")
        elif before is None or before.reason != execution.reason:
            self.register.note(incident, at, str(execution.status), f"{execution.action}: {execution.reason}")

    def _escalate(self, incident: Incident, at: datetime, why: str) -> None:
        if incident.state is not IncidentState.ESCALATED:
            self.register.escalate(incident, at, why)

    def _intend(self, execution: Execution, at: datetime) -> None:
        self.effects.add(execution)
        self._intended.add(execution.id)
        lesson = self.store.find(Lesson, lesson_id(execution.trigger, execution.action, execution.target))
        self.store.put(begun(lesson, execution, at))

    def _judge(self, at: datetime) -> Callable[[Proposal, Incident, dict[str, Any]], Decision]:
        """The gate with the facts of this instant; the only way to an execution."""
        circumstances = self._circumstances(at)

        def decide(proposal: Proposal, incident: Incident, context: dict[str, Any]) -> Decision:
            verdict = self.framework.verdict(incident.trigger, incident.group, to_us(at))
            lessons = self.store.select(Lesson, trigger=proposal.trigger, action=proposal.action)
            facts = gather(
                proposal,
                circumstances=circumstances,
                incident=self.store.find(Incident, incident.id),
                verdict=verdict,
                evidence=context,
                lessons=lessons,
            )
            decision = self.gate.decide(proposal, facts, at)
            if decision.outcome is Outcome.DENY:
                self._violate(decision)
            return decision

        return decide

    def _violate(self, decision: Decision) -> None:
        proposal = decision.proposal
        for finding in decision.findings:
            if finding.outcome is Outcome.DENY:
                self._violations.add((proposal.incident, proposal.step, finding.article))
        self.logs.actions.warning(
            "constitutional_violation",
            incident=proposal.incident,
            action=proposal.action,
            findings=[f"{finding.article}/{finding.policy}" for finding in decision.findings],
        )

    def _circumstances(self, at: datetime) -> Circumstances:
        queued_us = self.telemetry.next_queued_us()
        in_flight_s = 0.0 if queued_us is None else max(to_us(at) - queued_us, 0) / SECOND_US
        return Circumstances(
            at=at,
            spec=self.spec,
            tested_version=self.spec.version,
            fleet=Fleet.of(self.telemetry.agents, self.register.open.values()),
            effects=self.effects,
            directives=tuple(self.directives.in_force(at=at)),
            ingest_lag_s=in_flight_s,
            oldest_in_flight_s=in_flight_s,
            decision_recorded=not self.store.read_only,
            outcome_will_be_recorded=not self.store.read_only,
            stopped=stopped(self.settings.storage.state_dir) is not None,
            settings_from_spec=self.planner.settings,
            reversible=self.registry.reversible,
        )

    # ---------------------------------------------------------------------------------------------- diagnose

    def _after_escalation(self, incident: Incident, at: datetime) -> None:
        """Ask for a report and tell a person; escalations close together share both."""
        last = self.diagnosis.escalated_at
        if last is not None and at - last < SHARED_ESCALATION:
            return
        self.diagnosis.escalated_at = at
        self.diagnosis.pending[incident.id] = at
        text = "An incident was escalated to you; `context` says what was tried. Close it with a reason when it is over."
        self.planner.handoff(
            incident,
            execution=NOTIFICATION,
            target_agent=self.settings.actions.fallback,
            prompt=text,
            context=self._context(incident, None, {}),
            tags=(NOTIFICATION, incident.severity.value),
            at=at,
            deadline=at + timedelta(days=1),
        )

    def _diagnose(self, id: str, since: datetime, at: datetime) -> list[str]:
        """A comprehensive analysis about one incident: it passes the gate like everything else."""
        incident = self.register.open.get(id)
        late = at - since >= timedelta(seconds=self.spec.limits.defer_at_most)
        if incident is None or late:
            del self.diagnosis.pending[id]
            return []
        waiting = [
            execution
            for execution in self.store.select(Execution, incident=id, status=[status.value for status in WAITING])
            if execution.step == DIAGNOSTIC_STEP
        ]
        action = self.registry.get(DIAGNOSTIC)
        before = waiting[-1] if waiting else None
        execution = self.planner.propose(incident, action, DIAGNOSTIC_STEP, self._judge(at), at, before)
        if execution.status in WAITING:
            return []
        del self.diagnosis.pending[id]
        incident = self.register.open[id]
        if execution.status is not ExecutionStatus.INTENDED:
            self.register.note(incident, at, "diagnosis", f"{DIAGNOSTIC}: {execution.status}")
            return []
        self._intend(execution, at)
        self.register.note(incident, at, "diagnosis", f"{DIAGNOSTIC} handed to {execution.target_agent}")
        return [execution.id]

    def _ended(self, execution: Execution) -> None:
        """The outcome of an effect is known: log it; a diagnostic is verified by its report being there."""
        if execution.step == DIAGNOSTIC_STEP and execution.status is ExecutionStatus.DISPATCHED:
            execution = msgspec.structs.replace(execution, status=ExecutionStatus.SUCCEEDED, effect_at=execution.updated_at)
            self.store.put(execution)
            self.effects.add(execution)
        self.logs.actions.warning(
            f"action_{execution.status}",
            action=execution.action,
            incident=execution.incident,
            target=execution.target,
            target_agent=execution.target_agent,
            settings=execution.settings,
            error=execution.error,
        )

    # ---------------------------------------------------------------------------------------------- commit, act

    def _commit(self, batch: Batch | None) -> None:
        if batch is not None:
            self._progress.positions = batch.positions
        checkpoint.save(self.store, self.telemetry, self.framework, self._progress, batch.bad if batch else [])
        self.store.put_fact("diagnosis", self.diagnosis)
        self.store.put_fact("violations", sorted(self._violations))
        self.store.put_fact("health", self.health())
        self._crash("cycle.written")

    def _act(self, begun_now: Sequence[str]) -> None:
        """Begin the effects that were intended, and send what people must hear."""
        if begun_now:
            self.executor.submit(begun_now)
        for handoff in self.store.select(Handoff, execution=NOTIFICATION, status=HandoffStatus.CREATED.value):
            self._notify(handoff)

    def _notify(self, handoff: Handoff) -> None:
        try:
            if not self.channel.probe(handoff):
                self.channel.deliver(handoff)
        except SelfHealingError as error:
            # It stays `created`, so the next turn tries again; until then health says so.
            self._problem = f"a person could not be told of {handoff.incident}: {error}"
            return
        at = self._now()
        self.store.put(msgspec.structs.replace(handoff, status=HandoffStatus.DELIVERED, delivered_at=at))

    def recover(self) -> None:
        """Take up what an earlier process intended and did not finish; call once after opening for writing."""
        self._at = self.clock.now()
        for execution in self.executor.recover():
            self._intended.add(execution.id)

    # ================================================================================================ telling

    def _told(self, incident: Incident) -> None:
        """An incident changed: audit its ends, and pass on the new lines of its timeline."""
        fresh = incident.notes[self._noted.get(incident.id, 0) :] if incident.reopened == 0 else incident.notes[-1:]
        self._noted[incident.id] = len(incident.notes)
        at = incident.updated_at
        payload = {"incident": incident.id, "trigger": incident.trigger, "group": group_dict(incident.group)}
        state = {"state": incident.state.value, "reason": incident.close_reason, "why": incident.escalation}
        self.audit.append("incident", {**payload, **state}, at)
        self.logs.orchestrator.info("incident", **payload, **state)
        if self._on_note is not None:
            for note in fresh:
                self._on_note(incident, note)

    def _tell(self, transitions: list[Transition], at: datetime) -> None:
        """Log and emit what changed; our own events never feed a trigger."""
        for transition in transitions:
            verdict = transition.verdict
            fields = {
                "trigger": verdict.trigger,
                "group": group_dict(verdict.group),
                "before": transition.before.name.lower(),
                "after": transition.after.name.lower(),
                "value": verdict.value,
                "threshold": verdict.threshold,
                "samples": verdict.samples,
                "spec_version": verdict.spec_version,
                "evaluated_at": verdict.at,
            }
            if transition.after is SeriesState.FIRING:
                self.logs.activated("triggers", "trigger_fired", **fields)
                self.own.emit("self_healing_trigger", at, **fields)
            else:
                self.logs.triggers.info("series_changed", **fields)
        if transitions:
            self.own.emit(
                "self_healing_orchestrator",
                at,
                transitions=len(transitions),
                incidents_open=len(self.register.open),
                spec_version=self.spec.version,
            )

    def summarise(self, at: datetime) -> None:
        """Emit the summary event: what stands now."""
        self.own.emit(
            "self_healing_summary",
            at,
            incidents_open=len(self.register.open),
            violations=len(self._violations),
            telemetry=msgspec.to_builtins(self.telemetry.accounting),
            spec_version=self.spec.version,
        )

    def _context(self, incident: Incident, action: ActionSpec | None, settings: dict[str, Any]) -> dict[str, Any]:
        """The evidence about an incident, for a handoff."""
        trigger = self.spec.trigger(incident.trigger)
        agent = affected_agent(incident.group)
        past = self.store.select(Incident, trigger=incident.trigger, state=IncidentState.CLOSED.value, newest=50)
        window: dict[str, Any] = {"window_s": trigger.window, "signal": trigger.signal, "aggregate": trigger.aggregate}
        context = evidence(
            incident,
            window=window,
            examples=self._examples(agent),
            directives=self.directives.in_force(agent, at=self._at),
            tried=self.store.select(Execution, incident=incident.id),
            similar=past[::-1][:MOST_SIMILAR],
            wanted=trigger.description if action is None else action.description or action.name,
            done=settings,
        )
        if action is not None and action.type is ActionType.DIAGNOSTIC:
            context["open_incidents"] = [
                {"incident": i.id, "trigger": i.trigger, "group": group_dict(i.group), "state": i.state.value, "value": i.value}
                for i in list(self.register.open.values())[:50]
            ]
        return context

    def _examples(self, agent: str) -> list[dict[str, Any]]:
        """The affected agent's newest attempts, the failed and the slow ones first."""
        mine = [event for event in self.telemetry.examples if event.agent == agent]
        mine.sort(key=lambda e: (e.status in ("failed", "timeout"), duration_of(e) or 0.0), reverse=True)
        return [_example(event) for event in mine[:MOST_EXAMPLES]]

    # ================================================================================================ for people

    def check(self, now: datetime | None = None) -> dict[str, Any]:
        """One whole cycle: read what is new, evaluate at `now`, act, and say what was found and done.

        Args:
            now: aware; the clock's when left out. It may not lie before the last evaluated instant.

        Raises:
            StateError: `now` lies before the last evaluated instant.
            StorageError: nothing of it was committed.
        """
        grid_us = self.spec.grid * SECOND_US
        asked_us = -(-to_us(now or self.clock.now()) // grid_us) * grid_us
        if asked_us < self._progress.evaluated_us:
            last = from_us(self._progress.evaluated_us).isoformat()
            raise StateError(f"{from_us(asked_us).isoformat()} lies before {last}, which was evaluated already; give a later --now")
        at, begun_now, violations = from_us(asked_us), 0, 0
        self._at = at
        for execution in self.executor.recover():
            self._intended.add(execution.id)
        while True:
            turn = self.cycle(at)
            begun_now += len(turn.begun)
            violations += turn.violations
            if turn.caught_up:
                break
        with self.store.transaction():
            self.telemetry.fold()
            self._hear(at)
            self._commit(None)
        self.summarise(at)
        return self.report(begun_now, violations)

    def report(self, actions_executed: int = 0, violations: int = 0) -> dict[str, Any]:
        """What stands now, in the words of the contract for `check`.

        Args:
            actions_executed: effects begun in this cycle.
            violations: denials that were new in it.
        """
        incidents = list(self.register.open.values())
        executions = [e for i in incidents for e in _newest(self.store.select(Execution, incident=i.id))]
        files = [h.file for e in executions if e.handoff for h in [self.store.get(Handoff, e.handoff)] if h.delivered_at]
        return {
            "triggers_evaluated": sum(trigger.enabled for trigger in self.spec.triggers),
            "triggers_fired": len(self.framework.firing()),
            "actions_executed": actions_executed,
            "constitutional_violations": violations,
            "incidents": [
                {
                    "id": incident.id,
                    "trigger": incident.trigger,
                    "group": group_dict(incident.group),
                    "severity": incident.severity.value,
                    "value": incident.value,
                    "threshold": incident.threshold,
                    "state": incident.state.value,
                }
                for incident in incidents
            ],
            "actions": [
                {"action": e.action, "incident": e.incident, "status": _shown(e), "target_agent": e.target_agent}
                for e in executions
            ],
            "handoffs": [str(self.handoffs_dir / file) for file in files],
            "telemetry": accounting(self.telemetry.accounting),
        }

    def verdicts(self) -> list[Verdict]:
        """What every trigger says of each of its series at the last evaluated instant."""
        return self.framework.verdicts(self._progress.evaluated_us) if self._progress.evaluated_us else []

    def health(self) -> dict[str, Any]:
        """Whether the framework itself is well, with every issue in words."""
        issues = [self._problem] if self._problem else []
        issues += [*self._file_problems, *self.logs.problems]
        if self.own.problem:
            issues.append(self.own.problem)
        count = self.telemetry.accounting
        bad = sum(count.quarantined.values())
        if count.accepted and bad / count.accepted > QUARANTINE_SHARE:
            reasons = ", ".join(f"{name} {n}" for name, n in sorted(count.quarantined.items()))
            issues.append(f"{bad} of {count.accepted} lines are quarantined ({reasons}); see what writes them")
        stop = stopped(self.settings.storage.state_dir)
        if stop is not None:
            issues.append(f"healing is stopped by {stop.by}: {stop.reason}; `self-healing resume-healing` lets it go on")
        telemetry_healthy = self._problem is None and not self._file_problems
        return {
            "status": "degraded" if issues else "healthy",
            "telemetry_healthy": telemetry_healthy,
            "triggers_enabled": sum(trigger.enabled for trigger in self.spec.triggers),
            "actions_available": len(self.spec.actions),
            "issues": issues,
        }

    @property
    def violations(self) -> int:
        """Constitutional violations since the state began."""
        return len(self._violations)

    def acknowledge(self, incident: str, by: str, reason: str) -> Incident:
        """Write down that a person has seen an incident. Raises NotFound."""
        with self.store.transaction():
            return self.register.acknowledge(self._open_incident(incident), self._person_at(), by, reason)

    def dismiss(self, incident: str, by: str, reason: str) -> Incident:
        """Close an incident because a person says that it is none. Raises NotFound."""
        with self.store.transaction():
            at = self._person_at()
            found = self._open_incident(incident)
            closed = self.register.close(found, at, CloseReason.DISMISSED, f"{by}: {reason}", by=by)
            self._commit(None)
            return closed

    def _open_incident(self, id: str) -> Incident:
        found = self.register.open.get(id)
        if found is None:
            closed = self.store.get(Incident, id)
            raise StateError(f"incident {id} is closed already ({closed.close_reason}); there is nothing to change")
        return found

    def _person_at(self) -> datetime:
        return max(self.clock.now(), from_us(self._progress.evaluated_us))

    def undo_directives(self, ids: Sequence[str], by: str, reason: str) -> list[Directive]:
        """End directives at once. Raises NotFound, with nothing undone."""
        at = self._person_at()
        with self.store.transaction():
            undone = self.directives.undo(ids, at=at, reason=f"{by}: {reason}")
            for directive in undone:
                self.audit.append("directive_undone", {"directive": directive.id, "by": by, "reason": reason}, at)
        return undone

    def move_handoff(self, id: str, to: HandoffStatus, by: str, result: str | None) -> Handoff:
        """What its recipient says of a handoff. Raises NotFound, HandoffRefused."""
        at = self._person_at()
        match to:
            case HandoffStatus.ACCEPTED:
                return self.inbox.accept(id, by=by, at=at)
            case HandoffStatus.COMPLETED:
                return self.inbox.complete(id, by=by, at=at, result=result)
            case HandoffStatus.FAILED:
                return self.inbox.fail(id, by=by, at=at, result=result)
            case _:
                raise StateError(f"a handoff cannot be set {to}; allowed are accepted, completed and failed")

    def override_trigger(self, name: str, changes: Mapping[str, Any], by: str) -> TriggerSpec:
        """Change a trigger beside its file, as part of the spec version from now on.

        Args:
            changes: such as ``{"enabled": False}``.

        Raises:
            NotFound: no such trigger.
            ConfigError: the change is refused; nothing is changed.
        """
        if name not in {trigger.name for trigger in self.spec.triggers}:
            raise NotFound("trigger", name)
        overrides: dict[str, dict[str, Any]] = self.store.fact("overrides") or {}
        overrides[name] = {**overrides.get(name, {}), **changes}
        spec = self._load_spec(overrides)
        at = self._person_at()
        with self.store.transaction():
            if changes.get("enabled") is False:
                for incident in [i for i in self.register.open.values() if i.trigger == name]:
                    self.register.close(incident, at, CloseReason.DISMISSED, f"{by} disabled the trigger", by=by)
            self.store.put_fact("overrides", overrides)
            self.audit.append("override", {"trigger": name, "changes": dict(changes), "by": by, "spec": spec.version}, at)
            self._commit(None)
        self.overridden = True
        return spec.trigger(name)

    overridden = False
    """Whether the spec was overridden since this was built: whoever owns it builds a new one on the same state."""

    def close(self) -> None:
        """Give the state back; safe to call twice."""
        self.reader.close()
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def accounting(count: Any) -> dict[str, Any]:
    """The accounting in the words of the contract: every fate as ``{reason: n}``."""
    return {
        "received": count.received,
        "accepted": count.accepted,
        "rejected": count.rejected,
        "aggregated": count.aggregated,
        "quarantined": count.quarantined,
        "dropped": count.dropped,
        "in_flight": count.in_flight,
    }


def _shown(execution: Execution) -> str:
    """An execution's status in the words of the contract."""
    return "dispatched" if execution.status is ExecutionStatus.INTENDED else execution.status.value


def _newest(executions: list[Execution]) -> list[Execution]:
    """The newest execution of each step, in the order of the steps' first."""
    newest: dict[int, Execution] = {}
    for execution in executions:
        newest[execution.step] = execution
    return list(newest.values())


def _settings(execution: Execution) -> str:
    shown = ", ".join(f"{name}={value}" for name, value in execution.settings.items())
    return f", with {shown}" if shown else ""


def _final(reason: str) -> bool:
    """Whether a denial leaves nothing to try: the stop of the fleet, or no attempts left."""
    return any(word in reason for word in ("fleet_stop", "attempts", "stopped"))


def _example(event: Event) -> dict[str, Any]:
    shown = {
        "task": event.task_id,
        "ended_at": event.ts,
        "status": event.status,
        "duration_s": duration_of(event),
        "attempt": event.attempt,
        "model": event.model,
        "tokens": tokens_of(event.usage),
        "cost_usd": event.usage.total_usd if event.usage else None,
        "error_type": event.error_type,
    }
    return {name: value for name, value in shown.items() if value is not None}


def run_self_healing_check(
    *,
    telemetry_dir: str | Path | None = None,
    state_dir: str | Path | None = None,
    logs_dir: str | Path | None = None,
    config: str | Path | None = None,
    now: datetime | None = None,
) -> dict[str, Any]:
    """One whole cycle from Python; returns the same mapping as ``self-healing check --format json``.

    Args:
        telemetry_dir: the fleet's native telemetry; as configured when left out, like the other three.
        now: aware; the machine's time when left out.

    Raises:
        ConfigError: the configuration or the spec is refused.
        StateBusy: another process owns the state.
        StateError: `now` lies before the last evaluated instant.
    """
    flags = {
        "telemetry.dir": None if telemetry_dir is None else str(telemetry_dir),
        "storage.state_dir": None if state_dir is None else str(state_dir),
        "storage.logs_dir": None if logs_dir is None else str(logs_dir),
    }
    settings = load_settings(None if config is None else Path(config), environ=os.environ, flags=flags)
    if now is not None and now.tzinfo is None:
        raise ConfigError([f"now = {now!r}: allowed is an aware datetime, such as datetime.now(UTC)"])
    clock: Clock = SystemClock() if now is None else FakeClock(now.astimezone(UTC))
    with SelfHealingOrchestrator.open(settings, clock=clock) as orchestrator:
        return orchestrator.check(now)
