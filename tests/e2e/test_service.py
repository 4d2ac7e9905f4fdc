"""The service on a clock of its own: it turns, answers, goes on after a failed write, and stops."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from self_healing.clock import FakeClock, ScaledClock
from self_healing.config import NO_PORTS, Settings
from self_healing.doctor.examining import examine
from self_healing.errors import TurnFailed
from self_healing.local_socket import ask
from self_healing.orchestrator import SelfHealingOrchestrator
from self_healing.service import serve
from self_healing.storage.readonly import DATABASE

AT = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)


def settings(directory: Path, server: Any = NO_PORTS) -> Settings:
    return Settings.model_validate(
        {
            "telemetry": {"dir": directory / "telemetry"},
            "storage": {"state_dir": directory / "state", "logs_dir": directory / "logs"},
            "server": server,
        }
    )


@asynccontextmanager
async def running(
    directory: Path, *, at: datetime = AT, server: Any = NO_PORTS, addresses: dict[str, str] | None = None
) -> AsyncIterator[Callable[..., Awaitable[dict[str, Any]]]]:
    """A service, ten times as fast as life; asks it. Its ports' addresses are put into `addresses`."""
    stop, ready = asyncio.Event(), asyncio.Event()
    clock = ScaledClock(10, at)

    def listening(where: dict[str, str]) -> None:
        (addresses if addresses is not None else {}).update(where)
        ready.set()

    service = asyncio.create_task(serve(settings(directory, server), clock=clock, stop=stop, ready=listening))
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait({service, waiting}, return_when=asyncio.FIRST_COMPLETED)

    async def tell(command: str, **arguments: Any) -> dict[str, Any]:
        answer = await asyncio.to_thread(ask, directory / "state", command, arguments)
        assert answer is not None
        return answer

    try:
        yield tell
    finally:
        stop.set()
        await asyncio.wait_for(service, 10)


async def until(tell: Callable[..., Awaitable[dict[str, Any]]], status: str) -> dict[str, Any]:
    for _ in range(100):
        health = await tell("health")
        if health["status"] == status:
            return health
        await asyncio.sleep(0.1)
    raise AssertionError(f"it never became {status}: {health}")


def slow_task(directory: Path) -> None:
    event = {"ts": AT.isoformat(), "type": "task_finished", "id": "t", "agent": "Coder", "status": "success"}
    text = json.dumps({**event, "duration_s": 90.0, "started_at": AT.timestamp() - 90})
    (directory / "telemetry" / "events.jsonl").write_text(text + "\n")


def test_it_answers_a_check_once_its_effects_are_there_and_gives_the_state_back(tmp_path: Path) -> None:
    (tmp_path / "telemetry").mkdir()

    async def steps() -> None:
        async with running(tmp_path) as tell:
            await until(tell, "healthy")
            slow_task(tmp_path)
            told = await tell("check")
            assert [each["status"] for each in told["actions"]] == ["dispatched"]
            assert [Path(path).exists() for path in told["handoffs"]] == [True]
        async with running(tmp_path) as tell:
            assert len((await tell("incidents"))["incidents"]) == 1

    asyncio.run(steps())
    assert ask(tmp_path / "state", "health") is None


def test_checks_that_overlap_each_get_their_answer_and_nothing_is_done_twice(tmp_path: Path) -> None:
    (tmp_path / "telemetry").mkdir()

    async def steps() -> None:
        async with running(tmp_path) as tell:
            await until(tell, "healthy")
            slow_task(tmp_path)
            answers = await asyncio.gather(*(tell("check") for _ in range(4)))
            for told in answers:
                assert [each["status"] for each in told["actions"]] == ["dispatched"]
                assert len(told["incidents"]) == 1
            assert sum(told["actions_executed"] for told in answers) <= 1  # a turn of the service may have been first

    asyncio.run(steps())
    assert len(list((tmp_path / "logs" / "handoffs").glob("*.json"))) == 1


def test_a_missing_telemetry_directory_is_degraded_and_comes_back(tmp_path: Path) -> None:
    async def steps() -> None:
        async with running(tmp_path) as tell:
            health = await until(tell, "degraded")
            assert not health["telemetry_healthy"]
            (tmp_path / "telemetry").mkdir()
            await until(tell, "healthy")

    asyncio.run(steps())


