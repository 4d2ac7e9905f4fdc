"""Conversion: what was sent becomes lines in a process of its own.

That is most of the work with a request, and here it takes nothing from the loop, which folds meanwhile. And a body that
nobody thought of can end no more than that process, or take no more than a bounded time of it: who sent it is asked to
send it again, another process is made, and the second time it is refused for good. What only waited behind it is given
to the other process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Annotated, Final, Literal

import msgspec

from self_healing.api.bodies import BodyError, decompressed
from self_healing.api.worker import Lost, Worker
from self_healing.errors import ConversionLost, TooMany, Unconvertible, Undecodable
from self_healing.telemetry.collector import collector_off
from self_healing.telemetry.encoded import Encoded, encoded
from self_healing.telemetry.normalised import Normalised

Normalise = Callable[[bytes], Normalised]
"""Makes events of a request's body, in that process: a function of a module, or a partial of one. Raises Undecodable,
BodyError."""

TOLD_FOR: Final = timedelta(minutes=1)
"""So long it is a problem that a conversion was lost: senders come again, so one that is lost once loses nothing."""

CONVERT_S: Final = 8.0
"""A body may take so much time of a processor. The largest takes two seconds."""

HANG_S: Final = 60.0
"""A process that says nothing for so long hangs, however starved the machine is."""

AHEAD: Final = 2
"""So many bodies the process has at once: while it converts one, the next is on its way."""

TRIES: Final = 2
"""After so many conversions that were lost over the same body it is refused: a machine may be slow, or short of memory,
once."""

REMEMBERED: Final = 1000
"""Of so many bodies it is known that a conversion was lost over them."""


class Conversion:
    """Converts bodies one after the other; its process begins with the first of them.

    Args:
        now: the present instant.
        worker: the process that does it.
        unforeseen: hears of an error that nobody foresaw.
    """

    def __init__(
        self,
        now: Callable[[], datetime],
        worker: Worker | None = None,
        unforeseen: Callable[[Exception], None] = lambda _error: None,
    ) -> None:
        self.lost = 0  # conversions, since the start
        self._now = now
        self._worker = worker or Worker()
        self._unforeseen = unforeseen
        self._places = asyncio.Semaphore(AHEAD)
        self._giving = asyncio.Lock()
        self._first = asyncio.Lock()  # whoever has it waits for what the process is at; the others come after it
        self._blamed = _Blamed()
        self._problem: tuple[datetime, str] | None = None  # when one was lost last, and why

    async def encoded(self, normalise: Normalise, body: bytes, encoding: str | None, source: str) -> Encoded:
        """What `body` holds, as it is written. Called on one thread.

        Args:
            normalise: makes events of it, decompressed.
            body: as it came.
            encoding: its Content-Encoding, None where it has none.
            source: the way in.

        Raises:
            BodyError, Undecodable: it cannot be used.
            ConversionLost: the conversion was lost; the same may be sent again.
        """
        await self._places.acquire()
        converting = asyncio.create_task(self._converted(normalise, body, encoding, source))
        converting.add_done_callback(lambda _: self._places.release())
        return await asyncio.shield(converting)  # the process is busy with it even when nobody waits for it any more

    @property
    def problems(self) -> list[str]:
        """What is wrong, for people."""
        if self._problem is None or self._now() - self._problem[0] >= TOLD_FOR:
            return []
        return [
            f"the process that converts what is sent {self._problem[1]}: what it was given was refused, and is taken"
            f" when it is sent again unless it was to blame ({self.lost} since the start)"
        ]

    def close(self) -> None:
        """Let the process finish what it is at, within a bound, and end; safe to call twice."""
        self._worker.close()

    async def _converted(self, normalise: Normalise, body: bytes, encoding: str | None, source: str) -> Encoded:
        if self._blamed.times(source, body) >= TRIES:
            raise Unconvertible
        try:
            async with self._giving:
                answer = await self._worker.give(
                    _convert, normalise, body, encoding, source, answer=_Answer, cpu_s=CONVERT_S
                )
        except (OSError, RuntimeError) as error:
            raise self._lose(f"cannot be started ({error!r})") from error
        async with self._first:
            await asyncio.wait({answer}, timeout=HANG_S)
            if not answer.done():
                answer.add_done_callback(asyncio.Future.exception)  # nobody else asks what became of it
                self._worker.kill()
                raise self._blame(source, body, f"was ended, for it said nothing for {HANG_S:g} s")
        try:
            told = answer.result()
        except Lost as error:
            if not error.begun:
                return await self._converted(normalise, body, encoding, source)
            raise self._blame(source, body, _why(error)) from error
        except Exception as error:
            self._unforeseen(error)
            raise self._blame(source, body, f"failed as nobody foresaw ({error!r})") from error
        if isinstance(told.became, _Refused):
            raise told.became.error()
        self._blamed.forget(source, body)
        return told.became

    def _blame(self, source: str, body: bytes, why: str) -> ConversionLost:
        self._blamed.add(source, body)
        return self._lose(why)

    def _lose(self, why: str) -> ConversionLost:
        self.lost += 1
        self._problem = (self._now(), why)
        return ConversionLost(why)


def _why(lost: Lost) -> str:
    if lost.misspoke is not None:
        return f"was ended, for what it said is no answer ({lost.misspoke})"
    if lost.out_of_time:
        return f"took more than {CONVERT_S:g} s of a processor"
    return "ended, perhaps for want of memory"


class _Blamed:
    """How often a conversion was lost over a body."""

    def __init__(self) -> None:
        self._times: dict[bytes, int] = {}

    def times(self, source: str, body: bytes) -> int:
        return self._times.get(_mark(source, body), 0) if self._times else 0

    def add(self, source: str, body: bytes) -> None:
        mark = _mark(source, body)
        self._times[mark] = self._times.pop(mark, 0) + 1
        if len(self._times) > REMEMBERED:
            del self._times[next(iter(self._times))]

    def forget(self, source: str, body: bytes) -> None:
        if self._times:
            self._times.pop(_mark(source, body), None)


def _mark(source: str, body: bytes) -> bytes:
    digest = sha256(source.encode() + b"\0")
    digest.update(body)
    return digest.digest()


class _Refused(msgspec.Struct, frozen=True, tag=True):
    """Why a body cannot be used, as the process can say it."""

    kind: Literal["Undecodable", "TooMany", "BodyError"]
    says: str
    status: Annotated[int, msgspec.Meta(ge=400, le=499)] = 400

    @classmethod
    def of(cls, error: Undecodable | BodyError) -> _Refused:
        if isinstance(error, BodyError):
            return cls("BodyError", str(error), error.status)
        return cls("TooMany" if isinstance(error, TooMany) else "Undecodable", str(error))

    def error(self) -> Undecodable | BodyError:
        match self.kind:
            case "BodyError":
                return BodyError(self.status, self.says)
            case "TooMany":
                return TooMany(self.says)
            case "Undecodable":
                return Undecodable(self.says)


class _Answer(msgspec.Struct, frozen=True):
    """What became of a body."""

    became: Encoded | _Refused


def _convert(normalise: Normalise, body: bytes, encoding: str | None, source: str) -> _Answer:
    """In the process."""
    try:
        with collector_off():  # what one body becomes is gone before the next
            return _Answer(encoded(normalise(decompressed(body, encoding)), source))
    except (Undecodable, BodyError) as error:
        return _Answer(_Refused.of(error))
