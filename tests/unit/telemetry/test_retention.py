"""What becomes of segments that were folded, on real files."""

from __future__ import annotations

import errno
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from self_healing.clock import DAY_US, FakeClock, to_us
from self_healing.errors import StorageError
from self_healing.telemetry.identities import Remembered, identity
from self_healing.telemetry.intake import Receipt
from self_healing.telemetry.recovery import key_identity, remember, span_known_by
from self_healing.telemetry.retention import CRASH_POINTS, Retention
from tests.unit.telemetry.test_intake import batch, opened, plain, send, span
from tests.unit.telemetry.test_segments import files_no_larger_than

AT = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
NAME = "0000000001"


class Crash(Exception):
    """The process ends here."""


def filled(directory: Path, number: int = 1) -> Path:
    """A closed segment with a batch of three events."""
    with opened(directory, FakeClock(AT)) as intake:
        send(intake, batch(span(number), plain("a"), plain("b"), key=str(number), undated=1))
    return directory / f"{number:010d}.jsonl"


def everything(directory: Path) -> dict[str, int]:
    return {file.name: file.stat().st_size for file in directory.iterdir()}


def found(file: Path, columns: str) -> list[tuple[object, ...]]:
    with duckdb.connect() as connection:
        return connection.execute(f"SELECT {columns} FROM read_parquet(?)", [str(file)]).fetchall()


def names(directory: Path) -> list[str]:
    return sorted(file.name for file in directory.iterdir())


def retention(directory: Path, keep: timedelta = timedelta(days=7), keep_bytes: int = 1 << 30) -> Retention:
    return Retention(directory, keep=keep, keep_bytes=keep_bytes)


def test_a_segment_that_was_folded_becomes_parquet_with_all_that_it_held(tmp_path: Path) -> None:
    filled(tmp_path)
    assert retention(tmp_path).tend(everything(tmp_path), active=None, now=AT) == []
    assert names(tmp_path) == [f"{NAME}.parquet"]
    assert found(tmp_path / f"{NAME}.parquet", "type, source, span_id, agent, key, events, rejected") == [
        ("self_healing_intake", "otlp", None, None, "1", 3, '{"undated":1}'),
        ("span", "otlp", "1", None, None, None, None),
        ("heartbeat", "otlp", None, "a", None, None, None),
        ("heartbeat", "otlp", None, "b", None, None, None),
    ]
    assert (tmp_path / f"{NAME}.parquet").stat().st_mtime == AT.timestamp()


def test_what_was_compacted_is_as_private_as_its_segment_was(tmp_path: Path) -> None:
    mode = filled(tmp_path).stat().st_mode
    retention(tmp_path).tend(everything(tmp_path), active=None, now=AT)
    assert (tmp_path / f"{NAME}.parquet").stat().st_mode == mode


def test_a_segment_that_is_active_or_not_wholly_folded_stays(tmp_path: Path) -> None:
    file = filled(tmp_path)
    size = file.stat().st_size
    assert retention(tmp_path).tend({file.name: size - 1}, active=None, now=AT) == []
    assert retention(tmp_path).tend({}, active=None, now=AT) == []
    assert retention(tmp_path).tend({file.name: size}, active=file.name, now=AT) == []
    assert names(tmp_path) == [file.name]


def test_what_was_compacted_is_still_known_when_it_comes_again(tmp_path: Path) -> None:
    filled(tmp_path)
    retention(tmp_path).tend(everything(tmp_path), active=None, now=AT)
    remembered = Remembered()
    remember(tmp_path, remembered, to_us(AT), DAY_US, 100)
    known = identity(span_known_by("t", "1", None, "agent") or "")
    assert remembered.spans.known([known]) == remembered.keys.known([key_identity("otlp", "1")]) == [True]
    with opened(tmp_path, FakeClock(AT)) as intake:
        assert send(intake, batch(span(1), plain("c"))).dropped == {"duplicate": 1}
    assert names(tmp_path) == ["0000000001.parquet", "0000000002.jsonl"]


@pytest.mark.parametrize("left", [0, 100, -1])
def test_a_start_is_not_kept_from_by_a_damaged_compacted_segment_but_says_so_while_it_is_there(
    tmp_path: Path, left: int
) -> None:
    file = filled(tmp_path).with_suffix(".parquet")
    retention(tmp_path).tend(everything(tmp_path), active=None, now=AT)
    file.write_bytes(file.read_bytes()[:left])
    os.utime(file, (AT.timestamp(), AT.timestamp()))
    with opened(tmp_path, FakeClock(AT)) as intake:
        (damaged,) = intake.damaged
        # It may have come before, and must not count twice.
        assert send(intake, batch(span(1))) == Receipt(dropped={"too_late": 1})
        file.unlink()
        assert intake.damaged == []
    assert damaged.startswith("segment 0000000001.parquet is damaged (")
    assert damaged.endswith("put a copy of it back, or delete it")


@pytest.mark.parametrize("point", CRASH_POINTS)
def test_a_compaction_that_was_interrupted_is_gone_on_with_and_loses_nothing(tmp_path: Path, point: str) -> None:
    file = filled(tmp_path)
    folded = everything(tmp_path)

    def crash(passed: str) -> None:
        if passed == point:
            raise Crash

    doomed = Retention(tmp_path, keep=timedelta(days=7), keep_bytes=1 << 30, crash=crash)
    with pytest.raises(Crash):
        doomed.tend(folded, active=None, now=AT)
    whole = tmp_path / f"{NAME}.parquet"
    assert file.exists() or whole.exists()
    remembered = Remembered()
    remember(tmp_path, remembered, to_us(AT), DAY_US, 100)
    assert remembered.keys.known([key_identity("otlp", "1")]) == [True]
    assert retention(tmp_path).tend(folded, active=None, now=AT) == []
    assert names(tmp_path) == [whole.name]
    assert found(whole, "count(*)") == [(4,)]


