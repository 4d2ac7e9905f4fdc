"""What a decision costs, and a hundred actions under way at once."""

from __future__ import annotations

import asyncio
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from benchmarks.figure import Figure
from benchmarks.storm import line
from self_healing.clock import SystemClock
from self_healing.config import Settings
from self_healing.constitution.cases import fine
from self_healing.constitution.gate import Gate
from self_healing.model import Proposal
from self_healing.service import Service
from self_healing.spec import Limits
from self_healing.testing import RecordingChannel

DECISIONS = 3000
AT_ONCE = 100
LIFTED: dict[str, Any] = {
    "actions_per_minute": 100_000,
    "actions_per_minute_unwell": 100_000,
    "concurrent_actions": 1000,
    "blast_radius_percent": 100,
    "fleet_stop_percent": 100,
}


def measure() -> list[Figure]:
    """Decisions with facts that none had before, and actions that hang."""
    return [_decisions(), asyncio.run(_at_once())]


def _decisions() -> Figure:
    gate, facts, at = Gate(), fine(Limits()), datetime(2026, 1, 5, tzinfo=UTC)
    proposal = Proposal(
        id="pro-1",
        incident="inc-1",
        trigger="slow_tasks",
        group=(("agent", "Coder"),),
        action="analyze_slow_tasks",
        action_type="agent_handoff",
        step=0,
        attempt=1,
        target="Coder",
        target_agent="Auditor",
        settings={},
        spec_version="1",
        plan_version="1",
    )
    took = []
    for number in range(DECISIONS):
        other = msgspec.structs.replace(facts, fleet_size=20 + number)  # no answer is remembered for these
        began = time.thread_time()  # what else runs on the machine is no part of it
        gate.decide(proposal, other, at)
        took.append(1000 * (time.thread_time() - began))
    p50, p99 = np.percentile(took, [50, 99])
    return Figure("a decision, p99", f"{p99:.2f} ms CPU", f"its median: {p50:.2f} ms", "<= 5 ms", bool(p99 <= 5.0))


async def _at_once() -> Figure:
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        (place / "telemetry").mkdir()
        settings = Settings.model_validate(
            {
                "telemetry": {"dir": place / "telemetry"},
                "storage": {"state_dir": place / "state", "logs_dir": place / "logs"},
                "constitution": {"limits": LIFTED},
                "server": {"otlp_http_port": False, "otlp_grpc_port": False, "port": False},
            }
        )
        channel, stop = RecordingChannel(hangs=True), asyncio.Event()
        service = Service(settings, clock=SystemClock(), stop=stop, channel=channel)
        running = asyncio.ensure_future(service.run())
        await asyncio.sleep(3)
        missed = service.missed_ticks
        for number in range(AT_ONCE):
            at = datetime.now(UTC)
            with (place / "telemetry" / f"events-{at:%Y%m%d}.jsonl").open("a") as file:
                file.write(line(f"a{number}", at))
            await asyncio.sleep(0.1)
        await asyncio.sleep(5)
        calls, missed = channel.calls, service.missed_ticks - missed
        channel.release()
        stop.set()
        await running
        await service.close()
    met = calls >= AT_ONCE and missed == 0
    return Figure(f"{AT_ONCE} actions under way at once", f"{calls}", f"{missed} ticks missed", "no tick missed", met)
