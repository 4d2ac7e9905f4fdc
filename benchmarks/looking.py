"""Finding the newest events of one agent in a range of time among a million, beside a loop in plain Python."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

from benchmarks.figure import Figure
from self_healing.clock import SECOND_US
from self_healing.telemetry.query.files import Places
from self_healing.telemetry.query.find import find
from self_healing.telemetry.query.rows import Wanted
from self_healing.telemetry.timestamps import encode_ts

EVENTS = 1_000_000
BEGIN_US = 1_767_571_200 * SECOND_US
AGENT = "Agent7"
LIMIT = 50
RUNS = 3


def _write(file: Path) -> None:
    with file.open("w", encoding="utf-8") as out:
        for number in range(EVENTS):
            line = {
                "ts": encode_ts(BEGIN_US + number * SECOND_US // 20),
                "type": "task_finished",
                "id": f"t{number}",
                "agent": f"Agent{number % 50}",
                "status": "success" if number % 20 else "failed",
                "duration_s": 9.0,
                "usage": {"prompt_tokens": 900, "completion_tokens": 100, "total_tokens": 1000, "total_usd": 0.02},
                "model": "m",
            }
            out.write(json.dumps(line, separators=(",", ":")) + "\n")


def _plain(file: Path, since: str) -> tuple[list[str], float]:
    """The ids that a loop over the lines finds, and how many seconds it took."""
    began = time.perf_counter()
    with file.open(encoding="utf-8") as lines:
        events = [event for event in map(json.loads, lines) if event["agent"] == AGENT and event["ts"] >= since]
    newest = sorted(events, key=lambda event: str(event["ts"]), reverse=True)[:LIMIT]
    return [event["id"] for event in newest], time.perf_counter() - began


def _ours(places: Places, since_us: int) -> tuple[list[str], float]:
    began = time.perf_counter()
    found = find(places, Wanted(agents=(AGENT,), since_us=since_us), LIMIT)
    return [row.told["task_id"] for row in found.rows], time.perf_counter() - began


def measure() -> list[Figure]:
    """Seconds for one look, the best of interleaved runs; both have to find the same."""
    with tempfile.TemporaryDirectory() as directory:
        places = Places(telemetry=Path(directory), segments=Path(directory) / "segments")
        file = places.telemetry / "events-20260105.jsonl"
        _write(file)
        since_us = BEGIN_US + EVENTS * SECOND_US // 40
        ours_s, plain_s = [], []
        for _ in range(RUNS):
            mine, took_s = _ours(places, since_us)
            ours_s.append(took_s)
            theirs, took_s = _plain(file, encode_ts(since_us))
            plain_s.append(took_s)
            if mine != theirs:
                raise RuntimeError(f"{mine} and {theirs} are not the same")
    share = min(ours_s) / min(plain_s)
    return [
        Figure(
            f"a range of time and an agent among {EVENTS:,} events, best of {RUNS}",
            f"{min(ours_s):.2f} s",
            f"json.loads and a loop: {min(plain_s):.2f} s",
            "<= half of that",
            share <= 0.5,
        )
    ]
