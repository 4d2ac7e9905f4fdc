"""LiteLLM with its own OpenTelemetry callback: a good call, and one that times out."""

from __future__ import annotations

import os

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it fetches its list of prices when it is imported

import litellm
from litellm.exceptions import RateLimitError
from litellm.integrations.opentelemetry import OpenTelemetry, OpenTelemetryConfig
from opentelemetry.sdk.trace import TracerProvider


def run(provider: TracerProvider, times: int) -> None:
    """One good call of a model with a price, and one that fails, so many times."""
    callback = OpenTelemetry(OpenTelemetryConfig(exporter="in_memory"), tracer_provider=provider)
    litellm.callbacks = [callback]
    for _ in range(times):
        _work()
    litellm.utils.executor.shutdown(wait=True)  # callbacks run in its threads


def _work() -> None:
    messages = [{"role": "user", "content": "a secret"}]
    metadata = {"session_id": "sess-1"}
    litellm.completion("gpt-4o-mini", messages, mock_response="a secret", metadata=metadata)
    try:
        litellm.completion("gpt-4o-mini", messages, mock_response="litellm.RateLimitError", metadata=metadata)
    except RateLimitError:
        return
    raise AssertionError("the call should have failed")
