"""Prometheus as Debian packages it, below ``.cache``: fetched once, never installed, run on a free port of loopback."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CACHE = Path(__file__).parents[1] / ".cache"
UNPACKED = CACHE / "prometheus"
READY_S = 120.0
ENDS_S = 60.0

BY_HAND = (
    f"get a Prometheus of 2.42 or newer, and put its two programs, prometheus and promtool, on the PATH or into"
    f" {UNPACKED.relative_to(CACHE.parent)}/usr/bin"
)


class NotToBeHadError(Exception):
    """There is no Prometheus, and none can be fetched; says what to do."""


@dataclass(frozen=True)
class Tools:
    """The two programs."""

    prometheus: str
    promtool: str

    def version(self) -> str:
        """Such as ``2.42.0``."""
        said = subprocess.run([self.promtool, "--version"], check=True, capture_output=True, text=True)
        return (said.stdout or said.stderr).split("version ")[1].split(" ")[0].rstrip(",").split("+")[0]


def found() -> Tools | None:
    """The programs that are there already: below ``.cache``, else on the PATH."""
    path = f"{UNPACKED / 'usr' / 'bin'}"
    tools = [shutil.which(name, path=path) or shutil.which(name) for name in ("prometheus", "promtool")]
    return Tools(tools[0], tools[1]) if tools[0] and tools[1] else None


def tools() -> Tools:
    """The programs, fetched from Debian where they are not there yet. Raises NotToBeHadError."""
    there = found()
    if there is None:
        _fetch()
        there = found()
    if there is None:
        raise NotToBeHadError(f"Debian's package brought no prometheus and promtool; {BY_HAND}")
    return there


def _fetch() -> None:
    """Download and unpack Debian's package. No file is written outside ``.cache``, apt's own lists included."""
    missing = [program for program in ("apt-get", "dpkg") if shutil.which(program) is None]
    if missing:
        raise NotToBeHadError(f"no {' and no '.join(missing)} here to fetch Debian's Prometheus with; {BY_HAND}")
    UNPACKED.mkdir(parents=True, exist_ok=True)
    lists, kept = CACHE / "apt" / "lists", CACHE / "apt" / "cache"
    (lists / "partial").mkdir(parents=True, exist_ok=True)
    kept.mkdir(exist_ok=True)
    own = ["-qq", "-o", f"Dir::State::lists={lists}", "-o", f"Dir::Cache={kept}", "-o", "APT::Sandbox::User="]
    for command in (["update"], ["download", "prometheus"]):
        _run(["apt-get", *own, *command])
    package = max(UNPACKED.glob("prometheus_*.deb"), key=lambda file: file.stat().st_mtime)
    _run(["dpkg", "-x", str(package), str(UNPACKED)])
    package.unlink()
    shutil.rmtree(CACHE / "apt")


def _run(command: list[str]) -> None:
    ended = subprocess.run(command, cwd=UNPACKED, capture_output=True, text=True, check=False)
    if ended.returncode:
        said = " ".join((ended.stderr or ended.stdout).split())
        raise NotToBeHadError(f"{command[0]} {command[-1]} says: {said}; {BY_HAND}")


@dataclass(frozen=True)
class Serving:
    """A Prometheus that runs.

    Args:
        url: where it answers.
    """

    url: str

    def ask(self, path: str) -> Any:
        """The data of an answer of its API."""
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}") as answer:
            return json.load(answer)["data"]

    def metric(self, name: str) -> float | None:
        """The sum of a metric of its own over all labels; None before there is one."""
        with urllib.request.urlopen(f"{self.url}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        values = [float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((f"{name} ", f"{name}{{"))]
        return sum(values) if values else None


@contextmanager
def serving(tools: Tools, directory: Path, config: str) -> Iterator[Serving]:
    """Run Prometheus on the blocks in `directory`/data; ended by its process id, whatever happens."""
    (directory / "prometheus.yml").write_text(config)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [
        tools.prometheus,
        f"--config.file={directory / 'prometheus.yml'}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address={address}",
    ]
    with (directory / "output").open("wb") as out:
        process = subprocess.Popen(command, cwd=directory, stdout=out, stderr=out)
        try:
            _await_ready(process, f"http://{address}", directory / "output")
            yield Serving(f"http://{address}")
        finally:
            process.terminate()
            try:
                process.wait(ENDS_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _await_ready(process: subprocess.Popen[bytes], url: str, output: Path) -> None:
    until = time.monotonic() + READY_S
    while time.monotonic() < until and process.poll() is None:
        try:
            urllib.request.urlopen(f"{url}/-/ready").close()
        except urllib.error.URLError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError(f"Prometheus is not ready:\n{output.read_text(errors='replace')}")
