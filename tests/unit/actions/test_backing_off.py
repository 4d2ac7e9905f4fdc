"""How long is waited before what failed is tried again, on a loop that leaps over the time in which it only waits."""

from __future__ import annotations

import asyncio
import selectors
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from self_healing.actions.runner import LocalExecutor
from self_healing.errors import EffectError
from self_healing.handoffs.channel import Channel
from self_healing.model import Execution, ExecutionStatus, Handoff
from self_healing.spec import Limits
from self_healing.storage.store import Store
from self_healing.testing import RecordingChannel
from tests.unit.actions.intents import ACTIONS, effect_on, intend


class Leaping(selectors.DefaultSelector):
    """Waits for what threads do; where none does anything, the time that it should wait is over at once."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        while True:
            busy = any(each.name.startswith("handoff ") for each in threading.enumerate())
            found = super().select(0.001 if busy else 0)
            if found or timeout == 0:
                return found
            if not busy:
                self.now += timeout or 0.0
                return found


class Loop(asyncio.SelectorEventLoop):
    """Has the time of its selector."""

    def __init__(self) -> None:
        self._leaping = Leaping()
        super().__init__(self._leaping)

    def time(self) -> float:
        return self._leaping.now


class Busy(RecordingChannel):
    """Never gets to it."""

    def deliver(self, handoff: Handoff) -> None:
        raise EffectError("busy")


def busy(handoff: dict[str, Any], parameters: Any) -> None:
    raise EffectError("busy")


CALLING = {"function": f"{__name__}:busy"}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "state") as opened:
        yield opened


def waits(store: Store, channel: Channel, number: int = 1, **declared: Any) -> list[float]:
    """The seconds that were waited before each further try of an action that always fails."""
    action, loop, begun = ACTIONS["ask"].model_copy(update={"tries": 8, **declared}), Loop(), []

    def passed(point: str) -> None:
        if point == "effect.directives":
            begun.append(loop.time())

    async def steps() -> None:
        executor = LocalExecutor(effect_on(store, channel, action=lambda _: action, crash=passed), Limits)
        executor.submit([intend(store, number, "ask")])
        await executor.drain()
        await executor.close()

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(steps())
    ended = store.get(Execution, f"exe-{number}")
    assert (ended.status, ended.tries) == (ExecutionStatus.FAILED, len(begun))
    return [after - before for before, after in pairwise(begun)]


@pytest.mark.parametrize(
    ("channel", "declared"), [(Busy(), {}), (RecordingChannel(), CALLING)], ids=["channel", "function"]
)
def test_each_further_try_waits_twice_as_long_up_to_five_seconds_and_up_to_a_second_more(
    store: Store, channel: Channel, declared: dict[str, Any]
) -> None:
    waited = waits(store, channel, **declared)
    least = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0]
    assert len(waited) == len(least)
    for took, at_least in zip(waited, least, strict=True):
        assert at_least <= round(took, 6) <= min(at_least + 1.0, 5.0)


def test_what_failed_together_does_not_come_back_together(store: Store) -> None:
    assert waits(store, Busy(), tries=3) != waits(store, Busy(), 2, tries=3)
