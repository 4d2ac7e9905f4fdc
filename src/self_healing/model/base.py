"""What all records have in common: their base, the names of groups, and ids."""

from __future__ import annotations

import hashlib
import secrets

import msgspec

Group = tuple[tuple[str, str], ...]
"""Which group a series is for: pairs of key and value, in the order of the trigger's ``group_by``."""

CAUSE = "cause"
"""The key of the group of a parent incident; its value is what the series beneath it share, such as ``model=m-2``."""

UNKNOWN_VALUE = "unknown"
"""What a group shows for a key that an event does not have."""

OVERFLOW = "overflow"
"""What the group of all that are not kept apart has in every column."""


def group_dict(group: Group) -> dict[str, str]:
    """`group` as the mapping that people and JSON see, such as ``{"agent": "Coder"}``."""
    return dict(group)


def group_label(group: Group) -> str:
    """`group` in one word for tables and logs, such as ``agent=Coder``."""
    return ",".join(f"{key}={value}" for key, value in group) or "all"


def affected_agent(group: Group) -> str:
    """The *target* of limits and keys: the agent that a series is about; its whole label when it is not about one."""
    for key, value in group:
        if key == "agent":
            return value
    return group_label(group)


def new_id(kind: str) -> str:
    """A short random id with a readable prefix, such as ``inc-5f0c9a3e1b``."""
    return f"{kind}-{secrets.token_hex(5)}"


def idempotency_key(incident: str, plan_version: str, step: int, attempt: int, target: str) -> str:
    """The key that one effect carries, whatever happens to the process that brings it about.

    sha256 over the JSON list of incident, plan version, step, attempt and target, in hex.
    """
    text = msgspec.json.encode([incident, plan_version, step, attempt, target])
    return hashlib.sha256(text).hexdigest()


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """Base of the records that are stored."""
