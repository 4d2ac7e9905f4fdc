"""The surroundings: directories, disk, clock, ports, token, variables of channels, service, and the stop."""

from __future__ import annotations

import errno
import os
import shutil
import socket
from collections.abc import Iterator
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from self_healing.config import Settings, is_loopback
from self_healing.constitution.stop import stopped
from self_healing.doctor.findings import Finding, ok, problem, warn
from self_healing.errors import StateError, StorageError
from self_healing.handoffs.declared import unset
from self_healing.local_socket import ask
from self_healing.spec import Spec
from self_healing.status import evaluated_at, last_health
from self_healing.watching import ahead

LEAST_FREE_BYTES: Final = 100 * 2**20
"""With less room than this, what comes in is soon refused."""

FEW_FREE_BYTES: Final = 2**30

SHORTEST_TOKEN: Final = 16
"""A shorter token can be guessed."""


def surroundings(settings: Settings, spec: Spec | None, at: datetime) -> Iterator[Finding]:
    """All that does not take telemetry to see.

    Args:
        spec: the loaded one; None when what is declared is wrong.
        at: now, aware.
    """
    yield from _directories(settings)
    yield from _disk(settings)
    try:
        answer = ask(settings.storage.state_dir, "status")
        lost = None
    except (StateError, StorageError) as error:
        answer, lost = None, str(error)
    yield _state(settings, at)
    yield from _ports(settings, serving=answer is not None)
    yield _token(settings)
    if answer is None:  # a service says it of its own variables, which may be others
        yield from _variables(settings, spec)
    yield problem("service", lost, "restart it") if lost else _service(settings, spec, answer, at)
    yield _stop(settings)


def _directories(settings: Settings) -> Iterator[Finding]:
    named = {
        "telemetry directory": (settings.telemetry.dir, "--telemetry-dir"),
        "state directory": (settings.storage.state_dir, "--state-dir"),
        "logs directory": (settings.storage.logs_dir, "--logs-dir"),
    }
    for check, (path, flag) in named.items():
        there = _nearest(path)
        what = "it" if there == path else str(there)
        if not there.is_dir():
            yield problem(check, f"{there} is no directory", f"move it away, or name another place with {flag}")
        elif not os.access(there, os.R_OK | os.W_OK | os.X_OK):
            yield problem(check, f"{path}: {what} cannot be written", f"make it writable, or name another with {flag}")
        elif there == path or check != "telemetry directory":
            yield ok(check, f"{path}{'' if there == path else ', which the first start makes'}")
        else:
            yield warn(check, f"{path} is not there yet", f"mkdir -p {path}, or name where agents write with {flag}")


def _nearest(path: Path) -> Path:
    """`path`, or the nearest above it that is there."""
    while not os.path.lexists(path) and path != path.parent:
        path = path.parent
    return path


def _disk(settings: Settings) -> Iterator[Finding]:
    seen: set[int] = set()
    for path in (settings.storage.state_dir, settings.storage.logs_dir, settings.telemetry.dir):
        there = _nearest(path)
        device = there.stat().st_dev
        if device in seen:
            continue
        seen.add(device)
        free = shutil.disk_usage(there).free
        says = f"{free / 2**30:.1f} GiB are free where {path} is"
        if free < LEAST_FREE_BYTES:
            yield problem("disk", says, "make room: what cannot be written is refused")
        elif free < FEW_FREE_BYTES:
            yield warn("disk", says, "make room, or lower telemetry.keep_bytes")
        else:
            yield ok("disk", says)


def _state(settings: Settings, at: datetime) -> Finding:
    try:
        evaluated = evaluated_at(settings)
    except (StateError, StorageError) as error:
        return problem("state", str(error), "restore it from a copy, or begin with another --state-dir")
    if evaluated is None:
        return ok("state", "new: nothing was evaluated yet")
    too_far = ahead(evaluated, at)
    if too_far is not None:
        return problem("clock", too_far, "set the clock of this machine")
    return ok("clock", f"the state was evaluated up to {evaluated:%Y-%m-%d %H:%M:%S} UTC, which the clock has passed")


def _ports(settings: Settings, *, serving: bool) -> Iterator[Finding]:
    host = settings.server.host
    for setting in ("otlp_http_port", "otlp_grpc_port", "port"):
        port = getattr(settings.server, setting)
        if not port or (setting == "otlp_grpc_port" and find_spec("grpc") is None):
            continue
        why = _not_bound(host, port)
        if why is None and serving:
            yield warn(f"port {port}", "the service does not listen on it", f"restart it, if server.{setting} is new")
        elif why is None:
            yield ok(f"port {port}", f"free for server.{setting}")
        elif serving and why == os.strerror(errno.EADDRINUSE):
            yield ok(f"port {port}", f"the service has it, for server.{setting}")
        else:
            says = f"{host}:{port} cannot be used: {why}"
            yield problem(f"port {port}", says, f"set server.{setting} to another, or to false for none")


def _not_bound(host: str, port: int) -> str | None:
    """Why `port` cannot be listened on; None when it can."""
    try:
        [(family, kind, protocol, _, address), *_] = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        with socket.socket(family, kind, protocol) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind(address)
    except OSError as error:
        return error.strerror or str(error)
    return None


def _token(settings: Settings) -> Finding:
    host, token = settings.server.host, settings.server.token
    if token is None and settings.server.tokens:
        return ok("token", f"senders must show one of {len(settings.server.tokens)}, each for what it may do")
    if token is None:
        return ok("token", "none is needed: only this machine is listened to")
    if len(token) < SHORTEST_TOKEN and not is_loopback(host):
        say = "SELF_HEALING_SERVER_TOKEN=$(openssl rand -hex 16)"
        return warn("token", f"it has fewer than {SHORTEST_TOKEN} characters, and {host} is open to others", say)
    return ok("token", "senders must show it")


def _variables(settings: Settings, spec: Spec | None) -> Iterator[Finding]:
    actions = () if spec is None else spec.actions
    for line in unset(settings.actions.channels, settings.heartbeat, actions, os.environ):
        named_by, _, said = line.partition(": ")
        says, _, do = said.partition("; ")
        yield warn(named_by, says, do)


def _service(settings: Settings, spec: Spec | None, answer: dict[str, Any] | None, at: datetime) -> Finding:
    if answer is None:
        last = [] if spec is None else _issues(settings, spec, at)
        says = "none runs on this state" + "".join(f"; {issue}" for issue in last)
        return warn("service", says, "self-healing run starts one; self-healing check runs one cycle")
    health = answer["health"]
    issues = "; ".join(health["issues"])
    if health["status"] == "unhealthy":
        return problem("service", f"unhealthy: {issues}", "self-healing status --health")
    if health["status"] != "healthy":
        return warn("service", f"{health['status']}: {issues}", "self-healing status --health")
    if spec is not None and answer["spec_version"] != spec.version:
        says = f"it runs spec {answer['spec_version']}, and the files now say {spec.version}"
        return warn("service", says, "look again in a moment, as it follows its files; if it stays so, restart it")
    return ok("service", f"healthy, on spec {answer['spec_version']}")


def _issues(settings: Settings, spec: Spec, at: datetime) -> list[str]:
    try:
        return list(last_health(settings, spec, at=at)["issues"])
    except (StateError, StorageError):
        return []  # the state's own finding says why


def _stop(settings: Settings) -> Finding:
    stop = stopped(settings.storage.state_dir)
    if stop is None:
        return ok("stop", "not in force: what the constitution allows is done")
    return warn("stop", f"stopped by {stop.by or 'somebody'}: {stop.reason}", "self-healing resume-healing")
