"""Inhibiting: a trigger that fires mutes others for the same group, while it does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from self_healing.measures import Windows
from self_healing.model import OVERFLOW, Group, Muted, Reason, SeriesState, group_label
from self_healing.triggers.series import Series


class Inhibiting:
    """Says what is inhibited by what.

    Args:
        series: those of each trigger, by its name.
        windows: has the places of their groups.
    """

    def __init__(self, series: Mapping[str, Series], windows: Windows) -> None:
        self._series = series
        self._windows = windows

    def by(self, trigger: str, group: Group) -> Muted | None:
        """What inhibits a series as of the newest evaluated instant; None when nothing does."""
        series = self._series.get(trigger)
        if series is None or not series.trigger.inhibited_by:  # nearly all: asked of all that is open at every instant
            return None
        for other, of in self._inhibitors(trigger, group):
            if of is not None and self._fires(other, of):
                name = other.trigger.name
                text = f"{name} fires for {group_label(of)}"
                return Muted(why=Reason.INHIBITED, what=name, by="the spec", until=None, text=text)
        return None

    def overflowing(self, trigger: str, group: Group) -> list[str]:
        """The triggers that would inhibit a series if what fires in their overflow is its group, which nobody knows."""
        return [
            other.trigger.name
            for other, of in self._inhibitors(trigger, group)
            if of is None and self._fires(other, _overflow(other))
        ]

    def _fires(self, series: Series, group: Group) -> bool:
        place = self._windows.place(series.measure.grouped, group)
        return place is not None and series.state_of(place) >= SeriesState.FIRING

    def _inhibitors(self, trigger: str, group: Group) -> Iterator[tuple[Series, Group | None]]:
        """The triggers that inhibit this one, where they are on, and the group of each that has to fire for that.

        None where it is in the overflow: that is of many, and says of no single one that it fires. Only where both keep
        the same groups apart is the overflow of the one that of the other.
        """
        series = self._series.get(trigger)
        for name in () if series is None else series.trigger.inhibited_by:
            other = self._series.get(name)
            if series is None or other is None or not other.trigger.enabled:
                continue
            of = tuple(pair for column in other.measure.group_by for pair in group if pair[0] == column)
            grouped, several = other.measure.grouped, bool(of) and of == _overflow(other)
            apart = not several and self._windows.place(grouped, of) is not None
            yield other, of if apart or grouped == series.measure.grouped else None


def _overflow(series: Series) -> Group:
    """The group of all that a trigger does not keep apart."""
    return tuple((column, OVERFLOW) for column in series.measure.group_by)
