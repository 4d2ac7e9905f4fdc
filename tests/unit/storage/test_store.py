"""The store: whole transactions, one owner, and a clear error whatever the disk does."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from self_healing.errors import NotFound, StateBusy, StateCorrupt, StateError, StorageError
from self_healing.model import Execution, Handoff, Incident, IncidentState, Judged, Lesson, Result
from self_healing.storage.lookups import TABLES
from self_healing.storage.migrations import create, upgrade, version
from self_healing.storage.readonly import DATABASE, HEAD, read
from self_healing.storage.schema import metadata
from self_healing.storage.store import MOST_RECORDS, Store
from tests.unit.actions.intents import execution, handoff
from tests.unit.constitution.fine import ago, incident

AGES = (("a", 0.0), ("b", 0.5), ("c", 10.0))


def lesson(name: str = "a") -> Lesson:
    return Lesson(id=name, trigger="t", action="a", agent="Coder")


@pytest.mark.parametrize("way", [create, upgrade])
def test_a_new_state_and_one_that_went_through_every_version_have_the_same_tables(
    way: Callable[[sa.Connection], None],
) -> None:
    engine = sa.create_engine("sqlite://")
    with engine.begin() as connection:
        way(connection)
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        assert version(connection) == HEAD
    engine.dispose()


def test_a_transaction_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def half(store: Store) -> None:
        with store.transaction():
            store.put(lesson())
            with store.transaction():
                store.put_fact("x", 1)
            raise ZeroDivisionError

    with Store(tmp_path) as store:
        with pytest.raises(ZeroDivisionError):
            half(store)
        assert store.select(Lesson) == []
        assert store.fact("x") is None


def test_what_is_put_again_takes_the_place_of_what_was_there(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store.put(lesson("a"), lesson("b"), lesson("a"))
        assert [each.id for each in store.select(Lesson)] == ["a", "b"]
        assert [each.id for each in store.select(Lesson, newest=1)] == ["b"]
        assert store.select(Lesson, newest=0) == []
        assert store.count(Lesson, trigger="t") == 2
        with pytest.raises(NotFound):
            store.get(Lesson, "c")


def test_a_question_is_answered_anew_once_something_was_written_or_taken_back(tmp_path: Path) -> None:
    def names(store: Store) -> list[str]:
        with store.transaction():
            return [each.id for each in store.select(Lesson, trigger="t")]

    def half(store: Store) -> None:
        with store.transaction():
            store.put(lesson("b"))
            assert names(store) == ["a", "b"]
            raise ZeroDivisionError

    with Store(tmp_path) as store:
        assert names(store) == []
        store.put(lesson("a"))
        assert names(store) == ["a"]
        names(store).clear()
        with pytest.raises(ZeroDivisionError):
            half(store)
        assert names(store) == ["a"]


def test_a_record_is_found_by_its_id_as_it_was_written_last_or_not_at_all(tmp_path: Path) -> None:
    def tries(store: Store) -> int | None:
        with store.transaction():
            found = store.find(Lesson, "a")
            return None if found is None else found.tries

    def again(store: Store) -> None:
        with store.transaction():
            store.put(msgspec.structs.replace(lesson("a"), tries=9))
            assert tries(store) == 9
            raise ZeroDivisionError

    with Store(tmp_path) as store:
        assert tries(store) is None
        store.put(lesson("a"))
        assert tries(store) == 0
        with pytest.raises(ZeroDivisionError):
            again(store)
        assert tries(store) == 0
        store.put(msgspec.structs.replace(lesson("a"), tries=2))
        store.put(*(lesson(f"b{number}") for number in range(MOST_RECORDS)))
        assert tries(store) == 2
        store.delete(Lesson, TABLES[Lesson].c.id == "a")
        assert tries(store) is None


def test_what_somebody_else_wrote_into_the_database_is_seen_by_the_next_transaction(tmp_path: Path) -> None:
    with Store(tmp_path) as store, sqlite3.connect(tmp_path / DATABASE) as other:
        store.put(lesson("a"))
        with store.transaction():
            assert store.find(Lesson, "a") is not None
        other.execute("DELETE FROM lessons")
        other.commit()
        with store.transaction():
            assert store.find(Lesson, "a") is None
    other.close()


def test_no_execution_is_stored_without_a_decision(tmp_path: Path) -> None:
    with Store(tmp_path) as store, pytest.raises(StorageError):
        store.put(execution())
    with Store(tmp_path) as store:
        assert store.count(Execution) == 0


def test_a_second_owner_is_refused_and_a_reader_is_not(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store.put_fact("x", 1)
        with pytest.raises(StateBusy, match="in use by another"):
            Store(tmp_path)
        with Store(tmp_path, read_only=True) as reader:
            assert reader.fact("x") == 1
            with pytest.raises(StorageError):
                reader.put_fact("x", 2)
    Store(tmp_path).close()


@pytest.mark.parametrize("name", ["a b", "50%20", "who?", "#1"])
def test_the_directory_may_be_called_anything(tmp_path: Path, name: str) -> None:
    directory = tmp_path / name
    with Store(directory) as store:
        store.put_fact("x", 1)
    with Store(directory, read_only=True) as reader:
        assert reader.fact("x") == 1
    assert read(directory, "SELECT name FROM facts") == [("x",)]
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_state_that_is_not_there_or_no_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="holds no state yet"):
        Store(tmp_path / "none", read_only=True)
    (tmp_path / "file").touch()
    with pytest.raises(StateError, match="cannot use the state directory"):
        Store(tmp_path / "file")


@pytest.mark.spoils_state
def test_a_file_that_is_no_database_is_corrupt_and_the_lock_is_given_back(tmp_path: Path) -> None:
    (tmp_path / DATABASE).write_bytes(b"nonsense" * 1000)
    for _ in range(2):
        with pytest.raises(StateCorrupt, match="move it away"):
            Store(tmp_path)


def test_a_record_and_a_schema_version_that_nobody_wrote_are_corrupt(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store.put(lesson())
    with sqlite3.connect(tmp_path / DATABASE) as other:
        other.execute("UPDATE lessons SET record = '{'")
    with Store(tmp_path) as store, pytest.raises(StateCorrupt, match="a lesson is not what was written"):
        store.select(Lesson)
    with sqlite3.connect(tmp_path / DATABASE) as other:
        other.execute("UPDATE alembic_version SET version_num = '9999'")
    other.close()
    with pytest.raises(StateCorrupt, match="schema version 9999"):
        Store(tmp_path)


def downgrade(connection: sqlite3.Connection, to: str) -> None:
    """Undo what came after version 0003, and say that it is of version `to`."""
    connection.execute("DROP TABLE approvals")
    later = {"incidents": ("closed_at", "parent", "agent"), "executions": ("updated_at",)}
    later["handoffs"] = ("about", "target_agent")
    for table, column in ((table, column) for table, columns in later.items() for column in columns):
        connection.execute(f"DROP INDEX ix_{table}_{column}")
        connection.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
    connection.execute(f"UPDATE alembic_version SET version_num = '{to}'")


def test_the_newest_are_found_by_when_they_ended_also_in_a_state_of_an_earlier_release(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        over = [incident(id=name, state=IncidentState.CLOSED, closed_at=ago(age)) for name, age in AGES]
        store.put(*over)
        assert [each.id for each in store.select(Incident, newest=2, by="closed_at", state="closed")] == ["b", "a"]
    with sqlite3.connect(tmp_path / DATABASE) as other:
        downgrade(other, "0003")
    other.close()
    with Store(tmp_path) as store:
        assert [each.id for each in store.select(Incident, newest=2, by="closed_at", state="closed")] == ["b", "a"]


def test_what_is_beneath_a_parent_is_found_also_in_a_state_of_an_earlier_release(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store.put(incident(id="parent"), incident(id="child", parent="parent"))
    with sqlite3.connect(tmp_path / DATABASE) as other:
        downgrade(other, "0003")
    other.close()
    with Store(tmp_path) as store:
        assert [each.id for each in store.select(Incident, parent="parent")] == ["child"]


def test_what_concerns_an_agent_is_found_also_in_a_state_of_an_earlier_release(tmp_path: Path) -> None:
    def of(store: Store, agent: str) -> list[str]:
        handoffs = [each.id for each in store.select(Handoff, agent=agent)]
        assert [each.id for _, each in store.page(Handoff, 9, agent=[agent])] == handoffs[::-1]
        return [*(each.id for each in store.select(Incident, agent=agent)), *handoffs]

    with Store(tmp_path) as store:
        groups = {"a": (("agent", "A"), ("model", "m")), "b": (("agent", "B"),), "m": (("model", "A"),)}
        store.put(*(incident(id=name, group=group) for name, group in groups.items()))
        work = {"h1": ("A", "B"), "h2": ("B", "C"), "h3": ("C", "A"), "h4": ("A", "A")}
        store.put(*(handoff(id=name, about=about, target_agent=to) for name, (about, to) in work.items()))
        assert of(store, "A") == ["a", "h1", "h3", "h4"]
    with sqlite3.connect(tmp_path / DATABASE) as other:
        downgrade(other, "0003")
    other.close()
    with Store(tmp_path) as store:
        assert [of(store, name) for name in "AB"] == [["a", "h1", "h3", "h4"], ["b", "h1", "h2"]]
        assert [each.id for each in store.select(Handoff, newest=1, agent="B", status="created")] == ["h2"]


def test_lessons_that_an_earlier_release_wrote_get_the_time_of_their_newest_result(tmp_path: Path) -> None:
    at = datetime(2026, 1, 5, tzinfo=UTC)
    with Store(tmp_path) as store:
        store.put(msgspec.structs.replace(lesson(), last_at=at))
    with sqlite3.connect(tmp_path / DATABASE) as other:
        other.execute("""UPDATE lessons SET record = json_set(record, '$.recent', json('["healed","worse"]'))""")
        downgrade(other, "0002")
    other.close()

    with Store(tmp_path) as store:
        [upgraded] = store.select(Lesson)

    assert upgraded.recent == (Judged(at=at, result=Result.HEALED), Judged(at=at, result=Result.WORSE))


FULL = """
import resource, signal, sys
from pathlib import Path
from self_healing.errors import StorageError
from self_healing.model import Lesson
from self_healing.storage.store import MOST_RECORDS, Store
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with Store(Path(sys.argv[1])) as store:
    store.put_fact("before", 1)
    size = 400_000
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    try:
        with store.transaction():
            store.put_fact("small", 1)
            store.put_fact("large", b"x" * 2_000_000)
    except StorageError as error:
        print("refused")
    print(store.fact("before"), store.fact("small"))
"""


def test_on_a_full_disk_nothing_of_a_transaction_is_there(tmp_path: Path) -> None:
    ran = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=False)
    assert ran.stdout.split() == ["refused", "1", "None"], ran.stderr


def test_a_locked_database_is_an_error_and_passes(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        other = sqlite3.connect(tmp_path / DATABASE, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match="locked"):
            store.put_fact("x", 1)
        other.execute("ROLLBACK")
        other.close()
        store.put_fact("x", 2)
        assert store.fact("x") == 2
