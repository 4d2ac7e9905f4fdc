"""Everything that people and programs can ask of the framework, or tell it: one table of commands.

The service answers them on its socket; a command that finds no service opens the state and answers itself. Either way
the answer is a mapping that JSON can say.
"""

from __future__ import annotations

import inspect
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import msgspec

from self_healing import listing, status, views
from self_healing.actions.directives import effective, overridden
from self_healing.clock import Clock, SystemClock, from_us
from self_healing.config import Settings
from self_healing.constitution import articles, stop
from self_healing.constitution.checkpoints import checkpoints_file, verify
from self_healing.constitution.circumstances import Fleet
from self_healing.errors import NotFound, SelfHealingError, StateBusy
from self_healing.explaining.decided import decided
from self_healing.explaining.live import live
from self_healing.explaining.telling import declared
from self_healing.incidents.similar import similar
from self_healing.loop.asking import shown
from self_healing.model import (
    Approval,
    ApprovalStatus,
    Decision,
    Directive,
    Execution,
    Group,
    Handoff,
    HandoffStatus,
    Incident,
    IncidentState,
    Lesson,
    Outcome,
    Record,
    Silence,
    Transition,
    Verdict,
    Verification,
    affected_agent,
)
from self_healing.orchestrator import SelfHealingOrchestrator
from self_healing.overview import overview, sparks
from self_healing.problems import suggestion
from self_healing.reloading import RELOADS
from self_healing.storage.readonly import DATABASE
from self_healing.storage.store import Store
from self_healing.telemetry.junit_files import take_file
from self_healing.telemetry.signals import unit
from self_healing.views import Json

Aware = Annotated[datetime, msgspec.Meta(tz=True)]
AtLeastOne = Annotated[int, msgspec.Meta(ge=1)]

NOT_CLOSED = tuple(state for state in IncidentState if state is not IncidentState.CLOSED)
MOST_LOOKED_THROUGH = 500
"""So many of the newest records are looked through for what concerns one agent."""

DENIALS = 10
"""So many of the newest are shown with the constitution."""


