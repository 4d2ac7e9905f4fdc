"""Following events through what happens to files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from self_healing.model import Ingested
from self_healing.telemetry.query.find import find
from self_healing.telemetry.query.follow import Follower
from self_healing.telemetry.query.rows import Wanted
from tests.unit.telemetry.query.test_find import ALL, native, places, segment, ts


@pytest.fixture
def follower(tmp_path: Path) -> Iterator[Follower]:
    """One that was made when an event was there already."""
    native(tmp_path, {"ts": ts(0), "id": "old"})
    made = Follower(places(tmp_path), Wanted(agents=("A",)))
    yield made
    made.close()


def new(follower: Follower) -> list[str]:
    return [row.told["task_id"] for row in follower.new()]


def test_only_what_is_new_and_wanted_is_told_and_only_once(follower: Follower, tmp_path: Path) -> None:
    native(tmp_path, {"ts": ts(1), "id": "new", "agent": "A"}, {"ts": ts(2), "id": "other", "agent": "B"})
    segment(tmp_path, Ingested(ts=ts(1), kind="heartbeat", task_id="s", agent="A"))
    assert (new(follower), new(follower)) == (["new", "s"], [])


def test_a_line_is_told_when_it_is_whole(follower: Follower, tmp_path: Path) -> None:
    line = b'{"ts": "2026-01-05T10:00:01Z", "id": "torn", "agent": "A"}\n'
    native(tmp_path, line[:20])
    before = new(follower)
    native(tmp_path, line[20:])
    assert (before, new(follower)) == ([], ["torn"])


def test_a_new_file_is_read_from_its_start_and_so_is_one_that_was_emptied(follower: Follower, tmp_path: Path) -> None:
    native(tmp_path, b"\xef\xbb\xbf", {"ts": ts(1), "id": "next day", "agent": "A"}, name="events-20260106.jsonl")
    assert new(follower) == ["next day"]
    native(tmp_path).write_bytes(b"")
    assert new(follower) == []
    native(tmp_path, {"ts": ts(2), "id": "x", "agent": "A"})
    assert new(follower) == ["x"]


def test_what_a_rotation_or_a_compaction_takes_away_is_read_to_its_end(follower: Follower, tmp_path: Path) -> None:
    file = native(tmp_path, {"ts": ts(1), "id": "1", "agent": "A"})
    assert new(follower) == ["1"]
    native(tmp_path, {"ts": ts(2), "id": "2", "agent": "A"})
    file.rename(tmp_path / "elsewhere")
    native(tmp_path, {"ts": ts(3), "id": "3", "agent": "A"})
    assert new(follower) == ["2", "3"]
    segment(tmp_path, Ingested(ts=ts(4), kind="heartbeat", task_id="4", agent="A"))
    assert new(follower) == ["4"]
    segment(tmp_path, compacted=True)
    assert new(follower) == []


def test_what_was_found_before_its_first_look_is_not_told_again(follower: Follower, tmp_path: Path) -> None:
    line = {"ts": ts(1), "id": "between", "agent": "A"}
    native(tmp_path, line)
    follower.leave_out(find(places(tmp_path), ALL, 50).rows)
    native(tmp_path, line)
    assert new(follower) == ["between"]
    native(tmp_path, line)
    assert new(follower) == ["between"]


def test_it_waits_for_the_first_telemetry(tmp_path: Path) -> None:
    follower = Follower(places(tmp_path), ALL)
    before = new(follower)
    native(tmp_path, {"ts": ts(0), "id": "first"})
    assert (before, new(follower)) == ([], ["first"])
    follower.close()
