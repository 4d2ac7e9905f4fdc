"""Request bodies: read and decompressed under caps, and never more of them at once than there is room for."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import zstandard
from starlette.requests import Request

from self_healing.errors import Overloaded, SelfHealingError

MOST_BYTES: Final = 20 << 20
"""The largest body, after decompression."""

ROOM_BYTES: Final = 96 << 20
"""So much of unanswered requests is held at once, as they came; beyond it senders are asked to come again."""

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
    match (encoding or "identity").strip().lower():
        case "identity":
            return body
        case "gzip" | "x-gzip":
            return _gunzipped(body, most_bytes)
        case "zstd":
            return _unzstd(body, most_bytes)
        case other:
            raise BodyError(415, f"Content-Encoding {other!r}: allowed are gzip, zstd and identity")


def too_large(most_bytes: int) -> BodyError:
    """The refusal of a body that is too large."""
    return BodyError(413, f"the body is larger than {most_bytes >> 20} MiB after decompression; send smaller batches")


def _gunzipped(body: bytes, most_bytes: int) -> bytes:
    parts: list[bytes] = []
    left = most_bytes
    while body:  # a gzip body may have several members
        stream = zlib.decompressobj(wbits=31)
        try:
            part = stream.decompress(body, left + 1)
        except zlib.error as error:
            raise BodyError(400, f"the body is not gzip: {error}") from error
        left -= len(part)
        if left < 0:
            raise too_large(most_bytes)
        if not stream.eof:
            raise BodyError(400, "the body is not gzip: it ends before its end")
        parts.append(part)
        body = stream.unused_data
    return b"".join(parts)


def _unzstd(body: bytes, most_bytes: int) -> bytes:
    parts: list[bytes] = []
    left = most_bytes
    while body:  # a zstd body may have several frames
        # The window is what a frame may make the decoder hold, whatever comes out of it.
        frame = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES).decompressobj()
        for place in range(0, len(body), _ZSTD_PIECE_BYTES):
            try:
                part = frame.decompress(body[place : place + _ZSTD_PIECE_BYTES])
            except zstandard.ZstdError as error:
                raise BodyError(400, f"the body is not zstd: {error}") from error
            left -= len(part)
            if left < 0:
                raise too_large(most_bytes)
            parts.append(part)
            if frame.eof:
                body = frame.unused_data + body[place + _ZSTD_PIECE_BYTES :]
                break
        else:
            raise BodyError(400, "the body is not zstd: it ends before its end")
    return b"".join(parts)


_ZSTD_WINDOW_BYTES = 8 << 20
_ZSTD_PIECE_BYTES = 1 << 10
"""What this much can become at once bounds what is held beyond the cap: 128 KiB for every four bytes, so 32 MiB."""
