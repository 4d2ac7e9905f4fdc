"""A directory is read as it grows: each line once, whatever happens to the files and whenever the reader restarts."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from self_healing.clock import SECOND_US, to_us
from self_healing.errors import TelemetryError
from self_healing.telemetry.native import LINE_MAX_BYTES, BadLine, encode_ts
from self_healing.telemetry.reader import Batch, DirectoryReader, Position, Quarantined

START_US = to_us(datetime(2026, 1, 5, 10, tzinfo=UTC))
NOW_US = to_us(datetime(2026, 1, 6, tzinfo=UTC))


def line(name: object, second: float = 0) -> bytes:
    ts = encode_ts(START_US + int(second * SECOND_US))
    return b'{"ts":"%s","type":"heartbeat","id":"%s"}\n' % (ts.encode(), str(name).encode())


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def ids(batch: Batch) -> list[str | None]:
    return [event.task_id for event in batch.events]


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[DirectoryReader]:
    reader = DirectoryReader(tmp_path)
    yield reader
    reader.close()


def read(reader: DirectoryReader, max_bytes: int = 8 << 20) -> Batch:
    """One batch, of which what always holds is checked."""
    batch = reader.read(NOW_US, max_bytes)
    assert batch.received == len(batch.events) + batch.quarantined.total()
    assert batch.quarantined.total() == len(batch.bad)
    assert len(batch.events) == len(batch.ts) == len(batch.kind)
    assert (batch.ts[1:] >= batch.ts[:-1]).all()
    return batch


# --- the plain way -------------------------------------------------------------------------------------------------


def test_what_is_new_is_read_once(tmp_path: Path, reader: DirectoryReader) -> None:
    assert read(reader).caught_up
    append(tmp_path / "a.jsonl", line(1) + line(2))
    first = read(reader)
    assert (ids(first), first.caught_up, first.newest_ts_us) == (["1", "2"], True, START_US)
    append(tmp_path / "a.jsonl", line(3, 5))
    assert ids(read(reader)) == ["3"]
    nothing = read(reader)
    assert (nothing.events, nothing.received, nothing.caught_up, nothing.newest_ts_us) == ([], 0, True, None)


def test_only_jsonl_files_that_are_not_our_own_are_read(tmp_path: Path, reader: DirectoryReader) -> None:
    for name in ("a.json", "a.jsonl.1", "notes", "events-self-healing-20260105.jsonl"):
        append(tmp_path / name, line(name))
    append(tmp_path / "events-20260105.jsonl", line("mine"))
    assert ids(read(reader)) == ["mine"]


def test_a_restart_goes_on_from_the_committed_positions(tmp_path: Path, reader: DirectoryReader) -> None:
    append(tmp_path / "a.jsonl", line(1) + line(2))
    stored = msgspec.msgpack.encode(read(reader).positions)
    append(tmp_path / "a.jsonl", line(3))
    positions = msgspec.msgpack.decode(stored, type=tuple[Position, ...])
    assert ids(read(DirectoryReader(tmp_path, positions))) == ["3"]


def test_going_back_to_older_positions_gives_the_same_lines_again(tmp_path: Path, reader: DirectoryReader) -> None:
    append(tmp_path / "a.jsonl", line(1))
    before = read(reader).positions
    append(tmp_path / "a.jsonl", line(2) + b"bad\n" + line(3))
    first = read(reader)
    reader.seek(before)
    again = read(reader)
    assert (ids(again), again.bad, again.positions) == (ids(first), first.bad, first.positions)


def test_bad_lines_are_named_with_file_offset_and_reason(tmp_path: Path, reader: DirectoryReader) -> None:
    append(tmp_path / "a.jsonl", line(1))
    read(reader)
    append(tmp_path / "a.jsonl", b'{"id":"\xff"}\n' + line(2) + b"{\n")
    batch = read(reader)
    offset = len(line(1))
    assert batch.bad == [
        Quarantined(file="a.jsonl", offset=offset, reason=BadLine.INVALID_UTF8),
        Quarantined(file="a.jsonl", offset=offset + 11 + len(line(2)), reason=BadLine.INVALID_JSON),
    ]
    assert dict(batch.quarantined) == {BadLine.INVALID_UTF8: 1, BadLine.INVALID_JSON: 1}
    assert (ids(batch), batch.received) == (["2"], 3)


def test_events_of_several_files_come_in_the_order_of_their_time(tmp_path: Path, reader: DirectoryReader) -> None:
    append(tmp_path / "a.jsonl", line("a1", 1) + line("a3", 3))
    append(tmp_path / "b.jsonl", line("b2", 2) + line("b1", 1))
    batch = read(reader)
    assert ids(batch) == ["a1", "b1", "b2", "a3"]
    assert [int(us - START_US) // SECOND_US for us in batch.ts] == [1, 1, 2, 3]
    assert batch.newest_ts_us == START_US + 3 * SECOND_US


def test_the_file_that_is_furthest_behind_is_read_first(tmp_path: Path, reader: DirectoryReader) -> None:
    append(tmp_path / "a.jsonl", b"".join(line(f"a{i}", 100 + i) for i in range(3)))
    append(tmp_path / "b.jsonl", b"".join(line(f"b{i}", i) for i in range(3)))
    batch = read(reader, max_bytes=1)
    assert (ids(batch), batch.caught_up) == (["b0", "b1", "b2"], False)
    assert batch.complete_to_us == START_US + 100 * SECOND_US
    batch = read(reader, max_bytes=1)
    assert (ids(batch), batch.caught_up, batch.complete_to_us) == (["a0", "a1", "a2"], True, None)


def test_it_says_how_far_it_is_until_everything_is_read(tmp_path: Path, reader: DirectoryReader) -> None:
    append(tmp_path / "a.jsonl", b"".join(line(second, second) for second in range(3)))
    assert reader.behind_since_us() is None
    read(reader, max_bytes=len(line(0)) + 1)
    assert reader.behind_since_us() == START_US
    read(reader)
    assert reader.behind_since_us() is None


def test_a_batch_is_bounded_and_says_that_there_is_more(tmp_path: Path, reader: DirectoryReader) -> None:
    append(tmp_path / "a.jsonl", b"".join(line(i) for i in range(100)))
    seen: list[str | None] = []
    for _ in range(100):
        batch = read(reader, max_bytes=5 * len(line(10)))
        assert len(batch.events) <= 6
        seen += ids(batch)
        if batch.caught_up:
            break
    assert seen == [str(i) for i in range(100)]


def test_many_short_lines_end_a_batch_before_its_bytes_do(tmp_path: Path, reader: DirectoryReader) -> None:
    append(tmp_path / "a.jsonl", b"{}\n" * 700_000)
    sizes = [read(reader).received for _ in range(3)]
    assert sum(sizes) == 700_000
    assert 200_000 <= sizes[0] < 400_000


# --- lines that are not quite there --------------------------------------------------------------------------------


def test_a_torn_line_waits_for_its_rest(tmp_path: Path, reader: DirectoryReader) -> None:
    text = line(2)
    append(tmp_path / "a.jsonl", line(1) + text[:20])
    assert ids(read(reader)) == ["1"]
    assert read(reader).received == 0
    append(tmp_path / "a.jsonl", text[20:])
    assert ids(read(reader)) == ["2"]


def test_a_last_line_that_is_whole_needs_no_newline_and_is_not_read_again_when_it_comes(
    tmp_path: Path, reader: DirectoryReader
) -> None:
    append(tmp_path / "a.jsonl", line(1) + line(2).rstrip())
    batch = read(reader)
    assert (ids(batch), batch.caught_up) == (["1", "2"], True)
    append(tmp_path / "a.jsonl", b"\n" + line(3))
    batch = read(reader)
    assert (ids(batch), batch.received) == (["3"], 1)


@pytest.mark.parametrize(
    "tail", [b"12", b"null", b'{"id":"x', b'{"id":{}', b'{"a":"}', b"}", b'"text"', b"{" * 5000 + b"}"]
)
def test_a_tail_that_may_not_be_whole_is_not_taken(tmp_path: Path, reader: DirectoryReader, tail: bytes) -> None:
    append(tmp_path / "a.jsonl", tail)
    batch = read(reader)
    assert (batch.received, batch.caught_up) == (0, True)


def test_a_byte_order_mark_and_carriage_returns_are_tolerated(tmp_path: Path, reader: DirectoryReader) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"\xef")
    assert read(reader).received == 0
    append(tmp_path / "a.jsonl", b"\xbb\xbf" + line(1).replace(b"\n", b"\r\n") + b"\r\n" + b"bad\r\n")
    batch = read(reader)
    assert (ids(batch), batch.received) == (["1"], 2)
    assert batch.bad == [Quarantined(file="a.jsonl", offset=3 + len(line(1)) + 1 + 2, reason=BadLine.INVALID_JSON)]


def test_a_line_that_is_too_long_is_counted_once_and_skipped_in_bounded_memory(
    tmp_path: Path, reader: DirectoryReader
) -> None:
    append(tmp_path / "a.jsonl", line(1) + b'{"id":"' + b"x" * (5 << 20))
    batch = read(reader)
    assert (ids(batch), dict(batch.quarantined)) == (["1"], {BadLine.TOO_LONG: 1})
    assert batch.bad == [Quarantined(file="a.jsonl", offset=len(line(1)), reason=BadLine.TOO_LONG)]
    restarted = DirectoryReader(tmp_path, batch.positions)
    append(tmp_path / "a.jsonl", b"y" * (2 << 20))
    assert read(restarted).received == 0
    append(tmp_path / "a.jsonl", b'"}\n' + line(2))
    batch = read(restarted)
    assert (ids(batch), batch.received, batch.caught_up) == (["2"], 1, True)


@pytest.mark.parametrize("max_bytes", [1, 1000, 8 << 20])
def test_a_line_of_the_greatest_length_is_read_and_one_byte_more_is_too_long(
    tmp_path: Path, reader: DirectoryReader, max_bytes: int
) -> None:
    empty = line("").rstrip()
    longest = line("x" * (LINE_MAX_BYTES - len(empty)))
    assert len(longest) == LINE_MAX_BYTES + 1
    append(tmp_path / "a.jsonl", longest + longest.replace(b"x", b"xx", 1) + line(3))
    seen, bad = [], []
    while True:
        batch = read(reader, max_bytes)
        seen += ids(batch)
        bad += batch.bad
        if batch.caught_up:
            break
    assert [len(name or "") for name in seen] == [LINE_MAX_BYTES - len(empty), 1]
    assert bad == [Quarantined(file="a.jsonl", offset=len(longest), reason=BadLine.TOO_LONG)]


# --- what happens to files -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("renamed", ["a.jsonl.1", "a-old.jsonl", "Z"])
@pytest.mark.parametrize("restart", [False, True])
def test_the_rest_of_a_renamed_file_is_read_and_then_its_successor(
    tmp_path: Path, reader: DirectoryReader, renamed: str, restart: bool
) -> None:
    append(tmp_path / "a.jsonl", line(1))
    positions = read(reader).positions
    append(tmp_path / "a.jsonl", line(2, 1))
    (tmp_path / "a.jsonl").rename(tmp_path / renamed)
    append(tmp_path / "a.jsonl", line(3, 2))
    if restart:
        reader = DirectoryReader(tmp_path, positions)
    assert ids(read(reader)) == ["2", "3"]
    (tmp_path / renamed).rename(tmp_path / "a.jsonl.2")
    append(tmp_path / "a.jsonl.2", line(4, 3))
    append(tmp_path / "a.jsonl", line(5, 4))
    assert ids(read(reader)) == ["4", "5"]
    assert read(reader).received == 0


def test_a_file_that_was_seen_but_not_yet_read_is_followed_through_its_rename(
    tmp_path: Path, reader: DirectoryReader
) -> None:
    append(tmp_path / "a.jsonl", line(1))
    append(tmp_path / "b.jsonl", line(2, 1))
    assert ids(read(reader, max_bytes=1)) == ["1"]
    (tmp_path / "b.jsonl").rename(tmp_path / "b.jsonl.1")
    assert ids(read(reader)) == ["2"]


def test_the_torn_rest_of_a_rotated_file_is_quarantined_once_it_no_longer_grows(
    tmp_path: Path, reader: DirectoryReader
) -> None:
    append(tmp_path / "a.jsonl", line(1) + b'{"id":"to')
    read(reader)
    (tmp_path / "a.jsonl").rename(tmp_path / "a.jsonl.1")
    assert read(reader).received == 0  # no successor yet: it may still be written to
    append(tmp_path / "a.jsonl.1", b"rn")
    append(tmp_path / "a.jsonl", line(2))
    assert ids(read(reader)) == ["2"]  # it has grown
    batch = read(reader)
    assert batch.bad == [Quarantined(file="a.jsonl.1", offset=len(line(1)), reason=BadLine.TORN)]
    assert (batch.received, dict(batch.quarantined)) == (1, {BadLine.TORN: 1})
    assert read(reader).received == 0
    assert read(DirectoryReader(tmp_path, batch.positions)).received == 0


def test_a_blank_rest_of_a_rotated_file_is_nothing(tmp_path: Path, reader: DirectoryReader) -> None:
    append(tmp_path / "a.jsonl", line(1) + b"  ")
    read(reader)
    (tmp_path / "a.jsonl").rename(tmp_path / "a.jsonl.1")
    append(tmp_path / "a.jsonl", line(2))
    assert [read(reader).received for _ in range(3)] == [1, 0, 0]


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("lines", [1, 2, 50])
def test_a_file_that_was_emptied_is_read_from_its_start(
    tmp_path: Path, reader: DirectoryReader, lines: int, restart: bool
) -> None:
    append(tmp_path / "a.jsonl", line(1) + line(2))
    positions = read(reader).positions
    shutil.copy(tmp_path / "a.jsonl", tmp_path / "a.jsonl.1")
    os.truncate(tmp_path / "a.jsonl", 0)
    append(tmp_path / "a.jsonl", b"".join(line(f"new{i}") for i in range(lines)))
    if restart:
        reader = DirectoryReader(tmp_path, positions)
    assert ids(read(reader)) == [f"new{i}" for i in range(lines)]


def test_a_file_that_was_emptied_and_stayed_so_is_read_when_it_grows(tmp_path: Path, reader: DirectoryReader) -> None:
    append(tmp_path / "a.jsonl", line(1))
    read(reader)
    os.truncate(tmp_path / "a.jsonl", 0)
    assert read(reader).received == 0
    append(tmp_path / "a.jsonl", line(1))
    assert ids(read(reader)) == ["1"]


def test_another_file_with_the_same_name_or_inode_is_read_from_its_start(
    tmp_path: Path, reader: DirectoryReader
) -> None:
    append(tmp_path / "a.jsonl", line(1) + line(2))
    read(reader)
    (tmp_path / "a.jsonl").unlink()
    append(tmp_path / "b.jsonl", line("longer than before") + line(3))  # often on the same inode
    assert ids(read(reader)) == ["longer than before", "3"]
    append(tmp_path / "new", line(4))
    (tmp_path / "new").rename(tmp_path / "b.jsonl")
    assert ids(read(reader)) == ["4"]


def test_a_copy_put_in_a_files_place_is_the_same_file(tmp_path: Path, reader: DirectoryReader) -> None:
    append(tmp_path / "a.jsonl", line(1))
    positions = read(reader).positions
    shutil.copy(tmp_path / "a.jsonl", tmp_path / "restored")
    (tmp_path / "restored").rename(tmp_path / "a.jsonl")
    append(tmp_path / "a.jsonl", line(2))
    assert ids(read(reader)) == ["2"]
    assert ids(read(DirectoryReader(tmp_path, positions))) == ["2"]


def test_the_position_of_a_removed_file_is_dropped(tmp_path: Path, reader: DirectoryReader) -> None:
    append(tmp_path / "a.jsonl", line(1))
    append(tmp_path / "b.jsonl", line(2))
    assert [position.name for position in read(reader).positions] == ["a.jsonl", "b.jsonl"]
    (tmp_path / "a.jsonl").unlink()
    assert [position.name for position in read(reader).positions] == ["b.jsonl"]


def test_whatever_takes_over_the_inode_of_a_renamed_file_is_not_read(tmp_path: Path, reader: DirectoryReader) -> None:
    append(tmp_path / "a.jsonl", line(1))
    read(reader)
    (tmp_path / "a.jsonl").rename(tmp_path / "a.bin")
    read(reader)
    os.truncate(tmp_path / "a.bin", 0)
    append(tmp_path / "a.bin", b"something else\n" * 100)
    batch = read(reader)
    assert (batch.received, batch.positions) == (0, ())
    assert read(reader).received == 0


# --- what cannot be read -------------------------------------------------------------------------------------------


def test_a_missing_directory_is_an_error_until_it_is_there_and_loses_no_position(tmp_path: Path) -> None:
    directory = tmp_path / "logs" / "telemetry"
    reader = DirectoryReader(directory)
    for _ in range(2):
        with pytest.raises(TelemetryError, match=r"logs/telemetry: No such file .* `mkdir -p .*` makes it, or"):
            reader.read(NOW_US)
    directory.mkdir(parents=True)
    append(directory / "a.jsonl", line(1))
    assert ids(read(reader)) == ["1"]
    directory.rename(tmp_path / "away")
    with pytest.raises(TelemetryError):
        reader.read(NOW_US)
    (tmp_path / "away").rename(directory)
    append(directory / "a.jsonl", line(2))
    assert ids(read(reader)) == ["2"]


def test_a_directory_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    append(tmp_path / "file", b"")
    with pytest.raises(TelemetryError, match=os.strerror(errno.ENOTDIR)):
        DirectoryReader(tmp_path / "file").read(NOW_US)


def test_what_is_no_regular_file_is_named_and_keeps_nobody_waiting(tmp_path: Path, reader: DirectoryReader) -> None:
    (tmp_path / "dir.jsonl").mkdir()
    os.mkfifo(tmp_path / "fifo.jsonl")
    (tmp_path / "dangling.jsonl").symlink_to("nowhere")
    append(tmp_path / "a.jsonl", line(1))
    for expected in (["1"], []):
        batch = read(reader)
        assert (ids(batch), batch.caught_up) == (expected, True)
        assert batch.problems == [
            "dir.jsonl is not a regular file and is not read; move it away",
            "fifo.jsonl is not a regular file and is not read; move it away",
        ]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_without_permission_is_named_the_others_are_read_and_it_is_read_later(
    tmp_path: Path, reader: DirectoryReader
) -> None:
    append(tmp_path / "a.jsonl", line(1))
    append(tmp_path / "b.jsonl", line(2))
    (tmp_path / "a.jsonl").chmod(0)
    for expected in (["2"], []):
        batch = read(reader)
        assert (ids(batch), batch.caught_up) == (expected, True)
        assert batch.problems == ["a.jsonl cannot be read: Permission denied; make it readable"]
    (tmp_path / "a.jsonl").chmod(0o600)
    batch = read(reader)
    assert (ids(batch), batch.problems) == (["1"], [])


def test_a_closed_reader_reads_nothing_and_can_be_closed_again(tmp_path: Path) -> None:
    reader = DirectoryReader(tmp_path)
    reader.close()
    reader.close()
    with pytest.raises(ValueError, match="closed"):
        reader.read(NOW_US)


def test_looking_in_vain_is_cheap(tmp_path: Path, reader: DirectoryReader) -> None:
    for i in range(10):
        append(tmp_path / f"{i}.jsonl", line(i) * 100)
    read(reader)
    times = []
    for _ in range(50):
        began = time.perf_counter()
        reader.read(NOW_US)
        times.append(time.perf_counter() - began)
    assert min(times) < 0.0005


# --- always --------------------------------------------------------------------------------------------------------


@given(pieces=st.lists(st.binary(max_size=60), max_size=8), max_bytes=st.integers(min_value=1, max_value=200))
@settings(max_examples=50)
def test_whatever_is_in_a_file_reading_ends_and_counts_every_line(pieces: list[bytes], max_bytes: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        reader = DirectoryReader(Path(name))
        for piece in pieces:
            append(Path(name) / "a.jsonl", piece)
            for _ in range(1000):
                if read(reader, max_bytes).caught_up:
                    break
            else:
                pytest.fail("it never caught up")
        reader.close()


class Writers(RuleBasedStateMachine):
    """Files are written in pieces, rotated and emptied; readers read, are restarted, crash before they commit."""

    @initialize()
    def begin(self) -> None:
        self.directory = Path(tempfile.mkdtemp())
        self.reader = DirectoryReader(self.directory)
        self.committed: tuple[Position, ...] = ()
        self.pending = {"a": b"", "b": b""}  # of each file, what is still to be written of its line
        self.written: list[str] = []
        self.taken: list[str | None] = []
        self.bad = 0
        self.taken_bad = 0
        self.rotations = 0

    @rule(name=st.sampled_from("ab"), bad=st.booleans(), crlf=st.booleans(), cut=st.integers(min_value=0, max_value=80))
    def write_a_line(self, name: str, bad: bool, crlf: bool, cut: int) -> None:
        self.finish(name)
        if bad:
            self.bad += 1
            text = b'{"id":"%s"}\n' % (b"\xff" * self.bad)
        else:
            self.written.append(f"{len(self.written)}")
            text = line(self.written[-1], len(self.written))
        text = text.replace(b"\n", b"\r\n") if crlf else text
        append(self.path(name), text[:cut])
        self.pending[name] = text[cut:]

    @rule(name=st.sampled_from("ab"))
    def finish(self, name: str) -> None:
        append(self.path(name), self.pending[name])
        self.pending[name] = b""

    @rule(name=st.sampled_from("ab"))
    def rotate(self, name: str) -> None:
        self.finish(name)
        self.rotations += 1
        if self.path(name).stat().st_size:
            self.read(8 << 20)  # what was never seen under its first name is not looked for under another
            self.path(name).rename(self.directory / f"{name}.jsonl.{self.rotations}")
            append(self.path(name), b"")

    @rule(name=st.sampled_from("ab"))
    def empty(self, name: str) -> None:
        self.finish(name)
        self.read(8 << 20)
        os.truncate(self.path(name), 0)

    @rule(max_bytes=st.sampled_from([1, 100, 8 << 20]))
    def read(self, max_bytes: int) -> None:
        batch = read(self.reader, max_bytes)
        while not batch.caught_up and max_bytes > 100:
            self.commit(batch)
            batch = read(self.reader, max_bytes)
        self.commit(batch)

    @rule()
    def read_and_crash_before_the_commit(self) -> None:
        read(self.reader)
        self.reader = DirectoryReader(self.directory, self.committed)

    @rule()
    def read_and_fail_to_commit(self) -> None:
        read(self.reader, 100)
        self.reader.seek(self.committed)

    def path(self, name: str) -> Path:
        return self.directory / f"{name}.jsonl"

    def commit(self, batch: Batch) -> None:
        self.committed = msgspec.json.decode(msgspec.json.encode(batch.positions), type=tuple[Position, ...])
        self.taken += ids(batch)
        self.taken_bad += len(batch.bad)

    @invariant()
    def nothing_is_read_twice(self) -> None:
        if hasattr(self, "taken"):
            assert len(set(self.taken)) == len(self.taken)
            assert self.taken_bad <= self.bad

    def teardown(self) -> None:
        if hasattr(self, "directory"):
            for name in "ab":
                self.finish(name)
            self.read(8 << 20)
            try:
                assert sorted(self.taken, key=str) == sorted(self.written)
                assert self.taken_bad == self.bad
            finally:
                self.reader.close()
                shutil.rmtree(self.directory)


TestEveryLineIsReadExactlyOnce = Writers.TestCase
TestEveryLineIsReadExactlyOnce.settings = settings(max_examples=60, stateful_step_count=30)


def test_reading_on_goes_on_in_what_the_last_look_found(tmp_path: Path, reader: DirectoryReader) -> None:
    append(tmp_path / "a.jsonl", line(1) + line(2) + line(3))
    first = reader.read(NOW_US, len(line(1)))
    append(tmp_path / "b.jsonl", line(4))
    rest = [reader.read_on(NOW_US, len(line(1))) for _ in range(2)]
    assert [ids(batch) for batch in (first, *rest)] == [["1"], ["2"], ["3"]]
    assert ids(reader.read_on(NOW_US, 1000)) == []
    assert ids(reader.read(NOW_US)) == ["4"]
