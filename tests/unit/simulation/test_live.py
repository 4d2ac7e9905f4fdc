from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

from self_healing.clock import FakeClock
from self_healing.model import Directive
from self_healing.simulation import NAMES, Fleet, run_fleet
from self_healing.storage.store import Store
from tests.unit.simulation.judge import events, minutes, seconds


def test_a_live_fleet_appends_what_happened_up_to_the_clock(tmp_path: Path, start: datetime) -> None:
    async def live() -> datetime:
        clock, stop = FakeClock(start + minutes(14 * 60 - 5)), asyncio.Event()
        fleet = Fleet(seed=1, start=clock.now())
        running = asyncio.create_task(run_fleet(fleet, clock, tmp_path / "telemetry", stop))
        while clock.now() < start + minutes(14 * 60 + 5):
            await asyncio.sleep(0)
        stop.set()
        await running
        return fleet.now

    reached = asyncio.run(live())
    files = sorted((tmp_path / "telemetry").iterdir())
    assert [file.name for file in files] == ["events-20260105.jsonl", "events-20260106.jsonl"]
    alone = Fleet(seed=1, start=start + minutes(14 * 60 - 5)).step(reached)
    assert b"".join(file.read_bytes() for file in files) == b"".join(alone)
    assert start + minutes(14 * 60 + 4.9) < reached < start + minutes(14 * 60 + 5.1)


def command(directory: Path, *more: str) -> list[str]:
    own = [f"--{name}-dir={directory / name}" for name in ("telemetry", "state", "logs")]
    return [sys.executable, "-m", "self_healing.simulation", *own, "--start=2026-01-05T10:00:00Z", *more]


def run(directory: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(directory, *more), check=False, capture_output=True, text=True, timeout=60)


def test_the_fleet_runs_as_a_process_of_its_own_for_as_long_as_it_is_told(tmp_path: Path) -> None:
    done = run(tmp_path, "--scale=1200", "--for-s=600", "--faults=all")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    read = events((tmp_path / "telemetry" / "events-20260105.jsonl").read_bytes().splitlines())
    assert 300 < seconds(read[-1]) - seconds(read[0]) < 1200
    assert max(event.attempt or 0 for event in read) >= 3


def pause(agent: str, at: datetime) -> Directive:
    return Directive(
        id=f"dir-{agent}",
        agent=agent,
        name="paused",
        value=True,
        owner="inc-1",
        execution="exe-1",
        kind="emergency_shutdown",
        reason="errors",
        created_at=at,
        expires_at=at + minutes(60),
    )


def test_the_process_reads_its_directives_from_the_state(tmp_path: Path, start: datetime) -> None:
    with Store(tmp_path / "state") as store:
        store.put(*(pause(name, start) for name in NAMES if name != "Coder"))
    assert run(tmp_path, "--scale=600", "--for-s=240").returncode == 0
    read = events((tmp_path / "telemetry" / "events-20260105.jsonl").read_bytes().splitlines())
    assert {event.agent for event in read} == {"Coder"}


def test_processes_that_share_start_and_origin_share_the_time(tmp_path: Path) -> None:
    origin = f"--origin={time.monotonic() - 100}"
    assert run(tmp_path, "--scale=2", origin, "--for-s=202").returncode == 0
    read = events((tmp_path / "telemetry" / "events-20260105.jsonl").read_bytes().splitlines())
    assert read[0].ts is not None
    assert read[0].ts.startswith("2026-01-05T10:00:0")
    assert 190 < seconds(read[-1]) - seconds(read[0]) < 230  # its own start may take some seconds


def test_the_process_ends_well_when_terminated(tmp_path: Path) -> None:
    process = subprocess.Popen(command(tmp_path, "--scale=30"))
    try:
        deadline = time.monotonic() + 30
        while not list(tmp_path.glob("telemetry/*.jsonl")) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
    finally:
        process.kill()
    assert (tmp_path / "telemetry" / "events-20260105.jsonl").read_bytes().endswith(b"}\n")


def test_an_option_that_cannot_be_used_is_refused_with_what_is_allowed(tmp_path: Path) -> None:
    for option, said in (("--faults=nonsense", "allowed are all, none"), ("--start=2026-01-05", "no time zone")):
        refused = run(tmp_path, option)
        assert refused.returncode == 2
        assert said in refused.stderr
