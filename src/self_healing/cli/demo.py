"""``demo``: a simulated fleet that breaks and is healed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from self_healing.cli.options import Format


def demo(
    *,
    scale: Annotated[float, Parameter(help="How many times as fast as real time it runs.")] = 30.0,
    keep: Annotated[
        Path | None, Parameter(help="Keep what it writes in this directory; otherwise nothing stays behind.")
    ] = None,
    dashboard: Annotated[
        bool,
        Parameter(show_default=False, help="Serve the dashboard on a free port as well, and go on until Ctrl-C."),
    ] = False,
    format: Annotated[
        Format, Parameter(help="How it is said at the end what came of each fault; all else is on stderr as JSON.")
    ] = Format.TABLE,
) -> int:
    """Break a simulated fleet in seven ways, and watch it heal.

    Exits with 0 when all seven faults were detected and healed.
    """
    from self_healing.simulation.demo import demo as simulated

    return simulated(scale=scale, keep=keep, dashboard=dashboard, as_json=format is Format.JSON)
