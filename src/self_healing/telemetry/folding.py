"""Folding: what events say of the tasks that run, and of their ends.

What is looked at here is looked at for every event that ever happens. So what comes first is what most of them need.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from self_healing.clock import HOUR_US, SECOND_US
from self_healing.measures import Ints
from self_healing.model import OVERFLOW, Event, Kind
from self_healing.telemetry.agents import Agent, Folded, Key, Over, Quiet, Repair, Running, Unpaid
from self_healing.telemetry.calls import Retried
from self_healing.telemetry.columns import ATTRIBUTE, getter, harmless
from self_healing.telemetry.ends import add_call, add_retried, gather, start_of, unsaid_start
from self_healing.telemetry.examples import hushed
from self_healing.telemetry.groups import Grouping
from self_healing.telemetry.losses import Losses, level
from self_healing.telemetry.samples import tokens_of

MOST_RUNNING = 100_000
MOST_ENDED = 10_000
MOST_REPAIRS = 20_000
ENDED_FOR_US = HOUR_US
"""No longer than this, and no more than ``MOST_ENDED``, is remembered of what ended; half of it at least."""

# Plain numbers: looking up a member of the enum takes longer than the rest of a heartbeat.
STARTED, FINISHED, HEARTBEAT, CALL, TEST, SCORE = (
    int(kind)
    for kind in (
        Kind.TASK_STARTED,
        Kind.TASK_FINISHED,
        Kind.HEARTBEAT,
        Kind.LLM_CALL,
        Kind.TEST_RUN,
        Kind.QUALITY_SCORE,
    )
)

_MOST_SINCE_TURN, _TURN_AFTER_US = MOST_ENDED // 2, ENDED_FOR_US // 2


class Folding:
    """The agents with the tasks that they run, and those that ended a moment ago, as events change them.

    Args:
        by_agent: where agents get the places of their groups.
        columns: the columns and attributes, beside the agent, by which running tasks are grouped and filtered.
        keep_silent: whether tasks that were lost are remembered until they are heard of, for a day.
    """

    def __init__(self, by_agent: Grouping, columns: Sequence[str] = (), *, keep_silent: bool = False) -> None:
        self.agents: dict[str | None, Agent] = {}
        self.repairs: dict[Key, str] = {}
        self.lost = 0
        self.version = 0
        self.grid_us = 0
        """Of a history that is folded ahead: tasks are lost at the instants of this grid, between its events."""
        self.log: Over | None = None
        """Hears of every task that no longer runs, where somebody asks."""
        self.quiet: Quiet | None = None
        """Hears how long tasks that send heartbeats were silent, where somebody asks."""
        self._by_agent = by_agent
        self._columns = tuple(columns)
        self._reading = [(column, getter(column)) for column in self._columns]
        self._attributes = [column.removeprefix(ATTRIBUTE) for column in columns if column.startswith(ATTRIBUTE)]
        self._keep_silent = keep_silent
        self._losses = Losses(self.agents)
        self._turned_us = 0  # when the ones before became that
        self._ended = 0  # how many ended since then
        self._before_changed = True  # since it was last packed

    @property
    def running(self) -> int:
        """How many tasks run."""
        return sum(len(agent.running) for agent in self.agents.values())

    def fold(self, events: Sequence[Event], kind: NDArray[np.uint8], ts: Ints, *, starts: bool = True) -> Folded:
        """Take in events in the order of their time; returns what they are worth.

        Args:
            kind: of each event.
            ts: of each event, microseconds.
            starts: whether somebody wants to know when the tasks of samples started.
        """
        out = Folded()
        self.version += 1
        if len(ts):
            self._each(events, kind.tolist(), ts.tolist(), out, starts=starts)
            self._forget(int(ts[-1]))
        return out

    def place_of(self, name: str | None) -> int:
        """The place of an agent's group."""
        agent = self.agents.get(name)
        return self._by_agent.add((name,)) if agent is None else agent.place

    def _each(
        self,
        events: Sequence[Event],
        kinds: Sequence[int],
        ts: Sequence[int],
        out: Folded,
        *,
        starts: bool,
    ) -> None:
        agents, finish, start = self.agents, self._finish, self._start
        tests, quiet = out.tests, self.quiet
        due_us, soon_us = self._due()
        for event, kind, at in zip(events, kinds, ts, strict=True):
            if at > due_us:
                due_us, soon_us = self._pass(at)
            try:
                agent = agents[event.agent]
            except KeyError:
                agent = self._newcomer(event.agent, at)
            if event.handoff_id is not None or agent.repairs or event.attributes:
                handoff = self._handoff_of(event)
                if handoff is not None:
                    self._repair(agent, event, kind, at, handoff, out)
                    continue
            if at > agent.seen_us:  # noqa: PLR1730 max() takes five times as long
                agent.seen_us = at
            if kind == HEARTBEAT:
                task = agent.running.get(event.task_id)
                if task is not None and (gap := at - task.seen_us) > 0:
                    if quiet is not None:
                        quiet.add(agent, event.task_id, task, at)
                    task.seen_us = at
                    if gap != agent.beat_us:
                        self._beat(agent, gap, at)
                if agent.silent and (task := agent.silent.get(event.task_id)) is not None:
                    if quiet is not None:
                        quiet.add(agent, event.task_id, task, at)
                    task.seen_us = max(at, task.seen_us)
            elif kind == FINISHED:
                finish(agent, event, at, out, starts)
            elif kind == STARTED:
                start(agent, event, at)
                if starts and (task := agent.running.get(event.task_id)) is not None:
                    out.started.append((event, round(task.started_at * SECOND_US)))
            elif kind == TEST:
                tests.events.append(event)
                tests.ts.append(at)
                tests.place.append(agent.place)
                tests.passed.append(event.passed or 0)
                tests.failed.append(event.failed or 0)
                if starts:
                    tests.started_at.append(start_of(agent, event))
            elif kind == CALL:
                if event.usage is not None:
                    if add_call(agent, event, event.usage, at, out.late):
                        self._before_changed = True
                elif isinstance(event, Retried):
                    add_retried(agent, event, out.retries)
            elif kind == SCORE:
                gather(out.scores, agent, event, at)
                if starts:
                    out.scores.started_at.append(start_of(agent, event))
            if agent.due_us < soon_us:
                soon_us = agent.due_us
                due_us = min(due_us, self._up(soon_us))

    # -- what time brings

    def _due(self) -> tuple[int, int]:
        """An instant up to which no event finds that time alone has changed something; and when the first task is lost.

        That is 0 where nobody is to be told between events.
        """
        turn_us = self._turned_us + _TURN_AFTER_US
        if not self.grid_us:
            return turn_us, 0
        soon_us = self._losses.next_us()
        return min(turn_us, self._up(soon_us)), soon_us

    def _up(self, us: int) -> int:
        """The first instant of the grid from `us` on."""
        return -(-us // self.grid_us) * self.grid_us

    def _pass(self, at: int) -> tuple[int, int]:
        """Let happen what time alone brings before an event at `at`; returns when it brings something next."""
        if at > self._turned_us + _TURN_AFTER_US:
            self._turn(at)
        if self.grid_us:
            self.lose(at)
        return self._due()

    def lose(self, before_us: int) -> None:
        """Give up what is lost at the instants of the grid before `before_us`."""
        while (due_us := self._up(self._losses.next_us())) < before_us:
            self.give_up(due_us)

    def give_up(self, t_us: int) -> list[tuple[Agent, str | None, Running]]:
        """Let go of what is lost at `t_us`: tasks after three missed heartbeats, or a day; agents after a day.

        Returns:
            The tasks with their agents and ids.
        """
        lets_go = self._losses.quiet_us <= t_us
        lost = self._losses.give_up(t_us, self.repairs, keep_silent=self._keep_silent, quiet=self.quiet)
        if self.log is not None:
            for each in lost:
                self.log.add(*each, t_us)
        self.lost += len(lost)
        self.version += bool(lost) or lets_go
        return lost

    def _turn(self, at: int) -> None:
        """Let go of what ended too long ago: at an event, so that it is the same however a history is cut."""
        for agent in self.agents.values():
            agent.before, agent.ended = agent.ended, {}
        self._turned_us, self._ended, self._before_changed = at, 0, True

    def _forget(self, ts_us: int) -> None:
        """Let go of what is beyond the numbers that are kept."""
        for key in list(islice(self.repairs, max(len(self.repairs) - MOST_REPAIRS, 0))):
            del self.repairs[key]
        excess = self.running - MOST_RUNNING
        if excess > 0:
            kept = level(sorted(len(agent.running) for agent in self.agents.values()), MOST_RUNNING)
            for agent in self.agents.values():
                for _ in range(min(len(agent.running) - kept, excess)):
                    id, task = agent.running.popitem()  # its newest
                    self._over(agent, id, task, ts_us)
                    excess -= 1
                    self.lost += 1

    # -- agents

    def _newcomer(self, name: str | None, at: int) -> Agent:
        """The record of an agent that has none; beyond the groups that are kept apart, all further agents share one."""
        place = self._by_agent.add((name,))
        name = OVERFLOW if self._by_agent.is_overflow(place) else name
        agent = self.agents.get(name)
        if agent is None:
            agent = self.agents[name] = Agent(name, place)
            self._losses.meet(agent, at)
        return agent

    def _beat(self, agent: Agent, gap_us: int, at: int) -> None:
        """A task was heard of after a gap that is not the usual one."""
        # The largest gap counts and is forgotten slowly, so that one short gap makes nobody look lost.
        usual_us = agent.beat_us
        if not usual_us:
            self._losses.quicken(agent, gap_us, at)
        elif gap_us < usual_us:
            self._losses.quicken(agent, usual_us - (usual_us - gap_us) // 10, at)
        else:
            agent.beats(gap_us)

    # -- repair work

    def is_repair(self, event: Event) -> bool:
        """Whether an event is of a task that works on a handoff, which feeds no trigger."""
        return self._handoff_of(event) is not None

    def _handoff_of(self, event: Event) -> str | None:
        if event.handoff_id is not None:
            return event.handoff_id
        if event.attributes and isinstance(event.attributes.get("handoff_id"), str):
            return str(event.attributes["handoff_id"])
        return self.repairs.get((event.agent, event.task_id)) if event.task_id is not None else None

    def _repair(self, agent: Agent, event: Event, kind: int, at: int, handoff: str, out: Folded) -> None:
        out.repairing.append((event, at))
        if kind in (Kind.TASK_STARTED, Kind.TASK_FINISHED):
            out.repairs.append(Repair(handoff, kind, event.status, event.agent, at, event.error_type))
        if event.task_id is None:
            return
        agent.repairs = True
        self.repairs[event.agent, event.task_id] = handoff
        task = agent.running.pop(event.task_id, None)  # it did not say so when it started
        if task is not None:
            self._over(agent, event.task_id, task, at)

    # -- the life of a task

    def _over(self, agent: Agent, id: str | None, task: Running, at: int) -> None:
        """A task no longer runs."""
        if self.log is not None:
            self.log.add(agent, id, task, at)
        if self.quiet is not None:
            self.quiet.add(agent, id, task, at)

    def _heard_again(self, agent: Agent, id: str | None, at: int) -> None:
        """A task that was lost because it was silent begins anew, or ends."""
        task = agent.silent.pop(id, None)
        if task is not None and self.quiet is not None:
            self.quiet.add(agent, id, task, at)

    def _start(self, agent: Agent, event: Event, at: int) -> None:
        id, attempt = event.task_id, event.attempt
        if id is None:
            return  # nothing will ever say that it ended
        started_at = event.started_at
        if started_at is None:
            started_at = at / SECOND_US
        ended = agent.ended.get(id) or agent.before.get(id)
        if ended is not None and started_at * SECOND_US <= ended[0] and (attempt or 1) <= ended[2]:
            return  # its end arrived first
        task = agent.running.get(id)
        if task is not None:
            before = task.attempt or 1
            if (attempt or 1) < before or ((attempt or 1) == before and started_at == task.started_at):
                return  # the next attempt arrived first, or it is told twice
            self._over(agent, id, task, at)
        # The event itself is let go of: to find it again, cold, when its task ends would cost more than all else here.
        values = tuple([harmless(column, read(event)) for column, read in self._reading]) if self._columns else ()
        agent.running[id] = Running(started_at, at, attempt, values, None, None, 0 if self.log is None else at)
        due_us = at + agent.patience_us + 1
        if due_us < agent.due_us:
            self._losses.expect(agent, due_us)
        if agent.silent:
            self._heard_again(agent, id, at)

    def _finish(self, agent: Agent, event: Event, at: int, out: Folded, starts: bool) -> None:
        id, attempt = event.task_id, event.attempt
        task = agent.running.pop(id, None)
        if agent.silent:
            self._heard_again(agent, id, at)
        remember = id is not None
        if task is None or (attempt != task.attempt and attempt is not None and task.attempt is not None):
            remember = remember and self._is_news(agent, event, task, at)
            task = None
        elif self.log is not None:
            self._over(agent, id, task, at)
        started_at = event.started_at
        if started_at is None:
            started_at = unsaid_start(event, task, at)
        if event.duration_s is None and started_at is not None:
            ended_at = at / SECOND_US if event.finished_at is None else event.finished_at
            event.duration_s = max(ended_at - started_at, 0.0)
        usage, tokens, cost, unpaid = event.usage, None, None, None
        if usage is not None:
            tokens, cost = usage.total_tokens, usage.total_usd
            if tokens is None:
                tokens = tokens_of(usage)
        says_all = tokens is not None and cost is not None
        if task is not None:  # what it does not say itself
            tokens = task.tokens if tokens is None else tokens
            cost = task.cost_usd if cost is None else cost
        if not says_all or event.trace_id is not None:  # in a trace, it may turn out to have been tried more often
            # It is kept for its columns; what else its line said, which an example is yet to be given, may be large.
            columns = msgspec.structs.replace(event, attributes=self._asked_of(event))
            # It goes into the state as it is, and its texts may hold secrets.
            unpaid = Unpaid(hushed(columns), tokens is not None, cost is not None)
        finished = out.finished
        finished.events.append(event)
        finished.ts.append(at)
        finished.place.append(agent.place)
        finished.agent.append(agent.name)
        finished.duration_s.append(event.duration_s)
        finished.attempt.append(attempt)
        finished.status.append(event.status)
        finished.tokens.append(tokens)
        finished.cost_usd.append(cost)
        if starts:
            finished.started_at.append(started_at)
        if remember:
            agent.ended[id] = (at, started_at, attempt or 1, unpaid)
            self._ended += 1
            if self._ended > _MOST_SINCE_TURN:
                self._turn(at)

    def _asked_of(self, event: Event) -> dict[str, Any] | None:
        """Of its attributes those that some trigger asks for."""
        known = event.attributes or {}
        return {name: known[name] for name in self._attributes if name in known} or None

    def _is_news(self, agent: Agent, event: Event, task: Running | None, at: int) -> bool:
        """Whether an end is to be remembered that is not of the attempt that ran, which is `task`."""
        id, attempt = event.task_id, event.attempt or 1
        if task is not None:
            if attempt < (task.attempt or 1):  # the next attempt started already, and runs on
                agent.running[id] = task
                return False
            self._over(agent, id, task, at)
        other = agent.ended_of(id)
        return other is None or other[2] <= attempt or other[0] < at  # else the end of the next attempt arrived first
