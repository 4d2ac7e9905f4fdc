"""What every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# No deadline: a busy machine is not a bug. In CI the same examples each time, so that a red run can be run again.
settings.register_profile("project", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("project")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The directory of recorded telemetry, which is not part of the project."""
    value = os.environ.get("TEST_DATA_DIR")
    if not value:
        pytest.skip("TEST_DATA_DIR does not name a directory of recorded telemetry")
    return Path(value)
