"""Writes the tables of `explanation/what-we-measured.md`: ``python -m docs.measured [NAME...]``.

Each one, or each that is named, is run in a process of its own, on a machine that should do nothing else. What they
found is kept in `assets/measured.json`, with the day, so that single ones can be run again.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.__main__ import LONG, NAMES
from docs.healing import filled

DOCS = Path(__file__).parent
PAGE = DOCS / "explanation" / "what-we-measured.md"
KEPT = DOCS / "assets" / "measured.json"

PARTS = {
    "telemetry": ("otlp_wire", "otlp", "ingest", "acknowledgement", "emitting", "looking"),
    "triggers": ("evaluation", "backtest", "year", "memory"),
    "healing": ("deciding", "storm", "latency", "guarding"),
    "service": ("dashboard", "startup", "idle"),
}
"""The benchmarks of each table. What healing comes to has a page of its own."""

Measured = dict[str, list[dict[str, Any]]]


def measure(names: list[str]) -> Measured:
    """What the benchmarks found, those named anew."""
    kept: Measured = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    for name in names:
        print(name, file=sys.stderr)
        ran = subprocess.run([sys.executable, "-m", "docs.measured", "--one", name], check=True, stdout=subprocess.PIPE)
        kept[name] = json.loads(ran.stdout)
        KEPT.write_text(json.dumps(dict(sorted(kept.items())), indent=1) + "\n", encoding="utf-8")
    return kept


def tables(kept: Measured) -> dict[str, str]:
    """The page's tables, by name."""
    return {part: _table(kept, names) for part, names in PARTS.items()}


def _table(kept: Measured, names: tuple[str, ...]) -> str:
    lines = ["| figure | measured | beside it | target | |", "|---|---|---|---|---|"]
    for figure in (figure for name in names for figure in kept.get(name, ())):
        told = "met" if figure["met"] else "**not met**"
        cells = figure["name"], figure["measured"], figure["baseline"], figure["target"], told
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _one(name: str) -> None:
    figures = import_module(f"benchmarks.{name}").measure()
    day = datetime.now(UTC).date().isoformat()
    print(json.dumps([{**asdict(figure), "met": bool(figure.met), "on": day} for figure in figures]))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        _one(sys.argv[2])
    else:
        chosen = sys.argv[1:] or [name for name in (*NAMES, *LONG) if any(name in part for part in PARTS.values())]
        PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), tables(measure(chosen))), encoding="utf-8")
