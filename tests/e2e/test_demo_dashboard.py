"""The demo: with its dashboard it goes on until it is told to end, and however it ends, its fleet ends too."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

WELL = """
import signal
from self_healing.simulation.demo import demo
from self_healing.simulation.faults import FAULTS

signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell has it of what it starts in the background
slow = [fault for fault in FAULTS if fault.trigger == "slow_tasks"]
raise SystemExit(demo(faults=slow, dashboard=True))
"""

BESIDE = """
import signal
from pathlib import Path
from self_healing.clock import SystemClock, ScaledClock
from self_healing.config import Settings
from self_healing.simulation.demo import beside

root = Path({root!r})
settings = Settings.model_validate(
    dict(telemetry=dict(dir=root / "telemetry"), storage=dict(state_dir=root / "state", logs_dir=root / "logs"))
)
with beside(settings, ScaledClock(30.0, SystemClock().now()), ()):
    signal.pause()
"""


@contextmanager
def started(command: list[str], environment: Mapping[str, str] = os.environ) -> Iterator[subprocess.Popen[str]]:
    """A process that is ended at the latest with the test."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(process: subprocess.Popen[str], there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not there():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_dashboard_goes_on_after_the_demo_until_it_is_told_to_end_and_nothing_is_left(tmp_path: Path) -> None:
    with started([sys.executable, "-c", WELL], os.environ | {"TMPDIR": str(tmp_path)}) as demo:
        assert demo.stdout is not None
        told = ""
        while "Ctrl-C ends them" not in told:
            line = demo.stdout.readline()
            assert line, told
            told += line
        address = re.search(r"browser: (http://127\.0\.0\.1:\d+/)", told)
        assert address is not None, told
        with urlopen(address[1], timeout=30) as page:
            assert b"Open incidents" in page.read()
        demo.terminate()
        demo.communicate(timeout=30)  # its fleet writes there as well
    assert (demo.returncode, list(tmp_path.iterdir())) == (0, [])
    assert "1 of 1 faults were detected, acted on and verified healed." in told


def test_the_fleet_ends_when_what_it_is_beside_is_killed(tmp_path: Path) -> None:
    with started([sys.executable, "-c", BESIDE.format(root=str(tmp_path))]) as service:
        wait_for(service, lambda: any(tmp_path.glob("telemetry/*.jsonl")))
        service.kill()
        service.communicate(timeout=30)  # what both write to is at its end once neither has it open
