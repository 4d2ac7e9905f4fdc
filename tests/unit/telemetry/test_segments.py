"""The segments on a real directory, and on a disk that fails."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event

import pytest

from self_healing.clock import FakeClock
from self_healing.errors import Overloaded, StorageError
from self_healing.telemetry.recovery import recover
from self_healing.telemetry.segments import Segments

AT = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)


class Lines:
    """Lines to be written, and whether they are."""

    def __init__(self, text: str, *, wait_for: Event | None = None) -> None:
        self.data = text.encode()
        self.size_bytes = len(self.data)
        self.kept: Future[None] = Future()
        self.asked = Event()
        self._wait_for = wait_for

    def lines(self) -> bytes:
        self.asked.set()
        if self._wait_for is not None:
            self._wait_for.wait(30)
        return self.data

    def settle(self, error: StorageError | None) -> None:
        if error is None:
            self.kept.set_result(None)
        else:
            self.kept.set_exception(error)


@contextmanager
def opened(directory: Path, clock: FakeClock | None = None, **options: int) -> Iterator[Segments]:
    segments = Segments(directory, now=(clock or FakeClock(AT)).now, **options)  # type: ignore[arg-type]
    segments.start()
    try:
        yield segments
    finally:
        segments.stop()


def write(segments: Segments, text: str) -> None:
    entry = Lines(text)
    segments.append(entry)
    entry.kept.result(30)


def contents(directory: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in sorted(directory.iterdir())}


def test_what_is_settled_is_in_the_file(tmp_path: Path) -> None:
    with opened(tmp_path) as segments:
        write(segments, "one\n")
        assert contents(tmp_path) == {"0000000001.jsonl": "one\n"}
        assert segments.readable_bytes("0000000001.jsonl") == 4
        write(segments, "two\n")
        assert contents(tmp_path) == {"0000000001.jsonl": "one\ntwo\n"}


def test_what_waits_is_written_together_in_its_order(tmp_path: Path) -> None:
    go = Event()
    with opened(tmp_path) as segments:
        first = Lines("0\n", wait_for=go)
        segments.append(first)
        first.asked.wait(30)
        entries = [Lines(f"{n}\n") for n in range(1, 100)]
        for entry in entries:
            segments.append(entry)
        go.set()
        for entry in entries:
            entry.kept.result(30)
        assert contents(tmp_path)["0000000001.jsonl"] == "".join(f"{n}\n" for n in range(100))


def test_a_segment_that_is_large_is_followed_by_another(tmp_path: Path) -> None:
    with opened(tmp_path, segment_bytes=8) as segments:
        for text in ("12345\n", "678\n", "9\n"):
            write(segments, text)
        assert contents(tmp_path) == {"0000000001.jsonl": "12345\n678\n", "0000000002.jsonl": "9\n"}
        assert segments.active == "0000000002.jsonl"
        assert segments.readable_bytes("0000000001.jsonl") is None


def test_a_segment_that_is_old_is_closed_also_when_nothing_comes(tmp_path: Path) -> None:
    clock = FakeClock(AT)
    segments = Segments(tmp_path, now=clock.now)
    segments.start()
    write(segments, "one\n")
    clock.advance(timedelta(hours=1).total_seconds())
    segments.look_at_age()
    segments.stop()
    assert segments.active is None
    segments.start()
    write(segments, "two\n")
    segments.stop()
    assert contents(tmp_path) == {"0000000001.jsonl": "one\n", "0000000002.jsonl": "two\n"}


def test_a_full_queue_refuses_what_comes_and_says_when_to_come_again(tmp_path: Path) -> None:
    go = Event()
    with opened(tmp_path, queue_bytes=10) as segments:
        first = Lines("0\n", wait_for=go)
        segments.append(first)
        first.asked.wait(30)
        kept = Lines("12345678\n")
        segments.append(kept)
        with pytest.raises(Overloaded) as refused:
            segments.append(Lines("90\n"))
        assert refused.value.retry_after_s > 0
        assert segments.waiting_bytes == 9
        go.set()
        kept.kept.result(30)
        write(segments, "90\n")
        assert contents(tmp_path)["0000000001.jsonl"] == "0\n12345678\n90\n"


def test_an_entry_larger_than_the_queue_is_taken_when_nothing_waits(tmp_path: Path) -> None:
    with opened(tmp_path, queue_bytes=2) as segments:
        write(segments, "123456\n")
        assert contents(tmp_path)["0000000001.jsonl"] == "123456\n"


def test_a_stop_writes_what_waits_and_refuses_what_comes_then(tmp_path: Path) -> None:
    go = Event()
    segments = Segments(tmp_path, now=FakeClock(AT).now)
    with pytest.raises(StorageError, match="not taken now"):
        segments.append(Lines("early\n"))
    segments.start()
    segments.start()
    entries = [Lines("0\n", wait_for=go), Lines("1\n"), Lines("2\n")]
    for entry in entries:
        segments.append(entry)
    go.set()
    segments.stop()
    segments.stop()
    assert all(entry.kept.done() for entry in entries)
    assert contents(tmp_path)["0000000001.jsonl"] == "0\n1\n2\n"
    with pytest.raises(StorageError, match="not taken now"):
        segments.append(Lines("late\n"))


def test_each_start_begins_another_segment(tmp_path: Path) -> None:
    for text in ("one\n", "two\n"):
        with opened(tmp_path) as segments:
            write(segments, text)
    assert contents(tmp_path) == {"0000000001.jsonl": "one\n", "0000000002.jsonl": "two\n"}


@contextmanager
def files_no_larger_than(size_bytes: int) -> Iterator[None]:
    """Writes beyond `size_bytes` of a file fail with EFBIG in here, as they fail with ENOSPC on a full disk."""
    import signal

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_where_the_disk_takes_no_more_nothing_is_settled_and_nothing_of_it_stays(tmp_path: Path) -> None:
    with opened(tmp_path) as segments:
        write(segments, "kept\n")
        with files_no_larger_than(8):
            for _ in range(2):
                entry = Lines("lost for now\n")
                segments.append(entry)
                with pytest.raises(StorageError, match="File too large"):
                    entry.kept.result(30)
        assert "tried again" in str(segments.problem)
        assert "".join(contents(tmp_path).values()) == "kept\n"
        write(segments, "brought again\n")
        assert segments.problem is None
        assert "".join(contents(tmp_path).values()) == "kept\nbrought again\n"


def test_what_is_not_synced_is_not_to_be_read(tmp_path: Path) -> None:
    seen: list[tuple[int | None, int]] = []

    def look(point: str) -> None:
        if point == "segment.written":
            seen.append((segments.readable_bytes(name), (tmp_path / name).stat().st_size))

    name = "0000000001.jsonl"
    segments = Segments(tmp_path, now=FakeClock(AT).now, crash=look)
    segments.start()
    write(segments, "one\n")
    write(segments, "two\n")
    segments.stop()
    assert seen == [(0, 4), (4, 8)]


INTAKE = '{"ts":"2026-01-05T10:00:00.000Z","type":"self_healing_intake","source":"http","events":2,"key":"k"}\n'
EVENT = '{"type":"log"}\n'
QUOTED = '{"type":"log","attributes":{"type":"self_healing_intake","x":{"type":"self_healing_intake","events":9}}}\n'


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", ""),
        (EVENT, EVENT),
        (EVENT + EVENT[:5], EVENT),
        (EVENT[:5], ""),
        (EVENT.rstrip("\n"), ""),
        (EVENT + INTAKE + EVENT + EVENT, EVENT + INTAKE + EVENT + EVENT),
        (EVENT + INTAKE + EVENT + EVENT + EVENT, EVENT + INTAKE + EVENT + EVENT + EVENT),
        (EVENT + INTAKE + EVENT + EVENT[:-1], EVENT),
        (EVENT + INTAKE, EVENT),
        (EVENT + INTAKE[:-1], EVENT),
        (EVENT + QUOTED, EVENT + QUOTED),
        (INTAKE + QUOTED, ""),
        (INTAKE + QUOTED + QUOTED + EVENT[:3], INTAKE + QUOTED + QUOTED),
    ],
)
def test_a_start_cuts_off_what_a_crash_left_half_written(tmp_path: Path, before: str, after: str) -> None:
    (tmp_path / "0000000003.jsonl").write_text(EVENT)
    (tmp_path / "0000000007.jsonl").write_text(before)
    notes = recover(tmp_path)
    assert contents(tmp_path) == {"0000000003.jsonl": EVENT, "0000000007.jsonl": after}
    assert [f"last {len(before) - len(after)} bytes" in note for note in notes] == [True] * (before != after)
    assert recover(tmp_path) == []
    with opened(tmp_path) as segments:
        write(segments, "next\n")
    assert contents(tmp_path)["0000000008.jsonl"] == "next\n"


def test_a_directory_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot use the segments in"):
        Segments(tmp_path / "file", now=FakeClock(AT).now)


def test_only_the_owner_may_read_a_segment(tmp_path: Path) -> None:
    with opened(tmp_path) as segments:
        write(segments, "one\n")
    assert os.stat(tmp_path / "0000000001.jsonl").st_mode & 0o777 == 0o600
