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
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from self_healing.errors import StorageError
from self_healing.storage.readonly import read

if TYPE_CHECKING:
    from self_healing.model import Directive

STATE_DIR = ".self-healing"
STATE_DIR_VARIABLE = "SELF_HEALING_STORAGE_STATE_DIR"
"""Where an agent's environment says which state is meant, as it does for the command line."""

FILE = "directives.json"
"""In the state directory: what is in force, for programs in any language."""

FORMAT = 1
"""Of that file; a reader refuses one that it does not know."""

_OPEN = "SELECT record FROM directives WHERE open = 'yes' ORDER BY seq"
_OPEN_OF_AGENT = "SELECT record FROM directives WHERE open = 'yes' AND agent = ? ORDER BY seq"
_TABLE = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'directives'"


def read_directives(agent: str, *, state_dir: str | Path | None = None, now: datetime | None = None) -> dict[str, Any]:
    """The settings in force for `agent`, such as ``{"paused": True}``; empty when there are none, or no state yet.

    For a script that looks once; what goes on reads with :class:`self_healing.Guard`. Where several directives set the
    same thing, the safer value holds.

    Args:
        agent: its name as in its telemetry.
        state_dir: the framework's state directory; when left out, what the variable ``SELF_HEALING_STORAGE_STATE_DIR``
            says, else ``.self-healing`` in the current directory.
        now: the instant to ask for, aware; the machine's time when left out.

    Raises:
        StorageError: the state cannot be read now.
        StateCorrupt: what is there is no state of ours.
    """
    return _by_agent(_records(found(state_dir), _OPEN_OF_AGENT, (agent,)), now).get(agent, {})


def read_all(state_dir: str | Path | None = None, now: datetime | None = None) -> dict[str, dict[str, Any]]:
    """For each agent that has any, the settings in force; otherwise as :func:`read_directives`."""
    return _by_agent(_records(found(state_dir), _OPEN, ()), now)


def found(state_dir: str | Path | None) -> Path:
    """The state directory that is meant: as given, as the environment says, or the usual one."""
    return Path(state_dir or os.environ.get(STATE_DIR_VARIABLE) or STATE_DIR)


class Given(Protocol):
    """What gives one setting a value, for a time."""

    @property
    def name(self) -> str:
        """Of the setting."""
        ...

    @property
    def value(self) -> Any:
        """Given to it."""
        ...

    @property
    def created_at(self) -> datetime:
        """When it was given."""
        ...

    @property
    def expires_at(self) -> datetime:
        """When it ends by itself."""
        ...


Giving = TypeVar("Giving", bound=Given)


class _Row(NamedTuple):
    name: str
    value: Any
    created_at: datetime
    expires_at: datetime


def effective(directives: Iterable[Directive], at: datetime) -> dict[str, Any]:
    """What one agent's `directives` come to at the instant `at`: by name, the safer value where several set the same.

    Expired and undone ones don't count.
    """
    return _values(each for each in directives if each.undone_at is None and each.expires_at > at)


def overridden(directives: Iterable[Directive]) -> dict[str, str]:
    """Which of one agent's `directives`, all in force, do not hold: by the id of each, the id of the one that does."""
    return {each.id: first.id for first, *others in ranked(directives).values() for each in others}


def ranked(given: Iterable[Giving]) -> dict[str, list[Giving]]:
    """By the name of each setting, what gives one agent's settings their values, in the order of precedence.

    ``paused``: true wins; numbers: the smallest; ``quality_gate``: strict wins; ``model`` and the rest have no order,
    so the newest wins. Among equals the one that stays longest comes first.
    """
    by_name: defaultdict[str, list[Giving]] = defaultdict(list)
    for each in given:
        by_name[each.name].append(each)
    return {name: _safest_first(name, several) for name, several in by_name.items()}


def _safest_first(name: str, several: list[Giving]) -> list[Giving]:
    newest_first = sorted(several, key=lambda each: each.created_at, reverse=True)
    values = [each.value for each in newest_first]
    if name == "model" or not all(isinstance(value, int | float | str) for value in values):
        return newest_first
    longest_first = sorted(newest_first, key=lambda each: each.expires_at, reverse=True)
    if name == "paused":
        return sorted(longest_first, key=lambda each: not each.value)
    if all(isinstance(value, int | float) for value in values):
        return sorted(longest_first, key=lambda each: each.value)
    # Of gates that are not strict none is safer than another: the newest.
    strict = [each for each in longest_first if each.value == "strict"]
    return strict + [each for each in newest_first if each.value != "strict"]


def _values(given: Iterable[Given]) -> dict[str, Any]:
    return {name: first.value for name, (first, *_) in ranked(given).items()}


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
    of_agent: defaultdict[str, list[_Row]] = defaultdict(list)
    for record in records:
        created_at, expires_at = (datetime.fromisoformat(record[name]) for name in ("created_at", "expires_at"))
        if expires_at > at:
            of_agent[record["agent"]].append(_Row(record["name"], record["value"], created_at, expires_at))
    return {agent: _values(rows) for agent, rows in of_agent.items()}
