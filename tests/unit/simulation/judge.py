"""The seven default triggers once more, in a few lines of NumPy that share nothing with the engine.

So that a test of the simulation says what the fleet does, whatever the engine makes of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
from numpy.typing import NDArray

from self_healing.model import Event

Series = tuple[str, str]  # trigger, agent
Floats = NDArray[np.float64]

MINUTE, HOUR = 60.0, 3600.0
_JUDGED = (b'"type":"task_started"', b'"type":"task_finished"', b'"type":"test_run"')
_DECODER = msgspec.json.Decoder(Event)


def judged(lines: Iterable[bytes]) -> list[bytes]:
    """Of `lines` those that the seven triggers look at."""
    return [line for line in lines if line.startswith(_JUDGED, 33)]  # after the time


def seconds(event: Event) -> float:
    assert event.ts is not None
    return datetime.fromisoformat(event.ts).timestamp()


def events(lines: Iterable[bytes]) -> list[Event]:
    return [_DECODER.decode(line) for line in lines]


def begun_after(lines: Iterable[bytes], at: datetime) -> list[bytes]:
    """The judged lines of attempts that began at or after `at`."""
    since, started, kept = at.timestamp(), set(), []
    for line in judged(lines):
        event = _DECODER.decode(line)
        if seconds(event) < since:
            continue
        if event.kind == "task_started":
            started.add(event.task_id)
        if event.task_id in started and (event.started_at or since) >= since:
            kept.append(line)
    return kept


def crossings(lines: Iterable[bytes], since: datetime, until: datetime) -> dict[Series, datetime]:
    """Each series whose condition is met at some moment from `since` to `until`, every 5 s, and when first."""
    by_agent: defaultdict[str, list[Event]] = defaultdict(list)
    for event in events(judged(lines)):
        if event.handoff_id is None:
            by_agent[event.agent or ""].append(event)
    grid = np.arange(since.timestamp(), until.timestamp() + 1, 5.0)
    found: dict[Series, datetime] = {}
    for agent, history in by_agent.items():
        for trigger, met in _conditions(history, grid):
            if met.any():
                found[trigger, agent] = datetime.fromtimestamp(float(grid[met.argmax()]), UTC)
    return found


def _conditions(history: list[Event], grid: Floats) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Per trigger, at which instants of the grid its condition is met for one agent."""
    finished = [event for event in history if event.kind == "task_finished"]
    at = np.array([seconds(event) for event in finished])
    duration = np.array([event.duration_s for event in finished])
    usages = [event.usage for event in finished]
    tokens = np.array([usage.total_tokens for usage in usages if usage])
    cost = np.array([usage.total_usd for usage in usages if usage])
    status = np.array([event.status for event in finished])
    ended, errors = status != "canceled", np.isin(status, ("failed", "timeout"))

    yield "slow_tasks", _running_60s(history, grid) | (_count(at[duration >= 60], grid, 5 * MINUTE) > 0)
    attempts = np.array([event.attempt for event in finished])
    yield "high_retry_rate", _count(at[attempts >= 3], grid, 15 * MINUTE) > 0
    n, ratio = _mean(at[ended], errors[ended].astype(float), grid, 15 * MINUTE)
    yield "high_error_rate", (n >= 10) & (ratio >= 0.2)
    yield "token_usage_spike", _risen(at, tokens, grid, 15 * MINUTE, 4.0)
    n, mean = _mean(at, cost, grid, HOUR)
    yield "cost_efficiency_degradation", (n >= 5) & (mean > 0.5)
    yield "test_failure_spike", _tests_fail([event for event in history if event.kind == "test_run"], grid)
    yield "duration_increase", _risen(at, duration, grid, 30 * MINUTE, 1.5)


def _running_60s(history: list[Event], grid: Floats) -> NDArray[np.bool_]:
    ends = {(event.task_id, event.attempt): seconds(event) for event in history if event.kind == "task_finished"}
    met = np.zeros(len(grid), bool)
    for event in history:
        if event.kind == "task_started":
            slow_from, end = seconds(event) + 60, ends.get((event.task_id, event.attempt), np.inf)
            if slow_from <= end:
                met |= (grid >= slow_from) & (grid <= end)
    return met


def _tests_fail(runs: list[Event], grid: Floats) -> NDArray[np.bool_]:
    at = np.array([seconds(run) for run in runs])
    failed = _sum(at, np.array([run.failed for run in runs], float), grid, 30 * MINUTE)
    tests = failed + _sum(at, np.array([run.passed for run in runs], float), grid, 30 * MINUTE)
    return (tests >= 20) & (failed > 0.05 * tests)


def _risen(at: Floats, values: Floats, grid: Floats, window: float, ratio: float) -> NDArray[np.bool_]:
    n, mean = _mean(at, values, grid, window)
    before, baseline = _mean(at, values, grid - window, 24 * HOUR)
    return (n >= 5) & (before >= 20) & (mean >= ratio * baseline)


def _mean(at: Floats, values: Floats, grid: Floats, window: float) -> tuple[Floats, Floats]:
    n = _count(at, grid, window)
    return n, _sum(at, values, grid, window) / np.maximum(n, 1)


def _count(at: Floats, grid: Floats, window: float) -> Floats:
    return _sum(at, np.ones(len(at)), grid, window)


def _sum(at: Floats, values: Floats, grid: Floats, window: float) -> Floats:
    sums = np.concatenate([[0.0], np.cumsum(values)])
    total: Floats = sums[np.searchsorted(at, grid, "right")] - sums[np.searchsorted(at, grid - window, "left")]
    return total


def minutes(number: float) -> timedelta:
    return timedelta(minutes=number)
