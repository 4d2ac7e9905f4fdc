"""``audit``: the log of decisions, verified here or exported for somebody else to verify."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from self_healing.cli import output
from self_healing.cli.client import Json, call
from self_healing.cli.options import Shown, Where

app = App(name="audit", help_format="plaintext")

_TIMEOUT_S = 600.0  # a log of years is long


@app.command
def verify(*, shown: Shown | None = None) -> int:
    """Recompute the hash chain and check the signatures; exits with 1 when something is not as it was written."""
    shown = shown or Shown()
    report = call(shown.settings(), "audit", timeout_s=_TIMEOUT_S)
    output.show(report, shown.format, _print)
    return 0 if report["ok"] else 1


@app.command
def export(
    *,
    output: Annotated[Path | None, Parameter(help="A new file; standard output when left out.")] = None,
    where: Where | None = None,
) -> int:
    """Write the log as lines of JSON, with its checkpoints and public key, to be checked without this program."""
    from self_healing.constitution.exporting import export as exported

    storage = (where or Where()).settings().storage
    lines = exported(storage.state_dir, storage.logs_dir)
    if output is None:
        sys.stdout.buffer.writelines(lines)
        return 0
    first = next(lines)  # what cannot be exported leaves no file behind
    with output.open("xb") as file:
        file.write(first)
        file.writelines(lines)
    return 0


def _print(report: Json) -> None:
    if report["ok"]:
        trimmed = f", after {report['trimmed']} that were trimmed" if report["trimmed"] else ""
        print(f"the chain holds: {report['entries']} entries{trimmed}")
    else:
        print(
            f"the log is not what was written: {output.text(report['problem'])}; {report['entries']} entries are right"
        )