class Surface:
    """Answers commands on one orchestrator.

    Args:
        orchestrator: whose state it is.
        serving: whether a service runs it; then the time is the service's own.
    """

    def __init__(self, orchestrator: SelfHealingOrchestrator, *, serving: bool = True) -> None:
        self._loop = orchestrator
        self._store = orchestrator.store
        self._serving = serving

    def call(self, command: str, arguments: Json) -> Json:
        """The answer to one command of :data:`COMMANDS`.

        Raises:
            SelfHealingError: there is no such command, it does not take these arguments, or it could not do its work.
        """
        if command not in COMMANDS:
            raise SelfHealingError(f"there is no command {command!r}; allowed is one of {', '.join(COMMANDS)}")
        try:
            given = msgspec.convert(arguments, _arguments(command))
        except msgspec.ValidationError as error:
            raise SelfHealingError(f"command {command}: {error}") from error
        return COMMANDS[command].answer(self, **msgspec.structs.asdict(given))

    # -- telemetry in

    def ingest_junit(self, paths: tuple[str, ...], agent: str | None = None) -> Json:
        intake = self._loop.receiving.intake
        taken = [(path, take_file(intake, Path(path), agent)) for path in paths]
        return {"files": [{"path": path, **msgspec.structs.asdict(receipt)} for path, receipt in taken]}

    # -- how it stands

    def check(self, now: Aware | None = None) -> Json:
        if now is not None and self._serving:
            raise StateBusy("a service runs on this state, and its time is its own; leave --now out, or stop it")
        return self._loop.check(now)

    def status(self) -> Json:
        return status.status(
            self._loop.settings,
            self._loop.spec,
            at=self._loop.clock.now(),
            serving=self._serving,
            health=self._loop.health() if self._serving else None,
            evaluated_us=self._loop.evaluated_us if self._serving else None,
        )

    def figures(self) -> Json:
        return {
            **self.status(),
            "version": version("agency-self-healing"),
            "ingest_lag_s": self._loop.ingest_lag_s,
            "firing": dict(self._loop.firing()),
        }

    def overview(self) -> Json:
        return overview(self._loop, serving=self._serving)

    def health(self) -> Json:
        told: Json = self.status()["health"]
        return told

    # -- what is declared

    def triggers(self) -> Json:
        verdicts: defaultdict[str, list[Verdict]] = defaultdict(list)
        for verdict in self._loop.verdicts():
            verdicts[verdict.trigger].append(verdict)
        spec = self._loop.spec
        return {"triggers": [views.trigger(each, verdicts[each.name]) for each in spec.triggers]}

    def trigger(self, name: str) -> Json:
        spec = declared(self._loop.spec, name)
        series = [views.verdict(each) for each in self._loop.verdicts() if each.trigger == name]
        return {
            "trigger": spec.model_dump(mode="json", by_alias=True),
            "condition": views.condition(spec),
            "unit": unit(spec),
            "series": series,
        }

    def series(
        self,
        triggers: tuple[str, ...] = (),
        states: tuple[str, ...] = (),
        limit: AtLeastOne = 50,
        cursor: str | None = None,
    ) -> Json:
        """Every series with its verdict, ordered by trigger and group, which stay what they are between two pages."""
        behind = ("", ()) if cursor is None else listing.opened(cursor, "series", tuple[str, Group])
        wanted = [
            each
            for each in self._loop.verdicts()
            if (not triggers or each.trigger in triggers)
            and (not states or each.state.name.lower() in states)
            and (cursor is None or (each.trigger, each.group) > behind)
        ]
        found = sorted(wanted, key=lambda each: (each.trigger, each.group))
        those = found[:limit]
        specs = {spec.name: spec for spec in self._loop.spec.triggers}
        return {
            "series": [{**views.verdict(each), "unit": unit(specs[each.trigger])} for each in those],
            "next": listing.sealed("series", (those[-1].trigger, those[-1].group)) if len(found) > limit else None,
        }

    def explain(self, name: str, keys: dict[str, str] = {}) -> Json:  # noqa: B006 it is only read
        return live(self._loop, name, keys)

    def sparks(self) -> Json:
        return {
            "triggers": [told | {"course": sparks(self._loop, told["name"])} for told in self.triggers()["triggers"]]
        }

    def enable(self, name: str, by: str) -> Json:
        return self._switch(name, True, by)

    def disable(self, name: str, by: str) -> Json:
        return self._switch(name, False, by)

    def _switch(self, name: str, enabled: bool, by: str) -> Json:
        open_before = [each.id for each in self._loop.register.open.values() if each.trigger == name]
        changed = self._loop.override_trigger(name, {"enabled": enabled}, by)
        dismissed = [id for id in open_before if id not in self._loop.register.open]
        version = self._loop.spec.version
        return {"name": changed.name, "enabled": changed.enabled, "spec_version": version, "dismissed": dismissed}

    def actions(self) -> Json:
        spec, lessons = self._loop.spec, self._store.select(Lesson)
        return {
            "actions": [
                views.action(
                    action,
                    [trigger.name for trigger in spec.triggers if action.name in trigger.actions],
                    [lesson for lesson in lessons if lesson.action == action.name],
                )
                for action in spec.actions
            ]
        }

    # -- the agents

    def agents(self) -> Json:
        now, read = self._loop.clock.now(), self.directives()["effective"]
        open_of: defaultdict[str, list[Json]] = defaultdict(list)
        for incident in self._loop.register.open.values():
            open_of[affected_agent(incident.group)].append(self._incident(incident))
        seen = self._loop.telemetry.agents
        return {
            "now": msgspec.to_builtins(now),
            "agents": [
                {
                    "agent": agent,
                    "seen_at": msgspec.to_builtins(from_us(seen[agent])) if agent in seen else None,
                    "incidents": open_of.get(agent, []),
                    "directives": read.get(agent, {}),
                }
                for agent in sorted({*seen, *read}, key=lambda agent: (agent not in open_of, agent))
            ],
        }

    def agent(self, name: str) -> Json:
        known = next((each for each in self.agents()["agents"] if each["agent"] == name), None)
        if known is None:
            raise NotFound("agent", name, suggestion(name, list(self._loop.telemetry.agents)))
        specs = {spec.name: spec for spec in self._loop.spec.triggers}
        past = self._store.select(Incident, newest=MOST_LOOKED_THROUGH, state=IncidentState.CLOSED.value)
        handoffs = self._store.select(Handoff, newest=MOST_LOOKED_THROUGH)
        return {
            **known,
            "series": [
                {**views.verdict(each), "unit": unit(specs[each.trigger])}
                for each in self._loop.verdicts()
                if affected_agent(each.group) == name
            ],
            "past": [self._incident(each) for each in reversed(past) if affected_agent(each.group) == name],
            "in_force": [each for each in self.directives()["directives"] if each["agent"] == name],
            "handoffs": [self._handoff(each) for each in reversed(handoffs) if name in (each.about, each.target_agent)],
        }

    # -- what is stored, page by page

    def records(
        self,
        kind: str,
        where: dict[str, tuple[str, ...]] = {},  # noqa: B006 it is only read
        limit: AtLeastOne = 50,
        cursor: str | None = None,
    ) -> Json:
        found, following = listing.page(self._store, kind, where, limit, cursor)
        return {kind: [self._told(each) for each in found], "next": following}

    def execution(self, id: str) -> Json:
        return {"execution": self._told(self._store.get(Execution, id))}

    def _told(self, record: Any) -> Json:
        match record:
            case Incident():
                return self._incident(record)
            case Execution():
                return views.execution(record)
            case Decision():
                return views.decision(record)
            case Handoff():
                return self._handoff(record)
            case Approval():
                return shown(record)
            case Silence():
                return views.silence(record, self._loop.now())
            case Transition():
                return views.transition(record)
            case Record():
                return views.plain(record)
        told: Json = record
        return told

    # -- the stop

    def stop(self, by: str, reason: str) -> Json:
        record = stop.stop(self._loop.settings.storage.state_dir, reason, by, self._loop.clock.now())
        return {"stopped": msgspec.to_builtins(record)}

    def resume(self) -> Json:
        return {"resumed": stop.resume(self._loop.settings.storage.state_dir)}

    # -- incidents

    def incidents(self, states: tuple[IncidentState, ...] = NOT_CLOSED) -> Json:
        return {"incidents": [self._incident(each) for each in self._store.select(Incident, state=states)]}

    def incident(self, id: str) -> Json:
        incident = self._store.get(Incident, id)
        return {
            "incident": self._incident(incident),
            "series": self._series(incident),
            "goes_on_by": self._loop.goes_on_by(incident),
            "evidence": self._evidence(incident),
            "beneath": [self._incident(each) for each in self._loop.register.children(incident)],
            "timeline": [views.plain(note) for note in incident.notes],
            "executions": [views.execution(each) for each in self._store.select(Execution, incident=id)],
            "decisions": [views.decision(each) for each in self._store.select(Decision, incident=id)],
            "verifications": [views.plain(each) for each in self._store.select(Verification, incident=id)],
            "directives": [views.plain(each) for each in self._store.select(Directive, owner=id)],
            "handoffs": [self._handoff(each) for each in self._store.select(Handoff, incident=id)],
            "similar": self._past(similar(self._store, incident)),
        }

    def _evidence(self, incident: Incident) -> Json:
        """The events in the windows over which it was open."""
        about = self._store.select(Incident, parent=incident.id) if incident.is_parent else [incident]
        window_s = next((each.window for each in self._loop.spec.triggers if each.name == incident.trigger), 0)
        since = incident.opened_at - timedelta(seconds=window_s)
        return views.evidence([each.group for each in about], since, incident.closed_at)

    def _series(self, incident: Incident) -> Json | None:
        """What the trigger says of an incident's series now; None of a parent, and once it is closed."""
        if incident.state is IncidentState.CLOSED or incident.is_parent or not self._loop.register.watched(incident):
            return None
        at_us = self._loop.evaluated_us
        return views.verdict(self._loop.framework.verdict(incident.trigger, incident.group, at_us))

    def ack(self, id: str, by: str, reason: str) -> Json:
        return {"incident": self._incident(self._loop.acknowledge(id, by, reason))}

    def close(self, id: str, by: str, reason: str) -> Json:
        return {"incident": self._incident(self._loop.dismiss(id, by, reason))}

    def _incident(self, incident: Incident) -> Json:
        return views.incident(incident, self._loop.spec.triggers)

    def history(self, limit: AtLeastOne = 20) -> Json:
        incidents = self._store.select(Incident, newest=limit)
        return {
            "history": self._past(incidents[::-1]),
            "reloads": (self._store.fact(RELOADS) or [])[: -limit - 1 : -1],
        }

    def _past(self, incidents: list[Incident]) -> list[Json]:
        """What was done about each, and what came of it."""
        ids = [incident.id for incident in incidents]
        executions = _by_incident(self._store.select(Execution, incident=ids))
        verifications = _by_incident(self._store.select(Verification, incident=ids))
        return [views.past(each, executions[each.id], verifications[each.id]) for each in incidents]

    def silences(self, everything: bool = False) -> Json:
        now = self._loop.now()
        known = self._store.select(Silence) if everything else self._store.select(Silence, open="yes")
        shown = [each for each in known if everything or each.over_at > now]
        return {"silences": [views.silence(each, now) for each in shown]}

    def silence(
        self,
        by: str,
        reason: str,
        lasts_s: AtLeastOne,
        trigger: str | None = None,
        keys: dict[str, str] = {},  # noqa: B006 it is only read, and says what is meant
        starts_at: Aware | None = None,
    ) -> Json:
        made = self._loop.silence(trigger, keys, timedelta(seconds=lasts_s), by, reason, starts_at)
        return {"silence": views.silence(made, self._loop.now())}

    def unsilence(self, id: str, by: str) -> Json:
        return {"silence": views.silence(self._loop.remove_silence(id, by), self._loop.now())}

    # -- directives and handoffs

    def directives(self) -> Json:
        now = self._loop.clock.now()
        in_force = [each for each in self._store.select(Directive, open="yes") if each.expires_at > now]
        of_agent: defaultdict[str, list[Directive]] = defaultdict(list)
        for each in in_force:
            of_agent[each.agent].append(each)
        by_which = {id: by for directives in of_agent.values() for id, by in overridden(directives).items()}
        return {
            "directives": [{**views.plain(each), "overridden_by": by_which.get(each.id)} for each in in_force],
            "effective": {agent: effective(directives, now) for agent, directives in of_agent.items()},
        }

    def undo(self, ids: tuple[str, ...], by: str, reason: str) -> Json:
        return {"directives": [views.plain(each) for each in self._loop.undo_directives(ids, by, reason)]}

    def handoff(self, id: str) -> Json:
        handoff = self._store.get(Handoff, id)
        told = views.plain(handoff)
        return {"handoff": {**self._handoff(handoff), "message": told["message"], "notes": told["notes"]}}

    def accept(self, id: str, by: str) -> Json:
        return self._moved(id, HandoffStatus.ACCEPTED, by, None)

    def complete(self, id: str, by: str, result: str | None = None) -> Json:
        return self._moved(id, HandoffStatus.COMPLETED, by, result)

    def fail(self, id: str, by: str, result: str | None = None) -> Json:
        return self._moved(id, HandoffStatus.FAILED, by, result)

    def _moved(self, id: str, to: HandoffStatus, by: str, result: str | None) -> Json:
        return {"handoff": self._handoff(self._loop.move_handoff(id, to, by, result))}

    def _handoff(self, handoff: Handoff) -> Json:
        path = self._loop.settings.storage.logs_dir / "handoffs" / handoff.file
        execution = self._store.find(Execution, handoff.execution)
        tries = None if execution is None else execution.tries
        return {**views.handoff(handoff), "path": str(path), "tries": tries}

    # -- approvals

    def approvals(self, everything: bool = False, limit: AtLeastOne = 50) -> Json:
        wanted = tuple(ApprovalStatus) if everything else (ApprovalStatus.PENDING,)
        newest = self._store.select(Approval, newest=limit)
        return {"approvals": [shown(each) for each in reversed(newest) if each.status in wanted]}

    def approval(self, id: str) -> Json:
        approval = self._store.get(Approval, id)
        incident = self._store.get(Incident, approval.proposal.incident)
        decision = self._store.get(Decision, approval.decision)
        return {
            "approval": shown(approval),
            "incident": self._incident(incident),
            "decision": views.decision(decision),
            "facts": decision.facts,
        }

    def approve(self, id: str, by: str, reason: str, plan: str | None = None) -> Json:
        return {"approval": shown(self._loop.answer_approval(id, True, by, reason, plan))}

    def deny(self, id: str, by: str, reason: str, plan: str | None = None) -> Json:
        return {"approval": shown(self._loop.answer_approval(id, False, by, reason, plan))}

    # -- the constitution

    def constitution(self) -> Json:
        denials = self._store.select(Decision, newest=DENIALS, outcome=Outcome.DENY.value)
        held_to = articles.load(own=self._loop.spec.articles)
        return {
            "version": held_to.version,
            "articles": [msgspec.to_builtins(each) for each in held_to.infos()],
            "facts": articles.facts(own=bool(self._loop.spec.articles)),
            "limits": self._limits(),
            "violations": status.violations(self._loop.settings),
            "denials": [views.decision(each) for each in reversed(denials)],
        }

    def _limits(self) -> list[Json]:
        """Each limit, and how much of it is used now where that is one number for the whole fleet."""
        now = self._loop.clock.now()
        effects = self._loop.effects
        incidents = self._store.select(Incident, state=NOT_CLOSED)
        fleet = Fleet.of(self._loop.telemetry.agents, incidents)
        used = {
            "concurrent_actions": effects.running(),
            "actions_per_minute": effects.in_last_minute(now),
            "fleet_stop_percent": 100 * fleet.unwell_with_one_cause // fleet.size if fleet.size else 0,
            "attempts_per_incident": max((each.attempts for each in incidents), default=0),
        }
        return views.limits(self._loop.spec.limits, used)

    def decision(self, id: str) -> Json:
        return decided(self._store, self._loop.spec.articles, id)

    def audit(self) -> Json:
        told: Json = msgspec.to_builtins(verify(self._store, checkpoints_file(self._loop.settings.storage.logs_dir)))
        return told


