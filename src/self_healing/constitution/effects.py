"""What automation did lately and is doing: the past that limits on rate, concurrency, attempts and failures look at."""

from __future__ import annotations

import bisect
import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from operator import itemgetter

from self_healing.model import Execution, ExecutionStatus
from self_healing.spec import Limits

Span = tuple[datetime, datetime | None]
"""From when to when; None is until now."""

_MINUTE = timedelta(minutes=1)
_HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)
_MOST_CAUSES = 100  # of one incident, that are looked at: the newest

WITH_EFFECT = frozenset(
    (
        ExecutionStatus.INTENDED,
        ExecutionStatus.DISPATCHED,
        ExecutionStatus.SUCCEEDED,
        ExecutionStatus.FAILED,
        ExecutionStatus.UNKNOWN,
    )
)
"""Of those the gate allowed, and but for what failed before it began they count against the limits."""

# A crash that hides whether the effect happened counts as a failure: what kills the process each time must not go on.
_FAILURES = frozenset((ExecutionStatus.FAILED, ExecutionStatus.UNKNOWN))


class Effects:
    """Executions that the gate allowed, indexed, so that judging one proposal costs little however many there were.

    An execution counts from its ``created_at``, which is when its intent was committed. What was denied or deferred,
    what waits for a person, what was only noted in observe mode and what ended before it began is left out.

    Args:
        executions: in any order; those of the last 24 h are enough.
    """

    def __init__(self, executions: Iterable[Execution] = ()) -> None:
        self._by_id: dict[str, Execution] = {}
        self._times: list[datetime] = []  # sorted
        self._running: dict[str, str] = {}  # target by id
        self._of_target: defaultdict[str, dict[str, None]] = defaultdict(dict)  # ids
        self._of_action: defaultdict[str, dict[str, None]] = defaultdict(dict)  # ids
        self._handed_to: defaultdict[str, dict[str, None]] = defaultdict(dict)  # ids
        for execution in executions:
            self.add(execution)

    def __len__(self) -> int:
        return len(self._by_id)

    def add(self, execution: Execution) -> None:
        """Take in one execution, new or in place of itself as it was before."""
        if execution.id in self._by_id:
            self._remove(execution.id)
        never_began = execution.status is ExecutionStatus.FAILED and not execution.tries
        if execution.status not in WITH_EFFECT or never_began:
            return
        self._by_id[execution.id] = execution
        bisect.insort(self._times, execution.created_at)
        if execution.status is ExecutionStatus.INTENDED:
            self._running[execution.id] = execution.target
        self._of_target[execution.target][execution.id] = None
        self._of_action[execution.action][execution.id] = None
        self._handed_to[execution.target_agent][execution.id] = None

    def forget(self, at: datetime) -> None:
        """Let go of what is over and older than 24 h at that instant; nothing looks at it any more."""
        over = [
            id
            for id, execution in self._by_id.items()
            if id not in self._running and max(execution.created_at, execution.updated_at) <= at - _DAY
        ]
        for id in over:
            self._remove(id)

    def in_last_minute(self, at: datetime) -> int:
        """How many were begun in the minute before `at`. Later ones count too: a clock set back frees nothing."""
        return len(self._times) - bisect.bisect_right(self._times, at - _MINUTE)

    def running(self) -> int:
        """How many have an intent and no outcome yet."""
        return len(self._running)

    def running_on(self, target: str) -> int:
        """How many of those are about that agent."""
        return sum(about == target for about in self._running.values())

    def targets(self) -> list[str]:
        """The agents that any of them is about."""
        return list(self._of_target)

    def running_of(self, action: str) -> int:
        """How many of those are of that action."""
        return sum(self._by_id[id].action == action for id in self._running)

    def times_on(self, target: str, at: datetime) -> list[datetime]:
        """When actions on that agent were begun in the 24 h before `at`; an analysis changes nothing, and is none."""
        executions = (self._by_id[id] for id in self._of_target.get(target, ()))
        return sorted(
            execution.created_at
            for execution in executions
            if execution.created_at > at - _DAY and not _analyses(execution)
        )

    def incidents_on(self, target: str) -> set[str]:
        """The ids of the incidents that those about that agent belong to."""
        return {self._by_id[id].incident for id in self._of_target.get(target, ())}

    def causal_depth(self, target: str, incident: str, began: Callable[[str], datetime | None]) -> int:
        """How long the longest chain of actions is that ends with one on that agent for that incident.

        One action may have caused an incident when it was done to the incident's agent, or handed to it, within the
        hour before the incident was opened: for so long a directive holds. An analysis changes nothing.

        Args:
            target: the affected agent.
            incident: what the action answers.
            began: when an incident was opened first; None of one that nobody knows.
        """
        known: dict[str, int] = {}

        def longest(incident: str, target: str) -> int:
            if incident not in known:
                known[incident] = 0  # what comes back to itself is not counted again
                causes = self._causes(incident, target, began)
                known[incident] = 1 + max((longest(*cause) for cause in causes), default=0)
            return known[incident]

        return longest(incident, target)

    def _causes(self, incident: str, target: str, began: Callable[[str], datetime | None]) -> Iterable[tuple[str, str]]:
        """The incidents, each with its agent, that were acted on in a way that may have caused this one."""
        ids = {**self._of_target.get(target, {}), **self._handed_to.get(target, {})}
        at = began(incident) if ids else None
        if at is None:
            return
        for id in list(ids)[-_MOST_CAUSES:]:
            execution = self._by_id[id]
            own = execution.incident == incident
            if not own and not _analyses(execution) and at - _HOUR <= execution.created_at < at:
                yield execution.incident, execution.target

    def begun_since(self, trigger: str, action: str, since: datetime) -> bool:
        """Whether that action was begun for that trigger at or after `since`."""
        return any(
            self._by_id[id].trigger == trigger and self._by_id[id].created_at >= since
            for id in self._of_action.get(action, ())
        )

    def breaker_open(self, action: str, at: datetime, limits: Limits) -> bool:
        """Whether the last executions of that action failed in a row too often for another one now.

        After ``breaker_half_open_after`` one trial may go; while it is under way the others wait for its outcome.
        """
        executions = [self._by_id[id] for id in self._of_action.get(action, ())]
        ended = [execution for execution in executions if execution.status is not ExecutionStatus.INTENDED]
        ended.sort(key=lambda execution: (execution.updated_at, execution.created_at), reverse=True)
        newest = ended[: limits.breaker_failures]
        if len(newest) < limits.breaker_failures or any(execution.status not in _FAILURES for execution in newest):
            return False
        if len(ended) < len(executions):
            return True
        return at - newest[0].updated_at < timedelta(seconds=limits.breaker_half_open_after)

    def _remove(self, id: str) -> None:
        execution = self._by_id.pop(id)
        del self._times[bisect.bisect_left(self._times, execution.created_at)]
        self._running.pop(id, None)
        for index, key in (
            (self._of_target, execution.target),
            (self._of_action, execution.action),
            (self._handed_to, execution.target_agent),
        ):
            del index[key][id]
            if not index[key]:
                del index[key]


