"""Every foreign name, in tables: what each source calls the columns of an event, its spans, its events and its errors.

The conventions move; this is the only module that knows them. Names in a row are tried in their order, and the first
that an item carries wins; after a source's own row comes the row of ``genai``, which all sources borrow from. A
resource's attributes come after an item's own, name by name.
"""

from __future__ import annotations

from typing import Final

Names = tuple[str, ...]

COLUMNS: Final[dict[str, dict[str, Names]]] = {
    "genai": {  # OpenTelemetry's own conventions, new names first
        "task_id": ("task.id", "gen_ai.conversation.id"),
        "agent": ("gen_ai.agent.name", "agent.name", "service.name"),
        "operation": ("gen_ai.operation.name",),
        "model": ("gen_ai.response.model", "gen_ai.request.model"),
        "provider": ("gen_ai.provider.name", "gen_ai.system"),
        "attempt": ("task.attempt",),
        "resends": ("http.request.resend_count",),
        "input_tokens": ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens"),
        "output_tokens": ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens"),
        "total_tokens": ("gen_ai.usage.total_tokens", "llm.usage.total_tokens"),
        "cache_read_tokens": ("gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_read_input_tokens"),
        "cache_write_tokens": (
            "gen_ai.usage.cache_write.input_tokens",
            "gen_ai.usage.cache_creation.input_tokens",
            "gen_ai.usage.cache_creation_input_tokens",
        ),
        "cost_usd": ("gen_ai.usage.cost.amount", "gen_ai.usage.cost"),
        "currency": ("gen_ai.usage.cost.currency",),
        "quality": ("gen_ai.evaluation.score.value",),
        "label": ("gen_ai.evaluation.score.label",),
        "error_type": ("error.type", "exception.type"),
        "tool": ("gen_ai.tool.name",),
        "call_id": ("gen_ai.tool.call.id",),
        "event_name": ("event.name",),
        "event_time": ("event.timestamp",),
        "run_id": ("run.id",),
        "handoff_id": ("self_healing.handoff_id",),
    },
    "pydantic_ai": {
        "agent": ("gen_ai.agent.name", "agent_name", "service.name"),
        "attempt": ("task.attempt", "pydantic_ai.tool.retry.attempt", "pydantic_ai.output.retry.attempt"),
        "resends": ("pydantic_ai.model_request.attempt", "http.request.resend_count"),
        "input_tokens": ("gen_ai.usage.input_tokens", "gen_ai.aggregated_usage.input_tokens"),
        "output_tokens": ("gen_ai.usage.output_tokens", "gen_ai.aggregated_usage.output_tokens"),
        "cache_read_tokens": (
            "gen_ai.usage.cache_read.input_tokens",
            "gen_ai.aggregated_usage.cache_read.input_tokens",
            "gen_ai.usage.details.cache_read_tokens",
        ),
        "cache_write_tokens": (
            "gen_ai.usage.cache_creation.input_tokens",
            "gen_ai.aggregated_usage.cache_creation.input_tokens",
            "gen_ai.usage.details.cache_write_tokens",
        ),
        "cost_usd": ("operation.cost",),
    },
    "openinference": {
        "task_id": ("task.id", "session.id"),
        "agent": ("agent.name", "graph.node.id", "gen_ai.agent.name", "service.name"),
        "operation": ("openinference.span.kind",),
        "model": (
            "llm.response.model_name",
            "llm.model_name",
            "llm.request.model_name",
            "embedding.model_name",
            "reranker.model_name",
        ),
        "provider": ("llm.provider", "llm.system"),
        "input_tokens": ("llm.token_count.prompt",),
        "output_tokens": ("llm.token_count.completion",),
        "total_tokens": ("llm.token_count.total",),
        "cache_read_tokens": (
            "llm.token_count.prompt_details.cache_read",
            "llm.token_count.prompt_details.cache_input",
        ),
        "cache_write_tokens": ("llm.token_count.prompt_details.cache_write",),
        "cost_usd": ("llm.cost.total",),
        "quality": ("evaluation.score", "annotation.score"),
        "label": ("evaluation.label", "annotation.label"),
        "tool": ("tool.name", "tool_call.function.name"),
        "call_id": ("tool_call.id", "tool.id"),
    },
    "openllmetry": {  # traceloop
        "task_id": (
            "task.id",
            "gen_ai.conversation.id",
            "traceloop.association.properties.session_id",
            "traceloop.association.properties.thread_id",
        ),
        "agent": ("gen_ai.agent.name", "traceloop.workflow.name", "service.name"),
        "operation": ("traceloop.span.kind", "gen_ai.operation.name", "llm.request.type"),
        "tool": ("gen_ai.tool.name", "traceloop.entity.name"),
    },
    "claude_code": {  # its log events; its spans and metrics repeat them
        "task_id": ("task.id", "prompt.id", "session.id"),
        "agent": ("agent.name", "service.name"),
        "model": ("model",),
        "attempt": ("attempt", "total_attempts"),
        "success": ("success",),
        "duration_ms": ("duration_ms",),
        "input_tokens": ("input_tokens",),
        "output_tokens": ("output_tokens",),
        "cache_read_tokens": ("cache_read_tokens",),
        "cache_write_tokens": ("cache_creation_tokens",),
        "cost_usd": ("cost_usd",),
        "error_type": ("error_type", "status_code", "error_name"),
        "tool": ("tool_name",),
        "call_id": ("tool_use_id",),
    },
    "codex": {  # its log events; its spans and metrics repeat them
        "task_id": ("task.id", "conversation.id"),
        "model": ("model", "slug"),
        "resends": ("attempt",),
        "success": ("success",),
        "duration_ms": ("duration_ms",),
        "input_tokens": ("input_token_count",),
        "output_tokens": ("output_token_count",),
        "total_tokens": ("total_token_count",),
        "cache_read_tokens": ("cached_token_count",),
        "error_type": ("error.type", "http.response.status_code"),
        "tool": ("tool_name",),
        "call_id": ("call_id",),
        "event_kind": ("event.kind",),
        "error": ("error.message",),
    },
    "langsmith": {
        "task_id": (
            "task.id",
            "langsmith.metadata.thread_id",
            "langsmith.metadata.session_id",
            "langsmith.metadata.conversation_id",  # not `langsmith.trace.session_id`, which is the project
        ),
        "agent": ("gen_ai.agent.name", "langsmith.metadata.lc_agent_name", "service.name"),
        "operation": ("langsmith.span.kind", "gen_ai.operation.name"),
        "model": ("gen_ai.response.model", "gen_ai.request.model", "langsmith.metadata.ls_model_name"),
        # Its `gen_ai.system` is guessed from the model's name, and "langchain" where that says nothing.
        "provider": ("gen_ai.provider.name", "langsmith.metadata.ls_provider", "gen_ai.system"),
    },
    "crewai": {
        "task_id": ("task.id", "crewai.task.id", "crewai.crew.id"),
        "agent": ("crewai.agent.role", "crewai.task.agent", "gen_ai.agent.name", "crewai.crew.name", "service.name"),
        "operation": ("gen_ai.operation.name", "traceloop.span.kind", "openinference.span.kind"),
        "model": ("gen_ai.response.model", "gen_ai.request.model", "crewai.agent.llm_model"),
        "resends": ("crewai.guardrail.retry_count", "http.request.resend_count"),
        "tool": ("gen_ai.tool.name", "crewai.tool.name"),
    },
    "litellm": {
        "task_id": ("task.id", "gen_ai.conversation.id", "metadata.session_id", "session.id"),
        "agent": ("gen_ai.agent.name", "metadata.agent_name", "metadata.user_api_key_alias", "service.name"),
        "operation": ("gen_ai.operation.name", "llm.request.type"),
        "resends": ("metadata.x-litellm-attempted-retries", "http.request.resend_count"),
        "cost_usd": ("gen_ai.cost.total_cost", "litellm.cost.total", "gen_ai.usage.cost.amount"),
        "error_type": ("error.type", "error.code", "exception.type"),
    },
    "openai_agents": {  # the SDK's own trace fields, as its bridges write them
        "task_id": ("task.id", "group_id", "gen_ai.conversation.id"),
        "agent": ("gen_ai.agent.name", "agent.name", "workflow_name", "service.name"),
        "operation": ("gen_ai.operation.name", "span_data.type"),
        "model": ("gen_ai.response.model", "gen_ai.request.model", "model"),
        "input_tokens": ("usage.input_tokens", "gen_ai.usage.input_tokens"),
        "output_tokens": ("usage.output_tokens", "gen_ai.usage.output_tokens"),
        "total_tokens": ("usage.total_tokens", "gen_ai.usage.total_tokens"),
        "tool": ("gen_ai.tool.name", "function.name"),
    },
}
"""What each source calls the columns. `resends` counts from zero and `attempt` from one; costs are in US dollars unless
`currency` says otherwise; the columns without a place in an event say what becomes of the others."""

