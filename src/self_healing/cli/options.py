"""The options that commands share, and the settings that come of them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

if TYPE_CHECKING:
    from self_healing.config import Settings


class Format(StrEnum):
    """How data is printed."""

    TABLE = "table"
    JSON = "json"


@Parameter(name="*")
@dataclass(frozen=True)
class Where:
    """Where everything is."""

    telemetry_dir: Annotated[Path | None, Parameter(help="Where the fleet's event files are.")] = None
    state_dir: Annotated[Path | None, Parameter(help="Where the state is kept.")] = None
    logs_dir: Annotated[Path | None, Parameter(help="Where logs and handoffs are written.")] = None
    config: Annotated[Path | None, Parameter(help="The configuration file; self-healing.toml when left out.")] = None

    def settings(self) -> Settings:
        """The settings to run with. Raises ConfigError."""
        from self_healing.given import load_settings

        flags = {
            "telemetry.dir": self.telemetry_dir,
            "storage.state_dir": self.state_dir,
            "storage.logs_dir": self.logs_dir,
        }
        return load_settings(self.config, environ=os.environ, flags=flags)

    def looked_at(self) -> Settings:
        """The same for a command that only looks: telemetry that is named must be there. Raises ConfigError."""
        from self_healing.errors import ConfigError

        named = self.telemetry_dir
        if named is not None and not named.is_dir():
            raise ConfigError([f"--telemetry-dir {named}: there is no such directory"])
        return self.settings()


@Parameter(name="*")
@dataclass(frozen=True)
class Shown(Where):
    """Where everything is, and how data is printed."""

    format: Annotated[Format, Parameter(help="How data is printed.")] = Format.TABLE

    def label(self) -> dict[str, Any]:
        """Which of several fleets is shown, as what is printed as JSON says it."""
        from self_healing.errors import ConfigError
        from self_healing.labelling import label

        try:
            return label(self.settings().environment)
        except ConfigError:
            return {}  # nobody can tell; the one command that goes on without a configuration is asked what is wrong


@Parameter(name="*")
@dataclass(frozen=True)
class Watched(Shown):
    """The same for what changes by itself."""

    watch: Annotated[
        bool, Parameter(show_default=False, help="Show it anew at each change, until Ctrl-C; as JSON a line each.")
    ] = False


By = Annotated[str | None, Parameter(help="Who does this; your login name when left out.")]
Why = Annotated[str, Parameter(help="Why, for whoever reads it later.")]

NO_REASON = "no reason given"


def person(by: str | None) -> str:
    """Who stands behind a command: `by`, or the login name."""
    import getpass

    if by:
        return by
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without an entry, as in some containers
        return f"uid {os.getuid()}"
