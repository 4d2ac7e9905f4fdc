"""Killed at any named point, any time it is passed, and started again: all ends as if nobody had killed anything."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from self_healing.actions.effect import CRASH_POINTS

ROOT = Path(__file__).parents[2]
KILLED = 9
POINTS = ("cycle.written", "cycle.committed", *CRASH_POINTS)
LAST_S = 760

STORY = """
import json, os, sys
from collections import Counter
from datetime import timedelta
from pathlib import Path
from self_healing.clock import FakeClock
from self_healing.model import *
from self_healing.orchestrator import SelfHealingOrchestrator
from tests.crash.test_cycle_crash import AT, settings
from tests.crash.test_same_end import INSTANTS_S, KILLED

def turn(directory, second, hook):
    at = AT + timedelta(seconds=second)
    with SelfHealingOrchestrator.open(settings(directory), clock=FakeClock(at), crash=hook) as loop:
        loop.check(at)

def killed(directory, second, point, number):
    # In a process of its own, which is really killed; whether it was.
    child = os.fork()
    if child == 0:
        left = [number]
        def hook(passed):
            if passed == point:
                left[0] -= 1
                if left[0] == 0:
                    os._exit(KILLED)
        try:
            turn(directory, second, hook)
        except BaseException:
            os._exit(1)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, KILLED), status
    return status == KILLED

def end(directory):
    from self_healing.orchestrator import SelfHealingOrchestrator
    loop = SelfHealingOrchestrator.open(settings(directory), clock=FakeClock(AT), read_only=True)
    store, names = loop.store, {}
    for incident in store.select(Incident):
        names[incident.id] = f"{incident.trigger}/{incident.group[0][1]}"
    executions = store.select(Execution)
    names |= {e.id: f"{names[e.incident]}/{e.action}/{e.step}/{e.attempt}/{e.target}" for e in executions}
    there = [json.loads(p.read_bytes()) for p in sorted((directory / "logs" / "handoffs").glob("*.json"))]
    told = {
        "incidents": sorted(
            [names[i.id], i.state, i.close_reason, i.attempts, i.step, i.pauses] for i in store.select(Incident)
        ),
        "executions": sorted([names[e.id], e.status, e.settings, str(e.effect_at)] for e in executions),
        "keys": len({e.key for e in executions if e.key}) == sum(e.key is not None for e in executions),
        "directives": sorted(
            [names[d.execution], d.name, d.value, str(d.created_at), str(d.undone_at), d.undone_reason]
            for d in store.select(Directive)
        ),
        "handoffs": sorted(
            [names.get(h.execution, h.execution), h.target_agent, h.status] for h in store.select(Handoff)
        ),
        "delivered": sorted([names.get(h["execution"], h["execution"]), h["target_agent"]] for h in there),
        "accounting": str(loop.telemetry.accounting),
        "series": sorted([v.trigger, str(v.group), v.state.name, v.value] for v in loop.verdicts()),
        "transitions": [[t.verdict.trigger, str(t.verdict.at), t.after.name] for t in transitions(store)],
        "violations": loop.violations,
        "audit": loop.audit.verify().ok,
    }
    loop.close()
    return json.loads(json.dumps(told))

def transitions(store):
    import msgspec, sqlalchemy as sa
    from self_healing.storage import schema
    rows = store.rows(sa.select(schema.transitions.c.record).order_by(schema.transitions.c.seq))
    return [msgspec.json.decode(row[0], type=Transition) for row in rows]

def run(directory, point=None):
    from tests.crash.test_same_end import tell
    directory.mkdir()
    (directory / "telemetry").mkdir()
    kills = 0
    for second in INSTANTS_S:
        tell(directory, second)
        number = 1
        while point is not None and killed(directory, second, point, number):
            kills += 1
            number += 1
        turn(directory, second, lambda _point: None)
    return end(directory), kills

print(json.dumps(run(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None)))
"""

INSTANTS_S = (0, 10, 20, 330, 345, 400, LAST_S)
"""When somebody checks: trouble, its repair, a probation, and what comes of it."""


def handed_for_all(directory: Path) -> list[str]:
    """The handoffs about several series that share a cause."""
    there = [json.loads(path.read_bytes()) for path in (directory / "logs" / "handoffs").glob("*.json")]
    return [each["id"] for each in there if "incidents_beneath" in each["context"]]


def tell(directory: Path, second: int) -> None:
    """Write what the fleet says until then; nothing twice."""
    from datetime import timedelta

    from tests.crash.test_cycle_crash import AT

    def task(id: str, ended_s: float, **fields: Any) -> str:
        at = AT + timedelta(seconds=ended_s)
        event = {"id": id, "agent": "Coder", "attempt": 1, "status": "success", "duration_s": 2.0, **fields}
        started = at.timestamp() - float(event["duration_s"])
        return json.dumps({"ts": at.isoformat(), "type": "task_finished", "started_at": started, **event}) + "\n"

    said = {
        0: [task(f"well{n}", -50 + n, agent=f"A{n}") for n in range(12)],
        10: [task(f"bad{n}", 5, status="failed") for n in range(10)],
        20: [
            task("again", 15, agent="Other", attempt=3),
            task("slow", 16, agent="Third", duration_s=70.0),
            *(task(f"slow{n}", 16, agent=f"M{n}", model="m-2", duration_s=70.0) for n in range(4)),
        ],
        330: [task("repair", 325, agent="ChiefArchitectAgent", handoff_id=each) for each in handed_for_all(directory)],
        345: [task("probe", 340, status="failed")],
        400: [
            *(task(f"fine{n}", 360 + n, agent="Other") for n in range(4)),
            *(task(f"fine{n}-{m}", 360 + n, agent=f"M{m}", model="m-2") for n in range(4) for m in range(4)),
        ],
    }
    with (directory / "telemetry" / "events-20260105.jsonl").open("a") as file:
        file.writelines(said.get(second, []))


def story(directory: Path, *point: str) -> tuple[dict[str, Any], int]:
    command = [sys.executable, "-W", "ignore", "-c", STORY, str(directory), *point]
    ran = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    told, kills = json.loads(ran.stdout)
    return told, kills


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Where the story ends when nobody kills anything."""
    told, kills = story(tmp_path_factory.mktemp("undisturbed") / "fleet")
    assert kills == 0
    return told


def test_the_story_has_directives_set_again_and_handoffs(undisturbed: dict[str, Any]) -> None:
    assert undisturbed["audit"]
    assert undisturbed["keys"]
    assert {name for _, name, *_ in undisturbed["directives"]} >= {"paused", "max_concurrency", "quality_gate"}
    assert len(undisturbed["delivered"]) >= 3


def test_the_story_has_a_parent_that_is_healed_with_what_is_beneath_it(undisturbed: dict[str, Any]) -> None:
    ended = {name: (state, reason) for name, state, reason, *_ in undisturbed["incidents"]}
    assert ended["slow_tasks/model=m-2"] == ("closed", "healed")
    assert [ended[f"slow_tasks/M{n}"] for n in range(4)] == [("closed", "healed")] * 4


@pytest.mark.parametrize("point", POINTS)
def test_killed_each_time_it_passes_a_point_it_ends_as_if_undisturbed(
    tmp_path: Path, undisturbed: dict[str, Any], point: str
) -> None:
    told, kills = story(tmp_path / "fleet", point)
    assert kills >= 2
    assert told == undisturbed