SOURCE_OF: Final = {source: f"otlp/{source}" for source in COLUMNS}
"""How an event names its source."""

SCOPES: Final = (
    ("pydantic-ai", "pydantic_ai"),
    ("openinference.", "openinference"),
    ("com.anthropic.claude_code", "claude_code"),
    ("codex_", "codex"),
    ("langsmith", "langsmith"),
    ("crewai", "crewai"),
    ("opentelemetry.instrumentation.crewai", "crewai"),
    ("litellm", "litellm"),
    ("traceloop", "openllmetry"),
    ("openai-agents", "openai_agents"),
    ("openai_agents", "openai_agents"),
    ("openai.agents", "openai_agents"),
    ("opentelemetry.instrumentation.openai_agents", "openai_agents"),
)
"""How the names of instrumentation scopes begin, and which source that is."""

MARKS: Final = (
    ("crewai.", "crewai"),
    ("langsmith.", "langsmith"),
    ("openinference.", "openinference"),
    ("traceloop.", "openllmetry"),
    ("litellm.", "litellm"),
    ("gen_ai.cost.", "litellm"),
    ("pydantic_ai.", "pydantic_ai"),
    ("usage.input_tokens", "openai_agents"),
)
"""Where no scope says it: how an attribute begins that only one source has."""

