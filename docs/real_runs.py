"""Write the tables of ``docs/explanation/real-runs.md``: ``TEST_DATA_DIR=... python docs/real_runs.py``.

What fired is what a backtest with the default triggers says; what was seen then is counted here from the lines of the
files themselves. Only figures go into the page, nothing of the files.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from self_healing.backtest_report import backtest
from self_healing.config import Settings, load_spec

PAGE = Path(__file__).parent / "explanation" / "real-runs.md"
PANE_S = 10
QUARTER_S = 900
DAY_S = 86_400
PLACES = (0, 10, 20, 40, 80)
"""Where the parts of a benchmark run begin and end, by the number of the attempt."""

WINDOWS_S = {"high_error_rate": 900, "test_failure_spike": 1800, "token_usage_spike": 900, "duration_increase": 1800}

Event = dict[str, Any]
Row = tuple[object, ...]


class Span(NamedTuple):
    """From when to when an incident was, in seconds since 1970; closed is None when it was still open at the end."""

    opened: float
    closed: float | None


class Run:
    """One file: its lines, and what the default triggers say of them.

    Args:
        file: native JSON lines.
    """

    def __init__(self, file: Path) -> None:
        self.name = file.stem
        self.report = backtest(load_spec(Settings()), [file])
        self.events: list[Event] = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        for event in self.events:
            event["at"] = seconds(event["ts"])
        self.events.sort(key=lambda event: float(event["at"]))
        self.began: float = self.events[0]["at"]
        self.ended: float = self.events[-1]["at"]

    def of(self, kind: str, first: float = 0.0, last: float = float("inf")) -> list[Event]:
        """The events of a kind between two times, both included."""
        return [event for event in self.events if event["type"] == kind and first <= event["at"] <= last]

    @property
    def finished(self) -> list[Event]:
        return self.of("task_finished")

    def with_status(self, status: str) -> int:
        return sum(event["status"] == status for event in self.finished)

    def fired(self, trigger: str) -> int:
        """How many incidents of a trigger there were."""
        return sum(incident["trigger"] == trigger for incident in self.report["incidents"])

    def overview(self) -> Row:
        """The file in figures, for the first table."""
        tests = self.of("test_run")
        failed, passed = sum(event["failed"] for event in tests), sum(event["passed"] for event in tests)
        durations = [event["duration_s"] for event in self.finished]
        used = [event for event in self.finished if event.get("usage")]
        return (
            f"`{self.name}`",
            len(self.events),
            hours(self.ended - self.began),
            f"{min(durations):.0f} s",
            f"{sorted(durations)[len(durations) // 2]:.0f} s",
            f"{max(durations):.0f} s",
            percent(self.with_status("timeout"), len(self.finished)),
            percent(self.with_status("failed"), len(self.finished)),
            percent(failed, failed + passed),
            len(used),
        )

    def lengths(self) -> Row:
        """How long attempts took on average by the place at which they started within their benchmark run."""
        took = {event["id"]: event["duration_s"] for event in self.finished}
        started: dict[str, list[float]] = {}
        for event in self.of("task_started"):
            started.setdefault(event["run_id"], []).append(took[event["id"]])
        parts = [[length for run in started.values() for length in run[i:j]] for i, j in pairwise(PLACES)]
        return (f"`{self.name}`", *(f"{mean(part):.0f} s" for part in parts))

    # -- incidents

    def incidents(self) -> Iterator[Row]:
        """A line an incident, in the order of their opening."""
        past: dict[str, list[Span]] = {}
        for incident in self.report["incidents"]:
            trigger = incident["trigger"]
            span = Span(seconds(incident["opened_at"]), incident["closed_at"] and seconds(incident["closed_at"]))
            earlier = past.setdefault(trigger, [])
            end = span.closed or self.ended
            yield (
                clock(span.opened - self.began),
                f"`{trigger}`",
                self.seen(trigger, span.opened, span.opened, earlier),
                clock(end - span.opened),
                clock(self.silence(trigger, span.opened, end)),
                self.ending(trigger, span, earlier),
            )
            earlier.append(span)

    def seen(self, trigger: str, at: float, opened: float, earlier: Sequence[Span]) -> str:
        """What the trigger's window held at `at`, counted from the lines.

        Args:
            opened: when the incident opened; its baseline is the one of then.
            earlier: the series' earlier incidents: the window began anew with the last one's close, and the baseline
                leaves out their time.
        """
        if trigger == "slow_tasks":
            return self.running(at)
        first = (at - WINDOWS_S[trigger]) // PANE_S * PANE_S
        if earlier and earlier[-1].closed:
            first = max(first, earlier[-1].closed + 1e-6)
        if trigger == "test_failure_spike":
            tests = self.of("test_run", first, at)
            failed, passed = sum(event["failed"] for event in tests), sum(event["passed"] for event in tests)
            return f"{failed} of {failed + passed} tests failed: {percent(failed, failed + passed)}"
        ended = self.of("task_finished", first, at)
        if trigger == "high_error_rate":
            bad = sum(event["status"] in ("failed", "timeout") for event in ended)
            return f"{bad} of {len(ended)} attempts failed or timed out: {percent(bad, len(ended))}"
        values = self.values(trigger, first, at)
        before = self.before(trigger, opened, earlier)
        unit = "tokens" if trigger == "token_usage_spike" else "s"
        now, usual = mean(values), mean(before)
        return f"{now:,.0f} {unit} over {len(values)}, {now / usual:.2f} times the {usual:,.0f} over {len(before)}"

    def values(self, trigger: str, first: float, last: float) -> list[float]:
        """The samples of a trigger on means between two times, both included."""
        ended = self.of("task_finished", first, last)
        if trigger == "token_usage_spike":
            return [event["usage"]["total_tokens"] for event in ended if event.get("usage")]
        return [event["duration_s"] for event in ended]

    def before(self, trigger: str, at: float, earlier: Sequence[Span]) -> list[float]:
        """The baseline of `at`: the day before the window, without the quarter hours that earlier incidents touched."""
        last = (at - WINDOWS_S[trigger]) // PANE_S * PANE_S
        first = (at - WINDOWS_S[trigger] - DAY_S) // QUARTER_S * QUARTER_S
        kept: list[float] = []
        for quarter in range(round(first), round(last) + 1, QUARTER_S):
            touched = any(s.opened < quarter + QUARTER_S and (s.closed or quarter) >= quarter for s in earlier)
            if not touched:
                kept += self.values(trigger, quarter, min(quarter + QUARTER_S, last) - 1e-6)
        return kept

    def running(self, at: float) -> str:
        """The attempts that were running at `at`, and how old the oldest was."""
        ends = {event["id"]: event["at"] for event in self.finished}
        ages = [at - e["started_at"] for e in self.of("task_started", 0.0, at) if ends[e["id"]] > at]
        return f"{len(ages)} running, the oldest for {max(ages):.1f} s"

    def ending(self, trigger: str, span: Span, earlier: Sequence[Span]) -> str:
        """How an incident ended, and what its window held then."""
        if span.closed is None:
            return "open at the end"
        if max(time for time in self.times(trigger) if time <= span.closed) <= span.closed - DAY_S:
            return "nothing for 24 h"
        return self.seen(trigger, span.closed, span.opened, earlier)

    def times(self, trigger: str) -> list[float]:
        """When the trigger's signal had samples."""
        if trigger == "test_failure_spike":
            return [event["at"] for event in self.of("test_run")]
        return [event["at"] for event in self.finished if trigger != "token_usage_spike" or event.get("usage")]

    def silence(self, trigger: str, opened: float, end: float) -> float:
        """The longest time without a sample of the trigger's signal between two times, in seconds."""
        times = [opened, *(time for time in self.times(trigger) if opened < time < end), end]
        return max(later - earlier for earlier, later in pairwise(times))


def seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %"


def hours(length_s: float) -> str:
    return f"{length_s / 3600:.1f} h"


def clock(length_s: float) -> str:
    whole = round(length_s)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def table(columns: Sequence[str], rows: Sequence[Row]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def tables(runs: Sequence[Run]) -> dict[str, str]:
    """The tables of the page, by the names of their places in it."""
    triggers = [trigger.name for trigger in load_spec(Settings()).triggers]
    columns = ("opened", "trigger", "in its window then", "lasted", "longest silence", "in its window at its close")
    overview = (
        "file",
        "events",
        "span",
        "fastest",
        "median",
        "slowest",
        "timed out",
        "failed",
        "tests failed",
        "with tokens",
    )
    return {
        "files": table(overview, [run.overview() for run in runs]),
        "lengths": table(("file", *(f"{i + 1} to {j}" for i, j in pairwise(PLACES))), [run.lengths() for run in runs]),
        "counts": table(
            ("file", *(f"`{trigger}`" for trigger in triggers)),
            [(f"`{run.name}`", *(run.fired(trigger) for trigger in triggers)) for run in runs],
        ),
        **{run.name: table(columns, list(run.incidents())) for run in runs},
    }


def filled(page: str, found: dict[str, str]) -> str:
    """`page` with each table in its place: between the comments ``begin: NAME`` and ``end: NAME``."""
    for name, text in found.items():
        begin, end = f"<!-- begin: {name} -->\n", f"<!-- end: {name} -->"
        head, begun, rest = page.partition(begin)
        _, ended, tail = rest.partition(end)
        if not (begun and ended):
            raise SystemExit(f"the page has no place for the table {name}: a line {begin.strip()} and a line {end}")
        page = f"{head}{begin}\n{text}\n\n{end}{tail}"
    return page


def runs_in(data: Path) -> list[Run]:
    """The recorded runs in a directory of test data, by name."""
    return [Run(file) for file in sorted((data / "agent-trials").glob("*.jsonl"))]


if __name__ == "__main__":
    directory = os.environ.get("TEST_DATA_DIR")
    if directory is None:
        sys.exit("set TEST_DATA_DIR to the directory that holds agent-trials/*.jsonl")
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), tables(runs_in(Path(directory)))), encoding="utf-8")
