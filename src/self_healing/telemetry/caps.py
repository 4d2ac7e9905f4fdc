"""How much a request may hold, looked at before anything is made of it: three bytes can become hundreds."""

from __future__ import annotations

from typing import Final

from self_healing.errors import TooMany
from self_healing.telemetry.lines import STRING

ITEMS_MAX: Final = 50_000
"""Spans, log records, points, events or alerts in one request: some six times what the largest usual batch holds."""

VALUES_MAX: Final = 1_000_000
"""Values in the JSON, elements in the XML, or short messages in the protobuf, of one request."""


def check_items(items: int) -> None:
    """Refuse a request of so many items. Raises TooMany."""
    if items > ITEMS_MAX:
        raise TooMany(f"the body has more than {ITEMS_MAX:,} items; send smaller batches")


def check_lines(body: bytes) -> None:
    """Refuse lines of which there are too many. Raises TooMany."""
    check_items(body.count(b"\n"))


def check_values(body: bytes) -> None:
    """Refuse JSON of too many values. Raises TooMany."""
    if _marks(body) > VALUES_MAX and _marks(STRING.sub(b"", body)) > VALUES_MAX:
        raise TooMany(f"the body has more than {VALUES_MAX:,} values; send smaller batches")


def _marks(body: bytes) -> int:
    """No fewer than there are values in JSON: each but the first of its object or list follows a comma."""
    return body.count(b"{") + body.count(b"[") + body.count(b",")
