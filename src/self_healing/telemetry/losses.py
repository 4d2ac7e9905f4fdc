"""Losses: when a task that nothing more is heard of is given up, and an agent no longer expected.

What is due next stands in order, so that nobody is looked at whose time has not come. It is known of each agent by when
none of its tasks can be lost: no later than the first of them, and worked out anew once that has come.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from heapq import heappop, heappush

from self_healing.clock import DAY_US
from self_healing.measures import NONE_MIN
from self_healing.telemetry.agents import Agent, Key, Quiet, Running

Lost = tuple[Agent, str | None, Running]
"""A task that was given up: its agent, its id, and what is known of it."""


class Losses:
    """What is due of the agents.

    Args:
        agents: by name; those that are no longer expected are let go of here.
    """

    def __init__(self, agents: dict[str | None, Agent]) -> None:
        self._agents = agents
        self._due: list[tuple[int, int, Agent]] = []
        self.quiet_us = 0 if agents else NONE_MIN
        """No agent is to be let go of before, microseconds."""
        self.quickened_us = 0
        """When it was last found that some agent's tasks are to be waited for less long."""
        for agent in agents.values():
            self._expect_at(agent, agent.lost_us())

    def meet(self, agent: Agent, at: int) -> None:
        """An agent is known from `at` on, microseconds."""
        self.quiet_us = min(self.quiet_us, max(agent.seen_us, at) + DAY_US + 1)

    def expect(self, agent: Agent, due_us: int) -> None:
        """A task of the agent may be lost at `due_us`."""
        if due_us < agent.due_us:
            agent.due_us = due_us
            heappush(self._due, (due_us, agent.number, agent))

    def _expect_at(self, agent: Agent, due_us: int) -> None:
        agent.due_us = NONE_MIN
        self.expect(agent, due_us)

    def quicken(self, agent: Agent, beat_us: int, at: int) -> None:
        """The usual gap between heartbeats became less: from `at` on all tasks are waited for less long."""
        longer_us = agent.patience_us
        if not agent.beat_us:
            agent.beats_since_us = at
        agent.beats(beat_us)
        self.quickened_us = at
        if agent.due_us < NONE_MIN:
            self.expect(agent, agent.due_us - longer_us + agent.patience_us)

    def next_us(self) -> int:
        """An instant before which nothing more is lost and nobody let go of."""
        due_us = min(self._due[0][0], self.quiet_us) if self._due else self.quiet_us
        return max(due_us, self.quickened_us)

    def next_lost_us(self) -> int | None:
        """When the next running task is lost, if nothing more is heard of it; None when none runs."""
        while self._due:
            due_us, _, agent = self._due[0]
            if agent.due_us == due_us:
                next_us = agent.lost_us()
                if next_us == due_us:
                    return due_us
                heappop(self._due)
                self._expect_at(agent, next_us)
            else:
                heappop(self._due)
        return None

    def give_up(
        self, t_us: int, repairs: Mapping[Key, str], *, keep_silent: bool, quiet: Quiet | None = None
    ) -> list[Lost]:
        """Let go of what is lost at `t_us`: tasks after three missed heartbeats, or a day; agents after a day.

        Args:
            repairs: the tasks that repair others; who has one is kept.
            keep_silent: whether tasks that missed heartbeats are remembered by their agents.
            quiet: hears of those that are so no longer, where somebody asks.
        """
        lost: list[Lost] = []
        while self._due and self._due[0][0] <= t_us:
            due_us, _, agent = heappop(self._due)
            if agent.due_us == due_us:
                next_us = agent.lost_us()
                if next_us <= t_us:
                    lost += _lost_of(agent, t_us, keep_silent=keep_silent)
                    next_us = agent.lost_us()
                self._expect_at(agent, next_us)
        if lost and keep_silent:
            self.quiet_us = min([self.quiet_us, *(task.seen_us + DAY_US + 1 for _, _, task in lost)])
        if self.quiet_us <= t_us:
            self._let_go(t_us, {name for name, _ in repairs}, quiet)
        return lost

    def _let_go(self, t_us: int, repairing: set[str | None], quiet: Quiet | None) -> None:
        """Let go of the agents that have been quiet for a day, and of the lost tasks that have."""
        self.quiet_us = NONE_MIN
        for name, agent in list(self._agents.items()):
            if agent.silent:
                gone = [each for each in agent.silent.items() if each[1].seen_us < t_us - DAY_US]
                if quiet is not None:
                    for id, task in gone:
                        quiet.add(agent, id, task, t_us)
                agent.silent = {id: task for id, task in agent.silent.items() if task.seen_us >= t_us - DAY_US}
            if agent.seen_us < t_us - DAY_US:
                agent.seen_us = 0
                if not agent.running and not agent.silent and name not in repairing:
                    del self._agents[name]
            heard = [task.seen_us for task in agent.silent.values()]
            heard += [agent.seen_us] if agent.seen_us else []
            self.quiet_us = min([self.quiet_us, *(seen_us + DAY_US + 1 for seen_us in heard)])


def _lost_of(agent: Agent, t_us: int, *, keep_silent: bool) -> list[Lost]:
    since_us = t_us - agent.patience_us
    lost = {id: task for id, task in agent.running.items() if task.seen_us < since_us}
    if keep_silent and agent.beat_us:
        agent.silent |= lost
    for id in lost:
        del agent.running[id]
    return [(agent, id, task) for id, task in lost.items()]


def level(counts: Sequence[int], most: int) -> int:
    """The number to which the larger of `counts`, ascending, are cut so that all add up to `most` or just below.

    So whoever has little keeps all of it.
    """
    below = 0
    for place, count in enumerate(counts):
        if below + count * (len(counts) - place) >= most:
            return (most - below) // (len(counts) - place)
        below += count
    return counts[-1]
