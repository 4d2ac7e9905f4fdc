"""Copies of the state: of one moment, never over anything, and brought back where nothing is."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import resource
import shutil
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from self_healing.backup import backup, restore
from self_healing.backup.manifest import MANIFEST, UNFINISHED
from self_healing.constitution.audit import Audit
from self_healing.constitution.keys import KEY, PUBLIC, private
from self_healing.errors import StateBusy, StateCorrupt, StateError
from self_healing.model import Incident, Lesson
from self_healing.storage.store import Store
from tests.e2e.test_service import running, slow_task

NOW = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)


def lesson(name: str) -> Lesson:
    return Lesson(id=name, trigger="t", action="a", agent="Coder")


def test_a_copy_made_while_the_state_is_owned_holds_what_was_committed_then(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with Store(state) as store:
        store.put(lesson("a"))
        (state / "segments").mkdir()
        (state / "segments/0001.jsonl").write_text("{}\n")
        (state / "stop").write_text("{}")
        with store.transaction():
            store.put(lesson("b"))
            backup(state, tmp_path / "copy", at=NOW)
    restore(tmp_path / "back", tmp_path / "copy")
    with Store(tmp_path / "back") as store:
        assert [each.id for each in store.select(Lesson)] == ["a"]
    assert (tmp_path / "back/segments/0001.jsonl").read_text() == "{}\n"
    assert (tmp_path / "back/stop").read_text() == "{}"


def test_nothing_is_written_over(tmp_path: Path) -> None:
    with Store(tmp_path / "state") as store:
        store.put(lesson("a"))
    backup(tmp_path / "state", tmp_path / "copy", at=NOW)
    with pytest.raises(StateError, match="there already"):
        backup(tmp_path / "state", tmp_path / "copy", at=NOW)
    with pytest.raises(StateError, match="not empty"):
        restore(tmp_path / "state", tmp_path / "copy")


def test_an_owned_directory_and_what_is_no_copy_are_refused(tmp_path: Path) -> None:
    with Store(tmp_path / "state"):
        backup(tmp_path / "state", tmp_path / "copy", at=NOW)
        with pytest.raises(StateBusy, match="in use"):
            restore(tmp_path / "state", tmp_path / "copy")
    with pytest.raises(StateError, match="no copy"):
        restore(tmp_path / "new", tmp_path)
    with pytest.raises(StateError, match="no state"):
        backup(tmp_path / "nowhere", tmp_path / "other", at=NOW)
    assert not (tmp_path / "other").exists()


def test_the_copy_of_a_running_service_goes_on_as_a_state_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "telemetry").mkdir()

    async def steps() -> None:
        async with running(tmp_path) as tell:
            slow_task(tmp_path)
            await tell("check")
            await asyncio.to_thread(backup, tmp_path / "state", tmp_path / "copy", at=NOW)

    asyncio.run(steps())
    restore(tmp_path / "back", tmp_path / "copy")
    with Store(tmp_path / "back") as store:
        assert Audit(store).verify().ok
        assert [each.trigger for each in store.select(Incident)] == ["slow_tasks"]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A whole copy, of a state with a key and two segments."""
    state = tmp_path / "state"
    with Store(state) as store:
        store.put(lesson("a"))
    private(state)
    (state / "segments").mkdir()
    for name in ("0001", "0002"):
        (state / f"segments/{name}.jsonl").write_text("{}\n" * 3)
    backup(state, tmp_path / "copy", at=NOW)
    return tmp_path / "copy"


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flipped(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


def said(copy: Path, before: str, after: str) -> None:
    text = (copy / MANIFEST).read_text()
    assert before in text
    (copy / MANIFEST).write_text(text.replace(before, after))


def measured_anew(copy: Path, name: str) -> None:
    """Make the manifest say of a file what it is now, as a copy of a state would that was so."""
    from self_healing.backup.manifest import Progress, measured

    told = json.loads((copy / MANIFEST).read_text())
    now = measured(copy / name, Progress(lambda _what, _share: None, "", 1))
    told["files"][name] = {"size_bytes": now.size_bytes, "sha256": now.sha256}
    (copy / MANIFEST).write_text(json.dumps(told))


def of_another_schema(copy: Path) -> None:
    with sqlite3.connect(copy / "state.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    measured_anew(copy, "state.db")


def without_its_key(copy: Path) -> None:
    told = json.loads((copy / MANIFEST).read_text())
    del told["files"][KEY]
    (copy / MANIFEST).write_text(json.dumps(told))
    (copy / KEY).unlink()


def with_a_page_of_nothing(copy: Path) -> None:
    data = bytearray((copy / "state.db").read_bytes())
    data[4096:8192] = b"\xff" * 4096
    (copy / "state.db").write_bytes(data)
    measured_anew(copy, "state.db")


@pytest.mark.spoils_state
@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (lambda copy: cut(copy / "state.db"), "state.db has .* bytes of"),
        (lambda copy: flipped(copy / "segments/0002.jsonl"), "segments/0002.jsonl is not what was copied"),
        (lambda copy: shutil.rmtree(copy / "segments"), "segments/0001.jsonl is missing, segments/0002.jsonl is miss"),
        (lambda copy: (copy / KEY).unlink(), "audit.key is missing"),
        (without_its_key, "audit.key is gone"),
        (of_another_schema, "schema version 9999, and .* use the release"),
        (with_a_page_of_nothing, "is damaged"),
        (lambda copy: (copy / MANIFEST).unlink(), "nobody can say whether it is whole"),
        (lambda copy: cut(copy / MANIFEST), "cannot be used"),
        (lambda copy: said(copy, '"format": 1', '"format": 2'), "of format 2"),
        (lambda copy: said(copy, "segments/0001", "../0001"), r"names \.\./0001"),
        (lambda copy: (copy / UNFINISHED).touch(), "was interrupted"),
    ],
)
def test_a_copy_that_is_not_whole_is_refused_before_anything_is_written(
    copy: Path, tmp_path: Path, harm: Callable[[Path], object], says: str
) -> None:
    harm(copy)
    with pytest.raises(StateError, match=says):
        restore(tmp_path / "back", copy)
    assert not (tmp_path / "back").exists()


