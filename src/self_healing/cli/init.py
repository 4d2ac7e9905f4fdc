"""``init``: a commented configuration to begin with, and how to connect what is installed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from self_healing.cli import output
from self_healing.cli.connecting import installed
from self_healing.cli.options import Shown, Where
from self_healing.cli.template import TEMPLATE
from self_healing.errors import SelfHealingError

FILE = Path("self-healing.toml")
TELEMETRY = Path("logs/telemetry")
VARIABLE = "SELF_HEALING_TELEMETRY_DIR"
"""Wins over the file, so the directory that it names is the one to make."""
SOURCES = "docs/how-to/sources"
"""Where the documentation says how each is connected."""


def init(
    *,
    force: Annotated[bool, Parameter(show_default=False, help="Write over a file that is there.")] = False,
    shown: Shown | None = None,
) -> int:
    """Write a commented self-healing.toml, in observe mode, and make the telemetry directory.

    Says as well how to connect the agent frameworks that are installed here, in an active or a .venv environment.
    """
    shown = shown or Shown()
    path = shown.config or FILE
    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(_filled(shown))
    except FileExistsError as error:
        raise SelfHealingError(f"{path} is there already; --force writes over it") from error
    telemetry_dir = shown.telemetry_dir or Path(os.environ.get(VARIABLE) or TELEMETRY)
    try:
        # So that a first start finds nothing missing, whether or not anything will ever be written there.
        telemetry_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SelfHealingError(
            f"wrote {path}, but the telemetry directory {telemetry_dir} cannot be made: {error.strerror}; make it, or "
            f"name another one in {path}"
        ) from error
    found = installed(path.absolute().parent)
    told = {
        "file": str(path),
        "mode": "observe",
        "telemetry_dir": str(telemetry_dir),
        "installed": [{"name": each.name, "do": each.do, "page": f"{SOURCES}/{each.page}.md"} for each in found],
    }
    output.show(told, shown, _print)
    return 0


def _print(told: dict[str, Any]) -> None:
    print(f"wrote {told['file']}, in observe mode")
    for each in told["installed"]:
        print(f"\n{each['name']} is installed; to connect it ({each['page']}):\n  {each['do']}")
    if not told["installed"]:
        print(f"\nno framework that is known was found here; how to connect one, or your own agents: {SOURCES}/")
    print()
    print("next: self-healing config validate   is it right?")
    print("      self-healing run               watch, and say what would be done")
    print('      self-healing history           do you agree? then set mode = "act" in it')


def _filled(where: Where) -> str:
    text = TEMPLATE
    for line, directory in (
        ('dir = "logs/telemetry"', where.telemetry_dir),
        ('state_dir = ".self-healing"', where.state_dir),
        ('logs_dir = "logs"', where.logs_dir),
    ):
        if directory is not None:
            # A JSON text is a TOML text as well.
            text = text.replace(f"\n{line}\n", f"\n{line.partition('=')[0]}= {json.dumps(str(directory))}\n")
    return text
