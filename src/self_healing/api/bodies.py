"""Request bodies: read and decompressed under caps, and never more of them at once than there is room for."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol

import zstandard

from self_healing.errors import Overloaded, SelfHealingError

if TYPE_CHECKING:
    from starlette.requests import Request

MOST_BYTES: Final = 20 << 20
"""The largest body, after decompression."""

ROOM_BYTES: Final = 96 << 20
"""So much of unanswered requests is held at once, as they came; beyond it senders are asked to come again."""

MEMBERS: Final = 1000
"""So many gzip members, or zstd frames, may follow each other in a body: empty ones cost time and no room."""

RETRY_AFTER_S: Final = 1.0
"""When a sender that was refused for want of room may come again."""


class BodyError(SelfHealingError):
    """A request that is refused as it stands.

    Args:
        status: the HTTP status that says why.
        message: what is wrong, and what is allowed.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Abandoned(BodyError):
    """A request whose sender went away before all of it was there."""


class Room:
    """How much is held of requests that are not answered yet.

    Args:
        most_bytes: how much at once.
    """

    def __init__(self, most_bytes: int = ROOM_BYTES) -> None:
        self._most = most_bytes
        self._lock = threading.Lock()
        self.held_bytes = 0

    @contextmanager
    def share(self) -> Iterator[Share]:
        """One request's share of the room; it is given back at the end."""
        share = Share(self)
        try:
            yield share
        finally:
            self._give_back(share.bytes)

    def _take(self, size: int) -> None:
        with self._lock:
            if self.held_bytes + size > self._most:
                raise Overloaded(RETRY_AFTER_S)
            self.held_bytes += size

    def _give_back(self, size: int) -> None:
        with self._lock:
            self.held_bytes -= size


class Share:
    """What one request holds of the room."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self.bytes = 0

    def take(self, size: int) -> None:
        """Hold `size` bytes more. Raises Overloaded."""
        self._room._take(size)
        self.bytes += size


async def read_body(request: Request, share: Share, most_bytes: int = MOST_BYTES) -> bytes:
    """The body of a request as it came.

    Raises:
        BodyError: it is larger than `most_bytes`.
        Overloaded: there is no room for it.
    """
    announced = request.headers.get("content-length", "0")
    if announced.isdigit() and int(announced) > most_bytes:
        raise too_large(most_bytes)
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > most_bytes:
            raise too_large(most_bytes)
        share.take(len(part))
        parts.append(part)
    return b"".join(parts)


def decompressed(body: bytes, encoding: str | None, most_bytes: int = MOST_BYTES) -> bytes:
    """`body` decompressed as its Content-Encoding says, and never more of it than `most_bytes`.

    Raises:
        BodyError: the encoding is not known, the body is not in it, or what it holds is too large.
    """
    name = (encoding or "identity").strip().lower()
    if name == "identity":
        return body
    if name not in _DECODERS:
        raise BodyError(415, f"Content-Encoding {name!r}: allowed are gzip, deflate, zstd and identity")
    return _unpacked(body, name, most_bytes)


def too_large(most_bytes: int) -> BodyError:
    """The refusal of a body that is too large."""
    return BodyError(413, f"the body is larger than {most_bytes >> 20} MiB after decompression; send smaller batches")


class _Decoder(Protocol):
    """Decompresses one member of a body, piece by piece."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, /) -> bytes: ...


def _unpacked(body: bytes, name: str, most_bytes: int) -> bytes:
    parts: list[bytes] = []
    left, place = most_bytes, 0
    for _ in range(MEMBERS):
        if place == len(body):
            return b"".join(parts)
        member = _DECODERS[name]()
        while not member.eof:
            piece = body[place : place + _PIECE_BYTES]
            if not piece:
                raise BodyError(400, f"the body is not {name}: it ends before its end")
            try:
                part = member.decompress(piece)
            except (zlib.error, zstandard.ZstdError) as error:
                raise BodyError(400, f"the body is not {name}: {error}") from error
            place += len(piece)
            left -= len(part)
            if left < 0:
                raise too_large(most_bytes)
            parts.append(part)
        place -= len(member.unused_data)
    raise BodyError(400, f"the body has more than {MEMBERS} {name} members one after the other; send it as one")


def _zstd() -> _Decoder:
    # The window is what a frame may make the decoder hold, whatever comes out of it.
    return zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES).decompressobj()


_DECODERS: Final[dict[str, Callable[[], _Decoder]]] = {
    "gzip": lambda: zlib.decompressobj(wbits=31),
    "x-gzip": lambda: zlib.decompressobj(wbits=31),
    "deflate": lambda: zlib.decompressobj(wbits=15),
    "zstd": _zstd,
}

_ZSTD_WINDOW_BYTES = 8 << 20
_PIECE_BYTES = 1 << 10
"""What this much can become at once is held beyond the cap: 128 KiB for every four bytes of zstd, so 32 MiB."""
