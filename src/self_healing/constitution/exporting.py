"""Exporting: the audit log with its checkpoints and its public key, for somebody who trusts nothing on this machine.

Lines of JSON: one that says what this is, the checkpoints as they are kept apart from the log, then each entry. An
entry's payload is a text, the very one that was hashed, so that no reader has to write JSON as this package does.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from self_healing.constitution.audit import Audit
from self_healing.constitution.checkpoints import checkpoints_file
from self_healing.constitution.keys import PUBLIC
from self_healing.errors import StateError
from self_healing.labelling import label
from self_healing.storage.readonly import DATABASE
from self_healing.storage.store import Store

FORMAT = 1


def export(state_dir: Path, logs_dir: Path, environment: str = "") -> Iterator[bytes]:
    """The lines of the export, each with its end; a service may run on the state meanwhile.

    Nothing is checked: what was tampered with is exported as it is, to be found by whoever checks it.

    Args:
        state_dir: the state.
        logs_dir: where the checkpoints are kept.
        environment: which of several fleets this is.

    Raises:
        StateError: there is no state, its public key is gone, or a file cannot be read.
        StorageError: the state cannot be read.
    """
    if not (state_dir / DATABASE).exists():
        raise StateError(f"there is no state in {state_dir}; name the right one with --state-dir")
    try:
        public, kept = (state_dir / PUBLIC).read_text(encoding="ascii"), _kept(checkpoints_file(logs_dir))
    except (OSError, ValueError) as error:
        raise StateError(f"the audit log cannot be exported: {error}") from error
    store = Store(state_dir, read_only=True)
    try:
        yield _line({"line": "log", "format": FORMAT, "public_key": public, **label(environment)})
        for text in kept:
            yield _line({"line": "checkpoint", "text": text})
        for row in Audit(store).stored():
            entry = {name: getattr(row, name) for name in ("seq", "at", "kind", "payload", "previous", "hash")}
            yield _line({"line": "entry", **entry})
    finally:
        store.close()


def _kept(file: Path) -> list[str]:
    """The lines of the file of checkpoints; none where there is no such file yet."""
    return file.read_text(encoding="utf-8").splitlines() if file.exists() else []


def _line(told: dict[str, object]) -> bytes:
    return msgspec.json.encode(told) + b"\n"
