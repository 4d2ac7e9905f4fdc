"""Muting from outside the engine, whoever's word it is, as one answer: what keeps a series from opening an incident."""

from __future__ import annotations

from datetime import datetime

from self_healing.incidents.silences import Silences
from self_healing.model import Group, Muted, Reason, Silence


class Muting:
    """What mutes a series at an instant.

    Args:
        silences: what people have muted.
    """

    def __init__(self, silences: Silences) -> None:
        self._silences = silences

    def by(self, trigger: str, group: Group, at: datetime) -> Muted | None:
        """What mutes a series at an instant; None when nothing does."""
        silence = self._silences.mutes(trigger, group, at)
        return None if silence is None else _silenced(silence)

    def next_due(self, at: datetime) -> datetime | None:
        """When something begins or ends to mute next, after `at`."""
        return self._silences.next_due(at)


def _silenced(silence: Silence) -> Muted:
    text = f"{silence.by}: {silence.reason}"
    return Muted(why=Reason.SILENCED, what=silence.id, by=silence.by, until=silence.ends_at, text=text)
