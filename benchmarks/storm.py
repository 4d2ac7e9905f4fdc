"""Ten thousand incidents in ten seconds: what a turn costs, and whether a running service misses a tick."""

from __future__ import annotations

import json
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.figure import Figure
from benchmarks.listening import cpu_s, listening
from self_healing.model import Execution, Incident
from self_healing.spec import Limits
from self_healing.storage.store import Store
from self_healing.testing import Scenario

STORM, STORM_S = 10_000, 10
AFTER_S = 10
"""How long the service is let go on: all that waits is looked at anew meanwhile."""


def measure() -> list[Figure]:
    """On a clock that is told the time, for what a turn costs; and by the machine's clock."""
    return [_told(), _running()]


def line(agent: str, at: datetime) -> str:
    """An attempt of `agent` that took longer than it should."""
    event = {"ts": at.isoformat(), "type": "task_finished", "id": f"t-{agent}", "agent": agent, "attempt": 1}
    return json.dumps({**event, "status": "success", "duration_s": 70.0}) + "\n"


def _accounted(store: Store, limit: int) -> tuple[str, bool]:
    """What became of the storm, and whether all of it is there, once each, within the limit."""
    incidents = Counter(each.group for each in store.select(Incident) if not each.is_parent)
    keys = [each.key for each in store.select(Execution) if each.key is not None]
    once = set(incidents.values()) == {1} and len(set(keys)) == len(keys)
    met = len(incidents) == STORM and once and len(keys) <= limit
    return f"{len(incidents)} accounted for, {len(keys)} actions", met


def _second(file: Path, second: int, at: datetime) -> None:
    with file.open("a") as lines:
        lines.writelines(line(f"a{second}-{number}", at) for number in range(STORM // STORM_S))


def _told() -> Figure:
    with tempfile.TemporaryDirectory() as directory, Scenario(Path(directory)) as fleet:
        began, longest = time.process_time(), 0.0
        for second in range(2 * STORM_S):
            fleet.at(second)
            if second < STORM_S:
                _second(fleet.telemetry_dir / "events-storm.jsonl", second, fleet.clock.now())
            looked = time.process_time()
            fleet.handoffs("Operator")
            longest = max(longest, time.process_time() - looked)
        each_ms = 1000 * (time.process_time() - began) / STORM
        limit = fleet.loop.spec.limits.actions_per_minute
        told, met = _accounted(fleet.loop.store, limit)
    return Figure(
        f"{STORM} incidents in {STORM_S} s",
        f"{told}, {each_ms:.1f} ms CPU each",
        f"longest turn {longest:.2f} s CPU",
        f"<= {limit} actions, no turn of 1 s",
        met and longest < 1.0,
    )


def _running() -> Figure:
    with tempfile.TemporaryDirectory() as directory:
        here = Path(directory)
        with listening(here) as service:
            time.sleep(3)
            began, used_s = time.monotonic(), cpu_s(service.pid)
            for second in range(STORM_S):
                time.sleep(max(began + second - time.monotonic(), 0.0))
                _second(here / "logs" / "telemetry" / "events-storm.jsonl", second, datetime.now(UTC))
            service.folded(STORM)
            took_s = time.monotonic() - began
            time.sleep(max(began + STORM_S + AFTER_S - time.monotonic(), 0.0))
            used_s, ran_s = cpu_s(service.pid) - used_s, time.monotonic() - began
        # Less than the minute of the limit has passed, so that no more than that many may have begun.
        limit = Limits().actions_per_minute
        with Store(here / ".self-healing", read_only=True) as store:
            told, met = _accounted(store, limit)
        missed = _missed(here / "logs" / "self_healing")
    return Figure(
        f"the same, by a service that runs: {STORM} incidents in {STORM_S} s",
        f"{missed} ticks missed; {told}",
        f"folded within {took_s:.1f} s; {used_s / ran_s:.0%} of a core over {ran_s:.0f} s",
        f"no tick missed, <= {limit} actions",
        met and missed == 0,
    )


def _missed(logs: Path) -> int:
    """How many ticks the service says, as it stops, that it missed since its start."""
    lines = [json.loads(line) for log in sorted(logs.glob("orchestrator-*.log")) for line in log.open()]
    stopped = [each for each in lines if each["event"] == "stopped"]
    missed: int = stopped[-1]["missed_ticks"]
    return missed
