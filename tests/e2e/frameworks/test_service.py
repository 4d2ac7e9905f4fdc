"""Real frameworks with fake models send to a running service; what it folds is what they did, and it acts on it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from self_healing.clock import FakeClock
from self_healing.measures import MICRO, Measure
from self_healing.orchestrator import SelfHealingOrchestrator
from self_healing.status import evaluated_at
from tests.accounts import held
from tests.e2e.frameworks.program import SERVICE
from tests.e2e.test_service import running, settings

ROOT = Path(__file__).parents[3]
TIMES = 10
"""How often each fleet does its work: high_error_rate wants ten tasks of an agent."""

Tell = Callable[..., Awaitable[dict[str, Any]]]
Folded = dict[str, tuple[int, float]]
"""Of each agent, how many samples there are, and their sum."""


def let_work(fleet: str, address: str) -> None:
    """Run a fleet in a process of its own; it exports to the service."""
    command = [sys.executable, "-m", "tests.e2e.frameworks.program", fleet, f"{address}/v1/traces", str(TIMES)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert ran.returncode == 0, ran.stderr


async def fired(tell: Tell) -> list[tuple[str, str]]:
    """The triggers that opened incidents, and for which agent, once there is one."""
    for _ in range(200):
        found = (await tell("incidents"))["incidents"]
        if found:
            break
        await asyncio.sleep(0.05)
    return [(each["trigger"], each["group"]["agent"]) for each in found]


def run(fleet: str, directory: Path) -> list[tuple[str, str]]:
    """Let a fleet work beside a service; what fired."""
    (directory / "telemetry").mkdir()

    async def story() -> list[tuple[str, str]]:
        addresses: dict[str, str] = {}
        server = {"otlp_http_port": 0, "otlp_grpc_port": False, "port": False}
        async with running(directory, at=datetime.now(UTC), server=server, addresses=addresses) as tell:
            await asyncio.to_thread(let_work, fleet, addresses["otlp_http_port"])
            found = await fired(tell)
            counts = held((await tell("status"))["telemetry"])
            assert counts["received"] == counts["aggregated"] > 0
            return found

    return asyncio.run(story())


def folded(directory: Path, trigger: str) -> Folded:
    """What the default trigger of that name sees in its window, as the state has it."""
    at = evaluated_at(settings(directory))
    assert at is not None
    with SelfHealingOrchestrator.open(settings(directory), clock=FakeClock(at), read_only=True) as loop:
        spec = loop.spec.trigger(trigger)
        measure = Measure.of(spec)
        totals = loop.telemetry.window(measure, spec.window * MICRO, loop.evaluated_us)
        agents = [dict(group)["agent"] for group in loop.telemetry.groups(measure.group_by)]
        return {
            agent: (int(totals.count[place]), int(totals.amount[place]) / MICRO)
            for place, agent in enumerate(agents)
            if totals.count[place]
        }


EXPECTED: dict[str, tuple[str, dict[str, Folded]]] = {
    "pydantic_ai_fleet": (
        "broken",
        {
            "high_error_rate": {"support": (10, 0), "broken": (20, 20)},
            "high_retry_rate": {"support": (10, 10), "broken": (20, 20)},
            "token_usage_spike": {"support": (10, 33_000)},
            "cost_efficiency_degradation": {"support": (10, 0.105)},
        },
    ),
    "openai_agents_fleet": (
        "Broken",
        {
            "high_error_rate": {"Triage": (10, 0), "Broken": (10, 10)},
            "high_retry_rate": {"Triage": (10, 10), "Broken": (10, 10)},
            "token_usage_spike": {"Triage": (10, 2_400)},
            "cost_efficiency_degradation": {"Triage": (10, 0.009)},
        },
    ),
    "litellm_fleet": (
        SERVICE,
        {
            "high_error_rate": {SERVICE: (20, 10)},
            "high_retry_rate": {},  # it names no attempts
            "token_usage_spike": {SERVICE: (10, 300)},
            "cost_efficiency_degradation": {SERVICE: (10, 0.00014)},  # ten times 13.5 millionths, each rounded
        },
    ),
}
"""Of each fleet, the agent that fails, and what triggers see: tasks and errors, attempts, tokens, dollars."""


@pytest.mark.parametrize("fleet", EXPECTED)
def test_a_service_folds_what_a_framework_did_and_hears_that_an_agent_fails(fleet: str, tmp_path: Path) -> None:
    failing, seen = EXPECTED[fleet]
    assert run(fleet, tmp_path) == [("high_error_rate", failing)]
    assert {trigger: folded(tmp_path, trigger) for trigger in seen} == seen
