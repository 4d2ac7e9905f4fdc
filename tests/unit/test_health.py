"""What is told of a health that changes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from self_healing.clock import FakeClock, to_us
from self_healing.errors import StorageError
from self_healing.loop.health import LOOKED_BACK_US, MISNAMED_MAX, Health, Intake, news
from self_healing.service import Service
from self_healing.telemetry.reader import DirectoryReader
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


@pytest.mark.parametrize(
    ("file", "reason", "do"),
    [
        ("a.jsonl", "invalid_json", "see what writes it"),
        ("segments/0000000001.jsonl", "undated", "see what sends it"),
        ("segments/0000000001.jsonl", "invalid_json", "it was damaged since; look at the disk"),
    ],
)
def test_lines_that_cannot_be_used_are_told_with_what_to_look_at(file: str, reason: str, do: str) -> None:
    health = Health({file: [Intake(0, received=9, quarantined={reason: 1}, newest=7)]}, describe=lambda *_: None)
    (issue,) = health.telemetry_issues
    assert issue.startswith(f"{file}: 1 of 9 lines that were read lately are quarantined ({reason} 1)")
    assert issue.endswith(do)


def test_what_is_not_read_for_its_name_is_told_until_it_has_not_come_for_a_while(tmp_path: Path) -> None:
    wrong = '{"ts":"2026-01-05T10:00:00Z","type":"llm_call","usage":{"total_tokens":9,"cost_usd":0.02}}\n'
    (tmp_path / "a.jsonl").write_text('{"ts":"2026-01-05T10:00:00Z","type":"log"}\n' + wrong)
    health = Health(None, describe=lambda *_: None)
    reader = DirectoryReader(tmp_path)
    first = reader.read(to_us(AT))
    health.read(first, to_us(AT))
    assert (len(first.events), first.bad) == (2, [])
    assert health.telemetry_issues == [
        "telemetry: usage.cost_usd is no field and is not read; did you mean total_usd? (a.jsonl, at byte 43)"
    ]
    health.read(reader.read(to_us(AT)), to_us(AT) + LOOKED_BACK_US)
    assert health.telemetry_issues
    health.read(reader.read(to_us(AT)), to_us(AT) + LOOKED_BACK_US + 1)
    assert health.telemetry_issues == []
    reader.close()


def test_no_more_names_are_told_than_a_person_can_read(tmp_path: Path) -> None:
    usage = ",".join(f'"{number}":1' for number in range(100))
    (tmp_path / "a.jsonl").write_text(f'{{"ts":"2026-01-05T10:00:00Z","usage":{{{usage}}}}}\n')
    health = Health(None, describe=lambda *_: None)
    reader = DirectoryReader(tmp_path)
    health.read(reader.read(to_us(AT)), to_us(AT))
    assert len(health.telemetry_issues) == MISNAMED_MAX
    reader.close()


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