def _analyses(execution: Execution) -> bool:
    """Whether it is an analysis, which belongs to no plan and changes nothing in the fleet."""
    return execution.step < 0


def cool_down_left_s(times: Sequence[datetime], now: datetime, limits: Limits, unwell: Iterable[Span] = ()) -> int:
    """How many seconds an agent is still left alone after the actions on it; 0 when it may be acted on.

    The first action is followed by ``cool_down``, each further one by twice as much, ``cool_down_max`` at most. When
    the agent was well for ``cool_down_reset`` without a break it starts anew.

    Args:
        times: when past actions on the agent were begun, oldest first.
        now: an instant after them.
        limits: the limits in force.
        unwell: when the agent had an incident that was not closed.
    """
    if not times:
        return 0
    reset = timedelta(seconds=limits.cool_down_reset)
    spans = sorted(((start, end or now) for start, end in unwell), key=itemgetter(0))
    in_a_row = 1
    for earlier, later in itertools.pairwise(times):
        in_a_row = in_a_row + 1 if _longest_well(earlier, later, spans) < reset else 1
    if _longest_well(times[-1], now, spans) >= reset:
        return 0
    gone = now - times[-1]
    # Beyond 64 doublings the maximum holds anyhow, and the number stays small.
    length = min(limits.cool_down << min(in_a_row - 1, 64), limits.cool_down_max)
    return max(0, math.ceil(length - gone.total_seconds()))


def _longest_well(start: datetime, end: datetime, unwell: Sequence[tuple[datetime, datetime]]) -> timedelta:
    """The longest stretch between `start` and `end` in none of these spans, which are sorted by their start."""
    longest, well_since = timedelta(0), start
    for ill_at, well_at in unwell:
        longest = max(longest, min(ill_at, end) - well_since)
        well_since = max(well_since, well_at)
    return max(longest, end - well_since)