SERVICES: Final[dict[str, str]] = {
    "claude-code": "claude_code",
    "codex-cli": "codex",
    "codex_app_server": "codex",
    "codex_cli_rs": "codex",
    "codex_exec": "codex",
    "codex_tui": "codex",
}
"""And where no attribute says it either: the names of services."""

ROLES: Final[dict[str, str]] = {
    # OpenTelemetry GenAI, `gen_ai.operation.name`
    "invoke_agent": "agent",
    "invoke_workflow": "agent",
    "chat": "model",
    "generate_content": "model",
    "text_completion": "model",
    "embeddings": "model",  # they use tokens and cost money
    "execute_tool": "tool",
    "retrieval": "tool",
    "create_agent": "other",  # nothing is worked on yet
    "plan": "other",  # a step of an agent
    # OpenInference, `openinference.span.kind`
    "llm": "model",
    "embedding": "model",
    "reranker": "model",
    "agent": "agent",
    "tool": "tool",
    "retriever": "tool",
    "chain": "other",
    "guardrail": "other",
    "evaluator": "other",
    "prompt": "other",
    # Traceloop, `traceloop.span.kind`, and `llm.request.type`
    "workflow": "agent",
    "task": "other",  # a step of a workflow
    "completion": "model",
    "acompletion": "model",
    "aembedding": "model",
    "responses": "model",
    "aresponses": "model",
    "rerank": "model",
    # LangSmith, `langsmith.span.kind`
    "parser": "other",
    # OpenAI Agents SDK, `span_data.type`
    "generation": "model",
    "response": "model",
    "function": "tool",
    "handoff": "other",
    "mcp_tools": "other",
    "custom": "other",
}
"""What a span is, by the word that its source has for it, in lower case."""

OWN_WORK: Final = ("crewai.task.", "crewai.agent.role", "crewai.crew.")
"""How an attribute begins that makes a span without such a word an agent's."""

WRAPS_AGENTS: Final = frozenset(("openinference",))
"""Sources in which an agent's span without an agent's name is only what was put around agents, and does no work."""

LOGS_ONLY: Final = frozenset(("claude_code", "codex"))
"""Sources whose spans repeat what their logs say, call by call: the logs are taken, and their spans are plain logs."""

CACHE_APART: Final = frozenset(("claude_code",))
"""Sources that count cached input beside the input, not in it."""

EVENTS: Final[dict[str, str]] = {
    "claude_code.api_request": "llm_call",
    "claude_code.api_error": "llm_call",
    "claude_code.tool_result": "tool_call",
    "codex.sse_event": "llm_call",  # only the last of a response
    "codex.api_request": "llm_call",  # these three only where they failed: of the others the sse_event tells
    "codex.websocket_connect": "llm_call",
    "codex.websocket_request": "llm_call",
    "codex.tool_result": "tool_call",
    "gen_ai.evaluation.result": "quality_score",
}
"""The log events that are more than a log. Not among them: what tells of a call a second time, such as
`api_retries_exhausted`, `api_refusal` and `gen_ai.client.operation.exception`."""

EVENT_SOURCES: Final = (("claude_code.", "claude_code"), ("codex.", "codex"))
"""How the names of events begin that only one source has."""

FAILURES: Final = frozenset(
    ("claude_code.api_error", "claude_code.api_refusal", "claude_code.api_retries_exhausted"),
)
"""The log events that say by their name that something failed."""

