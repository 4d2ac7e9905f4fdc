"""``drill``: a fault sent on purpose, followed through every stage, and timed."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from typing import Annotated

from cyclopts import Parameter

from self_healing.cli import output
from self_healing.cli.client import Json
from self_healing.cli.options import Format, Shown
from self_healing.cli.parsing import seconds
from self_healing.errors import SelfHealingError

FAILED = 1
"""What ``drill`` exits with when the fault did not go through every stage."""


def drill(
    *,
    within: Annotated[str, Parameter(help="How long all of it may take, such as 2m.")] = "2m",
    shown: Shown | None = None,
) -> int:
    """Send a fault through the running service as a real one would come, and time each stage until it is healed.

    The trigger drill must be on: self-healing triggers enable drill. Exits with 1 when a stage does not come.
    """
    from self_healing import drill as drilling
    from self_healing.local_socket import ask

    shown = shown or Shown()
    within_s = seconds("drill: --within", within)
    settings = shown.settings()

    def asked(command: str, **arguments: object) -> Json:
        answer = ask(settings.storage.state_dir, command, arguments)
        if answer is None:
            raise SelfHealingError(
                "no service runs on this state, which a drill goes through; `self-healing run` first"
            )
        return answer

    told = drilling.Drill(
        asked,
        settings.telemetry.dir / drilling.FILE,
        within_s=within_s,
        now=lambda: datetime.now(UTC),
        sleep=time.sleep,
        tell=_tell if shown.format is Format.TABLE and sys.stderr.isatty() else lambda _stage, _after_s: None,
    ).run()
    output.show(told, shown, _print)
    return 0 if told["ok"] else FAILED


def _tell(stage: str, after_s: float) -> None:
    print(f"{stage} after {after_s:.1f} s", file=sys.stderr)


def _print(told: Json) -> None:
    output.table(
        ("stage", "at (UTC)", "seconds after the fault"),
        ((each["stage"], output.instant(each["at"]), f"{each['after_s']:.1f}") for each in told["stages"]),
        empty="nothing came of it",
    )
    if told["mode"] != "act":
        print("\nIn observe mode nothing is handed over; what would have been done is in `self-healing history`.")
    came = "all stages passed" if told["ok"] else f"FAILED: {output.text(told['why'])}"
    print(f"\n{came}; incident {told['incident'] or '-'}")
