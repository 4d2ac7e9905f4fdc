"""Prices agree with the library that has the list, below the first tier and beyond it; the unknown has none."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from genai_prices import Usage, calc_price
from hypothesis import given
from hypothesis import strategies as st

from self_healing.telemetry.prices import price

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)

MODELS = [("gpt-4o", "openai"), ("claude-sonnet-4-5", "anthropic"), ("gemini-2.5-pro", "google")]


@given(
    model=st.sampled_from(MODELS),
    fresh=st.integers(0, 500_000),
    cache_read=st.integers(0, 100_000),
    output=st.integers(0, 50_000),
)
def test_a_price_is_what_the_library_says(model: tuple[str, str], fresh: int, cache_read: int, output: int) -> None:
    usage = Usage(input_tokens=fresh + cache_read, output_tokens=output, cache_read_tokens=cache_read)
    theirs = calc_price(usage, model[0], provider_id=model[1], genai_request_timestamp=NOON)
    ours = price(*model, NOON.timestamp(), input_tokens=fresh + cache_read, output_tokens=output, cache_read=cache_read)
    assert ours == pytest.approx(float(theirs.total_price), rel=1e-9, abs=1e-12)


def test_input_written_to_a_cache_has_its_own_price() -> None:
    usage = Usage(input_tokens=1000, output_tokens=0, cache_write_tokens=900)
    theirs = calc_price(usage, "claude-sonnet-4-5", provider_id="anthropic", genai_request_timestamp=NOON)
    ours = price(
        "claude-sonnet-4-5", "anthropic", NOON.timestamp(), input_tokens=1000, output_tokens=0, cache_write=900
    )
    assert ours == pytest.approx(float(theirs.total_price))


@pytest.mark.parametrize(
    ("model", "provider"),
    [("a-model-nobody-sells", None), ("a-model-nobody-sells", "openai"), ("gpt-4o", "a-shop-nobody-knows")],
)
def test_what_is_not_in_the_list_has_no_price(model: str, provider: str | None) -> None:
    assert price(model, provider, NOON.timestamp(), input_tokens=1, output_tokens=1) is None


@pytest.mark.parametrize(
    ("telemetry", "listed"), [("gcp.gemini", "google"), ("gcp.vertex_ai", "google"), ("GEMINI", "google")]
)
def test_a_provider_is_known_by_the_name_that_telemetry_has_for_it(telemetry: str, listed: str) -> None:
    def cost(provider: str) -> float | None:
        return price("gemini-2.5-pro", provider, NOON.timestamp(), input_tokens=100, output_tokens=10)

    assert cost(telemetry) == cost(listed) is not None


def test_without_a_provider_the_maker_of_the_model_is_meant() -> None:
    at = NOON.timestamp()
    assert price("gpt-4o", None, at, input_tokens=100, output_tokens=10) == price(
        "gpt-4o", "openai", at, input_tokens=100, output_tokens=10
    )