def test_a_corrupt_segment_is_set_aside_and_said(tmp_path: Path) -> None:
    file = filled(tmp_path)
    with file.open("ab") as opened_file:
        opened_file.write(b"\0\0 damaged\n")
    (note,) = retention(tmp_path).tend(everything(tmp_path), active=None, now=AT)
    assert names(tmp_path) == [f"{file.name}.corrupt"]
    assert "0000000001.jsonl.corrupt" in note
    assert retention(tmp_path).tend(everything(tmp_path), active=None, now=AT) == []
    with opened(tmp_path, FakeClock(AT)) as intake:  # what it holds is still known
        assert send(intake, batch(plain("a"), key="1")).dropped == {"duplicate": 1}


def test_compacted_segments_that_are_too_old_or_too_much_are_deleted_the_oldest_first(tmp_path: Path) -> None:
    for number in (1, 2, 3, 4):
        file = filled(tmp_path, number)
        at_s = (AT - timedelta(days=4 - number)).timestamp()
        os.utime(file, (at_s, at_s))
    retention(tmp_path).tend(everything(tmp_path), active=None, now=AT)
    assert len(names(tmp_path)) == 4
    (note,) = retention(tmp_path, keep=timedelta(days=2.5)).tend({}, active=None, now=AT)
    assert "0000000001.parquet was deleted: older" in note
    two = sum(everything(tmp_path).values()) - 1
    (note,) = retention(tmp_path, keep_bytes=two).tend({}, active=None, now=AT)
    assert "0000000002.parquet was deleted: more" in note
    assert names(tmp_path) == ["0000000002.deleted", "0000000003.parquet", "0000000004.parquet"]


def test_a_full_disk_does_not_stop_the_deletion_that_makes_room(tmp_path: Path) -> None:
    filled(tmp_path)
    retention(tmp_path).tend(everything(tmp_path), active=None, now=AT)
    filled(tmp_path, 2)
    keeper = retention(tmp_path, keep_bytes=0)
    with files_no_larger_than(8):
        (note,) = keeper.tend(everything(tmp_path), active=None, now=AT)
    assert "0000000001.parquet was deleted" in note
    assert keeper.problem is not None
    assert keeper.problem.startswith("segment 0000000002.jsonl cannot be compacted now: ")
    assert names(tmp_path) == ["0000000001.deleted", "0000000002.jsonl"]


def test_a_segment_that_cannot_be_compacted_now_keeps_no_other_from_it(tmp_path: Path) -> None:
    for number in (1, 2):
        filled(tmp_path, number)
    failures = [OSError(errno.EIO, "Input/output error")]

    def fail(_point: str) -> None:
        if failures:
            raise failures.pop()

    keeper = Retention(tmp_path, keep=timedelta(days=7), keep_bytes=1 << 30, crash=fail)
    assert keeper.tend(everything(tmp_path), active=None, now=AT) == []
    assert names(tmp_path) == ["0000000001.jsonl", "0000000002.parquet"]
    assert str(keeper.problem).startswith("segment 0000000001.jsonl cannot be compacted now: Input/output error")
    assert keeper.tend(everything(tmp_path), active=None, now=AT) == []
    assert keeper.problem is None
    assert names(tmp_path) == ["0000000001.parquet", "0000000002.parquet"]


def test_what_was_in_a_deleted_segment_is_too_late_when_it_comes_again_after_a_start(tmp_path: Path) -> None:
    for number in (1, 2):
        filled(tmp_path, number)
    retention(tmp_path).tend(everything(tmp_path), active=None, now=AT)
    retention(tmp_path, keep_bytes=0).tend({}, active=None, now=AT)
    with opened(tmp_path, FakeClock(AT)) as intake:
        assert send(intake, batch(span(1), plain("c"))) == Receipt(accepted=1, dropped={"too_late": 1})
        assert send(intake, batch(plain("a"), plain("b"), key="1")) == Receipt(dropped={"too_late": 2})
    assert everything(tmp_path).keys() == {"0000000002.deleted", "0000000003.jsonl"}
    assert everything(tmp_path)["0000000002.deleted"] == 0


def test_a_deletion_that_was_interrupted_is_gone_on_with(tmp_path: Path) -> None:
    filled(tmp_path)
    retention(tmp_path).tend(everything(tmp_path), active=None, now=AT)
    (tmp_path / f"{NAME}.parquet").rename(tmp_path / f"{NAME}.deleted")
    assert retention(tmp_path).tend({}, active=None, now=AT) == []
    assert everything(tmp_path) == {f"{NAME}.deleted": 0}
    assert (tmp_path / f"{NAME}.deleted").stat().st_mtime == AT.timestamp()


def test_an_empty_segment_simply_goes(tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.jsonl").touch()
    assert retention(tmp_path).tend({f"{NAME}.jsonl": 0}, active=None, now=AT) == []
    assert names(tmp_path) == []


def test_a_directory_that_cannot_be_tended_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot tend the segments"):
        retention(tmp_path / "nothing").tend({}, active=None, now=AT)
