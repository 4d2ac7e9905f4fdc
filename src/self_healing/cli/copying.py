"""``backup`` and ``restore``: copies of the state."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from self_healing.cli import output
from self_healing.cli.options import Shown
from self_healing.cli.progress import progress

if TYPE_CHECKING:
    from self_healing.backup import Copy

Json = dict[str, Any]
Directory = Annotated[Path, Parameter(help="Of the copy.")]


def backup(directory: Directory, /, *, shown: Shown | None = None) -> int:
    """Copy the state to a new directory; a service may run on it meanwhile."""
    from self_healing import backup as copies

    shown = shown or Shown()
    state_dir = shown.settings().storage.state_dir
    with progress() as tell:
        made = copies.backup(state_dir, directory, at=datetime.now(UTC), tell=tell)
    output.show(_told(state_dir, directory, made), shown, _print_made)
    return 0


def restore(directory: Directory, /, *, shown: Shown | None = None) -> int:
    """Bring a copy back into a state directory that is empty or not there.

    All of the copy is looked through before anything is written.
    """
    from self_healing import backup as copies

    shown = shown or Shown()
    state_dir = shown.settings().storage.state_dir
    with progress() as tell:
        brought = copies.restore(state_dir, directory, tell=tell)
    output.show(_told(state_dir, directory, brought), shown, _print_restored)
    return 0


def _told(state_dir: Path, directory: Path, copy: Copy) -> Json:
    manifest = copy.manifest
    return {
        "state_dir": str(state_dir),
        "copy": str(directory),
        "copied_at": manifest.copied_at.isoformat(),
        "schema_version": manifest.schema_version,
        "files": len(manifest.files),
        "size_bytes": manifest.size_bytes,
        "cleared": None if copy.cleared is None else str(copy.cleared),
    }


def _print_made(told: Json) -> None:
    if told["cleared"]:
        output.line(f"{told['cleared']} is removed: a backup that was interrupted had left it")
    output.line(f"copied {told['state_dir']} to {told['copy']}: {_size(told)}")


def _print_restored(told: Json) -> None:
    if told["cleared"]:
        output.line(f"what a restore that was interrupted had left in {told['cleared']} is removed")
    made = f"{_size(told)}, copied {output.instant(told['copied_at'])} UTC"
    output.line(f"restored {told['state_dir']} from {told['copy']}: {made}")
    print("what was done since the copy is not in it; look first: self-healing status")


def _size(told: Json) -> str:
    return f"{told['files']} files, {told['size_bytes']:,} bytes"
