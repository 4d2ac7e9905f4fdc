"""A monitor outside is called while the loop turns, and hears nothing when it does not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from self_healing.clock import FakeClock
from self_healing.config import NO_PORTS, HeartbeatSettings, Settings
from self_healing.heartbeat import Heartbeat
from self_healing.service import Service
from tests.contract.servers import LOOPBACK, reply, serving

AT = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)


class Monitor:
    """Takes what is posted, or answers with `status`."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.heard: list[bytes] = []

    def __call__(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        self.heard.append(body)
        return reply(self.status)(handler, body)


def heartbeat(every: int = 60, environment: str = "") -> Heartbeat:
    settings = HeartbeatSettings.model_validate({"url_env": "MONITOR_URL", "every": every, "allow": LOOPBACK})
    return Heartbeat(settings, environment=environment, threads=False)


def quiet(directory: Path, heartbeat: dict[str, object]) -> Settings:
    """Of a service that opens no port."""
    return Settings.model_validate(
        {
            "telemetry": {"dir": directory},
            "storage": {"state_dir": directory / "state", "logs_dir": directory / "logs"},
            "server": NO_PORTS,
            "heartbeat": heartbeat,
        }
    )


def beaten(monitor: Monitor, *beats: tuple[int, str], monkeypatch: pytest.MonkeyPatch) -> Heartbeat:
    """The heartbeat after it was told to beat at those seconds with those statuses."""
    one = heartbeat()
    with serving(monitor) as url:
        monkeypatch.setenv("MONITOR_URL", url)
        for second, status in beats:
            one.beat(AT + timedelta(seconds=second), status)
    return one


def test_the_monitor_hears_the_health_no_more_often_than_it_is_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monitor = Monitor()
    beaten(monitor, (0, "healthy"), (59, "healthy"), (60, "degraded"), (61, "healthy"), monkeypatch=monkeypatch)
    assert monitor.heard == [b"healthy", b"degraded"]


def test_the_monitor_hears_which_fleet_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monitor = Monitor()
    with serving(monitor) as url:
        monkeypatch.setenv("MONITOR_URL", url)
        heartbeat(environment="staging").beat(AT, "healthy")
    assert monitor.heard == [b"[staging] healthy"]


def test_an_unhealthy_loop_is_silent_and_speaks_again_when_it_is_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monitor = Monitor()
    beaten(monitor, (0, "unhealthy"), (60, "unhealthy"), (61, "healthy"), monkeypatch=monkeypatch)
    assert monitor.heard == [b"healthy"]


def test_why_the_monitor_could_not_be_called_is_told_until_it_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monitor = Monitor(500)
    one = heartbeat()
    with serving(monitor) as url:
        monkeypatch.setenv("MONITOR_URL", url)
        one.beat(AT, "healthy")
        one.beat(AT + timedelta(seconds=1), "degraded")
        failed = one.problems
        monitor.status = 200
        one.beat(AT + timedelta(seconds=60), "degraded")
        one.beat(AT + timedelta(seconds=61), "degraded")
    assert failed == ["heartbeat: the monitor did not take it (500)"]
    assert one.problems == []


def test_a_variable_that_is_not_set_is_told_once_by_health_and_not_by_the_beat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MONITOR_URL", raising=False)
    one = heartbeat()
    one.beat(AT, "healthy")
    one.beat(AT + timedelta(seconds=1), "healthy")
    assert one.problems == []
    settings = quiet(tmp_path, {"url_env": "MONITOR_URL"})

    async def issues() -> list[str]:
        service = Service(settings, clock=FakeClock(AT), stop=asyncio.Event())
        await service.turn()
        told: list[str] = service.loop.health()["issues"]
        await service.close()
        return told

    [told] = [issue for issue in asyncio.run(issues()) if issue.startswith("heartbeat: ")]
    assert told.startswith("heartbeat: url_env names MONITOR_URL, and no such variable is set; ")


@pytest.mark.parametrize(
    "url", ["https://[secret-path", "https://host:secret/", "https://secret-path.invalid/uuid-secret"]
)
def test_the_secret_part_of_an_address_is_never_told(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONITOR_URL", url)
    one = heartbeat()
    one.beat(AT, "healthy")
    one.beat(AT + timedelta(seconds=1), "healthy")
    [problem] = one.problems
    assert "uuid-secret" not in problem
    assert "://" not in problem.replace("https://host:port/path", "")


def test_nobody_is_called_where_no_variable_is_named() -> None:
    one = Heartbeat(HeartbeatSettings(), threads=False)
    one.beat(AT, "healthy")
    one.beat(AT + timedelta(hours=1), "healthy")
    assert one.problems == []


def test_the_service_beats_when_it_has_turned_and_says_when_nobody_hears(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monitor = Monitor()
    settings = quiet(tmp_path, {"url_env": "MONITOR_URL", "allow": LOOPBACK})
    clock = FakeClock(AT)

    async def life() -> None:
        service = Service(settings, clock=clock, stop=asyncio.Event())
        with serving(monitor) as url:
            monkeypatch.setenv("MONITOR_URL", url)
            await service.turn()
            await until(lambda: monitor.heard)
        clock.advance(60)
        await service.turn()
        await until(lambda: told(service))
        await service.close()

    def told(service: Service) -> bool:
        service._heartbeat.beat(clock.now(), "healthy")
        return any(
            issue.startswith("heartbeat: 127.0.0.1 cannot be reached") for issue in service.loop.health()["issues"]
        )

    asyncio.run(life())
    assert monitor.heard == [b"healthy"]


async def until(true: Callable[[], object]) -> None:
    """Wait until that is so."""
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.01)
