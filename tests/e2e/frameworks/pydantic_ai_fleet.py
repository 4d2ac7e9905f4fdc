"""Pydantic AI: an agent that calls a tool twice, the first time in vain, and an agent that fails."""

from __future__ import annotations

from opentelemetry.sdk.trace import TracerProvider
from pydantic_ai import Agent, ModelRetry, RunContext
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.models.instrumented import InstrumentationSettings
from pydantic_ai.usage import RequestUsage


def run(provider: TracerProvider, times: int) -> None:
    """Three runs: one good after a retry, of a model with a price, and two that fail, so many times."""
    Agent.instrument_all(InstrumentationSettings(tracer_provider=provider))
    for _ in range(times):
        _work()


def _work() -> None:
    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        usage = RequestUsage(input_tokens=1000, output_tokens=100)
        if len(messages) < 5:
            return ModelResponse(parts=[ToolCallPart("lookup", {"word": "a secret"})], usage=usage, model_name="gpt-4o")
        return ModelResponse(parts=[TextPart("done")], usage=usage, model_name="gpt-4o")

    support = Agent(FunctionModel(answer, model_name="gpt-4o"), name="support")

    @support.tool(retries=2)
    def lookup(context: RunContext[object], word: str) -> str:
        if context.retry == 0:
            raise ModelRetry("try again")
        return "found"

    support.run_sync("a secret", conversation_id="conv-1")

    def fail(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        raise TimeoutError("the model does not answer")

    broken = Agent(FunctionModel(fail, model_name="gpt-4o"), name="broken")
    for _ in range(2):
        try:
            broken.run_sync("a secret")
        except TimeoutError:
            continue
        raise AssertionError("the run should have failed")
