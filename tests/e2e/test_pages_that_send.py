"""Each page on a source is true: its code and its commands are run, or were when the source was recorded, and a service
takes what comes of it."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from self_healing.api.server import Server
from self_healing.clock import SystemClock
from self_healing.config import ServerSettings
from self_healing.dashboard.changes import Changes
from self_healing.telemetry.intake import Intake
from self_healing.telemetry.query.files import Places
from self_healing.telemetry.segments import Segments
from tests.conversion import conversion
from tests.e2e.frameworks.recording import SOURCES, exports, recorded
from tests.unit.telemetry.test_intake import lines
from tests.unit.test_docs import DOCS, blocks

PAGES = DOCS / "how-to" / "sources"
JUNIT = PAGES / "junit.md"

Sent = set[tuple[str, str | None, str | None]]
"""Of what was sent, each kind of event, whose it was, and how it ended."""

RUN: dict[str, Sent] = {
    "http": {("task_finished", "Coder", "success")},
    "langsmith": {("span", "clerks", "success"), ("tool_call", "clerks", "timeout")},
    "litellm": {("llm_call", "billing-bot", "success"), ("span", "billing-bot", "success")},
    "openai-agents": {("span", "clerks", "success")},
    "opentelemetry": {("span", "Coder", "success"), ("llm_call", "shop", "success")},
    "pydantic-ai": {("span", "support", "success"), ("llm_call", "support", "success")},
}
"""Of each page whose code is run here; `clerks` is the service, where a page names none."""

REPLAYED: dict[str, Sent] = {
    "alertmanager": {("log", "Coder", None)},
    "claude-code": {("log", "reviewer", None), ("llm_call", "reviewer", "success")},
    "codex": {("log", "codex_exec", None), ("llm_call", "codex_exec", "success")},
    "crewai": {("span", "support", "success"), ("span", "unknown_service:python", "success")},
    "openllmetry": {
        ("span", "orders", "success"),
        ("span", "support", "success"),
        ("tool_call", "support", "success"),
    },
}
"""Of each source that was recorded."""


@contextmanager
def listening(segments: Path) -> Iterator[Server]:
    """A server on free ports that writes to those segments."""
    clock = SystemClock()

    async def ask(command: str, **_arguments: Any) -> dict[str, Any]:
        raise AssertionError(f"nobody asks for {command}")

    intake = Intake(Segments(segments, now=clock.now), now=clock.now)
    intake.start()
    ports = ServerSettings(port=0, otlp_http_port=0, otlp_grpc_port=None)
    places = Places(telemetry=segments.parent, segments=segments)
    server = Server(
        ports,
        submit=intake.submit,
        conversion=conversion(),
        ask=ask,
        places=places,
        explain=lambda _: {},
        verify=dict,
        changes=Changes(),
        now=clock.now,
    )
    server.start()
    try:
        yield server
    finally:
        server.stop()
        intake.stop()


def stored(segments: Path) -> list[dict[str, Any]]:
    """The events that were stored, without what segments say of themselves; a log says no kind."""
    events = [{"type": "log"} | line for line in lines(segments)]
    return [event for event in events if not event["type"].startswith("self_healing")]


def taken(segments: Path) -> Sent:
    """What was stored."""
    return {(event["type"], event.get("agent"), event.get("status")) for event in stored(segments)}


def test_each_page_on_a_source_is_run_or_was_recorded() -> None:
    pages = {page.stem for page in PAGES.glob("*.md")}
    assert {*RUN, *REPLAYED, JUNIT.stem} == pages
    assert set(REPLAYED) == set(SOURCES)


def run(page: Path, server: Server, directory: Path) -> None:
    """Run the code of a page with the variables that it exports, but for the address."""
    program = directory / "page.py"
    program.write_text("\n".join(code for _, code in blocks(page, "python")))
    exported = exports("".join(text for _, text in blocks(page, "console")))
    # A process of its own, for frameworks instrument for good.
    environment = {
        **os.environ,
        **exported,
        "OTEL_EXPORTER_OTLP_ENDPOINT": server.addresses["otlp_http_port"],
        "OTEL_SERVICE_NAME": "clerks",
        "SERVICE": server.addresses["port"],
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "TRACELOOP_TELEMETRY": "false",
        "CREWAI_DISABLE_TELEMETRY": "true",
    }
    command = [sys.executable, str(program)]
    ran = subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("name", RUN)
def test_the_code_of_a_page_reaches_a_service(name: str, tmp_path: Path) -> None:
    with listening(tmp_path / "segments") as server:
        run(PAGES / f"{name}.md", server, tmp_path)
    assert taken(tmp_path / "segments") == RUN[name]


@pytest.mark.parametrize("name", SOURCES)
def test_a_page_says_what_was_done_when_its_source_was_recorded(name: str) -> None:
    assert SOURCES[name].set_up() == recorded(name)["set_up"], "record it anew: tests/e2e/frameworks/recording.py"


@pytest.mark.parametrize("name", REPLAYED)
def test_a_service_takes_what_a_source_sent_that_was_set_up_as_its_page_says(name: str, tmp_path: Path) -> None:
    with listening(tmp_path / "segments") as server:
        port = server.addresses["port"]
        for each in recorded(name)["requests"]:
            request = Request(port + each["path"], base64.b64decode(each["body"]), each["headers"])
            assert urlopen(request, timeout=30).status == 200
    assert taken(tmp_path / "segments") == REPLAYED[name]


@pytest.mark.skipif(shutil.which("curl") is None, reason="the page sends with curl, which is not here")
def test_the_commands_of_the_page_on_junit_send_what_its_test_says(tmp_path: Path) -> None:
    ((_, test),) = blocks(JUNIT, "python")
    (tmp_path / "test_page.py").write_text(test)
    ((_, console),) = blocks(JUNIT, "console")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # they take seconds to load
    with listening(tmp_path / "segments") as server:
        shown = console.replace("http://127.0.0.1:8787", server.addresses["port"])
        typed = "\n".join(line.removeprefix("$ ") for line in shown.splitlines() if line.startswith("$ "))
        command = ["sh", "-ec", typed]
        ran = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=120
        )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.endswith(console.splitlines()[-1].strip()), "what it shows is what is answered"
    (event,) = stored(tmp_path / "segments")
    assert (event["type"], event["id"], event["agent"], event["passed"]) == ("test_run", "t1", "Coder", 1)
