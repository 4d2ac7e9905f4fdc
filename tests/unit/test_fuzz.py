"""The fuzz targets are whole: each makes something of its seeds."""

from __future__ import annotations

import pytest

from fuzz.seeds import BOMBS, LONGEST_BYTES, SEEDS
from fuzz.targets import TARGETS


def test_every_target_has_seeds() -> None:
    assert set(SEEDS) == set(TARGETS)
    assert all(SEEDS.values())


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_accepts_its_seeds(name: str) -> None:
    assert [TARGETS[name](seed) for seed in SEEDS[name]] == [True] * len(SEEDS[name])


@pytest.mark.parametrize("name", BOMBS)
def test_a_target_refuses_too_many_items(name: str) -> None:
    assert [TARGETS[name](bomb) for bomb in BOMBS[name]] == [False] * len(BOMBS[name])
    assert max(map(len, BOMBS[name])) <= LONGEST_BYTES


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_outlives_seeds_cut_off_and_turned_round(name: str) -> None:
    for seed in SEEDS[name]:
        for data in (seed[: len(seed) // 2], seed[::-1], b""):
            TARGETS[name](data)
