"""The items of a request, whatever they are: each becomes events or is rejected, and rejects no other."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVarTuple

from self_healing.model import Ingested
from self_healing.telemetry.caps import check_items
from self_healing.telemetry.collector import collector_off
from self_healing.telemetry.normalised import Normalised, key_of
from self_healing.telemetry.otlp.rejection import BadItem

Item = TypeVarTuple("Item")


def normalised(
    items: Iterable[tuple[*Item]], events_of: Callable[[*Item], list[Ingested]], *, body: bytes | None = None
) -> Normalised:
    """What a request holds.

    Args:
        items: each with where it comes from.
        events_of: the events of one; raises BadItem for one that is bad for good.
        body: the whole request, where its items have no identity of their own by which they are known again.

    Raises:
        TooMany: there are too many.
    """
    batch = Normalised()
    take = batch.events.extend
    with collector_off():
        for number, item in enumerate(items, 1):
            check_items(number)
            try:
                take(events_of(*item))
            except BadItem as bad:
                batch.reject(bad.reason)
    if body is not None and batch.events:
        batch.key = key_of(body)
    return batch
