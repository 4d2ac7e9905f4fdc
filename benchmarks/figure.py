"""One measured figure, and how the benchmarks run programs."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

COMMAND = str(Path(sys.executable).with_name("self-healing"))
"""The installed command, beside the interpreter that runs the benchmarks."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure beside its baseline.

    Args:
        name: what was measured.
        measured: with its unit.
        baseline: what ran beside it, with its unit.
        target: what it should reach.
        met: whether it does.
    """

    name: str
    measured: str
    baseline: str
    target: str
    met: bool


def best_s(command: Sequence[str], runs: int = 5, cwd: Path | None = None) -> float:
    """The shortest of several runs of a program, in seconds."""
    times = []
    for _ in range(runs):
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=cwd)
        times.append(time.perf_counter() - began)
    return min(times)
