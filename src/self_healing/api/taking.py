"""Taking: what is the same whatever the protocol, from a request's bytes to its acknowledgement."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from enum import StrEnum
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
        self.refused: dict[str, int] = dict.fromkeys(RefusalReason, 0)  # requests since the start
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

    def refusal(self, error: BaseException) -> Refusal:
        """Why a request is not taken, by what stood in the way of it; counted."""
        refusal = Refusal(error)
        self.refused[refusal.reason] += 1
        return refusal

    def close(self) -> None:
        """Let what is under way finish; safe to call twice."""
        self._thread.shutdown()


class RefusalReason(StrEnum):
    """Why a request was refused whole; nothing of it is in the accounting of events."""

    NOT_UNDERSTOOD = "not_understood"  # 400: it is no such message, or has a header that cannot be
    TOO_LARGE = "too_large"  # 413: more than is taken at once
    UNSUPPORTED = "unsupported"  # 415: its content type or its encoding is none of ours
    OVERLOADED = "overloaded"  # 503: there was no room for it
    NOT_STORED = "not_stored"  # 503: the disk did not take it
    TIMED_OUT = "timed_out"  # 503: it was not read or stored in time; it may be there all the same


_OF_STATUS: Final = {413: RefusalReason.TOO_LARGE, 415: RefusalReason.UNSUPPORTED}


class Refusal:
    """Why a request was not taken.

    Args:
        status: of HTTP.
        reason: in one word.
        retry_after_s: when the same may come again; None when it must not.
    """

    def __init__(self, error: BaseException) -> None:
        self.message = str(error)
        self.retry_after_s: float | None = None
        match error:
            case BodyError():
                self.status = error.status
                self.reason = _OF_STATUS.get(error.status, RefusalReason.NOT_UNDERSTOOD)
            case TooMany():
                self.status, self.reason = 413, RefusalReason.TOO_LARGE
            case Undecodable():
                self.status, self.reason = 400, RefusalReason.NOT_UNDERSTOOD
            case Overloaded():
                self.reason = RefusalReason.OVERLOADED
                self.status, self.retry_after_s = 503, error.retry_after_s
            case StorageError():
                self.reason = RefusalReason.NOT_STORED
                self.status, self.retry_after_s = 503, UNSTORED_RETRY_S
            case TimeoutError():
                self.reason = RefusalReason.TIMED_OUT
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
