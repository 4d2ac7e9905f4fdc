"""Silences: series that are to open no incident for a time, because a person said so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from self_healing.errors import SilenceRefused
from self_healing.model import Group, Silence, new_id
from self_healing.problems import suggestion, unknown
from self_healing.spec import Spec
from self_healing.storage.store import Store

MOST_SHOWN: Final = 5
"""So many of the values that there are are named where none is near."""


def covers(silence: Silence, trigger: str, group: Group, at: datetime) -> bool:
    """Whether `silence` mutes a series at an instant; its start belongs to it, its end does not."""
    return (
        silence.starts_at <= at < silence.over_at
        and silence.trigger in (None, trigger)
        and silence.keys.items() <= dict(group).items()
    )


def matched(trigger: str | None, keys: Mapping[str, str], series: Iterable[tuple[str, Group]]) -> dict[str, Any]:
    """What a silence is for of what there is: how many `triggers` and `series`, and a `warning` where that is nothing.

    Args:
        trigger, keys: whose series, and what their groups have among their own.
        series: each there is, by its trigger and group.
    """
    meant = [(name, dict(group)) for name, group in series if trigger in (None, name)]
    names = [name for name, group in meant if keys.items() <= group.items()]
    return {
        "triggers": len(set(names)),
        "series": len(names),
        "warning": None if names else _nothing(trigger, keys, [group for _, group in meant]),
    }


def _nothing(trigger: str | None, keys: Mapping[str, str], groups: Sequence[Mapping[str, str]]) -> str:
    """Why none of these groups has `keys`, and what may have been meant."""
    if not groups:
        return f"{trigger or 'no trigger'} has {'no series' if trigger else 'a series'} yet; it mutes those to come"
    for key, value in keys.items():
        seen = sorted({group[key] for group in groups if key in group})
        if value not in seen:
            near = suggestion(value, seen)
            some = f" seen are {', '.join(seen[:MOST_SHOWN]) or 'none'}{', ...' if len(seen) > MOST_SHOWN else ''}"
            return f"no series has {key}={value};{near or some}; it mutes those to come"
    both = " and ".join(f"{key}={value}" for key, value in keys.items())
    return f"no series has {both} together; it mutes those to come"


class Silences:
    """The silences that are not over, and those whose end the loop has not seen yet.

    Args:
        store: the state; every change is put there at once, in the transaction that is open.
        spec: the loaded spec.
    """

    def __init__(self, store: Store, spec: Spec) -> None:
        self._store = store
        self._spec = spec
        self._open = {silence.id: silence for silence in store.select(Silence, open="yes")}

    def mutes(self, trigger: str, group: Group, at: datetime) -> Silence | None:
        """The silence that mutes a series at an instant, if one does."""
        for each in self._open.values():  # mostly none
            if covers(each, trigger, group, at):
                return each
        return None

    def add(
        self,
        trigger: str | None,
        keys: Mapping[str, str],
        *,
        at: datetime,
        starts_at: datetime | None,
        lasts: timedelta,
        by: str,
        reason: str,
    ) -> Silence:
        """Mute series from `starts_at` on, or from now when it is left out or past.

        Raises:
            SilenceRefused: it names neither a trigger nor a key, or none that there is, or has no reason.
        """
        self._check(trigger, keys, lasts)
        if not reason.strip():
            raise SilenceRefused("it has no reason; say why (--reason), for whoever finds it later")
        begins_at = at if starts_at is None else max(starts_at, at)
        silence = Silence(
            id=new_id("sil"),
            trigger=trigger,
            keys=dict(keys),
            by=by,
            reason=reason,
            created_at=at,
            starts_at=begins_at,
            ends_at=begins_at + lasts,
        )
        return self._put(silence)

    def _check(self, trigger: str | None, keys: Mapping[str, str], lasts: timedelta) -> None:
        triggers = [each for each in self._spec.triggers if trigger in (None, each.name)]
        if trigger is None and not keys:
            raise SilenceRefused("it names neither a trigger nor a key; an empty selection means nothing")
        if not triggers:
            names = [each.name for each in self._spec.triggers]
            raise SilenceRefused(f"trigger {trigger!r} is {unknown(trigger or '', names)}")
        if not any(set(keys) <= set(each.group_by) for each in triggers):
            known = "; ".join(sorted({", ".join(each.group_by) or "nothing" for each in triggers}))
            raise SilenceRefused(f"no trigger that it is for groups by {', '.join(keys)}; they group by {known}")
        if lasts <= timedelta(0):
            raise SilenceRefused("it would be over as it begins; give it a length above 0")

    def remove(self, id: str, *, at: datetime, by: str) -> Silence:
        """End a silence before its time. Raises NotFound, SilenceRefused when it is over already."""
        silence = self._store.get(Silence, id)
        if silence.removed_at is not None or silence.ends_at <= at:
            raise SilenceRefused(f"{id} is over already; there is nothing to remove")
        return self._put(msgspec.structs.replace(silence, removed_at=at, removed_by=by))

    def settle(self, at: datetime) -> list[Silence]:
        """Let go of those that are over at that instant; returns them."""
        over = [each for each in self._open.values() if each.over_at <= at]
        return [self._put(msgspec.structs.replace(silence, settled=True)) for silence in over]

    def next_due(self, at: datetime) -> datetime | None:
        """When the next one begins after `at`, or the next one ends."""
        due = [each.over_at for each in self._open.values()]
        due += [each.starts_at for each in self._open.values() if each.starts_at > at]
        return min(due, default=None)

    def _put(self, silence: Silence) -> Silence:
        self._store.put(silence)
        if silence.settled:
            self._open.pop(silence.id, None)
        else:
            self._open[silence.id] = silence
        return silence
