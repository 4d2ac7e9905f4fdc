"""Handoffs as files in a directory: the channel that is always there."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from self_healing.errors import EffectError
from self_healing.handoffs.message import ContextMessageHandoff
from self_healing.model import Handoff


class FileChannel:
    """Writes each handoff to a file of its own: whole or not at all, and never over another one.

    Args:
        directory: made with the first handoff.
    """

    name = "file"

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def deliver(self, handoff: Handoff) -> None:
        """Write the file, synced; one that is there with the same handoff id counts.

        Raises:
            EffectError: it could not be written, or its name is taken by something else.
        """
        path = self._path(handoff)
        try:
            text = ContextMessageHandoff.from_dict(handoff.message).to_json()
        except ValueError as error:
            raise EffectError(f"handoff {handoff.id} in the state is damaged: {error}") from error
        # Written under another name and then linked, because a link, unlike a rename, never replaces a file.
        draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            try:
                _write_synced(draft, text)
                os.link(draft, path)
            except FileExistsError:
                if not self.probe(handoff):
                    raise EffectError(f"{path} holds something else than handoff {handoff.id}; move it away") from None
            except FileNotFoundError:
                # A try that was given up on finished meanwhile, and cleared this one's draft away.
                if not self.probe(handoff):
                    raise
            finally:
                # Not only this draft: a crash may have left others.
                for left in self.directory.glob(f".{path.name}.*.tmp"):
                    left.unlink(missing_ok=True)
            _sync(self.directory)
        except OSError as error:
            raise EffectError(f"handoff {handoff.id} could not be written to {path}: {error.strerror}") from error

    def probe(self, handoff: Handoff) -> bool | None:
        """Whether the file is there with this handoff's id; None when it cannot be read."""
        path = self._path(handoff)
        try:
            text = path.read_bytes()
            # Seen is not yet durable: a crash may have come between the link and the sync.
            _sync(self.directory)
        except FileNotFoundError:
            return False
        except OSError:
            return None
        try:
            return ContextMessageHandoff.from_json(text).id == handoff.id
        except ValueError:
            return False

    def _path(self, handoff: Handoff) -> Path:
        if Path(handoff.file).name != handoff.file:
            raise EffectError(f"handoff {handoff.id}: {handoff.file!r} is not a plain file name")
        return self.directory / handoff.file


def _write_synced(path: Path, text: bytes) -> None:
    with path.open("xb") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
