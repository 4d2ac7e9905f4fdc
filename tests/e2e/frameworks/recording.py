"""What sources sent that are not installed here: each was run as its page says, against a receiver that kept it.

``python -m tests.e2e.frameworks.recording NAME PROGRAM`` records it anew, in a few seconds:

- `crewai`, `openllmetry`: PROGRAM is a Python in whose environment the page's packages are installed;
- `claude-code`, `codex`: PROGRAM is the command, of their packages in npm; the receiver is its model too;
- `alertmanager`: PROGRAM is the command, of Debian's package `prometheus-alertmanager`.
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.request import Request, urlopen

from tests.e2e.frameworks.receiver import receiving

ROOT = Path(__file__).parents[3]
RECORDED = ROOT / "tests" / "fixtures" / "recorded"
USUAL = re.compile(r"http://127\.0\.0\.1:(4318|8787)")
QUESTION = "Where is my parcel?"
PROVIDER = """
model = "gpt-5-codex"
model_provider = "fake"
[model_providers.fake]
name = "fake"
base_url = "{address}/v1"
wire_api = "responses"
env_key = "FAKE_KEY"
"""

Environment = dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Source:
    """What is run to be recorded.

    Args:
        page: that says how, within ``docs/how-to/sources``.
        language: of its blocks that do.
        run: does as they say.
    """

    page: str
    language: str
    run: Callable[[str, str, str, Path], None]

    def set_up(self) -> str:
        """What the page says."""
        text = (ROOT / "docs/how-to/sources" / f"{self.page}.md").read_text(encoding="utf-8")
        return "\n".join(re.findall(rf"^```{self.language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))


def exports(set_up: str) -> Environment:
    """The variables that commands of a shell export."""
    found = re.finditer(r'^\$ export (\w+)=(?:"([^"]*)"|(\S+))', set_up, re.MULTILINE)
    return {match[1]: match[2] or match[3] for match in found}


def _python(program: str, set_up: str, address: str, directory: Path) -> None:
    quiet = {"TRACELOOP_TELEMETRY": "false", "CREWAI_DISABLE_TELEMETRY": "true"}
    _run([program, "-c", set_up], directory, {"OTEL_EXPORTER_OTLP_ENDPOINT": address, **quiet})


def _claude_code(program: str, set_up: str, address: str, directory: Path) -> None:
    model = {"ANTHROPIC_BASE_URL": address, "ANTHROPIC_API_KEY": "fake"}
    quiet = {"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "DISABLE_AUTOUPDATER": "1"}
    _run([program, "-p", QUESTION], directory, exports(USUAL.sub(address, set_up)) | model | quiet)


def _codex(program: str, set_up: str, address: str, directory: Path) -> None:
    (directory / ".codex").mkdir()
    (directory / ".codex/config.toml").write_text(PROVIDER.format(address=address) + USUAL.sub(address, set_up))
    _run([program, "exec", "--skip-git-repo-check", QUESTION], directory, {"FAKE_KEY": "fake"})


def _alertmanager(program: str, set_up: str, address: str, directory: Path) -> None:
    file = directory / "alertmanager.yml"
    file.write_text("route: {receiver: self-healing, group_wait: 0s}\n" + USUAL.sub(address, set_up))
    with socket.create_server(("127.0.0.1", 0)) as free:
        own = f"127.0.0.1:{free.getsockname()[1]}"
    command = [program, f"--config.file={file}", f"--storage.path={directory / 'data'}", "--cluster.listen-address="]
    labels = {"alertname": "HighLatency", "agent": "Coder", "severity": "warning"}
    alert = {"labels": labels, "annotations": {"summary": "Coder answers slowly"}}
    with subprocess.Popen([*command, f"--web.listen-address={own}"], cwd=directory) as running:
        time.sleep(5)  # until it listens
        body = json.dumps([alert]).encode()
        urlopen(Request(f"http://{own}/api/v2/alerts", body, {"Content-Type": "application/json"}), timeout=10)
        time.sleep(5)  # until it has notified
        running.terminate()


def _run(command: list[str], directory: Path, environment: Environment) -> None:
    path = f"{Path(command[0]).parent}:/usr/local/bin:/usr/bin:/bin"
    home = {"HOME": str(directory), "PATH": path}
    subprocess.run(command, cwd=directory, env=home | environment, stdin=subprocess.DEVNULL, check=True, timeout=300)


SOURCES = {
    "alertmanager": Source(page="alertmanager", language="text", run=_alertmanager),
    "claude-code": Source(page="claude-code", language="console", run=_claude_code),
    "codex": Source(page="codex", language="text", run=_codex),
    "crewai": Source(page="crewai", language="python", run=_python),
    "openllmetry": Source(page="openllmetry", language="python", run=_python),
}


@contextmanager
def _home() -> Iterator[Path]:
    with TemporaryDirectory(dir=ROOT) as directory:  # not where temporary files are: Codex refuses to be at home there
        yield Path(directory)


def recorded(name: str) -> dict[str, Any]:
    """What the source of that name sent: what was done, and the requests in their order, bodies in base64."""
    found: dict[str, Any] = json.loads((RECORDED / f"{name}.json").read_text(encoding="utf-8"))
    return found


def main(name: str, program: str) -> None:
    """Record it anew."""
    source = SOURCES[name]
    set_up = source.set_up()
    with receiving() as (address, requests), _home() as directory:
        source.run(program, set_up, address, directory)
    assert requests, "nothing was sent"
    text = json.dumps({"set_up": set_up, "requests": requests}, indent=1)
    (RECORDED / f"{name}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
