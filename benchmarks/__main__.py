"""Measure everything, and print it as a table: ``python -m benchmarks [NAME...]``."""

from __future__ import annotations

import sys
from importlib import import_module

from rich.console import Console
from rich.table import Table

NAMES = (
    "ingest",
    "otlp",
    "otlp_wire",
    "acknowledgement",
    "evaluation",
    "memory",
    "startup",
    "idle",
    "latency",
    "emitting",
    "looking",
)


def main(names: list[str]) -> int:
    """Run the named benchmarks, all of them when none is named; 2 for a name that there is not."""
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        print(f"no benchmark {', '.join(unknown)}; there are {', '.join(NAMES)}", file=sys.stderr)
        return 2
    table = Table("figure", "measured", "beside it", "target", "", title="Benchmarks")
    console = Console(width=150 if not sys.stdout.isatty() else None)
    for name in names or NAMES:
        console.print(f"measuring {name} ...", style="dim")
        for figure in import_module(f"benchmarks.{name}").measure():
            verdict = "[green]met[/]" if figure.met else "[bold red]NOT met[/]"
            table.add_row(figure.name, figure.measured, figure.baseline, figure.target, verdict)
    console.print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
