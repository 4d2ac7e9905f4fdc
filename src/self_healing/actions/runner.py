"""Executors: what is intended is done, once each, by priority.

The ``executions`` table is the truth; an executor only decides when and where an effect is brought about. So submitting
twice is harmless, and what a crash left is taken up by `recover`.
"""

from __future__ import annotations

import asyncio
import heapq
import threading
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial
from itertools import count
from typing import Any, Protocol, TypeVar

from self_healing.actions.effect import FAILURES, Effect
from self_healing.errors import EffectError
from self_healing.model import Execution, ExecutionStatus, Handoff
from self_healing.spec import Limits

T = TypeVar("T")


class Executor(Protocol):
    """Brings intended executions to their effects."""

    def submit(self, execution_ids: Sequence[str]) -> None:
        """Have these done, the most urgent first; those that have an outcome or are under way already are left alone.

        Raises:
            NotFound: no execution with that id; none of them is begun.
            ConstitutionBypass: one is not what the gate allowed; none of them is begun.
        """
        ...

    def recover(self) -> list[Execution]:
        """Take up what an earlier process left without an outcome; returns it as it was found.

        What the gate did not allow is ended as failed, and not among it.
        """
        ...

    def check(self) -> None:
        """Raise what broke an effect since this was last asked (StorageError, or a bug); it is still intended."""
        ...

    async def drain(self) -> None:
        """Wait until nothing is waiting or under way."""
        ...

    async def close(self) -> None:
        """Begin nothing more and let what is under way finish, within a bound; then as `check`. Safe to call twice."""
        ...


class InlineExecutor:
    """Does everything at once, in the caller's thread, in a fixed order: for tests, simulations and one-off runs.

    A failing effect is tried again without waiting, and timeouts are not kept.

    Args:
        effect: the core.
    """

    def __init__(self, effect: Effect) -> None:
        self._effect = effect

    def submit(self, execution_ids: Sequence[str]) -> None:
        """As the port says. Raises also StorageError, with what came before it done."""
        executions = [self._effect.allowed(id) for id in execution_ids]
        for execution in sorted(executions, key=self._effect.rank):
            _finish(self._effect.run(execution.id, _directly, _at_once))

    def recover(self) -> list[Execution]:
        """As the port says."""
        left = self._effect.intended()
        self.submit([execution.id for execution in left])
        return left

    def check(self) -> None:
        """Nothing: `submit` raises at once."""

    async def drain(self) -> None:
        """Nothing: all is done when `submit` returns."""

    async def close(self) -> None:
        """Nothing: all is done when `submit` returns."""


class LocalExecutor:
    """Does the work beside the loop that submits it: effects overlap, slow channels block nobody.

    The state is written only in the loop's thread; only the channel is called in others.

    Args:
        effect: the core.
        limits: the limits now in force; ``concurrent_actions`` bounds how many effects are under way.
        drain_s: how long closing waits for what is under way, in real seconds.
    """

    def __init__(self, effect: Effect, limits: Callable[[], Limits], *, drain_s: float = 5.0) -> None:
        import stamina.instrumentation

        # A retry is on record in the execution's tries; stamina's own hook would print it to the standard output.
        stamina.instrumentation.set_on_retry_hooks(())
        self._effect = effect
        self._limits = limits
        self._drain_s = drain_s
        self._order = count()
        self._waiting: list[tuple[int, int, str]] = []  # rank, order of arrival, id
        self._known: set[str] = set()  # waiting or under way
        self._under_way: set[asyncio.Task[None]] = set()
        self._broken: list[BaseException] = []
        self._closed = False

    def submit(self, execution_ids: Sequence[str]) -> None:
        """As the port says; returns at once. Raises also EffectError once it is closed."""
        if self._closed:
            raise EffectError("the executor is closed; what is intended is taken up at the next start")
        for execution in [self._effect.allowed(id) for id in execution_ids]:
            if execution.status is ExecutionStatus.INTENDED and execution.id not in self._known:
                self._known.add(execution.id)
                heapq.heappush(self._waiting, (self._effect.rank(execution), next(self._order), execution.id))
        self._begin()

    def recover(self) -> list[Execution]:
        """As the port says; their outcomes follow."""
        left = self._effect.intended()
        self.submit([execution.id for execution in left])
        return left

    def check(self) -> None:
        """As the port says."""
        if self._broken:
            first, *others = self._broken
            self._broken.clear()
            for other in others:
                first.add_note(f"and another effect broke: {other!r}")
            raise first

    async def drain(self) -> None:
        """As the port says."""
        while self._waiting or self._under_way:
            await asyncio.wait(self._under_way)
            await asyncio.sleep(0)  # lets the ended ones be counted, and the next begin

    async def close(self) -> None:
        """As the port says; an effect that is cut off is still intended, and taken up at the next start."""
        self._closed = True
        self._known.difference_update(id for _, _, id in self._waiting)
        self._waiting.clear()
        if self._under_way:
            _, late = await asyncio.wait(self._under_way, timeout=self._drain_s)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)
            await asyncio.sleep(0)
        self.check()

    def _begin(self) -> None:
        while self._waiting and len(self._under_way) < self._limits().concurrent_actions:
            _, _, id = heapq.heappop(self._waiting)
            task = asyncio.create_task(self._effect.run(id, _in_thread, _backing_off), name=f"effect of {id}")
            self._under_way.add(task)
            task.add_done_callback(partial(self._ended, id))

    def _ended(self, id: str, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self._known.discard(id)
        if not task.cancelled():
            error = task.exception()
            if error is not None:
                self._broken.append(error)
        self._begin()


def _finish(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that never waits for anything to its end."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    coroutine.close()
    raise RuntimeError("an effect waited, though it is run inline")


async def _directly(function: Callable[[Handoff], T], handoff: Handoff, timeout_s: float) -> T:
    return function(handoff)


async def _at_once(tries: int, once: Callable[[], Awaitable[None]]) -> None:
    for left in reversed(range(tries)):
        try:
            return await once()
        except FAILURES:
            if not left:
                raise


async def _in_thread(function: Callable[[Handoff], T], handoff: Handoff, timeout_s: float) -> T:
    """`function(handoff)` in a thread of its own.

    Not in the loop's pool (`asyncio.to_thread`): the interpreter waits for that pool's threads at exit, so one channel
    that hangs for ever would keep the whole service from ever ending.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()

    def tell(say: Callable[[Any], None], what: object) -> None:
        if not answer.done():  # nobody waits for what comes too late
            say(what)

    def work() -> None:
        outcome: tuple[Callable[[Any], None], object]
        try:
            outcome = (answer.set_result, function(handoff))
        except BaseException as error:
            outcome = (answer.set_exception, error)
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(tell, *outcome)

    threading.Thread(target=work, name=f"handoff {handoff.id}", daemon=True).start()
    return await asyncio.wait_for(answer, timeout_s)


async def _backing_off(tries: int, once: Callable[[], Awaitable[None]]) -> None:
    """Waits 0.1, 0.2, 0.4 ... and up to 1 s of jitter between tries, at most 5 s; so many don't come back as one."""
    import stamina

    await stamina.AsyncRetryingCaller(attempts=tries, timeout=None, wait_initial=0.1, wait_max=5.0)(FAILURES, once)
