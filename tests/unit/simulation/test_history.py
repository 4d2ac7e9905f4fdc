from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from statistics import mean

import pytest

from self_healing.simulation import NAMES, Fleet, backfill, generate
from tests.unit.simulation.judge import events, judged, minutes, seconds


def means(lines: Iterable[bytes]) -> dict[str | None, tuple[float, float, float]]:
    """Per agent: mean duration, tokens and cost of its attempts."""
    samples: defaultdict[str | None, list[tuple[float, float, float]]] = defaultdict(list)
    for event in events(judged(lines)):
        if event.kind == "task_finished" and event.usage:
            sample = (event.duration_s or 0, event.usage.total_tokens or 0, event.usage.total_usd or 0)
            samples[event.agent].append(sample)
    return {
        agent: (mean(s[0] for s in own), mean(s[1] for s in own), mean(s[2] for s in own))
        for agent, own in samples.items()
    }


def test_the_history_has_the_means_of_the_live_fleet(start: datetime, day_before: list[bytes]) -> None:
    before, live = means(day_before), means(Fleet(seed=1, start=start).step(start + minutes(180)))
    assert set(before) == set(live) == set(NAMES)
    for agent in NAMES:
        assert before[agent] == pytest.approx(live[agent], rel=0.06)


def test_the_history_is_in_order_and_ends_every_task_by_its_end(start: datetime, day_before: list[bytes]) -> None:
    read = events(day_before)
    moments = [seconds(event) for event in read]
    assert moments == sorted(moments)
    assert (start - minutes(24 * 60)).timestamp() <= moments[0]
    assert start.timestamp() - 60 < moments[-1] <= start.timestamp()
    started = [(event.task_id, event.attempt) for event in read if event.kind == "task_started"]
    ended = [(event.task_id, event.attempt) for event in read if event.kind == "task_finished"]
    assert len(set(started)) == len(started)
    assert sorted(started) == sorted(ended)
    assert len(started) == pytest.approx(24 * 24 * 60, rel=0.03)


def test_the_history_is_a_file_a_day_and_never_overwrites_one(tmp_path: Path, start: datetime) -> None:
    written = backfill(tmp_path / "telemetry", start, hours=11, rate=0.5)
    files = sorted((tmp_path / "telemetry").iterdir())
    assert [file.name for file in files] == ["events-20260104.jsonl", "events-20260105.jsonl"]
    assert sum(file.read_bytes().count(b"\n") for file in files) == written
    for file in files:
        assert {event.ts[:10].replace("-", "") for event in events(file.read_bytes().splitlines()) if event.ts} == {
            file.stem[-8:]
        }
    with pytest.raises(FileExistsError):
        backfill(tmp_path / "telemetry", start, hours=1)


def test_generated_lines_are_as_many_as_asked_for_ordered_and_repeatable() -> None:
    lines = list(generate(120_000, agents=300, seed=5))
    read = events(lines)
    assert len(lines) == 120_000
    assert lines == list(generate(120_000, agents=300, seed=5))
    assert all(earlier <= later for earlier, later in pairwise(seconds(event) for event in read))
    assert len({event.agent for event in read}) == 300
    assert {event.kind for event in read} == {"task_started", "heartbeat", "llm_call", "test_run", "task_finished"}
    assert len(lines) / (seconds(read[-1]) - seconds(read[0])) == pytest.approx(1000, rel=0.1)
