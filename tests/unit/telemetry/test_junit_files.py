from __future__ import annotations

import json
import os
import tracemalloc
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from self_healing.clock import FakeClock
from self_healing.errors import StorageError, TelemetryError
from self_healing.telemetry.junit import MAX_BYTES, TOO_LARGE
from self_healing.telemetry.junit_files import JunitFolder, take_file
from tests.unit.telemetry.test_intake import opened

AT = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
SUITE = "<testsuite><testcase name='a'/></testsuite>"


def put(path: Path, text: str = SUITE, age_s: float = 60) -> Path:
    path.write_text(text)
    os.utime(path, (AT.timestamp() - age_s, AT.timestamp() - age_s))
    return path


def folder(tmp_path: Path, clock: FakeClock | None = None) -> JunitFolder:
    (tmp_path / "junit").mkdir(exist_ok=True)
    now = (clock or FakeClock(AT)).now
    return JunitFolder(tmp_path / "junit", tmp_path / "junit.json", agent="Tester", now=now)


def runs(tmp_path: Path) -> list[tuple[str, str]]:
    """Time and agent of each test run that was written."""
    text = "".join(file.read_text() for file in sorted((tmp_path / "segments").iterdir()))
    lines = [json.loads(line) for line in text.splitlines()]
    return [(line["ts"], line["agent"]) for line in lines if line["type"] == "test_run"]


def test_a_file_is_taken_with_the_time_at_which_it_was_written(tmp_path: Path) -> None:
    file = put(tmp_path / "a.xml")
    with opened(tmp_path / "segments") as intake:
        assert take_file(intake, file, "Coder").accepted == 1
        assert take_file(intake, file, "Coder").dropped == {"duplicate": 1}
    assert runs(tmp_path) == [("2026-01-05T09:59:00.000Z", "Coder")]


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with opened(tmp_path / "segments") as intake, pytest.raises(TelemetryError, match=r"nothing\.xml"):
        take_file(intake, tmp_path / "nothing.xml", None)


def test_a_file_that_is_too_large_is_rejected_and_not_read_whole(tmp_path: Path) -> None:
    file = put(tmp_path / "a.xml")
    os.truncate(file, 20 * MAX_BYTES)
    with opened(tmp_path / "segments") as intake:
        tracemalloc.start()
        try:
            assert take_file(intake, file, None).rejected == {TOO_LARGE: 1}
            assert tracemalloc.get_traced_memory()[1] < 3 * MAX_BYTES
        finally:
            tracemalloc.stop()


def test_each_file_of_a_folder_is_taken_once_also_after_a_start(tmp_path: Path) -> None:
    watched = folder(tmp_path)
    put(tmp_path / "junit" / "a.xml")
    put(tmp_path / "junit" / "notes.txt")
    with opened(tmp_path / "segments") as intake:
        assert [watched.look(intake), watched.look(intake)] == [1, 0]
        put(tmp_path / "junit" / "b.xml")  # the same content is another run
        assert [watched.look(intake), folder(tmp_path).look(intake)] == [1, 0]
        put(tmp_path / "junit" / "a.xml", age_s=30)  # written anew, with the same outcome
        assert folder(tmp_path).look(intake) == 1
    assert len(runs(tmp_path)) == 3


def test_a_file_that_is_being_written_waits(tmp_path: Path) -> None:
    clock = FakeClock(AT)
    watched = folder(tmp_path, clock)
    put(tmp_path / "junit" / "a.xml", "<testsuite>", age_s=1)
    with opened(tmp_path / "segments") as intake:
        assert watched.look(intake) == 0
        put(tmp_path / "junit" / "a.xml", age_s=0)
        clock.advance(5)
        assert watched.look(intake) == 1
    assert len(runs(tmp_path)) == 1


def test_a_file_that_cannot_be_looked_at_keeps_no_other_from_being_taken_once(tmp_path: Path) -> None:
    watched = folder(tmp_path)
    put(tmp_path / "junit" / "a.xml")
    with opened(tmp_path / "segments") as intake:
        assert watched.look(intake) == 1
        (tmp_path / "junit" / "0.xml").symlink_to("0.xml")
        put(tmp_path / "junit" / "b.xml")
        assert watched.look(intake) == 1
        assert "0.xml is not taken yet" in watched.problems[0]
        (tmp_path / "junit" / "0.xml").unlink()
        assert folder(tmp_path).look(intake) == 0


