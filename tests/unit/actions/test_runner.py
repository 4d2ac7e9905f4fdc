"""What only the local executor does: effects beside the loop, in threads, within bounds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from self_healing.actions.runner import LocalExecutor
from self_healing.errors import EffectError, StorageError
from self_healing.handoffs.channel import Channel
from self_healing.model import Execution, ExecutionStatus, Handoff
from self_healing.spec import Limits
from self_healing.storage.store import Store
from self_healing.testing import RecordingChannel
from tests.unit.actions.intents import effect_on, intend

S = ExecutionStatus


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "state") as opened:
        yield opened


def executor_on(store: Store, channel: Channel, *, concurrent: int = 5, drain_s: float = 5.0) -> LocalExecutor:
    effect = effect_on(store, channel)
    return LocalExecutor(effect, lambda: Limits(concurrent_actions=concurrent), drain_s=drain_s)


async def called(channel: RecordingChannel, times: int) -> None:
    """Wait until so many deliveries were begun."""
    async with asyncio.timeout(5):
        while channel.calls < times:
            await asyncio.sleep(0.001)


def test_a_hanging_channel_does_not_hold_up_the_loop(store: Store) -> None:
    channel = RecordingChannel(hangs=True)

    async def steps() -> None:
        executor = executor_on(store, channel)
        executor.submit([intend(store)])
        began = time.monotonic()
        await asyncio.sleep(0.05)
        assert time.monotonic() - began < 0.5
        channel.release()
        await executor.drain()
        await executor.close()

    asyncio.run(steps())
    assert store.get(Execution, "exe-1").status is S.DISPATCHED


def test_what_is_under_way_is_not_begun_again(store: Store) -> None:
    channel = RecordingChannel(hangs=True)

    async def steps() -> None:
        executor = executor_on(store, channel)
        id = intend(store)
        for _ in range(3):
            executor.submit([id, id])
            executor.recover()
            await asyncio.sleep(0.03)
        assert channel.calls == 1
        channel.release()
        await executor.drain()
        await executor.close()

    asyncio.run(steps())
    assert (store.get(Execution, "exe-1").tries, channel.calls) == (1, 1)


def test_a_delivery_that_takes_too_long_is_unknown_when_nobody_can_probe(store: Store) -> None:
    channel = RecordingChannel(hangs=True, probes=False)

    async def steps() -> None:
        executor = executor_on(store, channel)
        executor.submit([intend(store)])
        await executor.drain()
        await executor.close()

    asyncio.run(steps())
    assert (store.get(Execution, "exe-1").status, channel.calls) == (S.UNKNOWN, 1)
    channel.release()


def test_a_delivery_that_takes_too_long_has_failed_when_it_is_known_to_be_missing(store: Store) -> None:
    channel = RecordingChannel(hangs=True)

    async def steps() -> None:
        executor = executor_on(store, channel)
        executor.submit([intend(store, action="ask_once")])
        await executor.drain()
        await executor.close()

    asyncio.run(steps())
    failed = store.get(Execution, "exe-1")
    assert (failed.status, failed.error) == (S.FAILED, "no answer within 1 s")
    channel.release()


class SlowToAnswer(RecordingChannel):
    """Delivers, and then takes its time to say so."""

    def deliver(self, handoff: Handoff) -> None:
        super().deliver(handoff)
        time.sleep(1.2)


def test_a_delivery_that_arrived_but_took_too_long_to_say_so_is_not_repeated(store: Store) -> None:
    channel = SlowToAnswer()

    async def steps() -> None:
        executor = executor_on(store, channel)
        executor.submit([intend(store), intend(store, 2, "ask_once")])
        await executor.drain()
        await executor.close()

    asyncio.run(steps())
    assert {each.status for each in store.select(Execution)} == {S.DISPATCHED}
    assert channel.calls == 2


def test_effects_overlap_up_to_the_limit_and_not_beyond(store: Store) -> None:
    channel = RecordingChannel(hangs=True)

    async def steps() -> None:
        executor = executor_on(store, channel, concurrent=3)
        executor.submit([intend(store, n) for n in range(1, 10)])
        await called(channel, 3)
        await asyncio.sleep(0.05)
        assert channel.calls == 3
        channel.release()
        await executor.drain()
        await executor.close()

    asyncio.run(steps())
    assert len(channel.delivered) == 9


def test_closing_is_bounded_and_leaves_what_is_cut_off_to_the_next_start(store: Store) -> None:
    channel = RecordingChannel(hangs=True)

    async def steps() -> None:
        executor = executor_on(store, channel, concurrent=1, drain_s=0.05)
        executor.submit([intend(store), intend(store, 2)])
        await called(channel, 1)
        began = time.monotonic()
        await executor.close()
        await executor.close()
        assert time.monotonic() - began < 0.9  # less than the action's own timeout
        with pytest.raises(EffectError, match="taken up at the next start"):
            executor.submit(["exe-2"])

    asyncio.run(steps())
    assert [each.status for each in store.select(Execution)] == [S.INTENDED, S.INTENDED]
    channel.release()

    async def next_start() -> None:
        executor = executor_on(store, channel)
        assert len(executor.recover()) == 2
        await executor.drain()
        await executor.close()

    asyncio.run(next_start())
    assert [each.status for each in store.select(Execution)] == [S.DISPATCHED, S.DISPATCHED]
    assert sorted(each.id for each in channel.delivered) == ["hnd-1", "hnd-2"]


def test_closing_waits_for_what_is_nearly_done(store: Store) -> None:
    channel = RecordingChannel(hangs=True)

    async def steps() -> None:
        executor = executor_on(store, channel)
        executor.submit([intend(store)])
        await called(channel, 1)
        asyncio.get_running_loop().call_later(0.05, channel.release)
        await executor.close()

    asyncio.run(steps())
    assert store.get(Execution, "exe-1").status is S.DISPATCHED


class Broken(RecordingChannel):
    """Has a bug."""

    def deliver(self, handoff: Handoff) -> None:
        raise ZeroDivisionError("a bug")


def test_what_breaks_an_effect_is_raised_when_asked_and_leaves_it_intended(store: Store) -> None:
    async def steps() -> None:
        executor = executor_on(store, Broken())
        executor.submit([intend(store), intend(store, 2)])
        await executor.drain()
        with pytest.raises(ZeroDivisionError, match="a bug") as raised:
            executor.check()
        assert len(raised.value.__notes__) == 1
        executor.check()
        executor.submit(["exe-1"])
        await executor.drain()
        with pytest.raises(ZeroDivisionError):
            await executor.close()

    asyncio.run(steps())
    assert store.get(Execution, "exe-1").status is S.INTENDED


def test_a_state_that_could_not_be_written_is_told_and_the_effect_follows_when_it_can(
    store: Store, tmp_path: Path
) -> None:
    channel = RecordingChannel()
    intend(store)

    async def steps() -> None:
        with Store(tmp_path / "state", read_only=True) as full:
            unwritable = executor_on(full, channel)
            unwritable.submit(["exe-1"])
            await unwritable.drain()
            with pytest.raises(StorageError):
                unwritable.check()
            assert channel.calls == 0
            await unwritable.close()
        executor = executor_on(store, channel)
        executor.submit(["exe-1"])
        await executor.drain()
        await executor.close()

    asyncio.run(steps())
    assert (store.get(Execution, "exe-1").status, channel.calls) == (S.DISPATCHED, 1)


def test_retries_print_nothing(store: Store, capfd: pytest.CaptureFixture[str]) -> None:
    async def steps() -> None:
        executor = executor_on(store, RecordingChannel(fails=1))
        executor.submit([intend(store)])
        await executor.drain()
        await executor.close()

    asyncio.run(steps())
    assert store.get(Execution, "exe-1").tries == 2
    assert capfd.readouterr() == ("", "")
