"""Copies of the state: of one moment, never over anything, and brought back where nothing is."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from self_healing.backup import backup, restore
from self_healing.constitution.audit import Audit
from self_healing.errors import StateBusy, StateError
from self_healing.model import Incident, Lesson
from self_healing.storage.store import Store
from tests.e2e.test_service import running, slow_task


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
            backup(state, tmp_path / "copy")
    restore(tmp_path / "back", tmp_path / "copy")
    with Store(tmp_path / "back") as store:
        assert [each.id for each in store.select(Lesson)] == ["a"]
    assert (tmp_path / "back/segments/0001.jsonl").read_text() == "{}\n"
    assert (tmp_path / "back/stop").read_text() == "{}"


def test_nothing_is_written_over(tmp_path: Path) -> None:
    with Store(tmp_path / "state") as store:
        store.put(lesson("a"))
    backup(tmp_path / "state", tmp_path / "copy")
    with pytest.raises(StateError, match="there already"):
        backup(tmp_path / "state", tmp_path / "copy")
    with pytest.raises(StateError, match="not empty"):
        restore(tmp_path / "state", tmp_path / "copy")


def test_an_owned_directory_and_what_is_no_copy_are_refused(tmp_path: Path) -> None:
    with Store(tmp_path / "state"):
        backup(tmp_path / "state", tmp_path / "copy")
        with pytest.raises(StateBusy, match="in use"):
            restore(tmp_path / "state", tmp_path / "copy")
    with pytest.raises(StateError, match="no copy"):
        restore(tmp_path / "new", tmp_path)
    with pytest.raises(StateError, match="no state"):
        backup(tmp_path / "nowhere", tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_the_copy_of_a_running_service_goes_on_as_a_state_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "telemetry").mkdir()

    async def steps() -> None:
        async with running(tmp_path) as tell:
            slow_task(tmp_path)
            await tell("check")
            await asyncio.to_thread(backup, tmp_path / "state", tmp_path / "copy")

    asyncio.run(steps())
    restore(tmp_path / "back", tmp_path / "copy")
    with Store(tmp_path / "back") as store:
        assert Audit(store).verify().ok
        assert [each.trigger for each in store.select(Incident)] == ["slow_tasks"]
