"""Recorded runs of real agents: the engine agrees with the rules written a second time, the page with the engine."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from docs import real_runs
from docs.real_runs import Run
from tests.unit import plain_replay

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/explanation/real-runs.md"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def files(data_dir: Path) -> list[Path]:
    found = sorted((data_dir / "agent-trials").glob("*.jsonl"))
    if not found:
        pytest.skip(f"{data_dir} has no agent-trials/*.jsonl")
    return found


@pytest.fixture(scope="module")
def runs(files: Sequence[Path]) -> list[Run]:
    """Each file with what the default triggers say of it."""
    return [Run(file) for file in files]


def table_of(name: str) -> list[list[str]]:
    """The cells of one of the page's tables, without the line under its head."""
    found = re.search(rf"<!-- begin: {name} -->\n(.*?)<!-- end: {name} -->", PAGE.read_text(), re.DOTALL)
    assert found is not None, name
    lines = [line for line in found[1].splitlines() if line]
    return [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in (lines[0], *lines[2:])]


def test_the_engine_opens_and_closes_what_the_rules_written_a_second_time_do(
    files: Sequence[Path], runs: Sequence[Run]
) -> None:
    def instant(text: str | None) -> int | None:
        return None if text is None else (datetime.fromisoformat(text) - EPOCH) // timedelta(microseconds=1)

    for file, run in zip(files, runs, strict=True):
        engine = [(i["trigger"], instant(i["opened_at"]), instant(i["closed_at"])) for i in run.report["incidents"]]
        assert engine
        assert sorted(engine, key=str) == sorted(map(tuple, plain_replay.replay(file)), key=str), file.name


def test_every_line_of_a_recorded_run_is_aggregated(runs: Sequence[Run]) -> None:
    for run in runs:
        events = len(run.events)
        assert run.report["telemetry"] == {
            "received": events,
            "accepted": events,
            "rejected": {},
            "aggregated": events,
            "quarantined": {},
            "dropped": {},
            "in_flight": 0,
            "late": 0,
            "traces_lost": 0,
        }


def test_the_page_counts_the_incidents_that_the_engine_finds(runs: Sequence[Run]) -> None:
    (_, *triggers), *rows = table_of("counts")
    stated = {name: dict(zip(triggers, map(int, counts), strict=True)) for name, *counts in rows}
    assert stated == {
        run.name: dict.fromkeys(triggers, 0) | Counter(i["trigger"] for i in run.report["incidents"]) for run in runs
    }


def test_the_tables_of_the_page_are_those_that_its_script_makes(runs: Sequence[Run]) -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert real_runs.filled(page, real_runs.tables(runs)) == page, "run docs/real_runs.py, and read the page again"


def test_the_page_has_a_list_for_each_file_it_counts() -> None:
    (_, *triggers), *rows = table_of("counts")
    for name, *counts in rows:
        _, *incidents = table_of(name)
        listed = Counter(line[1] for line in incidents)
        assert dict(zip(triggers, map(int, counts), strict=True)) == dict.fromkeys(triggers, 0) | listed
