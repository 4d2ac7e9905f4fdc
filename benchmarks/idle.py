"""What the service costs while nothing happens."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.figure import Figure
from benchmarks.listening import cpu_s, listening

SECONDS = 30
FILES = 10
LINE = '{"ts":"2026-01-05T10:00:00Z","type":"task_finished","id":"t","agent":"A","duration_s":5,"status":"success"}\n'
TICK = "import time\nwhile True: time.sleep(1)"


def measure() -> list[Figure]:
    """CPU time of the service over 30 s, ten quiet files and open ports, beside a process that wakes once a second."""
    with tempfile.TemporaryDirectory() as directory:
        telemetry = Path(directory) / "logs" / "telemetry"
        telemetry.mkdir(parents=True)
        for number in range(FILES):
            (telemetry / f"events-{number}.jsonl").write_text(LINE * 100)
        tick = subprocess.Popen([sys.executable, "-c", TICK])
        try:
            with listening(Path(directory)) as service:
                time.sleep(6)  # starting up is not idling
                before = cpu_s(service.pid), cpu_s(tick.pid)
                time.sleep(SECONDS)
                after = cpu_s(service.pid), cpu_s(tick.pid)
        finally:
            tick.kill()
            tick.wait()
    share, bare = (100 * (late - early) / SECONDS for early, late in zip(before, after, strict=True))
    return [
        Figure(
            "idle service", f"{share:.2f} % of a core", f"a bare one-second tick: {bare:.2f} %", "<= 1 %", share <= 1.0
        )
    ]
