"""Alertmanager as Debian packages it, on a free port of loopback."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

PROGRAM = shutil.which("prometheus-alertmanager")
READY_S = 60.0


@contextmanager
def alertmanager(folder: Path) -> Iterator[str]:
    """The address of one that keeps what it has in `folder`, and tells nobody."""
    assert PROGRAM is not None
    (folder / "alertmanager.yml").write_text("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [PROGRAM, f"--config.file={folder / 'alertmanager.yml'}", f"--storage.path={folder / 'data'}"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_until_ready(process, url)
            yield url
        finally:
            process.terminate()


def _wait_until_ready(process: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + READY_S
    while True:
        try:
            with urlopen(f"{url}/-/ready", timeout=5):
                return
        except URLError:
            assert process.poll() is None, "it ended"
            assert time.monotonic() < deadline, "it is not ready"
            time.sleep(0.05)


def incidents(url: str) -> list[str]:
    """The incidents of which alerts are active there."""
    with urlopen(f"{url}/api/v2/alerts", timeout=30) as answer:
        return sorted(alert["labels"]["incident"] for alert in json.load(answer))