@dataclass(frozen=True)
class Command:
    """One thing to ask or tell.

    Args:
        answer: takes the surface, and the arguments by name.
        writes: whether it changes the state, and so needs its lock.
    """

    answer: Callable[..., Json]
    writes: bool = False


COMMANDS: dict[str, Command] = {
    "check": Command(Surface.check, writes=True),
    "status": Command(Surface.status),
    "figures": Command(Surface.figures),
    "health": Command(Surface.health),
    "overview": Command(Surface.overview),
    "sparks": Command(Surface.sparks),
    "stop": Command(Surface.stop, writes=True),
    "resume": Command(Surface.resume, writes=True),
    "triggers": Command(Surface.triggers),
    "trigger": Command(Surface.trigger),
    "series": Command(Surface.series),
    "explain": Command(Surface.explain),
    "enable": Command(Surface.enable, writes=True),
    "disable": Command(Surface.disable, writes=True),
    "actions": Command(Surface.actions),
    "records": Command(Surface.records),
    "execution": Command(Surface.execution),
    "agents": Command(Surface.agents),
    "agent": Command(Surface.agent),
    "incidents": Command(Surface.incidents),
    "incident": Command(Surface.incident),
    "ack": Command(Surface.ack, writes=True),
    "close": Command(Surface.close, writes=True),
    "silences": Command(Surface.silences),
    "silence": Command(Surface.silence, writes=True),
    "unsilence": Command(Surface.unsilence, writes=True),
    "history": Command(Surface.history),
    "directives": Command(Surface.directives),
    "undo": Command(Surface.undo, writes=True),
    "handoff": Command(Surface.handoff),
    "accept": Command(Surface.accept, writes=True),
    "complete": Command(Surface.complete, writes=True),
    "fail": Command(Surface.fail, writes=True),
    "approvals": Command(Surface.approvals),
    "approval": Command(Surface.approval),
    "approve": Command(Surface.approve, writes=True),
    "deny": Command(Surface.deny, writes=True),
    "constitution": Command(Surface.constitution),
    "decision": Command(Surface.decision),
    "audit": Command(Surface.audit),
    "ingest_junit": Command(Surface.ingest_junit, writes=True),
}


