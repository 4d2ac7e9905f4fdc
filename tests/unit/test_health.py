"""What is told of a health that changes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from self_healing.clock import FakeClock
from self_healing.errors import StorageError
from self_healing.loop.health import Health, Intake, news
from self_healing.service import Service
from tests.e2e.test_service import AT, settings, slow_task

STOPPED = "healing is stopped by ada"


@pytest.mark.parametrize(
    ("before", "now", "told"),
    [
        ([], [], []),
        ([], [STOPPED], [STOPPED]),
        ([STOPPED], [STOPPED], []),
        ([STOPPED], [], [f"over: {STOPPED}"]),
        (["5 of 90 lines"], ["7 of 99 lines"], []),
        (["5 of 90 lines"], [STOPPED], ["over: 5 of 90 lines", STOPPED]),
        ([STOPPED, "late"], ["late"], [f"over: {STOPPED}; 1 more stays, see `self-healing status --health`"]),
    ],
)
def test_only_issues_that_are_new_or_over_are_told(before: list[str], now: list[str], told: list[str]) -> None:
    assert news(before, now) == told


@pytest.mark.parametrize(("file", "who"), [("segments/0000000001.jsonl", "sends it"), ("a.jsonl", "writes it")])
def test_an_event_in_the_future_is_told_with_whose_clock_to_set(file: str, who: str) -> None:
    health = Health({file: [Intake(0, received=100, quarantined={"future": 1}, newest=7)]}, describe=lambda *_: None)
    assert health.telemetry_issues == [f"{file}: lines more than 5 min ahead: 1; set the clock of what {who}"]


def test_who_follows_is_told_that_nothing_can_be_written(tmp_path: Path) -> None:
    full, stop = list[str](), asyncio.Event()

    def crash(_point: str) -> None:
        if full:
            stop.set()  # else it is tried again until it can be
            raise StorageError(full[0])

    async def steps() -> None:
        (tmp_path / "telemetry").mkdir()
        clock = FakeClock(AT)
        service = Service(settings(tmp_path), clock=clock, stop=stop, crash=crash)
        await service.turn()
        before = service.changes.version
        full.append("no space is left")
        slow_task(tmp_path)
        clock.advance(1)
        await service.turn()
        assert service.loop.health()["status"] == "unhealthy"
        assert service.changes.version > before

    asyncio.run(steps())
