"""The stop: it holds whatever happens to the process, and doubt counts as stopped."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from self_healing.constitution.stop import STOP, WORDS, StopRecord, resume, stop, stopped, words
from self_healing.errors import StateError
from self_healing.storage.store import Store
from tests.unit.constitution.fine import NOW


def in_another_process(code: str, state_dir: Path) -> subprocess.CompletedProcess[str]:
    prelude = (
        "import os, resource, signal, sys\n"
        "from datetime import UTC, datetime\n"
        "from pathlib import Path\n"
        "from self_healing.constitution.stop import resume, stop\n"
        "NOW = datetime(2026, 1, 5, tzinfo=UTC)\n"
        "def stop_it(): stop(Path(sys.argv[1]), 'it burns', 'ann', NOW)\n"
    )
    return subprocess.run(
        [sys.executable, "-c", prelude + code, str(state_dir)], capture_output=True, text=True, check=False
    )


def test_a_stop_says_who_and_why_until_it_is_taken_away(tmp_path: Path) -> None:
    assert stopped(tmp_path) is None
    told = stop(tmp_path, "it burns", "ann", NOW)
    assert stopped(tmp_path) == told == StopRecord(reason="it burns", by="ann", at=NOW)
    assert resume(tmp_path, "looked", "Ada", NOW)
    assert stopped(tmp_path) is None
    assert not resume(tmp_path, "again", "Bob", NOW)
    assert said(tmp_path) == [("stopped", "ann", "it burns"), ("resumed", "Ada", "looked")]


def test_it_works_before_there_is_any_state_and_while_another_process_owns_it(tmp_path: Path) -> None:
    state_dir = tmp_path / "not" / "yet"
    assert stopped(state_dir) is None
    assert not resume(state_dir, "looked", "Ada", NOW)
    stop(state_dir, "never begin", "ann", NOW)
    with Store(state_dir):
        resume(state_dir, "looked", "Ada", NOW)
        stop(state_dir, "it burns", "ann", NOW)
        assert stopped(state_dir) is not None


def test_stopping_again_replaces_the_reason_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    stop(tmp_path, "it burns", "ann", NOW)
    stop(tmp_path, "it burns\nmore \u202e", "bob", NOW)
    found = stopped(tmp_path)
    assert found is not None
    assert (found.reason, found.by) == ("it burns\nmore \u202e", "bob")
    assert {path.name for path in tmp_path.iterdir()} == {STOP, WORDS}


def said(state_dir: Path, after: int = 0) -> list[tuple[str, str | None, str]]:
    return [(word.what, word.record.by, word.record.reason) for word in words(state_dir, after)]


def test_words_are_read_on_from_where_the_last_one_ended_and_anew_where_their_file_is(tmp_path: Path) -> None:
    stop(tmp_path, "it burns", "ann", NOW)
    [first] = words(tmp_path, 0)
    resume(tmp_path, "looked", "Ada", NOW)
    assert said(tmp_path, first.end) == [("resumed", "Ada", "looked")]
    (tmp_path / WORDS).unlink()
    assert said(tmp_path, first.end) == []
    stop(tmp_path, "again", "bo", NOW)
    assert said(tmp_path, 10_000) == [("stopped", "bo", "again")]


@pytest.mark.parametrize("torn", [b"{", b'{"what": "stopped", "reas', b"[]\n", b"\xff\n", b"[" * 100_000])
def test_a_word_that_a_crash_cut_off_keeps_no_other_from_being_heard(tmp_path: Path, torn: bytes) -> None:
    (tmp_path / WORDS).write_bytes(torn)
    assert words(tmp_path, 0) == []
    stop(tmp_path, "it burns", "ann", NOW)
    assert said(tmp_path) == [("stopped", "ann", "it burns")]


def test_it_goes_on_even_when_nothing_more_can_be_written_to_the_disk(tmp_path: Path) -> None:
    stop(tmp_path, "it burns", "ann", NOW)
    ended = in_another_process(
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)); resume(Path(sys.argv[1]), 'looked', 'ann', NOW)", tmp_path
    )
    assert (ended.returncode, ended.stderr, stopped(tmp_path)) == (0, "", None)


def test_it_outlives_the_process_that_was_killed_right_after(tmp_path: Path) -> None:
    ended = in_another_process("stop_it(); os.kill(os.getpid(), signal.SIGKILL)", tmp_path)
    assert ended.returncode == -9
    found = stopped(tmp_path)
    assert found is not None
    assert found.reason == "it burns"


def test_it_stops_even_when_nothing_more_can_be_written_to_the_disk(tmp_path: Path) -> None:
    ended = in_another_process("resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)); stop_it()", tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert stopped(tmp_path) is not None
    assert said(tmp_path) == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b"null",
        b'"stop"',
        b'{"reason": "r", "by": "b"}',
        b'{"reason": "r", "by": "b", "at": "yesterday"}',
        b'{"reason": "r", "by": "b", "at": 5}',
        b'{"reason": "r", "by": "b", "at": "2026-01-05T10:00:00"}',
        b"[" * 100_000,
    ],
)
def test_a_stop_file_that_is_none_counts_as_stopped_and_can_be_taken_away(tmp_path: Path, content: bytes) -> None:
    (tmp_path / STOP).write_bytes(content)
    found = stopped(tmp_path)
    assert found is not None
    assert "cannot be read" in found.reason
    assert found.by is None
    resume(tmp_path, "looked", "Ada", NOW)
    assert stopped(tmp_path) is None


def test_a_link_that_leads_nowhere_counts_as_stopped(tmp_path: Path) -> None:
    (tmp_path / STOP).symlink_to("nowhere")
    assert stopped(tmp_path) is not None


def test_a_state_directory_that_cannot_be_looked_into_counts_as_stopped(tmp_path: Path) -> None:
    no_directory = tmp_path / "state"
    no_directory.write_text("a file")
    assert stopped(no_directory) is not None
    with pytest.raises(StateError, match="could not stop"):
        stop(no_directory, "it burns", "ann", NOW)


def test_what_cannot_be_taken_away_stays_stopped_and_says_so(tmp_path: Path) -> None:
    (tmp_path / STOP).mkdir()
    assert stopped(tmp_path) is not None
    with pytest.raises(StateError, match="still stopped"):
        resume(tmp_path, "looked", "Ada", NOW)


def test_looking_for_a_stop_loads_neither_cedar_nor_the_store() -> None:
    code = (
        "import sys, self_healing.constitution.stop\n"
        "print(sorted({'cedarpy', 'sqlalchemy', 'pydantic', 'msgspec'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout == "[]\n"