def test_after_a_write_that_failed_it_goes_on_from_what_was_committed(tmp_path: Path) -> None:
    (tmp_path / "telemetry").mkdir()

    async def steps() -> None:
        async with running(tmp_path) as tell:
            await until(tell, "healthy")
            other = sqlite3.connect(tmp_path / "state" / DATABASE, isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            slow_task(tmp_path)
            await asyncio.sleep(5.5)  # longer than a write waits for the lock
            other.execute("ROLLBACK")
            other.close()
            for _ in range(100):
                found = (await tell("incidents"))["incidents"]
                if found:
                    break
                await asyncio.sleep(0.1)
            assert [each["trigger"] for each in found] == ["slow_tasks"]
            await until(tell, "healthy")

    asyncio.run(steps())


def send(address: str, number: int) -> None:
    """Send an event, which is acknowledged."""
    event = {"ts": AT.isoformat(), "type": "task_finished", "id": f"s{number}", "agent": "Coder", "status": "success"}
    request = Request(f"{address}/v1/events", json.dumps(event).encode(), {"Content-Type": "application/x-ndjson"})
    with urlopen(request, timeout=30) as answer:
        assert json.load(answer)["accepted"] == 1


def test_a_bug_in_a_turn_ends_the_service_with_a_word_and_nothing_that_was_acknowledged_is_lost(tmp_path: Path) -> None:
    (tmp_path / "telemetry").mkdir()
    bugs: list[str] = []

    def crash(point: str) -> None:
        if point == "cycle.written" and bugs:
            raise ValueError(bugs[0])

    async def steps() -> None:
        ready: asyncio.Future[dict[str, str]] = asyncio.get_running_loop().create_future()
        chosen = settings(tmp_path, {"otlp_http_port": 0, "otlp_grpc_port": False, "port": False})
        clock = ScaledClock(10, AT)
        serving = serve(chosen, clock=clock, stop=asyncio.Event(), crash=crash, ready=ready.set_result)
        service = asyncio.create_task(serving)
        address = (await ready)["otlp_http_port"]
        for number in range(2):
            await asyncio.to_thread(send, address, number)
        bugs.append("no such thing")
        slow_task(tmp_path)
        with pytest.raises(TurnFailed, match=r"ValueError\('no such thing'\).*turn_failed"):
            await asyncio.wait_for(service, 60)
        bugs.clear()
        async with running(tmp_path, at=clock.now()) as tell:
            for _ in range(100):
                counts = (await tell("status"))["telemetry"]
                if counts["aggregated"] == 3:
                    break
                await asyncio.sleep(0.1)
            assert counts["aggregated"] == 3
        logs = (tmp_path / "logs/self_healing").glob("orchestrator-*.log")
        failed = [line for log in logs for line in log.read_text().splitlines() if "turn_failed" in line]
        assert ["no such thing" in line and "Traceback" in line for line in failed] == [True]

    asyncio.run(steps())


def test_the_doctor_says_how_a_running_service_is_and_whether_it_runs_what_the_files_say(tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text('[[trigger]]\nname = "slow_tasks"\nfor = "10s"\n')

    def service(told: Settings) -> tuple[str, str]:
        checks = examine(lambda: told, at=datetime.now(UTC), tell=lambda _what, _share: None)["checks"]
        [each] = [each for each in checks if each["check"] == "service"]
        return each["outcome"], f"{each['says']} -> {each['do']}"

    async def main() -> None:
        same = settings(tmp_path)
        changed = same.model_copy(update={"triggers": same.triggers.model_copy(update={"files": (other,)})})
        (tmp_path / "telemetry").mkdir()
        async with running(tmp_path) as tell:
            await until(tell, "healthy")
            outcome, words = await asyncio.to_thread(service, same)
            assert (outcome, "healthy, on spec" in words) == ("ok", True)
            outcome, words = await asyncio.to_thread(service, changed)
            assert (outcome, "and the files now say" in words, "restart it" in words) == ("warn", True, True)
            (tmp_path / "telemetry").rmdir()
            await until(tell, "degraded")
            outcome, words = await asyncio.to_thread(service, same)
            assert (outcome, words.startswith("degraded: "), str(tmp_path / "telemetry") in words) == (
                "warn",
                True,
                True,
            )
        assert service(same)[1].startswith("none runs on this state")

    asyncio.run(main())


def test_a_loop_built_for_one_that_could_not_commit_is_unhealthy_until_it_has_committed(tmp_path: Path) -> None:
    (tmp_path / "telemetry").mkdir()
    clock = FakeClock(AT)
    before = SelfHealingOrchestrator.open(settings(tmp_path), clock=clock)
    before.receiving.segments.problem = "no room for what comes in"
    before.close()
    with SelfHealingOrchestrator.open(settings(tmp_path), clock=clock) as loop:
        loop.stand_in_for(before, "the disk is full")
        assert loop.health()["status"] == "unhealthy"
        assert loop.health()["issues"] == ["the disk is full", "no room for what comes in"]
        loop.cycle(clock.now())
        assert loop.health()["issues"] == ["no room for what comes in"]  # until something that comes is written
