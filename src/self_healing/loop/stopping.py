"""Stopping: that a person stopped healing, or let it go on, comes onto the audit log, whoever looked in between."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from self_healing.constitution.audit import Audit
from self_healing.constitution.stop import StopRecord, stopped, words
from self_healing.storage.store import Store

STOP, READ = "stop", "stops_read"
"""The facts that keep the stop that is on the audit log, and up to where people's words are."""


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

    def stands(self) -> StopRecord | None:
        """The stop that stands; None when none does."""
        return stopped(self._state_dir)

    def heed(self, at: datetime) -> None:
        """Put on the audit log what was said since the last time, and what stands now if nobody said so."""
        stands = self.stands()
        said = words(self._state_dir, self._read)
        if stands is not None and said and said[-1].what == "resumed":
            said.pop()  # the stop is about to be taken away, or could not be
        for word in said:
            self._read = word.end
            self._tell(word.record if word.what == "stopped" else None, word.record, at)
        if said:
            self._store.put_fact(READ, self._read)
        self._tell(stands, stands, at)

    def _tell(self, stop: StopRecord | None, whose: StopRecord | None, at: datetime) -> None:
        """Of a stop that stands now, or of none, if that is news; and whose word it is, where that is known."""
        told = None if stop is None else stop.told
        if told != self._told:
            self._audit.append("resumed" if stop is None else "stopped", {} if whose is None else whose.said, at)
            self._store.put_fact(STOP, told)
            self._told = told
