"""A fleet of agents that works, falls ill, obeys directives and works handoffs, event by event in simulated time.

Nothing here looks at a clock: :meth:`Fleet.step` is told how far to go, and the same seed, steps, directives and
handoffs give the same lines.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Generator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from self_healing.clock import EPOCH, to_us
from self_healing.simulation import lines
from self_healing.simulation.agents import SPECIALISTS, profiles
from self_healing.simulation.faults import NO_EFFECT, Effect, Fault, Repair, combined
from self_healing.simulation.repairs import Handoffs, Request
from self_healing.simulation.work import Attempt, Worker, cancel, keep_within

Process = Generator[int, None, None]
"""Something that goes on in the fleet; yields how many milliseconds it waits."""

ReadDirectives = Callable[[], dict[str, dict[str, Any]]]
"""For each agent that has any, the settings in force."""

HEARTBEAT_MS = 5_000
RETRY_AFTER_MS = 500
LOOK_AGAIN_MS = 1_000  # of an agent that may not start a task now
REPAIRS_AT_ONCE = 2  # of one specialist
ACCEPTED_AFTER_S = (2.0, 6.0)
OTHER_REPAIR_S = (60.0, 120.0)  # of something that is none of the faults
ROUTINE_S = (5.0, 15.0)
TOOLS = ("search", "edit", "shell")


def no_directives() -> dict[str, dict[str, Any]]:
    """For a fleet that nobody directs."""
    return {}


class Fleet:
    """The agents and what they are at.

    Args:
        seed: of everything that is random.
        start: aware; when the agents begin to work, and from when on faults are timed.
        agents: how many product agents; the specialists come on top.
        directives: read once a step, so steps should be short where directives matter.
        handoffs_dir: where handoffs arrive as files; None for none.
        faults: what goes wrong; several may befall one agent.
        tasks_per_minute: about how many each agent ends while well; 4 to 6 when left out.

    Raises:
        ValueError: a fault's agent is not in the fleet, or two faults have one name.
    """

    def __init__(
        self,
        *,
        seed: int,
        start: datetime,
        agents: int = 24,
        directives: ReadDirectives = no_directives,
        handoffs_dir: Path | None = None,
        faults: Sequence[Fault] = (),
        tasks_per_minute: float | None = None,
    ) -> None:
        self.faults = tuple(faults)
        self.cured: dict[str, datetime] = {}  # by the name of the fault: when its cause was removed
        self._worsened: set[str] = set()  # names of faults
        self._start_ms = self._now_ms = to_us(start) // 1000
        self._workers = {profile.name: Worker(profile, seed) for profile in profiles(agents, tasks_per_minute)}
        self._faults_of = _by_agent(self.faults, self._workers)
        self._read_directives = directives
        self._directives: dict[str, dict[str, Any]] = {}
        self._handoffs = Handoffs(handoffs_dir)
        self._waiting: dict[str, deque[Request]] = {name: deque() for name in SPECIALISTS}
        self._repairing = dict.fromkeys(SPECIALISTS, 0)
        self._rng = Random(f"{seed}:specialists")
        self._lines: list[bytes] = []
        self._tasks = 0
        self._agenda: list[tuple[int, int, Process]] = []
        self._entries = 0
        for worker in self._workers.values():
            for _ in range(worker.profile.concurrency):
                self._advance(self._slot(worker))

    @property
    def now(self) -> datetime:
        """How far it has come."""
        return EPOCH + timedelta(milliseconds=self._now_ms)

    @property
    def is_ill(self) -> bool:
        """Whether some fault afflicts it now."""
        return any(self._active(fault) for fault in self.faults)

    def step(self, until: datetime) -> list[bytes]:
        """Let everything happen that happens up to and including `until`; an instant gone by changes nothing.

        Returns:
            The telemetry of it, lines in the order of their time.

        Raises:
            OSError, ValueError, KeyError: a handoff could not be read.
            Exception: whatever reading the directives raises.
        """
        until_ms = to_us(until) // 1000
        self._directives = self._read_directives()
        for request in self._handoffs.new():
            if request.specialist in self._waiting:
                self._waiting[request.specialist].append(request)
                self._take(request.specialist)
        while self._agenda and self._agenda[0][0] <= until_ms:
            self._now_ms, _, process = heapq.heappop(self._agenda)
            self._advance(process)
        self._now_ms = max(self._now_ms, until_ms)
        happened, self._lines = self._lines, []
        return happened

    def _advance(self, process: Process) -> None:
        """Let `process` begin or go on, up to where it waits next."""
        wait_ms = next(process, None)
        if wait_ms is not None:
            self._entries += 1  # of two at the same instant the one that was entered first comes first
            heapq.heappush(self._agenda, (self._now_ms + wait_ms, self._entries, process))

    # --- product agents ----------------------------------------------------------------------------------------

    def _slot(self, worker: Worker) -> Process:
        """One of the tasks that an agent works on at a time, again and again."""
        while True:
            yield worker.idle_ms()
            while not self._may_start(worker):
                yield LOOK_AGAIN_MS
            worker.running += 1
            yield from self._task(worker)
            worker.running -= 1

    def _may_start(self, worker: Worker) -> bool:
        directives = self._in_force(worker)
        limit: int = directives.get("max_concurrency", worker.profile.concurrency)
        return not directives.get("paused", False) and worker.running < limit

    def _in_force(self, worker: Worker) -> dict[str, Any]:
        return self._directives.get(worker.name, {})

    def _task(self, worker: Worker) -> Process:
        task = self._new_task("t")
        effect = self._effect(worker)
        needed = worker.rng.randint(*effect.attempts) if effect.attempts else 1
        attempt = 1
        while True:
            work = worker.attempt(effect)
            if attempt < needed:
                cancel(work, worker.rng)
            keep_within(work, self._in_force(worker))
            yield from self._attempt(worker, task, attempt, work)
            if work.status == "success":
                return
            yield RETRY_AFTER_MS
            # Looked at after the wait, so that no attempt begins against a directive or under a cause that is gone.
            if not self._tries_again(worker, work, attempt, effect):
                return
            attempt += 1
            effect = self._effect(worker)

    def _tries_again(self, worker: Worker, work: Attempt, attempt: int, effect: Effect) -> bool:
        directives = self._in_force(worker)
        if directives.get("paused", False) or attempt > directives.get("max_retries", attempt):
            return False
        if work.status == "canceled":
            # Once the cause is gone, or the gate keeps such input out, the rest of the attempts is not made either.
            return any(fault.effect.attempts for fault in self._afflicting(worker))
        return work.status == "failed" and attempt == 1 and effect is NO_EFFECT

    def _effect(self, worker: Worker) -> Effect:
        """What befalls an attempt that the agent begins now."""
        return combined(
            [
                fault.effect.worsened() if fault.name in self._worsened else fault.effect
                for fault in self._afflicting(worker)
                if fault.share == 1 or worker.rng.random() < fault.share
            ]
        )

    def _afflicting(self, worker: Worker) -> list[Fault]:
        """The faults that the agent suffers from now."""
        faults = self._faults_of.get(worker.name, ())
        return [fault for fault in faults if self._active(fault) and not fault.relieved(self._in_force(worker))]

    def _active(self, fault: Fault) -> bool:
        since_ms = self._now_ms - self._start_ms
        ended = fault.ends_after_s is not None and since_ms >= fault.ends_after_s * 1000
        return since_ms >= fault.starts_after_s * 1000 and not ended and fault.name not in self.cured

    def _attempt(self, worker: Worker, task: str, attempt: int, work: Attempt) -> Process:
        started_ms, name, rng = self._now_ms, worker.name, worker.rng
        self._emit(lines.task_started(started_ms, task, name, attempt))
        yield from self._beat(task, name, work.duration_ms, attempt)
        if rng.random() < 0.3:
            self._emit(lines.llm_call(self._now_ms, task, name, work))
        if rng.random() < 0.3:
            self._emit(lines.tool_call(self._now_ms, task, name, rng.choice(TOOLS)))
        if work.status == "success":
            self._emit(lines.test_run(self._now_ms, task, name, work))
            if rng.random() < 0.2:
                self._emit(lines.quality_score(self._now_ms, task, name, rng.uniform(0.75, 0.98)))
        self._emit(lines.task_finished(self._now_ms, task, name, started_ms, work, attempt))

    def _beat(self, task: str, agent: str, duration_ms: int, attempt: int = 1, mark: str = "") -> Process:
        """Send heartbeats for as long as the work takes."""
        started_ms = self._now_ms
        for _ in range((duration_ms - 1) // HEARTBEAT_MS):
            yield HEARTBEAT_MS
            self._emit(lines.heartbeat(self._now_ms, task, agent, started_ms, attempt, mark))
        yield started_ms + duration_ms - self._now_ms

    def _emit(self, line: bytes) -> None:
        self._lines.append(line)

    def _new_task(self, prefix: str) -> str:
        # The start is part of it, so that a fleet that is started again does not repeat itself.
        self._tasks += 1
        return f"{prefix}{self._start_ms:x}-{self._tasks}"

    # --- specialists -------------------------------------------------------------------------------------------

    def _take(self, specialist: str) -> None:
        """Begin what waits for `specialist`, as far as there are hands."""
        while self._waiting[specialist] and self._repairing[specialist] < REPAIRS_AT_ONCE:
            self._repairing[specialist] += 1
            self._advance(self._repair(self._waiting[specialist].popleft()))

    def _repair(self, request: Request) -> Process:
        yield self._drawn_ms(ACCEPTED_AFTER_S)
        task, specialist, mark = self._new_task("r"), request.specialist, lines.repair_mark(request.id)
        faults = self._causes(request)
        usual_s = ROUTINE_S if request.routine else OTHER_REPAIR_S
        started_ms = self._now_ms
        self._emit(lines.task_started(started_ms, task, specialist, mark=mark))
        yield from self._beat(
            task, specialist, self._drawn_ms(max((each.repair_s for each in faults), default=usual_s)), mark=mark
        )
        failed = any(each.repair is Repair.FAILS for each in faults)
        self._emit(lines.repair_finished(self._now_ms, task, specialist, started_ms, mark, failed=failed))
        for fault in faults:
            self._repaired(fault)
        self._repairing[specialist] -= 1
        self._take(specialist)

    def _repaired(self, fault: Fault) -> None:
        match fault.repair:
            case Repair.CURES:
                self._workers[fault.agent].recover(fault.switches_to)
                self.cured.setdefault(fault.name, self.now)
            case Repair.WORSENS:
                self._worsened.add(fault.name)

    def _causes(self, request: Request) -> list[Fault]:
        """The faults behind what a handoff describes, one an agent; none where this specialist finds none."""
        found = [self._cause(request, agent) for agent in request.agents]
        return [fault for fault in found if fault is not None]

    def _cause(self, request: Request, agent: str) -> Fault | None:
        for fault in self._faults_of.get(agent, ()):
            responsible = request.specialist == fault.repaired_by and request.trigger in (None, fault.trigger)
            if responsible and not request.routine and self._active(fault):
                return fault
        return None

    def _drawn_ms(self, between_s: tuple[float, float]) -> int:
        return round(self._rng.uniform(*between_s) * 1000)


def _by_agent(faults: Sequence[Fault], workers: dict[str, Worker]) -> dict[str, list[Fault]]:
    found: dict[str, list[Fault]] = {}
    names: set[str] = set()
    for fault in faults:
        if fault.agent not in workers:
            raise ValueError(f"fault {fault.name!r}: no agent {fault.agent!r} in a fleet of {len(workers)}")
        if fault.name in names:
            raise ValueError(f"fault {fault.name!r} is there twice")
        names.add(fault.name)
        found.setdefault(fault.agent, []).append(fault)
    return found
