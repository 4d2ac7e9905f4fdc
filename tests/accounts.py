"""The two equations of the accounting, on whatever state a test left behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from self_healing.config import Settings
from self_healing.status import accounting
from self_healing.storage.readonly import DATABASE


def held(counts: dict[str, Any]) -> dict[str, Any]:
    """The counts, for which both equations hold."""
    assert counts["received"] == counts["accepted"] + sum(counts["rejected"].values()), counts
    lost = sum(counts["quarantined"].values()) + sum(counts["dropped"].values())
    assert counts["accepted"] == counts["aggregated"] + lost + counts["in_flight"], counts
    assert counts["late"] <= counts["aggregated"], counts
    return counts


def committed(state_dir: Path) -> dict[str, Any]:
    """What is committed in a state, for which both equations hold."""
    return held(accounting(Settings.model_validate({"storage": {"state_dir": state_dir}})))


def all_held(directory: Path) -> None:
    """Assert both equations for every state beneath `directory`."""
    for database in directory.rglob(DATABASE):
        committed(database.parent)
