"""Bodies are decompressed under caps, and there is room for so many at once."""

from __future__ import annotations

import gzip
import os
import zlib

import pytest
import zstandard

from self_healing.api.bodies import MEMBERS, BodyError, Room, decompressed
from self_healing.errors import Overloaded

BOMB = bytes(64 << 20)


@pytest.mark.parametrize("pieces", [1, 2])
@pytest.mark.parametrize("encoding", [None, "identity", "gzip", "x-gzip", "GZIP", "deflate", "zstd"])
def test_a_body_comes_out_as_it_went_in(encoding: str | None, pieces: int) -> None:
    body = os.urandom(5_000)
    packed = _packed(body, encoding) if pieces == 1 else _packed(body[:100], encoding) + _packed(body[100:], encoding)
    assert decompressed(packed, encoding) == body


def _packed(body: bytes, encoding: str | None) -> bytes:
    match (encoding or "identity").lower():
        case "gzip" | "x-gzip":
            return gzip.compress(body)
        case "deflate":
            return zlib.compress(body)
        case "zstd":
            return zstandard.compress(body)
    return body


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
def test_what_becomes_too_large_is_refused_before_it_is_held(encoding: str) -> None:
    packed = _packed(BOMB, encoding)
    assert len(packed) < len(BOMB) / 900
    with pytest.raises(BodyError, match="larger than 1 MiB") as refused:
        decompressed(packed, encoding, most_bytes=1 << 20)
    assert refused.value.status == 413


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
def test_exactly_the_most_is_taken(encoding: str) -> None:
    body = bytes(1 << 20)
    assert decompressed(_packed(body, encoding), encoding, most_bytes=1 << 20) == body


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
@pytest.mark.parametrize("spoil", [lambda packed: packed[:-5], lambda packed: b"nonsense" + packed])
def test_a_torn_or_other_body_is_refused(encoding: str, spoil: object) -> None:
    assert callable(spoil)
    with pytest.raises(BodyError, match=f"not {encoding}") as refused:
        decompressed(spoil(_packed(os.urandom(1000), encoding)), encoding)
    assert refused.value.status == 400


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
def test_a_body_of_too_many_empty_members_is_refused(encoding: str) -> None:
    assert decompressed(_packed(b"", encoding) * (MEMBERS - 1), encoding) == b""
    with pytest.raises(BodyError, match="send it as one") as refused:
        decompressed(_packed(b"", encoding) * 100_000, encoding)
    assert refused.value.status == 400


def test_an_unknown_encoding_is_refused_with_those_that_are_allowed() -> None:
    with pytest.raises(BodyError, match="'br': allowed are gzip, deflate, zstd and identity") as refused:
        decompressed(b"", "br")
    assert refused.value.status == 415


def test_what_does_not_fit_is_refused_until_others_are_answered() -> None:
    room = Room(most_bytes=10)
    with room.share() as first:
        first.take(8)
        with room.share() as second, pytest.raises(Overloaded):
            second.take(3)
    with room.share() as third:
        third.take(10)
    assert room.held_bytes == 0
