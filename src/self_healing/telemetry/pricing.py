"""What a call of a model cost, filled in where whoever reports it does not say so and the model is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from self_healing.clock import SECOND_US
from self_healing.model import Event, Kind, Usage


def put_prices(events: Sequence[Event], ts: NDArray[np.int64], kind: NDArray[np.uint8]) -> None:
    """Price the model calls among `events`.

    A task that says what it used, and not what that cost, is not priced: its tokens may be of several models, most of
    them out of a cache, and a price goes by how large a single input was.

    Args:
        ts: when each happened, microseconds since 1970.
        kind: of each.
    """
    for index in np.flatnonzero(kind == Kind.LLM_CALL).tolist():
        event = events[index]
        usage = event.usage
        if usage is not None and usage.total_usd is None and event.model is not None:
            put_price(usage, event.model, event.provider, int(ts[index]) / SECOND_US)


def put_price(
    usage: Usage,
    model: str,
    provider: str | None,
    at_s: float,
    cache_read: int | None = None,
    cache_write: int | None = None,
) -> None:
    """Fill in what a call cost where its source did not say so, if the model is known."""
    if usage.total_usd is None and usage.prompt_tokens is not None:
        usage.total_usd = _price()(
            model,
            provider,
            at_s,
            usage.prompt_tokens,
            usage.completion_tokens or 0,
            cache_read or 0,
            cache_write or 0,
        )


@cache
def _price() -> Callable[..., float | None]:
    # The list is large, and most processes ask for no price.
    from self_healing.telemetry.prices import price

    return price
