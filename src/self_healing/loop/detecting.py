"""Detecting: folds what was read and evaluates the triggers, instant by instant on the grid."""

from __future__ import annotations

from self_healing.checkpoint import Progress
from self_healing.clock import SECOND_US, from_us
from self_healing.forgetting import Forgetting
from self_healing.incidents.register import Register
from self_healing.loop.diagnosing import Diagnoser
from self_healing.model import Transition
from self_healing.telemetry.reader import Batch
from self_healing.telemetry.telemetry import Telemetry
from self_healing.triggers.framework import TriggerFramework


class Detecting:
    """Steps the grid.

    Args:
        telemetry: what is known of the fleet.
        framework: the triggers.
        register: takes what changed.
        diagnoser: counts the incidents that are open.
        progress: how far the loop has come.
        grid_s: seconds between the instants of the grid.
    """

    def __init__(
        self,
        telemetry: Telemetry,
        framework: TriggerFramework,
        register: Register,
        diagnoser: Diagnoser,
        progress: Progress,
        grid_s: int,
    ) -> None:
        self._telemetry = telemetry
        self._framework = framework
        self._register = register
        self._diagnoser = diagnoser
        self._progress = progress
        self._grid_us = grid_s * SECOND_US
        self._forgetting = Forgetting(telemetry, framework)
        self.quiet_until_us = 0
        """Before it nothing can happen, as somebody knows who has seen ahead: such instants are not looked at."""

    def instant(self, batch: Batch | None, now_us: int, *, exact: bool) -> int:
        """The instant to evaluate, microseconds: now, or how far everything has been read; it never goes backwards.

        Args:
            batch: what was read; None when nothing could be, and the loop's time stands still.
            exact: when all is read, now itself, not the last instant of the grid before it.
        """
        if batch is None:
            return self._progress.evaluated_us
        if batch.caught_up:
            until_us = now_us if exact else self._on_grid(now_us)
        else:
            # Beyond this some file may still hold what nobody has read; nothing at all may be known to be complete.
            until_us = self._on_grid(min(now_us, batch.newest_ts_us or 0, batch.complete_to_us or 0))
        return max(until_us, self._progress.evaluated_us)

    def step(self, t_us: int, *, caught_up: bool, complete_us: int | None = None) -> list[Transition]:
        """Evaluate every instant on the way to `t_us` at which something can change; returns what did.

        A fresh state starts at now: its history only fills panes and baselines.

        Args:
            caught_up: whether everything there is was read.
            complete_us: up to where everything was read, microseconds; None when that is all, or not known.
        """
        last_us = self._progress.evaluated_us
        if last_us == 0:
            if caught_up or complete_us is not None:  # else the files that nothing is known of are read next
                self._telemetry.fold(complete_us)
            return self._evaluate(t_us) if caught_up else []
        transitions: list[Transition] = []
        while (next_us := self.next_us(last_us)) is not None and next_us <= t_us:
            self._telemetry.fold(next_us, evaluated_us=last_us)
            transitions += self._evaluate(next_us, caught_up=caught_up)
            last_us = next_us
        if t_us > last_us and t_us != self._on_grid(t_us):  # a check in between
            self._telemetry.fold(t_us, evaluated_us=last_us)
            transitions += self._evaluate(t_us, caught_up=caught_up)
        elif caught_up and self._framework.unjudged:  # who fell silent meanwhile is seen now that all was read
            transitions += self._evaluate(t_us)
        if t_us == last_us and complete_us is not None:
            # What came late need not wait for the next instant, which is far while there is more to read: meanwhile it
            # would be sorted with every slice, and stored with every turn.
            self._telemetry.fold(min(t_us, complete_us), evaluated_us=t_us)
        self._progress.evaluated_us = t_us
        return transitions

    def next_us(self, last_us: int) -> int | None:
        """The next instant of the grid after `last_us` at which something can change; None when nothing can."""
        last_us = self._on_grid(last_us)
        due = [self._framework.next_due_us(last_us, self._grid_us)]
        for told_us in (self._telemetry.next_queued_us(), self._telemetry.next_due_us()):
            if told_us is not None:
                due.append(max(-(-told_us // self._grid_us) * self._grid_us, last_us + self._grid_us))
        next_us = min((instant for instant in due if instant is not None), default=None)
        return None if next_us is None else max(next_us, self.quiet_until_us)

    def _on_grid(self, t_us: int) -> int:
        return t_us // self._grid_us * self._grid_us

    def _evaluate(self, t_us: int, *, caught_up: bool = True) -> list[Transition]:
        self._telemetry.give_up_lost(t_us)
        transitions = self._framework.evaluate(t_us, caught_up=caught_up)
        self._progress.evaluated_us = t_us
        for transition in transitions:
            verdict = transition.verdict
            known = self._register.of(verdict.trigger, verdict.group)
            self._register.take(transition)
            opened = self._register.of(verdict.trigger, verdict.group) if known is None else None
            self._diagnoser.count(opened, from_us(t_us))
        self._forgetting.look(t_us, self._register.series)
        return transitions
