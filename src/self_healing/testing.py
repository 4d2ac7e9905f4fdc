"""Fakes that users need in their own tests: clocks that are told the time, a channel that remembers, and scenarios.

A scenario reads as it happens, second by second, on the real loop::

    with Scenario(tmp_path) as fleet:
        fleet.at(0).start("t1", agent="Coder")
        fleet.at(59).expect_state("slow_tasks", "Coder", "inactive")
        fleet.at(60).expect_state("slow_tasks", "Coder", "firing")
        fleet.expect_actions("slow_tasks", "Coder", analyze_slow_tasks="dispatched")
"""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from self_healing.clock import FakeClock, ScaledClock, to_us
from self_healing.errors import EffectError
from self_healing.model import (
    CloseReason,
    Directive,
    Execution,
    Group,
    Handoff,
    HandoffStatus,
    Incident,
    IncidentState,
    SeriesState,
)

if TYPE_CHECKING:
    from self_healing.config import Settings
    from self_healing.orchestrator import SelfHealingOrchestrator

__all__ = ["FakeClock", "RecordingChannel", "ScaledClock", "Scenario"]

MONDAY = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)


class RecordingChannel:
    """A channel that keeps the handoffs that it was given, and can be told to misbehave.

    Args:
        fails: so many deliveries fail first.
        hangs: deliveries hang until `release`, and arrive then.
        probes: whether it can tell what was delivered.
    """

    name = "recording"

    def __init__(self, *, fails: int = 0, hangs: bool = False, probes: bool = True) -> None:
        self.delivered: list[Handoff] = []  # each once
        self.calls = 0  # of deliver, whatever became of them
        self._fails = fails
        self._probes = probes
        self._lock = threading.Lock()
        self._released = threading.Event()
        if not hangs:
            self._released.set()

    def release(self) -> None:
        """Let what hangs go on."""
        self._released.set()

    def deliver(self, handoff: Handoff) -> None:
        """Keep `handoff`; once, however often it comes. Raises EffectError as often as it was told to."""
        with self._lock:
            self.calls += 1
            if self._fails:
                self._fails -= 1
                raise EffectError(f"handoff {handoff.id} was refused, as this channel was told to")
        self._released.wait()
        with self._lock:
            if all(kept.id != handoff.id for kept in self.delivered):
                self.delivered.append(handoff)

    def probe(self, handoff: Handoff) -> bool | None:
        """Whether `handoff` was delivered; None when told to be unable to tell."""
        if not self._probes:
            return None
        with self._lock:
            return any(kept.id == handoff.id for kept in self.delivered)


