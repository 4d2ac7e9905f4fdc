"""Taking: what is the same whatever the protocol, from a request's bytes to its acknowledgement."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, Protocol

from starlette.requests import Request

from self_healing.api.bodies import BodyError, Room, decompressed, read_body
from self_healing.errors import Overloaded, SelfHealingError, StorageError, TooMany, Undecodable
from self_healing.telemetry.intake import Receipt
from self_healing.telemetry.normalised import Normalised

READ_S: Final = 30.0
"""A sender that takes longer to send its body is not waited for."""

ACKNOWLEDGE_S: Final = 10.0
"""A sender waits no longer for a disk that does not answer; what it sent may be there, and is known when it comes."""

UNSTORED_RETRY_S: Final = 5.0
"""When a sender may come again after a write failed."""

Normalise = Callable[[bytes], Normalised]
"""Makes events of a request's body; called on the thread for that. Raises Undecodable, BodyError."""


class Submit(Protocol):
    """The port by which a batch gets into the segments."""

    def __call__(self, batch: Normalised, source: str) -> Future[Receipt]:
        """What became of the batch, once it is synced. Raises Overloaded and StorageError, as the future may."""
        ...


class Taking:
    """Takes batches in, one at a time on a thread of its own, and waits until they are synced.

    Args:
        submit: stores a batch.
        room: bounds what is held of unanswered requests.
    """

    def __init__(self, submit: Submit, room: Room) -> None:
        self._submit = submit
        self._room = room
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="taking")

    async def take_request(self, request: Request, normalise: Normalise, source: str) -> Receipt:
        """Take what an HTTP request holds, however it is compressed. Raises what :data:`REFUSALS` lists."""
        encoding = request.headers.get("content-encoding")
        with self._room.share() as share:
            async with asyncio.timeout(READ_S):
                body = await read_body(request, share)
            return await self._stored(lambda: normalise(decompressed(body, encoding)), source)

    async def take(self, body: bytes, normalise: Normalise, source: str) -> Receipt:
        """Take a body that is there already. Raises what :data:`REFUSALS` lists."""
        with self._room.share() as share:
            share.take(len(body))
            return await self._stored(lambda: normalise(body), source)

    async def _stored(self, normalised: Callable[[], Normalised], source: str) -> Receipt:
        def submit() -> Future[Receipt]:
            return self._submit(normalised(), source)

        async with asyncio.timeout(ACKNOWLEDGE_S):
            synced = await asyncio.get_running_loop().run_in_executor(self._thread, submit)
            return await asyncio.wrap_future(synced)

    def close(self) -> None:
        """Let what is under way finish; safe to call twice."""
        self._thread.shutdown()


class Refusal:
    """Why a request was not taken.

    Args:
        status: of HTTP.
        retry_after_s: when the same may come again; None when it must not.
    """

    def __init__(self, error: BaseException) -> None:
        self.message = str(error)
        self.retry_after_s: float | None = None
        match error:
            case BodyError():
                self.status = error.status
            case TooMany():
                self.status = 413
            case Undecodable():
                self.status = 400
            case Overloaded():
                self.status, self.retry_after_s = 503, error.retry_after_s
            case StorageError():
                self.status, self.retry_after_s = 503, UNSTORED_RETRY_S
            case TimeoutError():
                self.status, self.retry_after_s = 503, UNSTORED_RETRY_S
                self.message = "it could not be read or stored in time; send it again"
            case _:
                raise error

    @property
    def headers(self) -> dict[str, str]:
        """What an HTTP answer says besides."""
        return {} if self.retry_after_s is None else {"Retry-After": str(max(1, round(self.retry_after_s)))}


REFUSALS: Final[tuple[type[Exception], ...]] = (SelfHealingError, TimeoutError)
"""What may stand in the way of taking a request."""
