"""Ownership: one fleet's state with all that is built on it, what stands in it, and how it is committed."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Self

from self_healing.actions.directing import Directives
from self_healing.actions.effect import Effect
from self_healing.actions.publication import Publication
from self_healing.actions.runner import Executor, InlineExecutor
from self_healing.clock import SECOND_US, Clock, SystemClock, from_us, to_us
from self_healing.config import Mode, Settings
from self_healing.constitution.approvals import Approvals
from self_healing.constitution.audit import Audit
from self_healing.constitution.checkpoints import Checkpoints, checkpoints_file
from self_healing.constitution.decisions import Decisions
from self_healing.constitution.effects import Effects
from self_healing.errors import (
    ApprovalRefused,
    ConstitutionBypass,
    HandoffRefused,
    NotFound,
    SilenceRefused,
    StateError,
    StorageError,
)
from self_healing.handoffs.channel import Channel
from self_healing.handoffs.declared import unset
from self_healing.handoffs.file import FileChannel
from self_healing.handoffs.following import Following
from self_healing.handoffs.outbox import Notices
from self_healing.handoffs.router import Router
from self_healing.labelling import label
from self_healing.loading import Loaded, load_tested
from self_healing.logs import Logs, OwnTelemetry
from self_healing.loop.health import Health, Intake
from self_healing.loop.judging import TESTED_SPEC
from self_healing.loop.parts import Parts
from self_healing.loop.reporting import report
from self_healing.loop.retaining import Retaining
from self_healing.loop.stopping import Stopping
from self_healing.loop.telling import Telling
from self_healing.loop.versions import keep
from self_healing.model import (
    Decision,
    Execution,
    Incident,
    IncidentState,
    Note,
    Transition,
    Verdict,
)
from self_healing.receiving import Receiving
from self_healing.reloading import RESTART_NEEDED, refusal
from self_healing.spec import ActionSpec, Spec
from self_healing.storage.store import Store
from self_healing.telemetry.columns import asked_attributes
from self_healing.telemetry.describing import describe
from self_healing.telemetry.reader import Batch, DirectoryReader
from self_healing.watching import ahead

STEPPED_S = 5.0
"""A wall clock that was set by more than this is an issue."""


class Owner:
    """Owns the state of one fleet; build it with :meth:`open`.

    Args:
        settings: the configuration.
        store: the state; closed with the owner.
        clock: the time.
        executor: makes the executor from the core of effects; everything is done at once when left out.
        channel: stands in place of the files in ``logs/handoffs``, which every handoff has.
        started_at: when the service started that this is for, which warms up; None where nothing but files is read.
        crash: called at named points; for crash tests.
        on_note: hears every new line of an incident's timeline, once it is committed.
        loaded: a spec that is loaded and tested already; what the configuration declares when left out.
        around: what is wrong with what stands around the loop, for people; asked for with the health.

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
        started_at: datetime | None = None,
        crash: Callable[[str], None] = lambda _point: None,
        on_note: Callable[[Incident, Note], None] | None = None,
        loaded: Loaded | None = None,
        around: Callable[[], Iterable[str]] = tuple,
    ) -> None:
        self.settings = settings
        self._around = around
        self.refused: tuple[str, ...] = ()  # what is wrong with the configuration on disk, and not followed
        self.store = store
        self.clock = clock
        self._crash = crash
        self._started_at = started_at
        self._checked_at: datetime | None = None  # the instant of the check that is under way
        self._broken: str | None = None  # why memory may be ahead of the state
        self._unwritten: str | None = None  # why the loop before this one could not commit, until this one can
        self._recovered = False  # whether what an earlier process left was taken up
        self._touched = True  # by a person or a start, since the last commit
        self.commits = 0  # since it was opened
        self.logs = Logs(settings.storage.logs_dir / "self_healing", clock, settings.environment)
        self.own = OwnTelemetry(settings.telemetry.dir, settings.environment)
        self.audit = Audit(store)
        checkpoints = checkpoints_file(settings.storage.logs_dir)
        self._checkpoints = None if store.read_only else Checkpoints(store, self.audit, checkpoints)
        self._retaining = (
            None if self._checkpoints is None else Retaining(store, self.audit, self._checkpoints, settings.storage)
        )
        self._stopping = Stopping(store, self.audit, settings.storage.state_dir)
        self._decisions = Decisions(store, self.audit)
        self._approvals = Approvals(store, self.audit)
        self._directives = Directives(store, allowing=self._decisions.allowing, audit=self.audit.append)
        self.published = Publication(store)  # what the fleet may read of the directives
        self._telling = Telling(self.logs, self.own, self.audit, on_note)
        intake = store.fact("intake", dict[str, list[Intake]])
        self._health = Health(intake, describe=partial(describe, settings.telemetry.dir, settings.storage.state_dir))
        channels = settings.actions.channels, settings.actions.fallback_channel
        self._router = Router(channel or FileChannel(self.handoffs_dir), *channels)
        aside = executor is not None
        self._notices = Notices(store, self._router, open=lambda id: id in self.register.open, aside=aside)
        self._following = Following(self._router, aside=aside)
        self.overrides: dict[str, dict[str, Any]] = store.fact("overrides") or {}
        if loaded is None:
            loaded = load_tested(settings, self.overrides, looking=store.read_only)
            if store.fact(RESTART_NEEDED) and not store.read_only:
                store.put_fact(RESTART_NEEDED, [])  # that was it
        self._assemble(loaded, settings)
        self._receiving = None if store.read_only else Receiving(settings, now=clock.now)
        self.reader = DirectoryReader(
            settings.telemetry.dir,
            self._parts.progress.positions,
            segments=self._receiving.segments.directory if self._receiving else None,
            readable_bytes=self._receiving.segments.readable_bytes if self._receiving else lambda _name: None,
            attributes=lambda: asked_attributes(self.spec.measured),
        )
        effect = Effect(
            store,
            self._router,
            self._directives,
            allowing=self._decisions.allowing,
            fresh=self._fresh,
            audit=self.audit.append,
            action=self._declared,
            now=self.now,
            stopped=lambda: self._stopping.stands() is not None,
            observe=lambda: self.settings.actions.mode is Mode.OBSERVE,
            bypassed=self._bypassed,
            crash=crash,
        )
        self.executor = executor(effect, lambda: self.spec.limits) if executor else InlineExecutor(effect)

    @classmethod
    def open(
        cls,
        settings: Settings,
        *,
        clock: Clock | None = None,
        read_only: bool = False,
        durable: bool = True,
        **options: Any,
    ) -> Self:
        """Open the state and build the loop on it.

        Args:
            settings: the configuration.
            clock: the machine's when left out.
            read_only: to look only; nothing may be changed then.
            durable: whether the state is to survive the process; one that is thrown away afterwards need not.
            options: as the class takes them.

        Raises:
            StateBusy, StateError, StateCorrupt, StorageError: the state cannot be used.
            ConfigError: the spec is refused.
        """
        store = Store(settings.storage.state_dir, read_only=read_only, durable=durable)
        try:
            return cls(settings, store=store, clock=clock or SystemClock(), **options)
        except BaseException:
            store.close()
            raise

    def _declared(self, execution: Execution) -> ActionSpec:
        return self.spec_of(execution.incident).action(execution.action)

    def spec_of(self, incident: str) -> Spec:
        """The spec that an incident goes on by."""
        found = self.store.find(Incident, incident)
        return self.spec if found is None else self._parts.versions.of(found)

    def _bypassed(self, bypass: ConstitutionBypass) -> None:
        """Somebody wrote past the gate."""
        self._parts.judging.bypassed()
        self._telling.bypassed(bypass)
        self._touched = True

    def _fresh(self, decision: Decision) -> bool:
        """Whether a decision may still be acted on: of the spec that its incident goes on by, and not too old."""
        age = self.now() - decision.at
        return (
            decision.proposal.spec_version == self.spec_of(decision.proposal.incident).version
            and age.total_seconds() <= self.spec.limits.plan_freshness
        )

    def _assemble(self, loaded: Loaded, settings: Settings) -> None:
        """Build every part that depends on the spec, on the state as it is written; nothing else is changed before."""
        spec = loaded.spec
        if not self.store.read_only:
            if self.store.fact(TESTED_SPEC, str) != spec.version:
                self.store.put_fact(TESTED_SPEC, spec.version)
            keep(self.store, self.audit, spec, self.clock.now())
        self._router.follow(settings.actions.channels, settings.actions.fallback_channel)
        self._parts = Parts.build(
            self.store,
            spec,
            settings,
            audit=self.audit,
            decisions=self._decisions,
            directives=self._directives,
            approvals=self._approvals,
            notices=self._notices,
            router=self._router,
            following=self._following,
            telling=self._telling,
            now=self.now,
            free=self._free,
            stopped=lambda: self._stopping.stands() is not None,
            unread_since_us=lambda: self.reader.unread_since_us(),  # noqa: PLW0108 it is made further down
            started_at=self._started_at,
        )
        self.settings, self.loaded, self.spec = settings, loaded, spec
        self.telemetry, self.framework = self._parts.telemetry, self._parts.framework
        self.register, self.inbox = self._parts.register, self._parts.inbox
        self._aligned = False  # whether what is open agrees with the spec

    # ================================================================================================ what stands

    def now(self) -> datetime:
        """The present: the instant of a check that is under way, else the clock's; never before the last evaluated."""
        return max(self._checked_at or self.clock.now(), from_us(self.evaluated_us))

    def _free(self) -> bool:
        """Whether effects may happen: not in observe mode, nor while a person has said stop."""
        return self.settings.actions.mode is Mode.ACT and self._stopping.stands() is None

    @property
    def handoffs_dir(self) -> Path:
        """Where handoff files are."""
        return self.settings.storage.logs_dir / "handoffs"

    @property
    def receiving(self) -> Receiving:
        """Telemetry that is no native file, on its way in. Raises StateError when this only looks."""
        if self._receiving is None:
            raise StateError("this state is only looked at; open it for writing to take telemetry in")
        return self._receiving

    def look_at_ways_in(self) -> None:
        """Take in what lies in the watched folders, and tend the segments, where that is due. May take seconds.

        Safe on another thread than the loop's, between two turns.
        """
        receiving = self.receiving
        receiving.look(self._parts.progress.positions)
        while receiving.notes:
            self.logs.orchestrator.info("segments", what=receiving.notes.pop(0))

    @property
    def evaluated_us(self) -> int:
        """The newest instant that was evaluated, microseconds; 0 before the first."""
        return self._parts.progress.evaluated_us

    @property
    def effects(self) -> Effects:
        """What automation did lately and is doing."""
        return self._parts.underway.effects

    @property
    def violations(self) -> int:
        """Constitutional violations since the state began."""
        return self._parts.judging.violations

    @property
    def ingest_lag_s(self) -> float:
        """The age of the oldest event that was received and is not folded yet, seconds; 0 when there is none."""
        since = (self.reader.behind_since_us(), self.telemetry.next_queued_us())
        waiting_us = min((each for each in since if each is not None), default=None)
        return 0.0 if waiting_us is None else max((to_us(self.now()) - waiting_us) / SECOND_US, 0.0)

    def goes_on_by(self, incident: Incident) -> str | None:
        """The version of the spec that an open incident goes on by, where that is not the loaded one."""
        version = self._parts.versions.of(incident).version
        return None if incident.state is IncidentState.CLOSED or version == self.spec.version else version

    def firing(self) -> Counter[str]:
        """How many series of each trigger that is enabled fire and are not muted."""
        at = from_us(self.evaluated_us)
        firing = Counter({trigger.name: 0 for trigger in self.spec.triggers if trigger.enabled})
        firing.update(name for name, group in self.framework.firing() if not self.framework.muted_by(name, group, at))
        return firing

    def verdicts(self) -> list[Verdict]:
        """What every trigger says of each of its series at the last evaluated instant."""
        return self.framework.verdicts(self.evaluated_us) if self.evaluated_us else []

    def health(self) -> dict[str, Any]:
        """Whether the framework itself is well, with every issue in words."""
        # Where the directory cannot even be read, that our own events are not in it goes without saying.
        own = self.own.problem if self._health.readable else None
        others = [
            *self.logs.problems,
            *(each for each in (own, self._notices.problem, self.published.problem) if each is not None),
        ]
        others += self._receiving.problems if self._receiving else []
        others += [*self.telemetry.issues, *self._around()]
        others += unset(self.settings.actions.channels, self.settings.heartbeat, self.spec.actions, os.environ)
        others += [refusal(self.refused, self.spec.version)] if self.refused else []
        if self._checkpoints is not None and self._checkpoints.problem is not None:
            others.append(self._checkpoints.problem)
        stop = self._stopping.stands()
        if stop is not None:
            others.append(
                f"healing is stopped by {stop.by}: {stop.reason}; `self-healing resume-healing` lets it go on"
            )
        too_far = ahead(from_us(self.evaluated_us), self.clock.now())
        if too_far is not None and self._checked_at is None:
            others.append(too_far)
        stepped_s = self.clock.stepped_s if isinstance(self.clock, SystemClock) else 0.0
        if abs(stepped_s) > STEPPED_S:
            others.append(
                f"the machine's clock was set by {stepped_s:+.0f} s since the start and is not followed; start again "
                "if it is right now"
            )
        return self._health.report(
            broken=self._broken or self._unwritten,
            triggers=sum(trigger.enabled for trigger in self.spec.triggers),
            actions=len(self.spec.actions),
            others=others,
        )

    def report(self, actions_executed: int = 0, violations: int = 0) -> dict[str, Any]:
        """What stands now, in the words of the contract for `check`.

        Args:
            actions_executed: effects begun in this cycle.
            violations: denials that were new in it.
        """
        return label(self.settings.environment) | report(
            self.store,
            list(self.register.open.values()),
            self.telemetry.accounting,
            triggers_evaluated=sum(trigger.enabled for trigger in self.spec.triggers),
            triggers_fired=self.firing().total(),
            actions_executed=actions_executed,
            violations=violations,
            handoffs_dir=self.handoffs_dir,
        )

    def summarise(self, at: datetime) -> None:
        """Emit the summary event: what stands now."""
        count = self.telemetry.accounting
        self._telling.summarise(at, count, self.spec, len(self.register.open), self.violations)

    # ================================================================================================ life

    def _commit(self, batch: Batch | None, transitions: Sequence[Transition] = ()) -> None:
        """Write what the turn came to, in the transaction that is open."""
        self._unwritten = None  # or this fails, and is said anew
        self._stopping.heed(self.now())
        self._parts.save(batch, transitions, health=self.health(), intake=self._health.intake)
        if self._checkpoints is not None:
            self._checkpoints.publish()  # the one that was taken before, and is committed
            self._checkpoints.take(self.now())
        if self._retaining is not None:
            gone = self._retaining.look(self.now())
            if gone:
                self.logs.orchestrator.info("deleted", **gone)
        self._touched = False
        self.commits += 1
        self._crash("cycle.written")

    @contextmanager
    def _by_person(self, loaded: Loaded | None = None, settings: Settings | None = None) -> Iterator[None]:
        """What a person does is committed whole, and looked at with the next turn.

        What there is not, and what a handoff, a silence or an approval cannot be, is refused with nothing changed.

        Args:
            loaded: the spec to go on by, if it is to be another.
            settings: the settings, if they are to be others with it.
        """
        with self._committing(harmless=(NotFound, HandoffRefused, SilenceRefused, ApprovalRefused)):
            with self.store.transaction():
                yield
                self._commit(None)
                if loaded is not None:
                    self._assemble(loaded, settings or self.settings)
            self._touched = True
            self._telling.publish()

    @contextmanager
    def _committing(self, harmless: tuple[type[Exception], ...] = ()) -> Iterator[None]:
        """Where something fails in here, memory may be ahead of the state, and is never used again."""
        if self._broken is not None:
            raise StorageError(f"{self._broken}; what was committed stands, and this is to be opened anew")
        try:
            yield
        except harmless:
            raise
        except BaseException as error:
            self._broken = str(error) or repr(error)
            raise

    def stand_in_for(self, before: Self, why: str) -> None:
        """Go on for a loop that could not commit: what was wrong there is wrong until something is written here.

        Args:
            before: that loop, on the same state.
            why: what it could not do.
        """
        self.refused, self._unwritten = before.refused, why
        self.receiving.segments.problem = before.receiving.segments.problem

    def rest(self) -> None:
        """Write down how far the loop has come: instants at which nothing happened were not worth it until now."""
        with self._committing(), self.store.transaction():
            self._commit(None)

    def seal(self) -> None:
        """Sign the end of the audit log: nothing follows for a while."""
        if self._checkpoints is not None:
            with self._committing(), self.store.transaction():
                self._checkpoints.take(self.now(), closing=True)
            self._checkpoints.publish()

    def close(self) -> None:
        """Give the state back; safe to call twice."""
        if self._receiving is not None:
            self._receiving.close()
        self.reader.close()
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
