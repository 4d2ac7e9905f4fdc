"""``audit``: the log of decisions."""

from __future__ import annotations

from cyclopts import App

from self_healing.cli import output
from self_healing.cli.client import Json, call
from self_healing.cli.options import Shown

app = App(name="audit", help_format="plaintext")

_TIMEOUT_S = 600.0  # a log of years is long


@app.command
def verify(*, shown: Shown | None = None) -> int:
    """Recompute the hash chain and check the signatures; exits with 1 when something is not as it was written."""
    shown = shown or Shown()
    report = call(shown.settings(), "audit", timeout_s=_TIMEOUT_S)
    output.show(report, shown.format, _print)
    return 0 if report["ok"] else 1


def _print(report: Json) -> None:
    if report["ok"]:
        print(f"the chain holds: {report['entries']} entries")
    else:
        print(
            f"the log is not what was written: {output.text(report['problem'])}; {report['entries']} entries are right"
        )
