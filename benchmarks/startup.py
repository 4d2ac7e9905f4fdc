"""How long the command line takes to answer."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from benchmarks.figure import COMMAND, Figure, best_s


def measure() -> list[Figure]:
    """``--help``, and ``status`` on a state with no service running, beside an interpreter that does nothing."""
    with tempfile.TemporaryDirectory() as directory:
        here = Path(directory)
        (here / "logs" / "telemetry").mkdir(parents=True)
        best_s([COMMAND, "check"], 1, here)
        bare_s = best_s([sys.executable, "-c", "pass"], cwd=here)
        figures = []
        for words, limit_s in ((["--help"], 0.3), (["status"], 0.7)):
            took_s = best_s([COMMAND, *words], cwd=here)
            name = f"self-healing {' '.join(words)}, best of 5"
            figures.append(
                Figure(name, f"{took_s:.2f} s", f"python -c pass: {bare_s:.2f} s", f"<= {limit_s} s", took_s <= limit_s)
            )
    return figures