def test_a_state_that_no_service_could_begin_with_is_not_called_a_copy(copy: Path, tmp_path: Path) -> None:
    (tmp_path / "state" / KEY).unlink()
    with pytest.raises(StateError, match=r"audit\.key is gone"):
        backup(tmp_path / "state", tmp_path / "second", at=NOW)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["copy", "state"]
    assert (tmp_path / "state" / PUBLIC).exists()


def interrupted(state: Path, part: Path) -> None:
    """Leave what a backup that is killed leaves, which takes nothing away."""

    def kill(what: str, share: float) -> None:
        if what == "copying the state" and share == 1.0:
            shutil.copytree(part.with_name("killed.part"), part)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backup(state, part.with_name("killed"), at=NOW, tell=kill)
    assert not part.with_name("killed.part").exists()


def test_what_an_interrupted_backup_left_is_told_and_taken_away(copy: Path, tmp_path: Path) -> None:
    part = tmp_path / "second.part"
    interrupted(tmp_path / "state", part)
    assert (part / "segments/0001.jsonl").exists()
    (tmp_path / "state/segments/0001.jsonl").unlink()  # meanwhile
    made = backup(tmp_path / "state", tmp_path / "second", at=NOW)
    assert made.cleared == part
    assert not part.exists()
    restore(tmp_path / "back", tmp_path / "second")


def test_a_copy_that_was_only_not_renamed_any_more_is_told_and_taken_away(copy: Path, tmp_path: Path) -> None:
    copy.rename(tmp_path / "second.part")
    assert backup(tmp_path / "state", tmp_path / "second", at=NOW).cleared == tmp_path / "second.part"


@pytest.mark.parametrize(
    ("name", "content"),
    [(MANIFEST, "{}"), (UNFINISHED, ""), (UNFINISHED, "tomorrow\n"), ("mine", ""), (UNFINISHED, '{"files":[]}\n')],
)
def test_what_no_backup_made_is_left_alone(copy: Path, tmp_path: Path, name: str, content: str) -> None:
    part = tmp_path / "second.part"
    part.mkdir()
    (part / name).write_text(content)
    (part / "thesis.tex").write_text("years")
    with pytest.raises(StateError, match="no backup of this release left it"):
        backup(tmp_path / "state", tmp_path / "second", at=NOW)
    assert {each.name for each in part.iterdir()} == {name, "thesis.tex"}