@pytest.mark.parametrize("meanwhile", ["nothing", "empty", "no directory"])
def test_a_folder_that_is_away_for_a_while_is_not_taken_again(tmp_path: Path, meanwhile: str) -> None:
    watched = folder(tmp_path)
    put(tmp_path / "junit" / "a.xml")
    with opened(tmp_path / "segments") as intake:
        assert watched.look(intake) == 1
        (tmp_path / "junit").rename(tmp_path / "away")
        if meanwhile == "empty":
            (tmp_path / "junit").mkdir()
        elif meanwhile == "no directory":
            (tmp_path / "junit").touch()
        assert watched.look(intake) == 0
        assert bool(watched.problems) == (meanwhile == "no directory")
        if meanwhile == "no directory":
            (tmp_path / "junit").unlink()
        (tmp_path / "away").rename(tmp_path / "junit")
        assert [watched.look(intake), folder(tmp_path).look(intake)] == [0, 0]


def test_a_file_that_is_gone_is_forgotten(tmp_path: Path) -> None:
    watched = folder(tmp_path)
    put(tmp_path / "junit" / "a.xml")
    put(tmp_path / "junit" / "b.xml")
    with opened(tmp_path / "segments") as intake:
        assert watched.look(intake) == 2
        (tmp_path / "junit" / "a.xml").unlink()
        assert watched.look(intake) == 0
    assert list(json.loads((tmp_path / "junit.json").read_bytes())) == ["b.xml"]


def test_a_clock_that_is_set_back_has_no_file_taken_again(tmp_path: Path) -> None:
    watched = folder(tmp_path)
    put(tmp_path / "junit" / "a.xml")
    put(tmp_path / "junit" / "b.xml", age_s=7200)
    with opened(tmp_path / "segments") as intake:
        assert watched.look(intake) == 2
        back = folder(tmp_path, FakeClock(AT - timedelta(hours=1)))
        assert back.look(intake) == 0
        assert folder(tmp_path).look(intake) == 0


def test_what_was_taken_and_not_remembered_is_not_there_twice(tmp_path: Path) -> None:
    put(tmp_path / "a.xml")
    watched = folder(tmp_path)
    put(tmp_path / "junit" / "a.xml")
    with opened(tmp_path / "segments") as intake:
        watched.look(intake)
        (tmp_path / "junit.json").unlink()
        assert folder(tmp_path).look(intake) == 1
    assert len(runs(tmp_path)) == 1


def test_a_file_that_cannot_be_taken_is_said_and_tried_again(tmp_path: Path) -> None:
    watched = folder(tmp_path)
    put(tmp_path / "junit" / "a.xml")
    with opened(tmp_path / "segments") as intake:
        intake.stop()
        assert watched.look(intake) == 0
        assert "a.xml is not taken yet" in watched.problems[0]
        intake.start()
        assert watched.look(intake) == 1
        assert watched.problems == []


def test_a_file_that_cannot_be_used_is_told_while_it_is_there_as_it_was(tmp_path: Path) -> None:
    watched = folder(tmp_path)
    told = [" cannot be used: it is no XML: unclosed token: line 1, column 0; write it anew, or remove it"]
    with opened(tmp_path / "segments") as intake:
        put(tmp_path / "junit" / "a.xml", "<testsuite")
        put(tmp_path / "junit" / "b.xml", "<testsuite")
        assert [watched.look(intake), watched.look(intake)] == [2, 0]
        assert watched.problems == [f"{name}{told[0]}" for name in ("a.xml", "b.xml")]
        put(tmp_path / "junit" / "a.xml", age_s=30)
        (tmp_path / "junit" / "b.xml").unlink()
        assert watched.look(intake) == 1
        assert watched.problems == []


def test_a_memory_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    watched = folder(tmp_path)
    (tmp_path / "junit.json").write_text("{")
    with opened(tmp_path / "segments") as intake, pytest.raises(StorageError, match=r"junit\.json"):
        watched.look(intake)


def test_a_folder_that_is_not_there_yet_holds_nothing(tmp_path: Path) -> None:
    watched = JunitFolder(tmp_path / "later", tmp_path / "junit.json", agent=None, now=FakeClock(AT).now)
    with opened(tmp_path / "segments") as intake:
        assert watched.look(intake) == 0
