"""Scenarios on a fake clock; the empty state is made once and copied."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from self_healing.storage.store import Store
from self_healing.testing import Scenario

MakeScenario = Callable[..., Scenario]


@pytest.fixture(scope="session")
def empty_state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state directory in which nothing ever happened."""
    directory = tmp_path_factory.mktemp("empty") / "state"
    Store(directory).close()
    return directory


@pytest.fixture
def scenario(tmp_path: Path, empty_state: Path) -> Iterator[MakeScenario]:
    """Makes the scenario of a test, with the options of :class:`Scenario`."""
    made: list[Scenario] = []

    def make(**options: object) -> Scenario:
        directory = tmp_path / str(len(made))
        shutil.copytree(empty_state, directory / "state")
        made.append(Scenario(directory, **options))  # type: ignore[arg-type] # the test's own words
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def fleet(scenario: MakeScenario) -> Scenario:
    """A scenario with the defaults that acts."""
    return scenario()
