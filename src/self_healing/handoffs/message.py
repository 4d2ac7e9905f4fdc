"""The message of a handoff: who is asked for what, why, and until when."""

from __future__ import annotations

import os
import re
from collections.abc import Container
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import msgspec

from self_healing import model


class ContextMessageHandoff(msgspec.Struct, frozen=True, kw_only=True):
    """What another agent, or a person, is asked to do, with the evidence.

    Args:
        target_agent: who is asked.
        prompt: what is asked, word for word from the action's spec.
        context: the evidence, a JSON object; every text from telemetry is in here, as data.
        tags: words to find it by.
        created_at: aware.
        id: of the handoff; accepting and completing it go by this.
        incident: id of the incident behind it.
        execution: id of the execution that brings it about.
        deadline: aware; unanswered until then, it expires.

    Raises:
        ValueError: an instant without a time zone.
    """

    target_agent: str
    prompt: str
    context: dict[str, Any]
    tags: tuple[str, ...]
    created_at: datetime
    id: str
    incident: str
    execution: str
    deadline: datetime

    def __post_init__(self) -> None:
        for name in ("created_at", "deadline"):
            if getattr(self, name).tzinfo is None:
                raise ValueError(f"{name} has no time zone; give an aware datetime")

    def to_dict(self) -> dict[str, Any]:
        """The nine keys with values as JSON has them, times in ISO 8601 in UTC: ``model.Handoff.message``."""
        in_utc = msgspec.structs.replace(
            self, created_at=self.created_at.astimezone(UTC), deadline=self.deadline.astimezone(UTC)
        )
        fields: dict[str, Any] = msgspec.to_builtins(in_utc)
        return {**fields, "tags": list(self.tags)}

    def to_json(self) -> bytes:
        """The message as people and agents read it: JSON, indented, in UTF-8."""
        return msgspec.json.format(msgspec.json.encode(self.to_dict()), indent=2) + b"\n"

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Self:
        """The message of a handoff in the state. Raises ValueError when a key is missing or of another type."""
        try:
            return msgspec.convert(fields, cls)
        except msgspec.ValidationError as error:
            raise ValueError(f"not a handoff: {error}") from error

    @classmethod
    def from_json(cls, text: bytes | str) -> Self:
        """The message in a handoff's file. Raises ValueError when it is not one."""
        try:
            return msgspec.json.decode(text, type=cls)
        except msgspec.DecodeError as error:
            raise ValueError(f"not a handoff: {error}") from error


def new_handoff(message: ContextMessageHandoff, *, about: str, file: str) -> model.Handoff:
    """The record of a handoff that is intended and not yet delivered.

    Args:
        message: what will be delivered.
        about: the affected agent.
        file: its name in the handoffs directory, from :func:`unique_name`.
    """
    return model.Handoff(
        id=message.id,
        incident=message.incident,
        execution=message.execution,
        target_agent=message.target_agent,
        about=about,
        status=model.HandoffStatus.CREATED,
        file=file,
        message=message.to_dict(),
        created_at=message.created_at,
        deadline=message.deadline,
    )


def file_name(created_at: datetime, agent: str) -> str:
    """``handoff_YYYYMMDD_HHMMSS_ffffff_<Agent>.json``: in UTC, and of the name only letters, digits and ``._-``."""
    safe = re.sub(r"[^A-Za-z0-9._-]+", "_", agent).lstrip(".")[:64] or "agent"
    return f"handoff_{created_at.astimezone(UTC):%Y%m%d_%H%M%S_%f}_{safe}.json"


def unique_name(directory: Path, existing_names: Container[str], created_at: datetime, agent: str) -> str:
    """A file name for a handoff that nothing has, moved on by microseconds until that is so.

    It is fixed with the intent, so that whoever recovers after a crash looks for the same file.

    Args:
        directory: where handoffs are delivered; it need not exist.
        existing_names: names that are intended, whose files may not be there yet.
        created_at: aware.
        agent: the recipient.
    """
    while True:
        name = file_name(created_at, agent)
        # lexists: a dangling link is in the way as well.
        if name not in existing_names and not os.path.lexists(directory / name):
            return name
        created_at += timedelta(microseconds=1)
