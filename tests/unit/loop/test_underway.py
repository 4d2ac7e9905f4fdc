"""What is under way and was done lately, as a new process finds it in the state."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from self_healing.loop.underway import Underway
from self_healing.model import ExecutionStatus
from self_healing.storage import lately
from self_healing.storage.store import Store
from tests.unit.actions.intents import START, decision, execution, record

S = ExecutionStatus


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setattr(lately, "AT_ONCE", 2)
    with Store(tmp_path / "state") as opened:
        yield opened


def put(store: Store, number: int, status: ExecutionStatus, hours: float = 0.0) -> None:
    at = START + timedelta(hours=hours)
    done = execution(number, handoff=None, tries=1, status=status, created_at=at, updated_at=at)
    with store.transaction():
        record(store, decision(done))
        store.put(done)


def test_what_was_done_counts_however_much_was_denied_since(store: Store) -> None:
    put(store, 1, S.DISPATCHED)
    for number, status in enumerate((S.DENIED, S.DEFERRED, S.AWAITING_APPROVAL, S.WOULD), 2):
        put(store, number, status, hours=1)
    assert len(Underway(store).effects) == 1


def test_all_of_the_last_day_counts_however_much_it_was(store: Store) -> None:
    for number in range(7):
        put(store, number, S.DISPATCHED, hours=number)
    assert len(Underway(store).effects) == 7


def test_what_is_older_than_a_day_need_not_be_read(store: Store) -> None:
    put(store, 1, S.DISPATCHED)
    put(store, 2, S.DISPATCHED, hours=25)
    put(store, 3, S.DISPATCHED, hours=50)
    assert len(Underway(store).effects) == 2
