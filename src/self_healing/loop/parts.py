"""The parts of the loop, built on one state and one spec, and what of them is stored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import msgspec
import sqlalchemy as sa

from self_healing import checkpoint
from self_healing.actions.directing import Directives
from self_healing.actions.planning import Planner
from self_healing.actions.registry import ActionRegistry
from self_healing.clock import SECOND_US, from_us, to_us
from self_healing.config import Mode, Settings
from self_healing.constitution.approvals import Approvals
from self_healing.constitution.audit import Audit
from self_healing.constitution.decisions import Decisions
from self_healing.constitution.gate import Gate
from self_healing.handoffs.following import Following
from self_healing.handoffs.inbox import OPEN, Inbox
from self_healing.handoffs.outbox import Notices, Outbox
from self_healing.handoffs.router import Route, Router
from self_healing.incidents.muting import Muting
from self_healing.incidents.register import Register
from self_healing.incidents.silences import Silences
from self_healing.loop.asking import Asking
from self_healing.loop.corroborating import Corroborating
from self_healing.loop.detecting import Detecting
from self_healing.loop.diagnosing import Diagnoser
from self_healing.loop.gathering import Gathering
from self_healing.loop.grouping import Grouping
from self_healing.loop.hearing import Hearing
from self_healing.loop.judging import VIOLATIONS, Judging
from self_healing.loop.probation import Probation
from self_healing.loop.proposing import Proposer
from self_healing.loop.renewing import Renewing
from self_healing.loop.stepping import Stepping
from self_healing.loop.telling import Telling
from self_healing.loop.treatment import Treatment
from self_healing.loop.underway import Underway
from self_healing.loop.verifying import Verifying
from self_healing.loop.versions import Versions
from self_healing.model import (
    Approval,
    Directive,
    Group,
    Handoff,
    IncidentState,
    Transition,
)
from self_healing.spec import Spec
from self_healing.storage import schema
from self_healing.storage.store import Store
from self_healing.telemetry.reader import Batch
from self_healing.telemetry.telemetry import Telemetry
from self_healing.triggers.framework import TriggerFramework

MOST_TRANSITIONS = 100_000
"""Rows of the table ``transitions`` that are kept."""


@dataclass(slots=True)
class Parts:
    """Every part that depends on the spec, on the state as it was committed."""

    store: Store
    telemetry: Telemetry
    framework: TriggerFramework
    progress: checkpoint.Progress
    silences: Silences
    muting: Muting
    grouping: Grouping
    gathering: Gathering
    register: Register
    detecting: Detecting
    directives: Directives
    inbox: Inbox
    hearing: Hearing
    following: Following
    underway: Underway
    treatment: Treatment
    judging: Judging
    proposer: Proposer
    diagnoser: Diagnoser
    versions: Versions
    telling: Telling
    observe: bool
    _due_at: datetime | None = None  # when time alone changes something next
    _stored: dict[str, bytes] = field(default_factory=dict)

    @classmethod
    def build(
        cls,
        store: Store,
        spec: Spec,
        settings: Settings,
        *,
        audit: Audit,
        decisions: Decisions,
        directives: Directives,
        approvals: Approvals,
        notices: Notices,
        router: Router,
        following: Following,
        telling: Telling,
        now: Callable[[], datetime],
        free: Callable[[], bool],
        stopped: Callable[[], bool],
        unread_since_us: Callable[[], int | None],
        started_at: datetime | None,
    ) -> Parts:
        """Build them, each on those that it needs.

        Args:
            router: knows the way to each recipient.
            following: asks how handoffs stand.
            now: the present instant.
            free: whether anything may be set or undone in the fleet now.
            stopped: whether a person has stopped healing.
            unread_since_us: since when there is telemetry that could not be read.
            started_at: when the service started; None where none runs.
        """
        observe = settings.actions.mode is Mode.OBSERVE
        all_undoable = all(action.reversible for action in spec.actions)
        telemetry = Telemetry(spec.measured, max_groups=spec.max_groups, ways_in=not all_undoable)
        silences = Silences(store, spec)

        def unwatched(trigger: str, group: Group | None, at: datetime) -> datetime | None:
            until_us = telemetry.unwatched_until_us(trigger, group, to_us(at))
            return None if until_us is None else from_us(until_us)

        muting = Muting(spec, silences.mutes, started_at=started_at, unwatched=unwatched)
        framework = TriggerFramework(spec, telemetry, muting.by)
        progress = checkpoint.load(store, telemetry, framework)
        if started_at is not None and _was_deaf(progress, started_at, spec.warm_up):
            telemetry.heard_nothing_before(to_us(started_at))
        for name, group in framework.reaching_behind(progress.evaluated_us):
            # What was over before, and has left the shorter window that there was, is not to come back.
            telemetry.restart(name, group, progress.evaluated_us)
        framework.watch(telemetry.watched_from_us)
        versions = Versions(store, audit, spec)
        inbox, underway = Inbox(store, audit.append), Underway(store)
        register = Register(
            store,
            framework,
            restart=telemetry.restart,
            end=lambda *ended: treatment.end(*ended),  # noqa: PLW0108 it is built further down
            spec=spec,
            spec_of=versions.of,
            told=telling.incident,
        )
        verifying = Verifying(
            store,
            register,
            versions.of,
            watch=telemetry.watch,
            value=telemetry.value,
            accumulators=lambda: telemetry.taps.accumulators,
        )
        registry = ActionRegistry(spec.actions)
        outbox = Outbox(store, settings.storage.logs_dir / "handoffs", router.route, environment=settings.environment)
        grouping = Grouping(register, telemetry)
        gathering = Gathering(store, register, directives, telemetry, versions.of, shared=grouping.shared, now=now)

        def to_person(person: str) -> list[Route]:
            return router.routes(person) or [router.route(person)]

        asking = Asking(
            approvals,
            spec.limits,
            handoff=outbox.make,
            notify=notices.add,
            routes=to_person,
            context=gathering.for_person,
            spec_of=versions.of,
            person=settings.actions.fallback,
        )
        planner = Planner(
            store,
            registry,
            spec_of=versions.of,
            record=decisions.record,
            audit=audit.append,
            symptom=gathering.symptom,
            context=gathering.for_action,
            handoff=outbox.make,
            asks=asking,
            agents=register.agents,
            fallback=settings.actions.fallback,
            observe=observe,
        )
        renewing = Renewing(
            register,
            planner,
            record=decisions.record,
            decide=lambda at: judging.at(at),  # noqa: PLW0108 it is built further down
            free=free,
            patience=timedelta(seconds=spec.limits.defer_at_most),
        )
        stepping = Stepping(store, register, versions.of)
        probation = Probation(store, register, verifying, directives, inbox, renewing, versions.of)
        treatment = Treatment(
            store,
            register,
            verifying,
            probation,
            renewing,
            directives,
            stepping,
            versions.of,
            audit=audit.append,
            free=free,
            observe=observe,
        )
        judging = Judging(
            store,
            Gate(own=spec.articles),
            spec,
            planner,
            telemetry,
            framework,
            register,
            directives,
            underway,
            stepping,
            kept=versions.kept,
            audit=audit,
            approvals=approvals,
            agreeing=Corroborating(spec, telemetry, framework).agreeing,
            unread_since_us=unread_since_us,
            stopped=stopped,
            denied=telling.denied,
        )
        proposer = Proposer(
            store,
            register,
            planner,
            verifying,
            underway,
            stepping,
            probation,
            state_of=framework.state_of,
            spec=spec,
            spec_of=versions.of,
            observe=observe,
        )
        diagnoser = Diagnoser(
            store,
            register,
            planner,
            spec,
            spec_of=versions.of,
            intend=proposer.intend,
            handoff=outbox.make,
            notify=notices.add,
            routes=to_person,
            context=gathering.for_person,
            person=settings.actions.fallback,
        )
        return cls(
            store=store,
            telemetry=telemetry,
            framework=framework,
            progress=progress,
            silences=silences,
            muting=muting,
            grouping=grouping,
            gathering=gathering,
            register=register,
            detecting=Detecting(telemetry, framework, register, diagnoser, progress, spec.grid),
            directives=directives,
            inbox=inbox,
            hearing=Hearing(store, telemetry, inbox, asking, following, register, telling),
            following=following,
            underway=underway,
            treatment=treatment,
            judging=judging,
            proposer=proposer,
            diagnoser=diagnoser,
            versions=versions,
            telling=telling,
            observe=observe,
        )

    # -- state

    def due(self, at: datetime) -> bool:
        """Whether at that instant something may change though nothing was read."""
        return self.due_by_clock(at) or self.diagnoser.pending or self._busy()

    def due_by_clock(self, at: datetime) -> bool:
        """Whether at that instant effects are under way, or something runs out, whatever the telemetry says."""
        return len(self.underway) > 0 or (self._due_at is not None and at >= self._due_at)

    @property
    def due_us(self) -> int | None:
        """When something runs out next, microseconds; None when nothing does."""
        return None if self._due_at is None else to_us(self._due_at)

    def _busy(self) -> bool:
        """Whether some incident is neither in a person's hands nor, in observe mode, merely noted."""
        for incident in self.register.open.values():
            noted = self.observe and incident.state is IncidentState.OPEN and incident.notes[-1].what == "would"
            if incident.state is not IncidentState.ESCALATED and not noted:
                return True
        return False

    def save(self, batch: Batch | None, transitions: Sequence[Transition], **facts: Any) -> None:
        """Write all that changed, in the transaction that is open.

        Args:
            batch: what was read; its positions are acknowledged with what was made of it.
            transitions: the series that changed.
            facts: further facts by name.
        """
        if batch is not None:
            self.progress.positions = batch.positions
        checkpoint.save(
            self.store, self.telemetry, self.framework, self.progress, batch.bad if batch else [], whole=batch is None
        )
        self._save_transitions(transitions)
        self.versions.tidy(self.register.open.values())
        series = {**self.framework.counts(), "muted": self.register.held_back(from_us(self.progress.evaluated_us))}
        facts = {
            "diagnosis": self.diagnoser.diagnosis,
            VIOLATIONS: self.judging.violations,
            "series": series,
            **facts,
        }
        for name, value in facts.items():
            if self.unstored(name, value):
                self.store.put_fact(name, value)
                self._stored[name] = msgspec.msgpack.encode(value)
        self._due_at = self._next_due()

    def unstored(self, name: str, value: Any) -> bool:
        """Whether a fact is another than the one that was stored last."""
        return self._stored.get(name) != msgspec.msgpack.encode(value)

    def _save_transitions(self, transitions: Sequence[Transition]) -> None:
        rows: list[Mapping[str, Any]] = [
            {
                "at": each.verdict.at.isoformat(),
                "trigger": each.verdict.trigger,
                "record": msgspec.json.encode(each).decode(),
            }
            for each in transitions
        ]
        self.store.insert(schema.transitions, rows)
        if rows:
            table = schema.transitions
            with self.store.transaction() as connection:
                newest = connection.scalar(sa.select(sa.func.max(table.c.seq))) or 0
                connection.execute(sa.delete(table).where(table.c.seq <= newest - MOST_TRANSITIONS))

    def _next_due(self) -> datetime | None:
        in_force = self.store.select(Directive, open="yes")
        # What a closed incident left in force is undone with the next turn at which that may be.
        due = [each.expires_at if each.owner in self.register.open else each.created_at for each in in_force]
        due += [approval.expires_at for approval in self.store.select(Approval, open="yes")]
        handoffs = self.store.select(Handoff, status=[each.value for each in OPEN])
        due += [handoff.deadline for handoff in handoffs]
        at = from_us(self.progress.evaluated_us)
        self.following.heed(handoffs)
        others = (self.register.next_due(), self.silences.next_due(at), self.muting.next_due(at))
        return min([*due, *(each for each in others if each is not None)], default=None)


def _was_deaf(progress: checkpoint.Progress, started_at: datetime, warm_up_s: int) -> bool:
    """Whether what was sent before a start may be lost: nobody took it in for longer than senders try again.

    Files wait until they are read. What else there is came through a service that was down.
    """
    down_us = to_us(started_at) - progress.evaluated_us
    return any(each.segment for each in progress.positions) and 0 < warm_up_s * SECOND_US < down_us
