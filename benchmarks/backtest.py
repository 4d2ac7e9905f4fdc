"""A backtest of the default triggers on a healthy fleet's history, beside decoding the same lines and nothing else."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from benchmarks.figure import Figure
from self_healing.backtest import replay
from self_healing.config import Settings, load_spec
from self_healing.model import Event
from self_healing.simulation import generate

EVENTS = 100_000
PER_SECOND = 100.0
"""As dense as a fleet of some hundreds of agents: an instant of the grid has many events."""

RUNS = 3


def _cpu_s(run: Callable[[], object]) -> float:
    """The least seconds of CPU that several runs take."""
    times = []
    for _ in range(RUNS):
        began = time.process_time()
        run()
        times.append(time.process_time() - began)
    return min(times)


def measure() -> list[Figure]:
    """Events that are replayed in a second of CPU, from the file on."""
    spec = load_spec(Settings())
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "events-20260105.jsonl"
        with file.open("wb") as out:
            out.writelines(generate(EVENTS, per_second=PER_SECOND))
        bare = EVENTS / _cpu_s(lambda: msgspec.json.Decoder(Event).decode_lines(file.read_bytes()))
        ours = EVENTS / _cpu_s(lambda: replay(spec, [file]))
    beside = f"bare typed decode: {bare:,.0f} events/s"
    target = ">= 200,000 events/s"
    return [Figure("backtest, from lines on", f"{ours:,.0f} events/CPU s", beside, target, ours >= 200_000)]
