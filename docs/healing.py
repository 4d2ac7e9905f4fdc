"""Writes the tables and the chart of `explanation/does-it-heal.md`: ``python docs/healing.py [SCENARIO...]``.

Each scenario that comes along is run with healing and without, with the same seed. What a run printed is kept in
`assets/healing.json`, so that single scenarios can be run again.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from self_healing.simulation.scenario import load, shipped
from self_healing.simulation.simulate import simulate

DOCS = Path(__file__).parent
PAGE = DOCS / "explanation" / "does-it-heal.md"
RUNS = DOCS / "assets" / "healing.json"
CHART = DOCS / "assets" / "healing.svg"
SEED = 7

Runs = dict[str, dict[str, Any]]


def run(names: list[str]) -> Runs:
    """What came of the scenarios, with healing and without."""
    runs: Runs = json.loads(RUNS.read_text()) if RUNS.exists() else {}
    for name in names:
        _, scenario = load(name)
        print(name, file=sys.stderr)
        both = {"with": True} if not scenario.faults else {"with": True, "without": False}
        runs[name] = {key: simulate(scenario, seed=SEED, healing=healing) for key, healing in both.items()}
        RUNS.write_text(json.dumps(dict(sorted(runs.items())), indent=1) + "\n", encoding="utf-8")
    return runs


def _minutes(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds / 60:.1f}"


def tables(runs: Runs) -> dict[str, str]:
    """The page's tables, by name."""
    return {"runs": _runs(runs), "faults": _faults(runs)}


def _runs(runs: Runs) -> str:
    lines = [
        "| scenario | faults | detected | healed | escalated | false | harmful | minutes sick | without healing |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, told in runs.items():
        one = told["with"]["run"]
        without = told["without"]["run"]["sick_s"] if "without" in told else None
        cells: tuple[Any, ...] = (
            one["faults"],
            one["detected"],
            one["healed"],
            one["escalated"],
            len(one["false_incidents"]),
        )
        cells += (one["harmful_actions"], _minutes(one["sick_s"]), _minutes(without))
        lines.append(f"| {name} | {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def _faults(runs: Runs) -> str:
    lines = [
        "| scenario | fault | agents | detected after | healed after | by | outcome |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, told in runs.items():
        for fault in told["with"]["faults"]:
            outcome = ", ".join(f"{count} {what}" for what, count in fault["outcomes"].items())
            agents = fault["agents"][0] if len(fault["agents"]) == 1 else f"{len(fault['agents'])} agents"
            after = f"{_minutes(fault['detected_after_s'])} | {_minutes(fault['healed_after_s'])}"
            by = fault["healed_by"] or "-"
            lines.append(f"| {name} | {fault['fault']} | {agents} | {after} | {by} | {outcome} |")
    return "\n".join(lines)


def filled(page: str, told: dict[str, str]) -> str:
    """The page with its tables in their places."""
    for name, table in told.items():
        pattern = rf"(<!-- {name} -->\n).*?(\n<!-- /{name} -->)"
        page = re.sub(pattern, lambda found, table=table: found[1] + table + found[2], page, flags=re.DOTALL)  # type: ignore[misc] # a lambda with a default
    return page


WIDTH, ROW, LEFT, RIGHT = 760, 46, 130, 70


def chart(runs: Runs) -> str:
    """Minutes that agents were sick, with and without healing, as an SVG."""
    shown = {name: told for name, told in runs.items() if "without" in told}
    most = max(told["without"]["run"]["sick_s"] for told in shown.values())
    scale = (WIDTH - LEFT - RIGHT) / most
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {ROW * len(shown) + 44}" role="img" '
        'font-family="sans-serif" font-size="12">',
        "<title>Minutes that agents were sick, with healing and without</title>",
        f'<rect width="{WIDTH}" height="{ROW * len(shown) + 44}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="20" fill="#1b7f4b">with healing</text>',
        f'<text x="{LEFT + 100}" y="20" fill="#8a8a8a">without</text>',
        f'<text x="{WIDTH - RIGHT}" y="20" fill="#333333" text-anchor="end">agent-minutes sick</text>',
    ]
    for number, (name, told) in enumerate(shown.items()):
        y = 34 + number * ROW
        parts.append(f'<text x="{LEFT - 8}" y="{y + 22}" text-anchor="end" fill="#333333">{name}</text>')
        for offset, key, colour in ((4, "with", "#1b7f4b"), (20, "without", "#b5b5b5")):
            sick_s = told[key]["run"]["sick_s"]
            long, at = sick_s * scale, f'y="{y + offset + 11}" fill="#333333"'
            parts.append(f'<rect x="{LEFT}" y="{y + offset}" width="{max(long, 1):.1f}" height="13" fill="{colour}"/>')
            parts.append(f'<text x="{LEFT + long + 4:.1f}" {at}>{_minutes(sick_s)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


if __name__ == "__main__":
    told = run(sys.argv[1:] or list(shipped()))
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), tables(told)), encoding="utf-8")
    CHART.write_text(chart(told), encoding="utf-8")
