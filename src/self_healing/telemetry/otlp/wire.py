"""How many messages a body in protobuf would become, told from its bytes: an empty one has two, and becomes 200."""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np
from google.protobuf.descriptor import Descriptor
from numpy.typing import NDArray

from self_healing.errors import TooMany
from self_healing.telemetry.caps import VALUES_MAX

SMALL_BYTES: Final = 1 << 20
"""A body no larger than this becomes 90 MB at most, whatever it holds; those of SDKs are smaller."""

HELD_MAX: Final = 200_000
"""Messages down to the items in a larger one."""

LISTS_MAX: Final = 100_000
"""Values that hold values; what more of them have in all is counted one by one. 10 MB."""

_ARRAY: Final = 0x2A  # the tags of `AnyValue.array_value` and `.kvlist_value`, and of what either holds
_MAPPING: Final = 0x32
_ITEM: Final = 0x0A

_SHORT: Final = 8  # the length of a short message is below it
_DENSE: Final = 4


def check_messages(body: bytes, kind: Descriptor, levels: int) -> None:
    """Refuse a body that would become far more than it is.

    To look at every message would take as long as to take them all. So that is done only where every fourth byte or
    more may be the length of a short one, which are three times as many as in usual spans, and where there may be more
    lists within lists than any SDK sends.

    Args:
        body: the request.
        kind: what it is.
        levels: down to its items.

    Raises:
        TooMany: it has too many messages.
    """
    if len(body) <= SMALL_BYTES:
        return
    data = np.frombuffer(body, np.uint8)
    dense = np.count_nonzero(data < _SHORT) * _DENSE > len(body) or _lists(data) > LISTS_MAX
    if _more(body, kind, levels, HELD_MAX) or (dense and _more(body, kind, len(body), VALUES_MAX)):
        raise TooMany("the body has more messages in it than are taken at once; send smaller batches")


def _lists(data: NDArray[np.uint8]) -> int:
    """How many values there may be that hold values, at most: the tag of one, its length in a byte or two, and the tag
    of its first item. Each becomes 100 bytes, however deep."""
    at = np.flatnonzero((data[:-3] == _ARRAY) | (data[:-3] == _MAPPING))
    long = data[at + 1] >= 0x80
    return int(np.count_nonzero(data[at + 2 + long] == _ITEM))


def _more(body: bytes, kind: Descriptor, levels: int, most: int) -> bool:
    """Whether more than `most` messages are in it, down to so many levels; what is no protobuf ends the count."""
    found, waiting = 0, [(0, len(body), kind, levels)]
    try:
        while waiting:
            at, end, within, left = waiting.pop()
            messages = _messages(within)
            while at < end:
                tag, at = _varint(body, at)
                form = tag & 7
                if form == 2:
                    size, at = _varint(body, at)
                    message = messages.get(tag >> 3)
                    if message is not None:
                        found += 1
                        if found > most:
                            return True
                        if left > 1 and size:
                            waiting.append((at, min(at + size, end), message, left - 1))
                    at += size
                elif form == 0:
                    _, at = _varint(body, at)
                elif form in _FIXED_BYTES:
                    at += _FIXED_BYTES[form]
    except IndexError:  # it ends within a number; protobuf says so
        pass
    return False


_FIXED_BYTES: Final = {1: 8, 5: 4}


def _varint(body: bytes, at: int) -> tuple[int, int]:
    """The number that begins there, and where it ends."""
    byte = body[at]
    if byte < 0x80:
        return byte, at + 1
    number = shift = 0
    while byte >= 0x80:
        number |= (byte & 0x7F) << shift
        shift += 7
        at += 1
        byte = body[at]
    return number | byte << shift, at + 1


@cache
def _messages(kind: Descriptor) -> dict[int, Descriptor]:
    """The messages within one of that kind, by the numbers of their fields."""
    return {field.number: field.message_type for field in kind.fields if field.message_type is not None}
