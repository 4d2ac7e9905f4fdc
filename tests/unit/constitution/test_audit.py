"""The audit log: whatever is done to it afterwards is found."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from self_healing.constitution.audit import Audit
from self_healing.errors import StateCorrupt
from self_healing.storage.readonly import DATABASE
from self_healing.storage.store import Store
from tests.unit.constitution.fine import FINE, NOW, decided

N = 5


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path) as opened:
        yield opened


@pytest.fixture
def audit(store: Store) -> Audit:
    """A log of five entries."""
    log = Audit(store)
    for number in range(1, N + 1):
        log.append("decision", {"number": number, "who": "Cöder"}, NOW + timedelta(seconds=number))
    return log


def tamper(store: Store, *statements: str) -> None:
    connection = sqlite3.connect(store.state_dir / DATABASE)
    with connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


def test_what_was_written_and_left_alone_is_found_right(audit: Audit) -> None:
    report = audit.verify()
    assert (report.ok, report.entries, report.first_bad_seq, report.problem) == (True, N, None, None)


def test_an_empty_log_is_right(store: Store) -> None:
    report = Audit(store).verify()
    assert (report.ok, report.entries) == (True, 0)


def test_a_log_of_more_than_one_chunk_is_walked_to_its_end(store: Store) -> None:
    log = Audit(store)
    with store.transaction():
        for number in range(4001):
            log.append("decision", {"number": number}, NOW)
    assert log.verify().entries == 4001
    tamper(store, "UPDATE audit SET payload = '{}' WHERE seq = 3500")
    assert log.verify().first_bad_seq == 3500


@pytest.mark.parametrize(
    ("statements", "first_bad", "problem"),
    [
        (["UPDATE audit SET payload = replace(payload, '3', '4') WHERE seq = 3"], 3, "was changed"),
        (["UPDATE audit SET kind = 'nothing' WHERE seq = 3"], 3, "was changed"),
        (["UPDATE audit SET at = '2020-01-01T00:00:00+00:00' WHERE seq = 1"], 1, "was changed"),
        (["UPDATE audit SET hash = 'f' || substr(hash, 2) WHERE seq = 3"], 3, "was changed"),
        (["UPDATE audit SET previous = 'f' WHERE seq = 3"], 3, "does not follow"),
        (["DELETE FROM audit WHERE seq = 1"], 1, "is missing"),
        (["DELETE FROM audit WHERE seq = 3"], 3, "is missing"),
        (["DELETE FROM audit WHERE seq = 5"], 5, "is missing"),
        (["DELETE FROM audit WHERE seq > 2"], 3, "and so are all after it"),
        (["DELETE FROM audit"], 1, "and so are all after it"),
        (["DELETE FROM audit WHERE seq = 3", "UPDATE audit SET seq = seq - 1 WHERE seq > 3"], 3, "does not follow"),
        (
            [
                "UPDATE audit SET seq = 99 WHERE seq = 2",
                "UPDATE audit SET seq = 2 WHERE seq = 3",
                "UPDATE audit SET seq = 3 WHERE seq = 99",
            ],
            2,
            "does not follow",
        ),
        (["INSERT INTO audit SELECT 6, at, kind, payload, previous, hash FROM audit WHERE seq = 5"], 6, "beyond"),
        (["DELETE FROM facts WHERE name = 'audit_head'"], 1, "beyond"),
    ],
)
def test_an_edit_a_deletion_a_swap_and_a_cut_are_found_where_they_are(
    store: Store, audit: Audit, statements: list[str], first_bad: int, problem: str
) -> None:
    tamper(store, *statements)
    report = audit.verify()
    assert not report.ok
    assert (report.first_bad_seq, report.entries) == (first_bad, first_bad - 1)
    assert report.problem is not None
    assert f"entry {first_bad} " in report.problem
    assert problem in report.problem


def test_an_end_that_was_made_anew_with_right_hashes_is_found(tmp_path: Path, store: Store, audit: Audit) -> None:
    with Store(tmp_path / "other") as other:
        forger = Audit(other)
        for number in range(1, N + 1):
            told = {"number": 0 if number == N else number, "who": "Cöder"}
            forged = forger.append("decision", told, NOW + timedelta(seconds=number))
    tamper(
        store,
        f"UPDATE audit SET hash = '{forged.hash}', payload = replace(payload, '5', '0') WHERE seq = {N}",
    )
    report = audit.verify()
    assert (report.ok, report.first_bad_seq) == (False, N)


def test_a_cut_stays_visible_after_further_entries(store: Store, audit: Audit) -> None:
    tamper(store, "DELETE FROM audit WHERE seq > 3")
    audit.append("decision", {}, NOW)
    assert audit.verify().first_bad_seq == 4


def test_a_log_whose_head_is_gone_goes_on_no_more(store: Store, audit: Audit) -> None:
    tamper(store, "DELETE FROM facts WHERE name = 'audit_head'")
    with pytest.raises(StateCorrupt, match="head is gone"):
        audit.append("decision", {}, NOW)


def test_a_head_that_is_none_is_reported_and_goes_on_no_more(store: Store, audit: Audit) -> None:
    tamper(store, "UPDATE facts SET value = x'c1' WHERE name = 'audit_head'")
    assert not audit.verify().ok
    with pytest.raises(StateCorrupt, match="not what was written"):
        audit.append("decision", {}, NOW)


def test_an_entry_of_a_transaction_that_did_not_commit_is_not_there_and_leaves_no_gap(
    store: Store, audit: Audit
) -> None:
    def fail() -> None:
        with store.transaction():
            audit.append("decision", {"lost": True}, NOW)
            audit.append("decision", {"lost": True}, NOW)
            raise RuntimeError("a crash")

    with pytest.raises(RuntimeError, match="a crash"):
        fail()
    entry = audit.append("decision", {}, NOW)
    assert entry.seq == N + 1
    assert audit.verify().entries == N + 1


def test_the_newest_entries_are_told_oldest_first(audit: Audit) -> None:
    assert [(entry.seq, entry.payload["number"]) for entry in audit.tail(2)] == [(4, 4), (5, 5)]
    assert audit.tail(1)[0].at == NOW + timedelta(seconds=N)
    assert len(audit.tail(99)) == N


def test_what_append_returns_is_what_is_on_record(audit: Audit) -> None:
    entry = audit.append("decision", {"b": [1, 2.5, None], "a": {"ü": True}}, NOW)
    assert audit.tail(1) == [entry]


def test_a_whole_decision_can_be_put_on_record(audit: Audit) -> None:
    payload: dict[str, Any] = {"decision": decided(FINE)}
    audit.append("decision", payload, NOW)
    assert audit.tail(1)[0].payload["decision"]["outcome"] == "allow"
    assert audit.verify().ok


def test_the_log_can_be_verified_by_somebody_who_may_only_read_while_its_owner_writes(
    store: Store, audit: Audit
) -> None:
    with Store(store.state_dir, read_only=True) as looking:
        assert Audit(looking).verify().entries == N
        audit.append("decision", {}, NOW)
        assert Audit(looking).verify().entries == N + 1
        assert len(Audit(looking).tail(99)) == N + 1


def test_a_time_without_a_zone_is_refused(audit: Audit) -> None:
    with pytest.raises(ValueError, match="time zone"):
        audit.append("decision", {}, datetime(2026, 1, 5))
