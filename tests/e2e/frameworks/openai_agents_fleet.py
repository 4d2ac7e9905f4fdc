"""The OpenAI Agents SDK, instrumented by OpenInference: an agent that calls a tool, and one whose model refuses."""

from __future__ import annotations

import json

import httpx2
from agents import Agent, OpenAIChatCompletionsModel, RunConfig, Runner, function_tool, set_trace_processors
from openai import APIStatusError, AsyncOpenAI
from openinference.instrumentation.openai_agents import OpenAIAgentsInstrumentor
from opentelemetry.sdk.trace import TracerProvider


def _completion(request: httpx2.Request) -> httpx2.Response:
    """What a model's server answers: a call of the tool first, then a text; to `broken-model` an error."""
    asked = json.loads(request.content)
    if asked["model"] == "broken-model":
        return httpx2.Response(500, json={"error": {"message": "down"}})
    answered = any(message["role"] == "tool" for message in asked["messages"])
    call = {"id": "call-1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    message = {"role": "assistant", "content": "sunny"} if answered else {"role": "assistant", "tool_calls": [call]}
    choice = {"index": 0, "finish_reason": "stop" if answered else "tool_calls", "message": message}
    usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
    body = {"id": "c", "object": "chat.completion", "created": 0, "model": asked["model"], "choices": [choice]}
    return httpx2.Response(200, json=body | {"usage": usage})


@function_tool
def weather() -> str:
    """The weather."""
    return "sunny"


def run(provider: TracerProvider, times: int) -> None:
    """One good run of two model calls and a tool call, and one that fails, so many times."""
    set_trace_processors([])
    OpenAIAgentsInstrumentor().instrument(tracer_provider=provider)
    for _ in range(times):
        _work()


def _work() -> None:
    client = AsyncOpenAI(
        api_key="none",
        base_url="http://127.0.0.1:9/v1",
        max_retries=0,
        http_client=httpx2.AsyncClient(transport=httpx2.MockTransport(_completion)),
    )
    good = Agent(name="Triage", tools=[weather], model=OpenAIChatCompletionsModel("gpt-4o", client))
    Runner.run_sync(good, "a secret", run_config=RunConfig(group_id="thread-1"))
    bad = Agent(name="Broken", model=OpenAIChatCompletionsModel("broken-model", client))
    try:
        Runner.run_sync(bad, "a secret")
    except APIStatusError:
        return
    raise AssertionError("the run should have failed")