class Scenario:
    """A fleet whose every event is written by a test, watched by the real loop on a clock that the test moves.

    Telemetry goes through real files, effects are done at once. What is written at an instant is seen at that instant,
    which is evaluated when something is expected of it or when the clock moves on.

    Args:
        directory: where telemetry, state and logs go; one per scenario.
        start: the instant that is 0 s.
        step_s: how far the clock moves at once on the way to a later instant; the engine itself steps its grid.
        settings: by section, over the defaults, such as ``{"actions": {"mode": "observe"}}``.
        serves: whether it is a service that turns the loop, which warms up after a start.
    """

    def __init__(
        self,
        directory: Path,
        *,
        start: datetime = MONDAY,
        step_s: int = 1,
        settings: dict[str, Any] | None = None,
        serves: bool = False,
    ) -> None:
        self.directory = directory
        self.start_at = start
        self.step_s = step_s
        self.clock = FakeClock(start - timedelta(seconds=1))
        self.telemetry_dir = directory / "telemetry"
        self.telemetry_dir.mkdir(parents=True, exist_ok=True)
        self.settings = self._settings(settings or {})
        self._serves = serves
        self.loop = self._open()
        # A fresh state only takes in what lies before it, so it begins a second early.
        self.loop.cycle(self.clock.now())
        self.clock.set(start)
        self._seen = False  # whether this instant was evaluated

    def _settings(self, given: dict[str, Any]) -> Settings:
        from self_healing.config import Settings

        own = {
            "telemetry": {"dir": self.telemetry_dir},
            "storage": {"state_dir": self.directory / "state", "logs_dir": self.directory / "logs"},
        }
        return Settings.model_validate({**given, **own})

    def _open(self) -> SelfHealingOrchestrator:
        from self_healing.orchestrator import SelfHealingOrchestrator

        started_at = self.clock.now() if self._serves else None
        return SelfHealingOrchestrator.open(self.settings, clock=self.clock, started_at=started_at)

    def restart(self) -> Self:
        """Close the loop and build it anew on the same state, as a new process would."""
        self.loop.close()
        self.loop = self._open()
        self.loop.recover()
        return self

    # -- time

    @property
    def now_s(self) -> float:
        """Seconds since the start."""
        return (self.clock.now() - self.start_at).total_seconds()

    def at(self, seconds: float, *, step_s: int | None = None) -> Self:
        """Move on to that many seconds after the start, turning the loop on the way but not yet at that instant.

        Args:
            step_s: how far at once; as the scenario says when left out.
        """
        target = self.start_at + timedelta(seconds=seconds)
        if target < self.clock.now():
            raise ValueError(f"{seconds} s lies before {self.now_s} s; a scenario only goes forward")
        if target > self.clock.now():
            self._look()
            step = timedelta(seconds=step_s or self.step_s)
            while self.clock.now() + step < target:
                self.clock.advance(step.total_seconds())
                self.loop.cycle(self.clock.now())
            self.clock.set(target)
            self._seen = False
        return self

    def _look(self) -> None:
        if not self._seen:
            self.loop.cycle(self.clock.now())
            self._seen = True

    # -- what the fleet does

    def event(self, kind: str, *, after_s: float = 0.0, **fields: Any) -> Self:
        """Write one line of native telemetry.

        Args:
            kind: such as ``task_started``.
            after_s: how much later than now it says that it happened.
            fields: the rest of the line.
        """
        at = self.clock.now() + timedelta(seconds=after_s)
        line = json.dumps({"ts": at.isoformat(), "type": kind, **fields})
        with (self.telemetry_dir / f"events-{at:%Y%m%d}.jsonl").open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        return self

    def start(self, task: str, agent: str = "Coder", **fields: Any) -> Self:
        """A task starts now."""
        values = {"id": task, "agent": agent, "attempt": 1, "started_at": self.clock.now().timestamp(), **fields}
        return self.event("task_started", **values)

    def finish(self, task: str, agent: str = "Coder", *, status: str = "success", **fields: Any) -> Self:
        """A task ends now; with ``duration_s`` it started that long ago."""
        if "duration_s" in fields:
            fields.setdefault("started_at", self.clock.now().timestamp() - fields["duration_s"])
        return self.event("task_finished", id=task, agent=agent, status=status, **{"attempt": 1, **fields})

    def tests(self, passed: int, failed: int, agent: str = "Coder", **fields: Any) -> Self:
        """Tests ran."""
        return self.event("test_run", agent=agent, passed=passed, failed=failed, **fields)

    def complete(self, trigger: str, agent: str = "Coder", *, by: str = "Helper", result: str = "done") -> Self:
        """The newest handoff about a series is completed now."""
        self.loop.move_handoff(self.expect_handoff(trigger, agent).id, HandoffStatus.COMPLETED, by, result)
        self._seen = False
        return self

    # -- what is known

    def incident(self, trigger: str, agent: str = "Coder") -> Incident:
        """The newest incident of a series. Raises AssertionError when there is none."""
        self._look()
        found = [i for i in self.loop.store.select(Incident, trigger=trigger) if i.group == _group(agent)]
        if not found:
            raise AssertionError(f"{self._here()}: {trigger} has no incident for {agent}; {self._said(trigger, agent)}")
        return found[-1]

    def directives(self, agent: str = "Coder") -> dict[str, Any]:
        """The settings in force for an agent now."""
        self._look()
        in_force = [d for d in self.loop.store.select(Directive, agent=agent) if self._holds(d)]
        return {directive.name: directive.value for directive in in_force}

    def handoffs(self, to: str) -> list[Handoff]:
        """The handoffs for an agent or a person, oldest first."""
        self._look()
        return [h for h in self.loop.inbox.list() if h.target_agent == to]

    def _holds(self, directive: Directive) -> bool:
        return directive.undone_at is None and directive.expires_at > self.clock.now()

    # -- what is expected

    def expect_state(self, trigger: str, agent: str, state: str) -> Self:
        """A series is inactive, pending, firing or recovering."""
        self._look()
        found = self.loop.framework.state_of(trigger, _group(agent))
        if found is not SeriesState[state.upper()]:
            raise AssertionError(f"{self._here()}: expected {state}; {self._said(trigger, agent)}")
        return self

    def expect_incident(self, trigger: str, agent: str, state: str, reason: str | None = None, **fields: Any) -> Self:
        """The newest incident of a series stands in `state`.

        Args:
            reason: why it was closed, where it is.
            fields: what else it has, such as ``attempts=2``.
        """
        incident = self.incident(trigger, agent)
        expected = {"state": IncidentState(state), "close_reason": None if reason is None else CloseReason(reason)}
        expected |= fields
        found = {name: getattr(incident, name) for name in expected}
        if found != expected:
            wrong = ", ".join(f"{n} is {found[n]}, not {expected[n]}" for n in expected if found[n] != expected[n])
            raise AssertionError(f"{self._here()}: {trigger} of {agent}: {wrong}\n{_timeline(incident, self.start_at)}")
        return self

    def expect_nothing_open(self) -> Self:
        """No incident is open."""
        self._look()
        for incident in self.loop.register.open.values():
            raise AssertionError(f"{self._here()}: {incident.trigger} is open\n{_timeline(incident, self.start_at)}")
        return self

    def expect_actions(self, trigger: str, agent: str = "Coder", **statuses: str) -> Self:
        """The newest execution of each action of a series' incident, and nothing else, such as ``analyze="failed"``."""
        incident = self.incident(trigger, agent)
        newest = {e.action: e.status.value for e in self.loop.store.select(Execution, incident=incident.id)}
        if newest != statuses:
            said = f"expected {statuses}, there are {newest}"
            raise AssertionError(f"{self._here()}: {trigger} of {agent}: {said}\n{_timeline(incident, self.start_at)}")
        return self

    def expect_directives(self, agent: str = "Coder", **settings: Any) -> Self:
        """These settings, and no others, are in force for an agent."""
        found = self.directives(agent)
        if found != settings:
            raise AssertionError(f"{self._here()}: {agent}: expected directives {settings}, in force are {found}")
        return self

    def expect_handoff(self, trigger: str, agent: str = "Coder", **fields: Any) -> Handoff:
        """The newest handoff about a series, with these fields, such as ``target_agent="Auditor"``; returns it."""
        incident = self.incident(trigger, agent)
        executions = {e.handoff for e in self.loop.store.select(Execution, incident=incident.id) if e.step >= 0}
        found = [h for h in self.loop.store.select(Handoff, incident=incident.id) if h.id in executions]
        if not found:
            said = "nothing was handed over"
            raise AssertionError(f"{self._here()}: {trigger} of {agent}: {said}\n{_timeline(incident, self.start_at)}")
        for name, value in fields.items():
            if getattr(found[-1], name) != value:
                said = f"its handoff's {name} is {getattr(found[-1], name)}, not {value}"
                raise AssertionError(f"{self._here()}: {trigger} of {agent}: {said}")
        return found[-1]

    # -- for messages

    def _here(self) -> str:
        return f"at {self.now_s:g} s"

    def _said(self, trigger: str, agent: str) -> str:
        verdict = self.loop.framework.verdict(trigger, _group(agent), to_us(self.clock.now()))
        figures = f"value {verdict.value}, threshold {verdict.threshold}, {verdict.samples} samples"
        return f"{trigger} of {agent} is {verdict.state.name.lower()} ({verdict.reason}: {figures})"

    # -- life

    def close(self) -> None:
        """Give the state back; safe to call twice."""
        self.loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _group(agent: str) -> Group:
    return (("agent", agent),)


def _timeline(incident: Incident, start_at: datetime) -> str:
    lines = (f"  {(n.at - start_at).total_seconds():g} s  {n.what}: {n.text}" for n in incident.notes)
    return "\n".join((f"  {incident.state} ({incident.close_reason or incident.escalation or 'not over'})", *lines))