@pytest.mark.parametrize("mine", ["thesis.tex", "segments/thesis.tex"])
@pytest.mark.parametrize("finished", [True, False])
def test_what_somebody_put_into_an_interrupted_copy_keeps_all_of_it(
    copy: Path, tmp_path: Path, mine: str, finished: bool
) -> None:
    part = tmp_path / "second.part"
    if finished:
        copy.rename(part)
    else:
        interrupted(tmp_path / "state", part)
    (part / mine).write_text("years")
    there = sorted(part.rglob("*"))
    with pytest.raises(StateError, match=rf"{mine} is there, and no backup put it there"):
        backup(tmp_path / "state", tmp_path / "second", at=NOW)
    assert sorted(part.rglob("*")) == there


def test_what_another_backup_is_writing_is_left_alone(copy: Path, tmp_path: Path) -> None:
    part = tmp_path / "second.part"
    interrupted(tmp_path / "state", part)
    with (part / UNFINISHED).open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(StateError, match="another backup is writing"):
            backup(tmp_path / "state", tmp_path / "second", at=NOW)
    assert (part / "state.db").exists()


def test_where_a_copy_cannot_be_marked_nothing_is_left(copy: Path, tmp_path: Path) -> None:
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = next(number for number in range(allowed[0]) if not os.path.exists(f"/dev/fd/{number}"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, allowed[1]))
    try:
        with pytest.raises(StateError, match="no copy is made"):
            backup(tmp_path / "state", tmp_path / "second", at=NOW)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, allowed)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["copy", "state"]


def test_a_key_is_nobody_elses_to_read_at_any_time(copy: Path, tmp_path: Path) -> None:
    seen: set[tuple[str, int]] = set()

    def look(_what: str, _share: float) -> None:
        for place in (tmp_path / "second.part", tmp_path / "back"):
            seen.update((each.name, each.stat().st_mode & 0o077) for each in (place, place / KEY) if each.exists())

    before = os.umask(0o022)
    try:
        backup(tmp_path / "state", tmp_path / "second", at=NOW, tell=look)
        restore(tmp_path / "back", tmp_path / "second", tell=look)
    finally:
        os.umask(before)
    assert seen == {("second.part", 0), ("back", 0), (KEY, 0)}


@pytest.mark.spoils_state
@pytest.mark.parametrize("name", ["../precious", "/precious", "segments/../../precious"])
def test_what_no_restore_left_takes_nothing_away_outside_of_the_state(copy: Path, tmp_path: Path, name: str) -> None:
    back = tmp_path / "back"
    (back / "segments").mkdir(parents=True)
    (tmp_path / "precious").touch()
    marker = json.dumps({"type": "self-healing restore", "files": [name]}, separators=(",", ":"))
    (back / "state.db").write_text(marker)
    with pytest.raises(StateError, match=r"not empty"):
        restore(back, copy)
    assert (tmp_path / "precious").exists()
    assert (back / "state.db").read_text() == marker


def test_no_copy_is_made_in_the_state_itself(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(StateError, match="lies in the state itself"):
        backup(tmp_path / "state", tmp_path / "state/copies/one", at=NOW)
    assert not (tmp_path / "state/copies").exists()


@pytest.mark.spoils_state
def test_no_service_begins_with_what_an_interrupted_restore_left_and_the_next_restore_takes_it_away(
    copy: Path, tmp_path: Path
) -> None:
    class Killed(BaseException):
        pass

    back, left = tmp_path / "back", tmp_path / "left"

    def kill(what: str, share: float) -> None:
        if what == "restoring the state" and share > 0.99:
            shutil.copytree(back, left)  # as a kill would leave it, which takes nothing away
            raise Killed

    with pytest.raises(Killed):
        restore(back, copy, tell=kill)
    assert [each.name for each in back.iterdir()] == ["lock"]
    with pytest.raises(StateCorrupt, match="not a database"):
        Store(left)
    (left / "stop").write_text("{}")  # by a person, meanwhile
    with pytest.raises(StateError, match=r"not empty \(stop\)"):
        restore(left, copy)
    (left / "stop").unlink()
    restore(left, copy)
    with Store(left) as store:
        assert [each.id for each in store.select(Lesson)] == ["a"]


def test_how_far_a_copy_has_come_only_ever_grows(copy: Path, tmp_path: Path) -> None:
    told: list[tuple[str, float]] = []
    restore(tmp_path / "back", copy, tell=lambda what, share: told.append((what, share)))
    shares = {what: [share for name, share in told if name == what] for what, _ in told}
    assert list(shares) == ["checking the copy", "restoring the state"]
    assert all(each == sorted(each) and each[-1] == 1.0 for each in shares.values())
