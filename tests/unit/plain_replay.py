"""The rules of the default triggers a second time, in plain Python, to check the engine by.

It shares no code with the engine. It knows one group, ``for`` of 0 and ``no_data`` keep, which is what the recorded
runs need: samples are a sorted list, a window is a slice of it, and a series is a loop over the seconds at which
something can change.
"""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal, NamedTuple

SECOND = 1_000_000  # everything here is in microseconds
PANE = 10 * SECOND
QUARTER = 900 * SECOND
DAY = 86_400 * SECOND
STAYS = 60 * SECOND  # recovering

Look = Literal["bad", "good", "between", "silent"]


class Found(NamedTuple):
    """One incident: when it opened and closed, microseconds; None when it was still open at the end."""

    trigger: str
    opened: int
    closed: int | None


class Samples:
    """What one signal measured: times, and running sums of counts and amounts."""

    def __init__(self, samples: list[tuple[int, int, Fraction]]) -> None:
        samples.sort()
        self.times = [at for at, _, _ in samples]
        self.amounts = [amount for _, _, amount in samples]
        self._counts = [0, *accumulate(count for _, count, _ in samples)]
        self._sums = [Fraction(0), *accumulate(self.amounts)]

    def between(self, first: int, last: int) -> tuple[int, Fraction]:
        """Count and sum of the samples from `first` to `last`, both included."""
        i, j = bisect_left(self.times, first), bisect_right(self.times, last)
        return (self._counts[j] - self._counts[i], self._sums[j] - self._sums[i]) if i < j else (0, Fraction(0))

    def largest(self, first: int, last: int) -> Fraction | None:
        """The largest of the samples from `first` to `last`."""
        i, j = bisect_left(self.times, first), bisect_right(self.times, last)
        return max(self.amounts[i:j], default=None)


