"""What a call of a known model cost, by the price list that `genai-prices` ships; nothing is fetched.

Asking the library costs 80 microseconds a call. A price is a sum over the kinds of tokens as long as the input is below
the first tier, so the library is asked once a model and day for the price of one token of each kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from genai_prices import Usage
from genai_prices.data import providers
from genai_prices.data_snapshot import DataSnapshot
from genai_prices.types import ModelPrice, TieredPrices

RATES_MAX = 4096
"""How many prices are remembered, of models on days."""

_DAY_S: Final = 86_400

PROVIDERS: Final[dict[str, str]] = {
    "amazon_bedrock": "aws",
    "aws.bedrock": "aws",
    "bedrock": "aws",
    "azure.ai.inference": "azure",
    "azure.ai.openai": "azure",
    "az.ai.inference": "azure",
    "az.ai.openai": "azure",
    "azure_ai": "azure",
    "fireworks_ai": "fireworks",
    "gcp.gemini": "google",
    "gcp.gen_ai": "google",
    "gcp.vertex_ai": "google",
    "gemini": "google",
    "google_genai": "google",
    "google_vertexai": "google",
    "vertex_ai": "google",
    "mistral_ai": "mistral",
    "mistralai": "mistral",
    "together_ai": "together",
    "togetherai": "together",
    "x_ai": "x-ai",
    "xai": "x-ai",
}
"""The price list's names for providers, by those that telemetry has for them where they differ."""

NO_PROVIDERS: Final = frozenset(("langchain",))
"""What telemetry names as the provider where it only knows by what the model was called."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Rates:
    """The price of one token of each kind, in US dollars, up to `input_max` tokens of input; beyond, by `prices`."""

    input: float
    output: float
    cache_read: float
    cache_write: float
    input_max: float
    prices: ModelPrice


def price(
    model: str,
    provider: str | None,
    at_s: float,
    input_tokens: int,
    output_tokens: int,
    cache_read: int = 0,
    cache_write: int = 0,
) -> float | None:
    """What a call cost in US dollars; None when the model, or its provider, is not in the price list.

    Args:
        model: as the provider names it.
        provider: as telemetry names it; None when unknown: then the model's maker.
        at_s: when it was, seconds since 1970, since prices change.
        input_tokens: all of the input, cached or not.
        output_tokens: all of the output.
        cache_read: the part of the input that came from a cache.
        cache_write: the part of the input that was written to one.
    """
    rates = _rates(model, provider, int(at_s // _DAY_S))
    if rates is None:
        return None
    fresh = input_tokens - cache_read - cache_write
    if input_tokens > rates.input_max:
        usage = Usage(
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            cache_read_tokens=cache_read,
            cache_write_tokens=cache_write,
        )
        return float(rates.prices.calc_price(usage)["total_price"])
    return (
        fresh * rates.input
        + output_tokens * rates.output
        + cache_read * rates.cache_read
        + cache_write * rates.cache_write
    )


@lru_cache(maxsize=RATES_MAX)
def _rates(model: str, provider: str | None, day: int) -> Rates | None:
    named = None if provider is None or provider.lower() in NO_PROVIDERS else provider
    name = None if named is None else PROVIDERS.get(named.lower(), named)
    try:
        # A snapshot of its own for each question: it never forgets a name that it was asked for.
        _, found = DataSnapshot(providers, from_auto_update=False).find_provider_model(model, None, name, None)
    except LookupError:
        return None
    # At noon of the day: a price for some hours of the day only is not looked for.
    prices = found.get_prices(datetime(1970, 1, 1, 12, tzinfo=UTC) + timedelta(days=day))

    def one(**usage: int) -> float:
        return float(prices.calc_price(Usage(**usage))["total_price"])

    tiers = [tier.start for each in vars(prices).values() if isinstance(each, TieredPrices) for tier in each.tiers]
    return Rates(
        input=one(input_tokens=1),
        output=one(output_tokens=1),
        cache_read=one(input_tokens=1, cache_read_tokens=1),
        cache_write=one(input_tokens=1, cache_write_tokens=1),
        input_max=min(tiers, default=float("inf")),
        prices=prices,
    )
