"""The process is killed at each named point of an effect; the next one finishes what it left."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest

from self_healing.actions.directives import read_directives
from self_healing.actions.effect import CRASH_POINTS
from self_healing.actions.runner import InlineExecutor, LocalExecutor
from self_healing.handoffs.file import FileChannel
from self_healing.handoffs.message import ContextMessageHandoff
from self_healing.model import Directive, Execution, ExecutionStatus, Handoff, HandoffStatus
from self_healing.spec import Limits
from self_healing.storage.store import Store
from tests.crash.killing import crash_at, killed
from tests.unit.actions.intents import START, effect_on, intend


def doomed(directory: Path, kind: str, point: str) -> None:
    with Store(directory / "state") as store:
        intend(store)
        run(directory, store, kind, crash_at(point))


def run(directory: Path, store: Store, kind: str, crash: Callable[[str], None] = lambda _point: None) -> None:
    """Take up all that is intended, with an executor of that kind."""
    effect = effect_on(store, FileChannel(directory / "handoffs"), crash=crash)

    async def steps() -> None:
        executor = InlineExecutor(effect) if kind == "inline" else LocalExecutor(effect, Limits)
        executor.recover()
        await executor.drain()
        await executor.close()

    asyncio.run(steps())


@pytest.mark.parametrize("kind", ["inline", "local"])
@pytest.mark.parametrize("point", CRASH_POINTS)
def test_killed_at_any_point_the_effect_happens_once(
    tmp_path: Path, kind: Literal["inline", "local"], point: str
) -> None:
    killed(doomed, tmp_path, kind, point)
    handoffs = tmp_path / "handoffs"
    before = {file.name: file.stat().st_ino for file in handoffs.iterdir()} if handoffs.exists() else {}
    assert bool(before) == (point in ("effect.delivered", "outcome.committed"))

    with Store(tmp_path / "state") as store:
        run(tmp_path, store, kind)
        done = store.get(Execution, "exe-1")
        assert (done.status, done.effect_at) == (ExecutionStatus.DISPATCHED, START)
        assert store.get(Handoff, "hnd-1").status is HandoffStatus.DELIVERED
        assert store.count(Directive) == 1
    assert read_directives("Coder", state_dir=tmp_path / "state", now=START) == {"quality_gate": "strict"}
    [file] = handoffs.iterdir()
    assert ContextMessageHandoff.from_json(file.read_bytes()).id == "hnd-1"
    assert before in ({}, {file.name: file.stat().st_ino})


def test_a_new_start_with_nothing_left_does_nothing(tmp_path: Path) -> None:
    with Store(tmp_path / "state") as store:
        intend(store)
        run(tmp_path, store, "inline")
        [file] = (tmp_path / "handoffs").iterdir()
        first = file.stat()
        run(tmp_path, store, "local")
        assert file.stat().st_mtime_ns == first.st_mtime_ns
