"""The process is killed at each step of a delivery by a channel: what can be told is told, nothing is sent twice."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from self_healing.actions.effect import CRASH_POINTS
from self_healing.actions.runner import InlineExecutor
from self_healing.config import ActionSettings
from self_healing.handoffs.file import FileChannel
from self_healing.handoffs.router import Router
from self_healing.model import Execution, ExecutionStatus, Handoff, HandoffStatus
from self_healing.storage.store import Store
from tests.contract.agent import Agent, serving_agent
from tests.contract.servers import LOOPBACK, SECRET, Receiver, serving
from tests.crash.killing import crash_at, killed
from tests.unit.actions.intents import effect_on, handoff, intend


def doomed(directory: Path, declared: dict[str, Any], point: str) -> None:
    os.environ["HOOK_SECRET"] = SECRET
    with Store(directory / "state") as store:
        begin(store)
        run(directory, store, declared, crash_at(point))


def begin(store: Store) -> None:
    """Intend an effect whose handoff goes by the channel ``ops``."""
    intend(store)
    store.put(msgspec.structs.replace(handoff(1), channel="ops"))


def run(directory: Path, store: Store, declared: dict[str, Any], crash: Any = lambda _point: None) -> None:
    """Take up all that is intended."""
    settings = ActionSettings.model_validate({"channels": {"ops": declared}})
    router = Router(FileChannel(directory / "handoffs"), settings.channels, "file")
    InlineExecutor(effect_on(store, router, crash=crash)).recover()


def killed_and_taken_up(directory: Path, declared: dict[str, Any], point: str) -> tuple[Execution, Handoff]:
    killed(doomed, directory, declared, point)
    with Store(directory / "state") as store:
        run(directory, store, declared)
        return store.get(Execution, "exe-1"), store.get(Handoff, "hnd-1")


@pytest.mark.parametrize(
    ("point", "idempotent"), [*((point, False) for point in CRASH_POINTS), ("effect.delivered", True)]
)
def test_a_webhook_that_may_have_arrived_is_sent_again_only_where_that_is_harmless(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str, idempotent: bool
) -> None:
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    receiver = Receiver()
    with serving(receiver) as url:
        declared = {"kind": "webhook", "url": url, "secret_env": "HOOK_SECRET", "allow": LOOPBACK}
        execution, sent = killed_and_taken_up(tmp_path, {**declared, "idempotent": idempotent}, point)
    assert list(receiver.events) == ["hnd-1"]
    untold = point == "effect.delivered"
    if untold and not idempotent:
        assert (execution.status, receiver.requests) == (ExecutionStatus.UNKNOWN, 1)
        assert "it is not sent twice; ask Auditor whether it came" in (execution.error or "")
    else:
        assert (execution.status, receiver.requests) == (ExecutionStatus.DISPATCHED, 2 if untold else 1)
        assert sent.status is HandoffStatus.DELIVERED


@pytest.mark.parametrize("point", ["effect.directives", "effect.delivered"])
def test_an_agent_is_asked_whether_it_has_the_task(tmp_path: Path, point: str) -> None:
    agent = Agent("working")
    with serving_agent(agent) as url:
        execution, sent = killed_and_taken_up(tmp_path, {"kind": "a2a", "url": url}, point)
        assert (execution.status, sent.status) == (ExecutionStatus.DISPATCHED, HandoffStatus.DELIVERED)
        assert len(agent.messages) == 1
