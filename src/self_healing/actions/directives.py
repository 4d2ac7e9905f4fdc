"""The settings that the fleet reads, for an agent's own process: light to import, light to read.

Only the standard library is used here, because every agent pays for this import. Writing is
:class:`self_healing.actions.directing.Directives`.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from self_healing.errors import StorageError
from self_healing.storage.readonly import read

if TYPE_CHECKING:
    from self_healing.model import Directive

STATE_DIR = ".self-healing"
STATE_DIR_VARIABLE = "SELF_HEALING_STORAGE_STATE_DIR"
"""Where an agent's environment says which state is meant, as it does for the command line."""

_OPEN = "SELECT record FROM directives WHERE open = 'yes' ORDER BY seq"
_OPEN_OF_AGENT = "SELECT record FROM directives WHERE open = 'yes' AND agent = ? ORDER BY seq"
_TABLE = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'directives'"


def read_directives(agent: str, *, state_dir: str | Path | None = None, now: datetime | None = None) -> dict[str, Any]:
    """The settings in force for `agent`, such as ``{"paused": True}``; empty when there are none, or no state yet.

    Where several directives set the same thing, the safer value holds.

    Args:
        agent: its name as in its telemetry.
        state_dir: the framework's state directory; when left out, what the variable ``SELF_HEALING_STORAGE_STATE_DIR``
            says, else ``.self-healing`` in the current directory.
        now: the instant to ask for, aware; the machine's time when left out.

    Raises:
        StorageError: the state cannot be read now.
        StateCorrupt: what is there is no state of ours.
    """
    return _by_agent(_records(_found(state_dir), _OPEN_OF_AGENT, (agent,)), now).get(agent, {})


def read_all(state_dir: str | Path | None = None, now: datetime | None = None) -> dict[str, dict[str, Any]]:
    """For each agent that has any, the settings in force; otherwise as :func:`read_directives`."""
    return _by_agent(_records(_found(state_dir), _OPEN, ()), now)


def _found(state_dir: str | Path | None) -> Path:
    return Path(state_dir or os.environ.get(STATE_DIR_VARIABLE) or STATE_DIR)


def effective(directives: Iterable[Directive], at: datetime) -> dict[str, Any]:
    """What one agent's `directives` come to at the instant `at`: by name, the safer value where several set the same.

    Expired and undone ones don't count. ``paused``: true wins; numbers: the smallest; ``quality_gate``: strict wins;
    anything else: the newest.
    """
    live = [directive for directive in directives if directive.undone_at is None and directive.expires_at > at]
    live.sort(key=lambda directive: directive.created_at)
    return _combined((directive.name, directive.value) for directive in live)


def _combined(settings: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """One value for each name out of pairs of name and value, the oldest first."""
    values: defaultdict[str, list[Any]] = defaultdict(list)
    for name, value in settings:
        values[name].append(value)
    return {name: _safer(name, given) for name, given in values.items()}


def _safer(name: str, values: list[Any]) -> Any:
    if name == "paused":
        return any(values)
    if name == "quality_gate" and "strict" in values:
        return "strict"
    if all(isinstance(value, int | float) for value in values):
        return min(values)
    return values[-1]


def _records(state_dir: Path, sql: str, parameters: tuple[str, ...]) -> list[dict[str, Any]]:
    try:
        rows = read(state_dir, sql, parameters)
    except StorageError:
        # The owner makes the file a moment before the tables; until then nothing is in force.
        if read(state_dir, _TABLE):
            raise
        return []
    return [json.loads(row[0]) for row in rows]


def _by_agent(records: list[dict[str, Any]], now: datetime | None) -> dict[str, dict[str, Any]]:
    # The one place that asks the machine for the time: an agent's process has no clock of ours.
    at = datetime.now(UTC) if now is None else now
    live = [record for record in records if datetime.fromisoformat(record["expires_at"]) > at]
    live.sort(key=lambda record: datetime.fromisoformat(record["created_at"]))
    settings: defaultdict[str, list[tuple[str, Any]]] = defaultdict(list)
    for record in live:
        settings[record["agent"]].append((record["name"], record["value"]))
    return {agent: _combined(pairs) for agent, pairs in settings.items()}
