"""What every test may use."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.accounts import all_held, holding, watch

# What a test starts would otherwise compile every module of the package anew, half a second each time.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Each commit of each state waits until it is on the disk. For what is thrown away after its test memory is as good,
# where there is enough of it and programs may be run there.
MEMORY = Path("/dev/shm")
if (
    "TMPDIR" not in os.environ
    and os.access(MEMORY, os.W_OK)
    and not os.statvfs(MEMORY).f_flag & os.ST_NOEXEC
    and shutil.disk_usage(MEMORY).free >= 4 * 2**30
):
    os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)

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


watch()


@pytest.fixture(autouse=True)
def _accounting_holds(request: pytest.FixtureRequest) -> Iterator[None]:
    """After every test both equations hold for all that it folded, and for every state that it closed or left."""
    spoils = request.node.get_closest_marker("spoils_state") is not None
    looked_at = "tmp_path" in request.fixturenames and not spoils
    directory = request.getfixturevalue("tmp_path") if looked_at else None  # before the test: to be there after it
    with holding(spoils=spoils):
        yield
        if directory is not None:
            all_held(directory)


@pytest.fixture(autouse=True, scope="module")
def _accounting_holds_of_what_tests_share(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """After every module they hold for every state that its fixtures made."""
    yield
    all_held(tmp_path_factory.getbasetemp())
