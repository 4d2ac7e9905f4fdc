"""Healthy telemetry in bulk: a day for a fleet to look back on, or as much as a measurement wants.

The work is drawn as in :class:`self_healing.simulation.fleet.Fleet`, so that means agree; only the agents don't wait
for each other, and nothing is simulated step by step.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count, islice
from pathlib import Path

from self_healing.clock import to_us
from self_healing.simulation import lines
from self_healing.simulation.agents import profiles
from self_healing.simulation.work import Attempt, Worker

Timed = tuple[int, bytes]
"""When, in milliseconds since 1970, and the line."""

SORTED_AT_ONCE = 50_000
RETRY_AFTER_MS = 500
LINES_PER_TASK = 4.2  # with heartbeats
GENERATED_FROM = datetime(2026, 1, 5, 10, tzinfo=UTC)


def backfill(
    directory: Path, until: datetime, hours: float = 24, rate: float = 1.0, *, agents: int = 24, seed: int = 7
) -> int:
    """Write healthy history into `directory`, a file a day, with every task ended by `until`.

    Args:
        directory: made when missing.
        until: aware; where the history ends and the fleet's own telemetry may begin.
        hours: how far it goes back.
        rate: tasks a minute of each agent.
        agents: how many product agents.
        seed: of everything that is random.

    Returns:
        How many lines.

    Raises:
        FileExistsError: there is telemetry of one of those days already.
        OSError: it could not be written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    start_ms = to_us(until - timedelta(hours=hours)) // 1000
    gap_ms = 60_000 / (rate * agents)
    written = 0
    history = _history(start_ms, to_us(until) // 1000, gap_ms, agents, seed, heartbeats=False)
    for name, group in lines.by_file(history):
        with (directory / name).open("xb") as file:
            file.write(b"".join(group))
        written += len(group)
    return written


def generate(
    events: int, agents: int = 24, seed: int = 7, *, start: datetime = GENERATED_FROM, per_second: float = 1000.0
) -> Iterator[bytes]:
    """So many lines of a healthy fleet, in the order of their time, with heartbeats; for measurements.

    Args:
        events: how many.
        agents: how many product agents they are spread over.
        seed: of everything that is random.
        start: aware; when the first task begins.
        per_second: how many there are about in a second of the events' own time.
    """
    gap_ms = 1000 * LINES_PER_TASK / per_second
    return islice(_history(to_us(start) // 1000, None, gap_ms, agents, seed, heartbeats=True), events)


def _history(
    start_ms: int, end_ms: int | None, gap_ms: float, agents: int, seed: int, *, heartbeats: bool
) -> Iterator[bytes]:
    """Lines in the order of their time. A task begins every `gap_ms`, of one agent after the other."""
    workers = [Worker(profile, seed) for profile in profiles(agents)]
    pending: list[Timed] = []
    for number in count():
        worker = workers[number % agents]
        begins_ms = start_ms + int(gap_ms * (number + worker.rng.random()))
        if end_ms is not None and begins_ms >= end_ms:
            break
        task = _task(worker, f"h{start_ms:x}-{number}", begins_ms, heartbeats)
        if end_ms is None or task[-1][0] <= end_ms:
            pending += task
        if len(pending) >= SORTED_AT_ONCE:
            # No later task begins before this one's turn, so what lies before that is complete.
            settled_ms = start_ms + int(gap_ms * number)
            pending.sort()
            yield from (line for at_ms, line in pending if at_ms < settled_ms)
            pending = [timed for timed in pending if timed[0] >= settled_ms]
    yield from (line for _, line in sorted(pending))


def _task(worker: Worker, task: str, begins_ms: int, heartbeats: bool) -> list[Timed]:
    """One task from its first attempt to its last line."""
    work = worker.attempt()
    timed = _attempt(worker, task, 1, begins_ms, work, heartbeats)
    if work.status == "failed":
        again_ms = begins_ms + work.duration_ms + RETRY_AFTER_MS
        timed += _attempt(worker, task, 2, again_ms, worker.attempt(), heartbeats)
    return timed


def _attempt(worker: Worker, task: str, attempt: int, begins_ms: int, work: Attempt, heartbeats: bool) -> list[Timed]:
    name, ends_ms = worker.name, begins_ms + work.duration_ms
    timed = [(begins_ms, lines.task_started(begins_ms, task, name, attempt))]
    if heartbeats:
        beat_ms = begins_ms + 5_000
        timed.append((beat_ms, lines.heartbeat(beat_ms, task, name, begins_ms, attempt)))
    if worker.rng.random() < 0.15:
        timed.append((ends_ms - 1, lines.llm_call(ends_ms - 1, task, name, work)))
    if work.status == "success":
        timed.append((ends_ms - 1, lines.test_run(ends_ms - 1, task, name, work)))
    timed.append((ends_ms, lines.task_finished(ends_ms, task, name, begins_ms, work, attempt)))
    return timed
