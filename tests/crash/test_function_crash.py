"""The process is killed at each step of an action that calls something: it is called once, or a person is told."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from self_healing.actions.effect import CALLED, CRASH_POINTS
from self_healing.actions.runner import InlineExecutor
from self_healing.handoffs.file import FileChannel
from self_healing.model import Execution, ExecutionStatus, Handoff, HandoffStatus
from self_healing.spec import ActionSpec
from self_healing.storage.store import Store
from tests.crash.killing import crash_at, killed
from tests.unit.actions.intents import ACTIONS, effect_on, intend


def doomed(directory: Path, way: str, idempotent: bool, point: str) -> None:
    with Store(directory / "state") as store:
        intend(store, 1, "ask")
        run(directory, store, way, idempotent, crash_at(point))


def drain(handoff: dict[str, str], parameters: dict[str, str]) -> None:
    """Do what cannot be undone: a line more in a file, synced."""
    with Path(parameters["log"]).open("a", encoding="utf-8") as file:
        file.write(handoff["id"] + "\n")
        file.flush()
        os.fsync(file.fileno())


def by_function(directory: Path, idempotent: bool) -> ActionSpec:
    """An action that calls the function."""
    return ACTIONS["ask"].model_copy(
        update={
            "function": "tests.crash.test_function_crash:drain",
            "parameters": {"log": str(directory / "drained")},
            "idempotent": idempotent,
        }
    )


def by_program(directory: Path, idempotent: bool) -> ActionSpec:
    """An action that runs a program which does the same."""
    program = "import json, sys; print(json.load(sys.stdin)['id'], file=open(sys.argv[1], 'a'))"
    plain = ACTIONS["ask"].model_dump(exclude={"directives", "type", "reversible"})
    argv = (sys.executable, "-S", "-c", program, str(directory / "drained"))
    return ActionSpec.model_validate({**plain, "type": "command", "argv": argv, "idempotent": idempotent})


WAYS = {"function": by_function, "program": by_program}


def run(
    directory: Path, store: Store, way: str, idempotent: bool, crash: Callable[[str], None] = lambda _point: None
) -> None:
    """Take up all that is intended."""
    spec = WAYS[way](directory, idempotent)
    channel = FileChannel(directory / "handoffs")
    InlineExecutor(effect_on(store, channel, action=lambda _execution: spec, crash=crash)).recover()


CASES = [
    ("function", "intent.committed", False, 1, ExecutionStatus.DISPATCHED),
    ("function", "effect.directives", False, 0, ExecutionStatus.UNKNOWN),
    ("function", CALLED, False, 1, ExecutionStatus.UNKNOWN),
    ("function", "effect.delivered", False, 1, ExecutionStatus.DISPATCHED),
    ("function", "outcome.committed", False, 1, ExecutionStatus.DISPATCHED),
    ("function", "effect.directives", True, 1, ExecutionStatus.DISPATCHED),
    ("function", CALLED, True, 2, ExecutionStatus.DISPATCHED),
    ("program", "effect.directives", False, 0, ExecutionStatus.UNKNOWN),
    ("program", CALLED, False, 1, ExecutionStatus.UNKNOWN),
    ("program", "effect.delivered", False, 1, ExecutionStatus.DISPATCHED),
    ("program", CALLED, True, 2, ExecutionStatus.DISPATCHED),
]


@pytest.mark.parametrize(("way", "point", "idempotent", "calls", "status"), CASES)
def test_killed_at_any_point_it_is_called_once_or_nobody_claims_to_know(
    tmp_path: Path, way: str, point: str, idempotent: bool, calls: int, status: ExecutionStatus
) -> None:
    killed(doomed, tmp_path, way, idempotent, point)

    with Store(tmp_path / "state") as store:
        run(tmp_path, store, way, idempotent)
        run(tmp_path, store, way, idempotent)  # a further start finds nothing left
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
    assert {point for _, point, *_ in CASES} == {*CRASH_POINTS, CALLED}
