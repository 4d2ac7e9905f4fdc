"""Stopping: that a person stopped healing, or let it go on, comes onto the audit log, whoever looked in between."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any, Final

from self_healing.constitution.audit import Audit
from self_healing.constitution.stop import StopRecord, Word, stopped, words
from self_healing.storage.store import Store

STOP, READ, SAID = "stop", "stops_read", "stops_said"
"""The facts that keep the stop that is on the audit log, up to where people's words are, and when the last was said."""

_FORMER: Final = "resumed"
"""The file in which an earlier release kept who had let healing go on last."""


class Stopping:
    """Notices what people say of the stop: that needs no owner of the state, so none hears it as it is said.

    Args:
        store: the state; written in the transaction that is open.
        audit: the audit log.
        state_dir: where the stop is.
    """

    def __init__(self, store: Store, audit: Audit, state_dir: Path) -> None:
        self._store = store
        self._audit = audit
        self._state_dir = state_dir
        self._told: dict[str, Any] | None = store.fact(STOP)  # the stop that is on the audit log
        self._read: int = store.fact(READ, int) or 0
        self._said_at: datetime | None = store.fact(SAID, datetime)
        stands = self.stands()
        if stands is not None and self._told == stands.said:
            self._told = stands.told  # an earlier release did not keep since when
        if not store.read_only:
            (state_dir / _FORMER).unlink(missing_ok=True)

    def stands(self) -> StopRecord | None:
        """The stop that stands; None when none does."""
        return stopped(self._state_dir)

    def heed(self, at: datetime) -> None:
        """Put on the audit log what was said since the last time, and what stands now if nobody said so."""
        said, stands = self._seen()
        new = self._new(said)
        if stands is not None and new and new[-1].what == "resumed":
            said.pop(), new.pop()  # the stop is about to be taken away, or could not be
        for word in new:
            self._said_at = word.record.at
            self._tell(word.record if word.what == "stopped" else None, word.record, at)
        if said:
            self._read = said[-1].end
            self._store.put_fact(READ, self._read)
            self._store.put_fact(SAID, self._said_at)
        self._tell(stands, stands, at)

    def _seen(self) -> tuple[list[Word], StopRecord | None]:
        """What was said, and what stood when nothing more was: what is said between two looks is looked at again."""
        said: list[Word] = []
        more = words(self._state_dir, self._read)
        while True:
            said += more
            stands = self.stands()
            more = words(self._state_dir, said[-1].end if said else self._read)
            if not more or (said and more[-1].end <= said[-1].end):
                return said, stands

    def _new(self, said: list[Word]) -> list[Word]:
        """What of it was not said before: where the file of all words was cut, or is an older one, all is read anew."""
        last = self._said_at
        if not said or said[0].end > self._read or last is None:
            return said.copy()
        return [word for word in said if word.record.at is not None and word.record.at > last]

    def _tell(self, stop: StopRecord | None, whose: StopRecord | None, at: datetime) -> None:
        """Of a stop that stands now, or of none, if that is news; and whose word it is, where that is known."""
        told = None if stop is None else stop.told
        if told != self._told:
            self._audit.append("resumed" if stop is None else "stopped", {} if whose is None else whose.said, at)
            self._store.put_fact(STOP, told)
            self._told = told
