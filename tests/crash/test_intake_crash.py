"""A process that takes telemetry is killed under load; its senders bring again what was not acknowledged."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from self_healing.clock import SystemClock
from self_healing.telemetry.intake import Intake
from self_healing.telemetry.normalised import Normalised
from self_healing.telemetry.segments import CRASH_POINTS, Segments
from tests.unit.telemetry.test_intake import batch, events, plain, send, span

ROOT = Path(__file__).parents[2]
KILLED = 9
SENDERS = 3

TAKING = """
import os, sys, threading
from pathlib import Path
from self_healing.clock import SystemClock
from self_healing.telemetry.encoded import encoded
from self_healing.telemetry.intake import Intake
from self_healing.telemetry.segments import Segments
from tests.crash.test_intake_crash import SENDERS, load, progress
directory, clock = Path(sys.argv[1]), SystemClock()
intake = Intake(Segments(directory / "segments", now=clock.now, segment_bytes=20_000), now=clock.now)
intake.start()

def bring(sender):
    done = progress(directory, sender)
    with (directory / f"acknowledged-{sender}").open("a", buffering=1) as acknowledged:
        for number in range(done, 100_000):
            intake.submit(encoded(load(sender, number), "otlp")).result()
            acknowledged.write(f"{number}\\n")
            if sender == 0 and number == done + 20:
                print("under way", flush=True)

for sender in range(SENDERS):
    threading.Thread(target=bring, args=(sender,), daemon=True).start()
threading.Event().wait()
"""

DOOMED = """
import os, sys
from pathlib import Path
from self_healing.clock import SystemClock
from self_healing.telemetry.intake import Intake
from self_healing.telemetry.segments import Segments
from tests.crash.test_intake_crash import KILLED
from tests.unit.telemetry.test_intake import batch, plain, send, span
doomed = lambda point: os._exit(KILLED) if point == sys.argv[2] else None
intake = Intake(Segments(Path(sys.argv[1]), now=SystemClock().now, crash=doomed), now=SystemClock().now)
intake.start()
send(intake, batch(span(1), plain("a"), plain("b"), key="k", undated=1))
"""


def load(sender: int, number: int) -> Normalised:
    """The batch that a sender brings as its `number`-th: spans for some senders, lines with a key for the others."""
    if sender == 0:
        return batch(*(span(number * 10 + n, "t") for n in range(5)))
    return batch(*(plain(f"{sender}-{number}-{n}") for n in range(5)), key=f"{sender}-{number}", undated=1)


def progress(directory: Path, sender: int) -> int:
    """How many batches of `sender` were acknowledged, as far as it has heard."""
    file = directory / f"acknowledged-{sender}"
    return len(file.read_text().splitlines()) if file.exists() else 0


def test_whatever_was_acknowledged_is_there_and_nothing_is_twice(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    for _ in range(3):
        command = [sys.executable, "-c", TAKING, str(tmp_path)]
        with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE) as taking:
            assert taking.stdout is not None
            assert taking.stdout.readline() == b"under way\n"
            taking.send_signal(signal.SIGKILL)
    now = SystemClock().now
    intake = Intake(Segments(tmp_path / "segments", now=now), now=now)
    intake.start()
    total = [progress(tmp_path, sender) + 1 for sender in range(SENDERS)]
    for sender in range(SENDERS):  # what may or may not have been written is brought again
        send(intake, load(sender, total[sender] - 1))
    intake.stop()
    expected = [str(number * 10 + n) for number in range(total[0]) for n in range(5)]
    expected += [f"{s}-{number}-{n}" for s in (1, 2) for number in range(total[s]) for n in range(5)]
    assert Counter(events(tmp_path / "segments")) == Counter(expected)
    text = "".join(file.read_text() for file in (tmp_path / "segments").iterdir())
    told = [json.loads(line) for line in text.splitlines() if '"self_healing_intake"' in line]
    first = [line for line in told if "key" in line]  # what came again is counted as such, without its key
    assert sum(line["rejected"]["undated"] for line in first) == total[1] + total[2]
    assert all(line["dropped"] == {"duplicate": 5} for line in told if "key" not in line)


@pytest.mark.parametrize("point", CRASH_POINTS)
def test_a_batch_that_was_written_but_not_acknowledged_is_there_once(tmp_path: Path, point: str) -> None:
    doomed = subprocess.run([sys.executable, "-c", DOOMED, str(tmp_path), point], cwd=ROOT, check=False)
    assert doomed.returncode == KILLED
    now = SystemClock().now
    intake = Intake(Segments(tmp_path, now=now), now=now)
    intake.start()
    send(intake, batch(span(1), plain("a"), plain("b"), key="k", undated=1))
    intake.stop()
    assert events(tmp_path) == ["1", "a", "b"]
