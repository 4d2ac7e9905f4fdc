"""Forgetting: a series without samples for 25 hours and without an incident is forgotten, and its place used again.

Only a group goes of which no trigger, no pane, no running task and no verification has anything left; so nothing of it
can be taken for another's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from self_healing.clock import HOUR_US
from self_healing.measures import Grouped
from self_healing.model import Group
from self_healing.telemetry.telemetry import Telemetry
from self_healing.triggers.framework import TriggerFramework


class Forgetting:
    """Looks once an hour which groups can go.

    Args:
        telemetry: what is known of the fleet.
        framework: what the triggers remember of it.
        tell: hears which groups of a grouping are forgotten.
    """

    def __init__(
        self,
        telemetry: Telemetry,
        framework: TriggerFramework,
        tell: Callable[[Grouped, Iterable[Group]], None] = lambda _grouped, _gone: None,
    ) -> None:
        self._telemetry = telemetry
        self._framework = framework
        self._tell = tell
        self._hour = 0

    def look(self, t_us: int, open_series: Iterable[tuple[str, Group]]) -> None:
        """Forget what can be forgotten after the evaluation at `t_us`, if the last look was in another hour.

        Args:
            t_us: microseconds.
            open_series: trigger and group of the incidents that are not closed.
        """
        if t_us // HOUR_US == self._hour:
            return
        self._hour = t_us // HOUR_US
        incidents = [group for _, group in open_series]
        for grouped in self._telemetry.groupings:
            silent = self._framework.silent(grouped)
            if silent.any():
                for group in incidents:
                    place = self._telemetry.place(grouped, group)
                    if place is not None and self._telemetry.groups(grouped)[place] == group:
                        silent[place] = False
                groups = list(self._telemetry.groups(grouped))
                places = self._telemetry.forget(grouped, silent)
                self._framework.forget(grouped, places)
                self._tell(grouped, [groups[place] for place in places.tolist()])
