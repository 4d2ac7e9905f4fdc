"""The process is killed at each step of an action that calls a function: it is called once, or a person is told."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from self_healing.actions.effect import CRASH_POINTS, FUNCTION_RETURNED
from self_healing.actions.runner import InlineExecutor
from self_healing.handoffs.file import FileChannel
from self_healing.model import Execution, ExecutionStatus, Handoff, HandoffStatus
from self_healing.storage.store import Store
from tests.crash.killing import crash_at, killed
from tests.unit.actions.intents import ACTIONS, effect_on, intend


def doomed(directory: Path, idempotent: bool, point: str) -> None:
    with Store(directory / "state") as store:
        intend(store, 1, "ask")
        run(directory, store, idempotent, crash_at(point))


def drain(handoff: dict[str, str], parameters: dict[str, str]) -> None:
    """Do what cannot be undone: a line more in a file, synced."""
    with Path(parameters["log"]).open("a", encoding="utf-8") as file:
        file.write(handoff["id"] + "\n")
        file.flush()
        os.fsync(file.fileno())


def run(directory: Path, store: Store, idempotent: bool, crash: Callable[[str], None] = lambda _point: None) -> None:
    """Take up all that is intended, by an action that calls the function."""
    spec = ACTIONS["ask"].model_copy(
        update={
            "function": "tests.crash.test_function_crash:drain",
            "parameters": {"log": str(directory / "drained")},
            "idempotent": idempotent,
        }
    )
    channel = FileChannel(directory / "handoffs")
    InlineExecutor(effect_on(store, channel, action=lambda _execution: spec, crash=crash)).recover()


CASES = [
    ("intent.committed", False, 1, ExecutionStatus.DISPATCHED),
    ("effect.directives", False, 0, ExecutionStatus.UNKNOWN),
    (FUNCTION_RETURNED, False, 1, ExecutionStatus.UNKNOWN),
    ("effect.delivered", False, 1, ExecutionStatus.DISPATCHED),
    ("outcome.committed", False, 1, ExecutionStatus.DISPATCHED),
    ("effect.directives", True, 1, ExecutionStatus.DISPATCHED),
    (FUNCTION_RETURNED, True, 2, ExecutionStatus.DISPATCHED),
]


@pytest.mark.parametrize(("point", "idempotent", "calls", "status"), CASES)
def test_killed_at_any_point_a_function_is_called_once_or_nobody_claims_to_know(
    tmp_path: Path, point: str, idempotent: bool, calls: int, status: ExecutionStatus
) -> None:
    killed(doomed, tmp_path, idempotent, point)

    with Store(tmp_path / "state") as store:
        run(tmp_path, store, idempotent)
        run(tmp_path, store, idempotent)  # a further start finds nothing left
        done, handoff = store.get(Execution, "exe-1"), store.get(Handoff, "hnd-1")

    drained = tmp_path / "drained"
    assert (drained.read_text().split() if drained.exists() else []) == ["hnd-1"] * calls
    assert done.status is status
    if status is ExecutionStatus.UNKNOWN:
        assert "it is not called twice; look whether it did" in (done.error or "")
        assert not list((tmp_path / "handoffs").glob("*"))
    else:
        assert handoff.status is HandoffStatus.DELIVERED
        assert len(list((tmp_path / "handoffs").iterdir())) == 1


def test_every_point_of_an_effect_is_tried() -> None:
    assert {point for point, *_ in CASES} == {*CRASH_POINTS, FUNCTION_RETURNED}
