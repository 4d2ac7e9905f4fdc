"""``ingest``: telemetry that is brought by hand, or by a step of a build."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from self_healing.cli import output
from self_healing.cli.client import Json, call
from self_healing.cli.options import Shown
from self_healing.cli.progress import waiting
from self_healing.errors import SelfHealingError

app = App(name="ingest", help="Bring telemetry in that is no native file.", help_format="plaintext")


@app.command
def junit(
    *files: Path,
    agent: Annotated[str | None, Parameter(help="Whose tests they are where a suite does not say.")] = None,
    shown: Shown | None = None,
) -> int:
    """Bring the test runs in, out of files of JUnit XML; the same file again changes nothing.

    Args:
        files: of JUnit XML.
    """
    shown = shown or Shown()
    paths = [str(file.absolute()) for file in files]
    if not paths:
        raise SelfHealingError("ingest junit: name at least one file, such as build/*.xml")
    with waiting("taking test runs in"):
        told = call(shown.settings(), "ingest_junit", {"paths": paths, "agent": agent})
    output.show(told, shown, _print)
    return int(any(each["rejected"] for each in told["files"]))


def _print(told: Json) -> None:
    output.table(
        ("file", "accepted", "rejected", "dropped"),
        (
            (each["path"], each["accepted"], _reasons(each["rejected"]), _reasons(each["dropped"]))
            for each in told["files"]
        ),
        empty="no file was named",
    )
    problems = [f"{each['path']}: {problem}" for each in told["files"] for problem in each["problems"]]
    if problems:
        output.title("rejected")
    for problem in problems:
        output.paragraph(problem)


def _reasons(counts: dict[str, int]) -> str:
    return ", ".join(f"{reason} {count}" for reason, count in counts.items()) or "0"
