"""A service as a process of its own that listens on free ports, for the benchmarks that send to one."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.figure import COMMAND
from self_healing.local_socket import ask

FREE_PORTS = "[server]\nport = 0\notlp_http_port = 0\notlp_grpc_port = 0\n"
"""The configuration of a service that does not care which ports it gets."""

ANSWERS_S = 60.0


@dataclass(frozen=True)
class Listening:
    """A service that runs.

    Args:
        pid: its process.
        host_port: where it takes OTLP over HTTP, as ``127.0.0.1:4318``.
        dashboard: where the dashboard is, likewise.
        state_dir: its state.
    """

    pid: int
    host_port: str
    dashboard: str
    state_dir: Path

    def counts(self) -> dict[str, Any]:
        """The accounting, as it is committed."""
        told = ask(self.state_dir, "status", timeout_s=ANSWERS_S)
        if told is None:
            raise RuntimeError("the service ended")
        counts: dict[str, Any] = told["telemetry"]
        return counts

    def folded(self, events: int, patience_s: float = 120.0) -> None:
        """Wait until so many events are in committed panes."""
        until = time.monotonic() + patience_s
        while (counts := self.counts())["aggregated"] < events:
            if time.monotonic() > until:
                raise RuntimeError(f"not {events} events were folded within {patience_s:g} s: {counts}")
            time.sleep(0.05)
        if counts["aggregated"] != events:
            raise RuntimeError(f"{events} events were sent, and {counts['aggregated']} folded: {counts}")


def cpu_s(pid: int) -> float:
    """The processor time that a process has used, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def children(pid: int) -> list[int]:
    """The processes that a process has started, by whichever of its threads, and that have not ended."""
    told = [(thread / "children").read_text() for thread in Path(f"/proc/{pid}/task").iterdir()]
    return [int(child) for children in told for child in children.split()]


@contextmanager
def listening(directory: Path, more: str = "") -> Iterator[Listening]:
    """Run the installed service in `directory`, with `more` in its configuration besides free ports."""
    (directory / "logs" / "telemetry").mkdir(parents=True, exist_ok=True)
    (directory / "self-healing.toml").write_text(FREE_PORTS + more)
    output = directory / "output"
    with output.open("wb") as out:
        service = subprocess.Popen([COMMAND, "run"], cwd=directory, stdout=out)
        try:
            said = _said(service, output)
            otlp, dashboard = _host_port(said, "OTLP/HTTP"), _host_port(said, "dashboard")
            yield Listening(service.pid, otlp, dashboard, directory / ".self-healing")
        finally:
            service.send_signal(signal.SIGTERM)
            service.wait(timeout=30)


def _said(service: subprocess.Popen[bytes], output: Path) -> str:
    """What it prints until it runs."""
    while "running;" not in (said := output.read_text()):
        if service.poll() is not None:
            raise RuntimeError(f"the service did not start:\n{said}")
        time.sleep(0.05)
    return said


def _host_port(said: str, name: str) -> str:
    """Where it listens for that."""
    found = re.search(rf"^{name}\s+http://([^\s/]+)", said, re.MULTILINE)
    if found is None:
        raise RuntimeError(f"the service does not say where {name} is:\n{said}")
    return found[1]