@cache
def _arguments(command: str) -> type[msgspec.Struct]:
    """What a command takes, out of its method's signature."""
    answer = COMMANDS[command].answer
    hints = get_type_hints(answer, include_extras=True)
    parameters = list(inspect.signature(answer).parameters.values())[1:]
    fields: list[Any] = [
        (each.name, hints[each.name])
        if each.default is inspect.Parameter.empty
        else (each.name, hints[each.name], each.default)
        for each in parameters
    ]
    return msgspec.defstruct(command, fields, kw_only=True, forbid_unknown_fields=True)


def _by_incident(records: list[Any]) -> defaultdict[str, list[Any]]:
    found: defaultdict[str, list[Any]] = defaultdict(list)
    for record in records:
        found[record.incident].append(record)
    return found


@contextmanager
def open_surface(settings: Settings, *, write: bool, clock: Clock | None = None) -> Iterator[Surface]:
    """The surface of a state that no service owns, for as long as the block runs.

    Args:
        settings: which state.
        write: take its lock, and make it when there is none; otherwise only look. Where there is none yet, that is to
            look at an empty one that nobody keeps.
        clock: the machine's when left out.

    Raises:
        StateBusy: another process owns it, and `write` was asked for.
        StateError: it cannot be used.
        ConfigError: what is declared cannot be used.
    """
    if not write and not (settings.storage.state_dir / DATABASE).exists():
        with tempfile.TemporaryDirectory(prefix="self-healing-") as nowhere:
            Store(Path(nowhere)).close()
            storage = settings.storage.model_copy(update={"state_dir": Path(nowhere)})
            with _opened(settings.model_copy(update={"storage": storage}), False, clock) as surface:
                yield surface
        return
    with _opened(settings, write, clock) as surface:
        yield surface


@contextmanager
def _opened(settings: Settings, write: bool, clock: Clock | None) -> Iterator[Surface]:
    orchestrator = SelfHealingOrchestrator.open(settings, clock=clock or SystemClock(), read_only=not write)
    try:
        yield Surface(orchestrator, serving=False)
    finally:
        orchestrator.close()
