"""Publication: what is in force, for the fleet to read without asking the loop.

After each commit that changed a directive, all that are in force are put into one snapshot: in memory, for whoever
answers on a port, and as ``directives.json`` in the state directory, for programs in any language. Each setting has its
values the safest first, with the end of each: at any instant the first that is not over holds. So nobody needs to be
told when one ends.
"""

from __future__ import annotations

import os
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from self_healing.actions.directives import FILE, FORMAT, ranked
from self_healing.model import Directive, Snapshot
from self_healing.storage.store import Store

FRACTIONS = frozenset(("max_cost_usd", "timeout_s"))
"""Settings whose values are always written with a fraction, so that typed readers are never surprised."""


class Publication:
    """What is in force, as it was committed last.

    Args:
        store: the state; its directory gets the file, unless it is only looked at.
    """

    def __init__(self, store: Store) -> None:
        self.snapshot: Snapshot = {}  # never changed, only replaced: any thread may read it
        self.problem: str | None = None  # why the file is behind, for people
        self._store = store
        self.publish()
        if not store.read_only:
            store.after_commit(Directive, self.publish)

    def publish(self) -> None:
        """Publish what is in force now."""
        self.snapshot = told(self._store.select(Directive, open="yes"))
        if self._store.read_only:
            return
        text = msgspec.json.format(msgspec.json.encode({"format": FORMAT, "agents": self.snapshot}), indent=1)
        path = self._store.state_dir / FILE
        try:
            if not path.exists() or path.read_bytes() != text:
                _replace(path, text, durable=self._store.durable)
            self.problem = None
        except OSError as error:
            self.problem = f"{path} is behind, so the fleet may read old directives: {error.strerror or error}"


def told(directives: Iterable[Directive]) -> Snapshot:
    """Those `directives`, as the fleet reads them."""
    of_agent: defaultdict[str, list[Directive]] = defaultdict(list)
    for each in directives:
        of_agent[each.agent].append(each)
    return {
        agent: {name: [_entry(each) for each in several] for name, several in sorted(ranked(given).items())}
        for agent, given in sorted(of_agent.items())
    }


def _entry(directive: Directive) -> dict[str, Any]:
    return {
        "id": directive.id,
        "value": float(directive.value) if directive.name in FRACTIONS else directive.value,
        "owner": directive.owner,
        "reason": directive.reason,
        "created_at": msgspec.to_builtins(directive.created_at),
        "expires_at": msgspec.to_builtins(directive.expires_at),
        "expires_unix_s": directive.expires_at.timestamp(),
    }


def _replace(path: Path, text: bytes, *, durable: bool) -> None:
    """The whole file or none: written beside, synced, then renamed, and the name made durable."""
    descriptor, beside = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), 0o644)  # agents may run as another user
            file.write(text)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError:
        Path(beside).unlink(missing_ok=True)
        raise
    if durable:
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
