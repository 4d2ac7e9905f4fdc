"""One measured figure, how figures are shown, and how the benchmarks run programs."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

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


def tell(figures: Iterable[Figure], title: str) -> None:
    """Print figures as a table."""
    table = Table("figure", "measured", "beside it", "target", "", title=title)
    for figure in figures:
        verdict = "[green]met[/]" if figure.met else "[bold red]NOT met[/]"
        table.add_row(figure.name, figure.measured, figure.baseline, figure.target, verdict)
    Console(width=150 if not sys.stdout.isatty() else None).print(table)
