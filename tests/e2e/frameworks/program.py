"""A real framework at work, its spans exported: ``python -m tests.e2e.frameworks.program NAME TO [TIMES]``.

NAME is a module beside this one, whose ``run`` does the work, without a network: the model is the framework's own fake.
TO is a file, for one request in protobuf, or where OTLP/HTTP takes traces, for the SDK's own exporter. The work is done
TIMES times.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

SERVICE = "framework-fleet"


def main(name: str, to: str, times: int = 1) -> None:
    """Let the framework of that name do its work so many times, and export what it says to `to`."""
    provider = TracerProvider(resource=Resource.create({"service.name": SERVICE}))
    memory = InMemorySpanExporter()
    if to.startswith("http"):
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=to)))
    else:
        provider.add_span_processor(SimpleSpanProcessor(memory))
    import_module(f"tests.e2e.frameworks.{name}").run(provider, times)
    provider.shutdown()
    if not to.startswith("http"):
        Path(to).write_bytes(encode_spans(memory.get_finished_spans()).SerializeToString())


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
