"""``backup`` and ``restore``: copies of the state."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from self_healing.cli import output
from self_healing.cli.options import Where

Directory = Annotated[Path, Parameter(help="Of the copy.")]


def backup(directory: Directory, /, *, where: Where | None = None) -> int:
    """Copy the state to a new directory; a service may run on it meanwhile."""
    from self_healing import backup as copies

    state_dir = (where or Where()).settings().storage.state_dir
    copies.backup(state_dir, directory)
    output.line(f"copied {state_dir} to {directory}")
    return 0


def restore(directory: Directory, /, *, where: Where | None = None) -> int:
    """Bring a copy back into a state directory that is empty or not there."""
    from self_healing import backup as copies

    state_dir = (where or Where()).settings().storage.state_dir
    copies.restore(state_dir, directory)
    output.line(f"restored {state_dir} from {directory}")
    print("what was done since the copy is not in it; look first: self-healing status")
    return 0
