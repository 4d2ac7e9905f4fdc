"""``doctor``: is everything in its place, and do the triggers fit the fleet?"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from self_healing.cli import output
from self_healing.cli.columns import Column
from self_healing.cli.options import Shown
from self_healing.cli.progress import progress
from self_healing.wording import counted

PROBLEMS = 1
"""What ``doctor`` exits with while there is any problem."""


def doctor(*, shown: Shown | None = None) -> int:
    """Look whether everything is in its place, telemetry arrives, and the triggers fit the stored history.

    Each check says ok, warn or problem, and what to do. Thresholds are proposed for triggers that would fire more than
    once a week an agent. Exits with 1 while there is a problem. It changes nothing, with a service running or without.

    For example: self-healing doctor --format json
    """
    from self_healing.doctor.examining import examine

    shown = shown or Shown()
    with progress() as tell:
        told = examine(shown.settings, at=datetime.now(UTC), tell=tell)
    output.show(told, shown, _print)
    return PROBLEMS if told["counts"]["problem"] else 0


def _print(told: dict[str, Any]) -> None:
    output.table(
        ("how", "what", Column("says", text=True)),
        (
            (each["outcome"], each["check"], f"{each['says']}{' -> ' if each['do'] else ''}{each['do']}")
            for each in told["checks"]
        ),
        empty="nothing was looked at",
    )
    if told["proposals"]:
        output.title("proposed thresholds, for a file that triggers.files names")
        for each in told["proposals"]:
            print()
            output.line(f"# {each['says']}")
            print(each["toml"], end="")
    counts = told["counts"]
    found = (counted(counts["problem"], "problem"), counted(counts["warn"], "warning"), f"{counts['ok']} ok")
    print(f"\n{', '.join(found)}")
