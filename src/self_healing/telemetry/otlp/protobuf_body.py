"""OTLP in protobuf."""

from __future__ import annotations

from typing import TypeVar, cast

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError, Message

from self_healing.errors import Undecodable
from self_healing.telemetry.otlp.wire import check_messages

M = TypeVar("M", bound=Message)


def decode_protobuf(body: bytes, kind: type[M], *, like: type[Message] | None = None, levels: int = 3) -> M:
    """The request of that kind that `body` holds.

    Args:
        body: the request.
        kind: its message.
        like: the message that names all its parts, where `kind` leaves some as bytes.
        levels: of messages down to its items.

    Raises:
        Undecodable: it holds none, or too much.
    """
    check_messages(body, cast("Descriptor", (like or kind).DESCRIPTOR), levels)
    try:
        return kind.FromString(body)
    except DecodeError as error:
        raise Undecodable(f"the body is no {kind.DESCRIPTOR.name} in protobuf: {error}") from error
