"""Which of the frameworks that agents are built with are installed here, and how each is told where to send."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

PROTOCOL = "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318"


@dataclass(frozen=True, kw_only=True)
class Source:
    """What sends telemetry of itself, once it is told to.

    Args:
        name: for people.
        distributions: the names of its Python packages; one is enough.
        program: its command, for what is no Python package.
        do: what connects it, in a line.
        page: where the documentation says more, within ``docs/how-to/sources``.
    """

    name: str
    distributions: tuple[str, ...] = ()
    program: str = ""
    do: str
    page: str


SOURCES = (
    Source(
        name="Pydantic AI",
        distributions=("pydantic-ai", "pydantic-ai-slim"),
        do="Agent.instrument_all(), with an OTLP exporter",
        page="pydantic-ai",
    ),
    Source(
        name="OpenAI Agents SDK",
        distributions=("openai-agents",),
        do="OpenAIAgentsInstrumentor().instrument(), of openinference-instrumentation-openai-agents",
        page="openai-agents",
    ),
    Source(
        name="LiteLLM",
        distributions=("litellm",),
        do='litellm.callbacks = ["otel"], with an OTLP exporter',
        page="litellm",
    ),
    Source(
        name="CrewAI",
        distributions=("crewai",),
        do="CrewAIInstrumentor().instrument(), of openinference-instrumentation-crewai",
        page="crewai",
    ),
    Source(
        name="LangChain, LangGraph",
        distributions=("langsmith",),
        do=f"LANGSMITH_TRACING=true LANGSMITH_OTEL_ENABLED=true {ENDPOINT}",
        page="langsmith",
    ),
    Source(
        name="OpenLLMetry",
        distributions=("traceloop-sdk",),
        do='Traceloop.init(api_endpoint="http://127.0.0.1:4318")',
        page="openllmetry",
    ),
    Source(
        name="OpenTelemetry",
        distributions=("opentelemetry-exporter-otlp-proto-http", "opentelemetry-exporter-otlp-proto-grpc"),
        do="nothing: its exporters send where `self-healing run` listens",
        page="opentelemetry",
    ),
    Source(
        name="Claude Code",
        program="claude",
        do=f"CLAUDE_CODE_ENABLE_TELEMETRY=1 OTEL_LOGS_EXPORTER=otlp {PROTOCOL} {ENDPOINT}",
        page="claude-code",
    ),
    Source(
        name="Codex",
        program="codex",
        do="[otel] in ~/.codex/config.toml: exporter otlp-http to http://127.0.0.1:4318/v1/logs",
        page="codex",
    ),
)
"""In the order in which they are told."""


def installed(directory: Path, environ: Mapping[str, str] = os.environ) -> list[Source]:
    """Those of :data:`SOURCES` that are installed where the agents of a project may run.

    Looked through are this interpreter, an active virtual environment and one within `directory`, and the programs that
    the shell would find. Nothing is imported.

    Args:
        directory: of the project.
        environ: says which environment is active and where programs are.
    """
    names = {each.name.lower().replace("_", "-") for each in distributions(path=list(_paths(directory, environ)))}
    return [
        each
        for each in SOURCES
        if names.intersection(each.distributions)
        or (each.program and shutil.which(each.program, path=environ.get("PATH", "")) is not None)
    ]


def _paths(directory: Path, environ: Mapping[str, str]) -> Iterator[str]:
    yield from sys.path
    for place in (environ.get("VIRTUAL_ENV"), directory / ".venv", directory / "venv"):
        if place:
            yield from map(str, Path(place).glob("lib/python3*/site-packages"))