ONLY_FAILED: Final = frozenset(("codex.api_request", "codex.websocket_connect", "codex.websocket_request"))
"""The log events that are a call only where it failed: of one that went well another event tells."""

STREAMED: Final = "codex.sse_event"
"""The log event of each event of a streamed response. Its duration is the wait for that event, not the response's."""

RESPONSE_FAILED: Final = "response.failed"
"""The streamed event that says that the response failed."""

RESPONSE_BROKEN: Final = frozenset((None, "response.completed"))
"""The streamed events that, with an error, say that the response broke off; one without a name is a broken stream."""

PROVIDER_OF: Final[dict[str, str]] = {"claude_code": "anthropic", "codex": "openai"}
"""The provider, where the source names none because there is but one."""

TIMEOUTS: Final = ("timeout", "timed_out", "timedout", "deadline")
"""What the last part of an error's type contains, in lower case, when it is a timeout."""

TIMEOUT_CODES: Final = frozenset(("408", "504"))
"""The status codes, in place of an error's type, that are timeouts."""

RAISED_IN_MESSAGE: Final[dict[str, str]] = {"langsmith": "Exception"}
"""The type that a source gives to every error, which is its own: the message begins with what was raised, as Python
shows it, such as ``TimeoutError('no answer')``."""

CANCELLATIONS: Final = ("cancelled", "canceled", "keyboardinterrupt")
"""What the last part of an error's type contains, in lower case, when somebody stopped it."""

LABELS: Final[dict[str, float]] = {"pass": 1.0, "passed": 1.0, "fail": 0.0, "failed": 0.0}
"""The score that a label stands for, where there is no other."""

CONTENT: Final = (
    "gen_ai.input.messages",
    "gen_ai.output.messages",
    "gen_ai.system_instructions",
    "gen_ai.tool.definitions",
    "gen_ai.tool.description",
    "gen_ai.tool.call.arguments",
    "gen_ai.tool.call.result",
    "gen_ai.prompt",
    "gen_ai.completion",
    "gen_ai.content.",
    "gen_ai.event.content",
    "gen_ai.retrieval.documents",
    "input.",
    "output.",
    "llm.",  # OpenInference's messages and parameters, and LiteLLM's copies of request and response
    "tool.parameters",
    "tool.description",
    "tool.json_schema",
    "retrieval.documents",
    "reranker.input_documents",
    "reranker.output_documents",
    "embedding.embeddings",
    "metadata.",  # LiteLLM's keys, budgets, addresses and users
    "metadata",
    "hidden_params",
    "litellm.metadata.",  # and those of its newer spans, which are asked for by LITELLM_OTEL_V2
    "litellm.team.metadata",
    "litellm.end_user.",
    "litellm.guardrail.response",
    "litellm.provider.error.stack_trace",
    "traceloop.entity.input",
    "traceloop.entity.output",
    "crewai.crew.",  # OpenLLMetry writes down all that CrewAI's objects hold: results, prompts, backstories
    "crewai.task.",
    "crewai.agent.",
    "crew_agents",  # and OpenInference much of it
    "crew_tasks",
    "crew_inputs",
    "flow_inputs",
    "task_description",
    "task_expected_output",
    "formatted_description",
    "formatted_expected_output",
    "agent.goal",
    "agent.backstory",
    "tool_arguments",
    "tool_response",
    "tool_input",
    "tool_parameters",
    "all_messages",
    "pydantic_ai.all_messages",
    "pydantic_ai.variable_instructions",
    "final_result",
    "model_request_parameters",
    "logfire.",
    "prompt",
    "prompt_text",
    "response",  # Claude Code's, and below what it sends of itself where it is asked for details
    "body",
    "user_prompt",
    "new_context",
    "system_reminders",
    "system_prompt_preview",
    "user_system_prompt",
    "response.model_output",
    "full_command",
    "hook_definitions",
    "managed_settings.settings",
    "arguments",
    "output",
    "exception.stacktrace",
    "error.stack_trace",
    "gen_ai.headers",
    "gen_ai.user",
    "user.email",
    "user.full_name",
)
"""How attributes begin that hold what models and tools were told and said, who said it, and where in whose code: they
are never kept. A name without a dot is meant whole."""

RESOURCE_KEPT: Final = (
    "service.name",
    "service.version",
    "service.instance.id",
    "deployment.environment.name",
    "deployment.environment",
    "host.name",
)
"""The attributes of a resource that its events keep, since trouble may be shared by them."""
