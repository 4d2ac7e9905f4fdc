"""``audit``: the log of decisions, verified here or exported for somebody else to verify."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from self_healing.cli import output as out
from self_healing.cli.client import Json, call
from self_healing.cli.options import Shown
from self_healing.cli.progress import waiting
from self_healing.errors import StateError

app = App(name="audit", help_format="plaintext")

_TIMEOUT_S = 600.0  # a log of years is long


@app.command
def verify(*, shown: Shown | None = None) -> int:
    """Recompute the hash chain and check the signatures; exits with 1 when something is not as it was written."""
    from self_healing.storage.readonly import DATABASE

    shown = shown or Shown()
    settings = shown.settings()
    if not (settings.storage.state_dir / DATABASE).exists():
        # That none of nothing is wrong would be taken for the answer about another state.
        raise StateError(f"there is no state in {settings.storage.state_dir}; name the right one with --state-dir")
    with waiting("verifying the log"):
        report = call(settings, "audit", timeout_s=_TIMEOUT_S)
    out.show(report, shown, _print)
    return 0 if report["ok"] else 1


@app.command
def export(
    *,
    output: Annotated[Path | None, Parameter(help="A new file; standard output when left out.")] = None,
    shown: Shown | None = None,
) -> int:
    """Write the log as lines of JSON, with its checkpoints and public key, to be checked without this program."""
    from self_healing.constitution.exporting import export as exported

    shown = shown or Shown()
    settings = shown.settings()
    lines = exported(settings.storage.state_dir, settings.storage.logs_dir, settings.environment)
    if output is None:
        sys.stdout.buffer.writelines(lines)
        return 0
    with waiting("exporting the log"):
        written = _written(lines, output)
    out.show({"file": str(output), "lines": written}, shown, _print_written)
    return 0


def _written(lines: Iterator[bytes], to: Path) -> int:
    """Write them to a new file, and return how many they are; what cannot be exported leaves no file behind."""
    first, written = next(lines), 1
    try:
        file = to.open("xb")
    except FileExistsError as error:
        raise StateError(f"{to} is there already, and nothing is written over; name another file") from error
    with file:
        file.write(first)
        for line in lines:
            file.write(line)
            written += 1
    return written


def _print_written(told: Json) -> None:
    out.line(f"wrote {told['lines']:,} lines to {told['file']}")


def _print(report: Json) -> None:
    if report["ok"]:
        trimmed = f", after {report['trimmed']} that were trimmed" if report["trimmed"] else ""
        print(f"the chain holds: {_entries(report['entries'])}{trimmed}")
    else:
        print(f"the log is not what was written: {out.text(report['problem'])}; right: {_entries(report['entries'])}")


def _entries(count: int) -> str:
    return f"{count} {'entry' if count == 1 else 'entries'}"
