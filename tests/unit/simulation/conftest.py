"""A healthy past to compare with."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from self_healing.simulation import backfill

START = datetime(2026, 1, 5, 10, tzinfo=UTC)


@pytest.fixture(scope="session")
def start() -> datetime:
    """When the fleet begins and its history ends."""
    return START


@pytest.fixture(scope="session")
def day_before(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """The lines of a healthy day that ends at the start."""
    return _backfilled(tmp_path_factory.mktemp("day"), hours=24)


@pytest.fixture(scope="session")
def hours_before(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """The lines of three healthy hours that end at the start: enough to fill each window and a baseline before it."""
    return _backfilled(tmp_path_factory.mktemp("hours"), hours=3)


def _backfilled(directory: Path, hours: float) -> list[bytes]:
    backfill(directory, START, hours)
    return [line for file in sorted(directory.iterdir()) for line in file.read_bytes().splitlines(keepends=True)]