@dataclass
class Rule:
    """One series of one trigger, as it goes through time.

    Args:
        trigger: its name.
        samples: of its signal.
        window: its length.
        least: samples that it needs.
        bad, good: what a mean must be.
        strict: whether exactly `bad` is not bad.
        ratio: for a baseline, in place of `bad` and `good`.
        runs: for a maximum: seen from, started and ended of each attempt.
    """

    trigger: str
    samples: Samples
    window: int
    least: int = 1
    bad: Fraction = Fraction(0)
    good: Fraction = Fraction(0)
    strict: bool = False
    ratio: Fraction | None = None
    runs: list[tuple[int, int, int]] = field(default_factory=list)
    restarted: int = 0
    frozen: tuple[int, Fraction] | None = None
    incidents: list[Found] = field(default_factory=list)

    def replay(self, begins: int, ends: int) -> list[Found]:
        """Its incidents, from the second `begins` to the second `ends`."""
        moments = self._moments()
        state: Literal["inactive", "firing", "recovering"] = "inactive"
        since = t = begins - SECOND
        enough_at, opened = begins, None
        looked: Look = "silent"
        while True:
            place = bisect_right(moments, t)
            due = [moments[place]] if place < len(moments) else []
            if state == "recovering":
                due += [since + STAYS]
            if opened is not None:
                due += [max(enough_at, opened) + DAY]
            due = [moment for moment in due if moment > t]
            if not due or min(due) > ends:
                return self.incidents + ([] if opened is None else [Found(self.trigger, opened, None)])
            t = min(due)
            look = self._look(t)
            if look != "silent":
                enough_at = t
            elif looked != "silent":
                enough_at = t - SECOND  # nothing changed until then
            looked = look
            over = state == "recovering" and t - since >= STAYS and look in ("good", "between")
            if look == "bad" and state != "firing":
                state, since = "firing", t
                if opened is None:
                    opened = t
                    self.frozen = self._baseline(t) if self.ratio else None
            elif look == "good" and state == "firing":
                state, since = "recovering", t
            if opened is not None and (over or t - max(enough_at, opened) >= DAY):
                self.incidents.append(Found(self.trigger, opened, t))
                self.restarted, self.frozen, opened = t, None, None
                state, since = "inactive", t

    def _moments(self) -> list[int]:
        """The seconds at which a sample comes, leaves the window or leaves the baseline, or an attempt gets too old."""
        moments = set()
        for at in self.samples.times:
            moments.add(up(at))
            moments.add((at // PANE + 1) * PANE + self.window)
            moments.add((at // QUARTER + 1) * QUARTER + self.window + DAY)
        moments.update(up(started + int(self.bad)) for _, started, _ in self.runs)
        return sorted(moments)

    def _look(self, t: int) -> Look:
        first = (t - self.window) // PANE * PANE
        if first // PANE <= self.restarted // PANE:
            first = self.restarted + 1
        count, amount = self.samples.between(first, t)
        if self.runs:
            ages = [t - start for seen, start, end in self.runs if seen <= t < end and start > self.restarted]
            largest = max([Fraction(age) for age in ages] + [self.samples.largest(first, t) or Fraction(-1)])
            return "silent" if largest < 0 else "bad" if largest >= self.bad else "good"
        if count < self.least:
            return "silent"
        bad, good = self.bad, self.good
        if self.ratio is not None:
            before, total = self.frozen or self._baseline(t)
            if before < 20:
                return "silent"
            bad = good = Fraction(round(total / before * self.ratio))
        mean = amount / count
        if mean > bad or (mean == bad and not self.strict):
            return "bad"
        return "between" if mean > good or (mean == good and not self.strict) else "good"

    def _baseline(self, t: int) -> tuple[int, Fraction]:
        """Count and sum of the day before the window, without the quarter hours that its own incidents touched."""
        first = (t - self.window - DAY) // QUARTER * QUARTER
        last = (t - self.window) // PANE * PANE - 1
        count, amount = self.samples.between(first, last)
        touched = {
            quarter
            for incident in self.incidents
            if incident.closed is not None
            for quarter in range(incident.opened // QUARTER, incident.closed // QUARTER + 1)
        }
        for quarter in touched:
            own = self.samples.between(max(quarter * QUARTER, first), min((quarter + 1) * QUARTER - 1, last))
            count, amount = count - own[0], amount - own[1]
        return count, amount


def up(at: int) -> int:
    """The first whole second from `at` on."""
    return -(-at // SECOND) * SECOND


def micro(value: float) -> Fraction:
    return Fraction(round(value * SECOND))


def moment(event: dict[str, Any]) -> int:
    return round(datetime.fromisoformat(event["ts"]).timestamp() * SECOND)


def replay(file: Path) -> list[Found]:
    """The incidents of the five default triggers that can fire on a recorded run of one agent, as they opened."""
    events = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    finished = [event for event in events if event["type"] == "task_finished"]
    tests = [event for event in events if event["type"] == "test_run" and event["passed"] + event["failed"]]
    used = [event for event in finished if (event.get("usage") or {}).get("total_tokens") is not None]
    ends = {event["id"]: moment(event) for event in finished}
    runs = [
        (moment(event), round(event["started_at"] * SECOND), ends[event["id"]])
        for event in events
        if event["type"] == "task_started"
    ]
    durations = Samples([(moment(event), 1, micro(event["duration_s"])) for event in finished])
    errors = Samples([(moment(e), 1, Fraction(e["status"] in ("failed", "timeout"))) for e in finished])
    failures = Samples([(moment(e), e["passed"] + e["failed"], Fraction(e["failed"])) for e in tests])
    tokens = Samples([(moment(event), 1, micro(event["usage"]["total_tokens"])) for event in used])
    minute = 60 * SECOND
    rules = (
        Rule("slow_tasks", durations, 5 * minute, bad=Fraction(minute), runs=runs),
        Rule("high_error_rate", errors, 15 * minute, 10, Fraction(20, 100), Fraction(10, 100)),
        Rule("test_failure_spike", failures, 30 * minute, 20, Fraction(5, 100), Fraction(25, 1000), strict=True),
        Rule("token_usage_spike", tokens, 15 * minute, 5, ratio=Fraction(4)),
        Rule("duration_increase", durations, 30 * minute, 5, ratio=Fraction(3, 2)),
    )
    times = [moment(event) for event in events]
    found = [incident for rule in rules for incident in rule.replay(min(times) // SECOND * SECOND, up(max(times)))]
    return sorted(found, key=lambda incident: incident.opened)
