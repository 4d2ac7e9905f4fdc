"""Taking: what is the same whatever the protocol, from a request's bytes to its acknowledgement."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from enum import StrEnum
from typing import Final, Protocol

from starlette.requests import ClientDisconnect, Request

from self_healing.api.bodies import Abandoned, BodyError, Room, read_body
from self_healing.api.conversion import Conversion, Normalise
from self_healing.api.unusable import Unusable
from self_healing.errors import (
    ConversionLost,
    Overloaded,
    SelfHealingError,
    StorageError,
    TooMany,
    Unconvertible,
    Undecodable,
)
from self_healing.telemetry.encoded import Encoded
from self_healing.telemetry.intake import Receipt

READ_S: Final = 30.0
"""A sender that takes longer to send its body is not waited for."""

ACKNOWLEDGE_S: Final = 10.0
"""A sender waits no longer for a disk that does not answer; what it sent may be there, and is known when it comes."""

UNSTORED_RETRY_S: Final = 5.0
"""When a sender may come again after a write failed."""

LOST_RETRY_S: Final = 1.0
"""When a sender may come again whose request was lost in its conversion: another process is there by then, mostly."""


class Submit(Protocol):
    """The port by which a batch gets into the segments."""

    def __call__(self, batch: Encoded, /) -> Future[Receipt]:
        """What became of the batch, once it is synced. Raises Overloaded and StorageError, as the future may."""
        ...


class Taking:
    """Takes batches in, has them converted, and waits until they are synced.

    Args:
        submit: stores a batch.
        room: bounds what is held of unanswered requests.
        conversion: makes batches of bodies.
        unusable: remembers what its senders cannot do so.
    """

    def __init__(self, submit: Submit, room: Room, conversion: Conversion, unusable: Unusable) -> None:
        self._submit = submit
        self._room = room
        self._conversion = conversion
        self._unusable = unusable
        self.refused: dict[str, int] = dict.fromkeys(RefusalReason, 0)  # requests since the start

    async def take_request(self, request: Request, normalise: Normalise, source: str) -> Receipt:
        """Take what an HTTP request holds, however it is compressed. Raises what :data:`REFUSALS` lists."""
        encoding = request.headers.get("content-encoding")
        with self._room.share() as share:
            try:
                async with asyncio.timeout(READ_S):
                    body = await read_body(request, share)
            except ClientDisconnect:
                raise Abandoned(400, "the sender went away before all of it was there") from None
            return await self._stored(body, encoding, normalise, source)

    async def take(self, body: bytes, normalise: Normalise, source: str) -> Receipt:
        """Take a body that is there already. Raises what :data:`REFUSALS` lists."""
        with self._room.share() as share:
            share.take(len(body))
            return await self._stored(body, None, normalise, source)

    async def _stored(self, body: bytes, encoding: str | None, normalise: Normalise, source: str) -> Receipt:
        async with asyncio.timeout(ACKNOWLEDGE_S):
            batch = await self._conversion.encoded(normalise, body, encoding, source)
            receipt = await asyncio.wrap_future(self._submit(batch))
        items = receipt.accepted + sum(receipt.rejected.values()) + sum(receipt.dropped.values())
        self._unusable.took(source, items, receipt.rejected, receipt.problems)
        return receipt

    def refusal(self, error: BaseException, source: str) -> Refusal:
        """Why a request is not taken, by what stood in the way of it; counted."""
        refusal = Refusal(error)
        self.refused[refusal.reason] += 1
        if refusal.reason in _SENDERS_FAULT:
            self._unusable.refused(source, refusal.reason, refusal.message)
        return refusal

    def turned_away(self, status: int) -> None:
        """Count a request that its sender may not send: by its status of HTTP, 401 or 403."""
        self.refused[_OF_STATUS[status]] += 1


class RefusalReason(StrEnum):
    """Why a request was refused whole; nothing of it is in the accounting of events."""

    NOT_UNDERSTOOD = "not_understood"  # 400: it is no such message, or has a header that cannot be
    UNAUTHENTICATED = "unauthenticated"  # 401: the token is missing or wrong
    FORBIDDEN = "forbidden"  # 403: the token may not send, or the Host or the Origin is foreign
    UNCONVERTIBLE = "unconvertible"  # 400: the process that converts what comes was lost over it before
    ABANDONED = "abandoned"  # its sender went away before all of it was there; nobody hears the answer
    TOO_LARGE = "too_large"  # 413: more than is taken at once
    UNSUPPORTED = "unsupported"  # 415: its content type or its encoding is none of ours
    OVERLOADED = "overloaded"  # 503: there was no room for it
    NOT_CONVERTED = "not_converted"  # 503: the process that converts what comes was lost over it, or cannot start
    NOT_STORED = "not_stored"  # 503: the disk did not take it
    TIMED_OUT = "timed_out"  # 503: it was not read or stored in time; it may be there all the same


_SENDERS_FAULT: Final = (
    RefusalReason.NOT_UNDERSTOOD,
    RefusalReason.UNCONVERTIBLE,
    RefusalReason.TOO_LARGE,
    RefusalReason.UNSUPPORTED,
)
"""The reasons for which the same is refused whenever it is sent, whoever may send it."""

_OF_STATUS: Final = {
    401: RefusalReason.UNAUTHENTICATED,
    403: RefusalReason.FORBIDDEN,
    413: RefusalReason.TOO_LARGE,
    415: RefusalReason.UNSUPPORTED,
}


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
            case Abandoned():
                self.status, self.reason = error.status, RefusalReason.ABANDONED
            case BodyError():
                self.status = error.status
                self.reason = _OF_STATUS.get(error.status, RefusalReason.NOT_UNDERSTOOD)
            case TooMany():
                self.status, self.reason = 413, RefusalReason.TOO_LARGE
            case Unconvertible():
                self.status, self.reason = 400, RefusalReason.UNCONVERTIBLE
            case Undecodable():
                self.status, self.reason = 400, RefusalReason.NOT_UNDERSTOOD
            case Overloaded():
                self.reason = RefusalReason.OVERLOADED
                self.status, self.retry_after_s = 503, error.retry_after_s
            case ConversionLost():
                self.reason = RefusalReason.NOT_CONVERTED
                self.status, self.retry_after_s = 503, LOST_RETRY_S
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
