"""Grounds: what the verdict on a series stands on, beside its figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from self_healing.clock import from_us
from self_healing.model import SeriesState
from self_healing.triggers.series import NOT_FROZEN, Gathered, Series


@dataclass(frozen=True, slots=True, kw_only=True)
class Behind:
    """What the window of a series is compared with.

    Args:
        samples: how many there are before the window.
        frozen: whether they are those from before it fired, since it still does.
    """

    samples: int
    frozen: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Grounds:
    """What a verdict stands on.

    Args:
        behind: what its window is compared with; None where that is nothing, or nobody knows it.
        whole_at: when all that it is judged by was watched in full; None where it was, or need not be.
        untold: how many samples of the window its value cannot be told of: they came before anybody asked for it.
        members: the states of what a composite looks at, by trigger.
    """

    behind: Behind | None = None
    whole_at: datetime | None = None
    untold: int = 0
    members: Mapping[str, SeriesState] = field(default_factory=dict)


def grounds(series: Series, place: int, found: Gathered, t_us: int, *, members: Mapping[str, SeriesState]) -> Grounds:
    """What stands behind the verdict on one series at `t_us`.

    Args:
        place: of its group.
        found: what was looked at.
        members: the states of what a composite looks at, by trigger.
    """
    behind = None
    if found.before is not None:
        frozen = bool(series.frozen_count[place] != NOT_FROZEN)
        behind = Behind(samples=int(found.before.count[place]), frozen=frozen)
    whole_us = int(series.whole_us()[place]) if series.asks_whole else t_us
    untold = 0 if found.held is None else int(found.held[place] - found.totals.count[place])
    whole_at = from_us(whole_us) if whole_us > t_us else None
    return Grounds(behind=behind, whole_at=whole_at, untold=untold, members=members)
