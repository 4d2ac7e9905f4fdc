"""OTLP in protobuf."""

from __future__ import annotations

from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from self_healing.errors import Undecodable

M = TypeVar("M", bound=Message)


def decode_protobuf(body: bytes, kind: type[M]) -> M:
    """The request of that kind that `body` holds.

    Raises:
        Undecodable: it holds none.
    """
    try:
        return kind.FromString(body)
    except DecodeError as error:
        raise Undecodable(f"the body is no {kind.DESCRIPTOR.name} in protobuf: {error}") from error
