"""Measure everything, and print it as a table: ``python -m benchmarks [NAME...]``."""

from __future__ import annotations

import sys
from importlib import import_module

from benchmarks.figure import Figure, tell

NAMES = (
    "ingest",
    "otlp",
    "otlp_wire",
    "acknowledgement",
    "evaluation",
    "backtest",
    "memory",
    "startup",
    "idle",
    "latency",
    "emitting",
    "guarding",
    "looking",
    "healing",
    "deciding",
    "storm",
    "dashboard",
)

LONG = ("year",)
"""Those that take minutes; measured only when they are named."""


def main(names: list[str]) -> int:
    """Run the named benchmarks, all of them when none is named; 2 for a name that there is not."""
    unknown = [name for name in names if name not in NAMES + LONG]
    if unknown:
        print(f"no benchmark {', '.join(unknown)}; there are {', '.join(NAMES + LONG)}", file=sys.stderr)
        return 2
    figures: list[Figure] = []
    for name in names or NAMES:
        print(f"measuring {name} ...", file=sys.stderr)
        figures += import_module(f"benchmarks.{name}").measure()
    tell(figures, "Benchmarks")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
