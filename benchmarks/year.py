"""A backtest of a year of 50 agents on a grid of 10 s, from files of a day each; not in the default run.

``python -m benchmarks year`` takes some minutes; ``python -m benchmarks.year 7`` does the same with a week.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from benchmarks.figure import Figure, tell
from self_healing.backtest import Replay, replay
from self_healing.config import Settings, load_spec
from self_healing.model import Event

DAYS, AGENTS, GRID_S = 365, 50, 10
BEGINS = datetime(2025, 1, 1, tzinfo=UTC)

TASKS_AN_HOUR = 6
ILL_SHARE = 1 / 30
"""An agent has trouble for an hour about once a month."""


def _day(dice: random.Random, day: int) -> list[tuple[float, bytes]]:
    """The lines of one day, with the second of each."""
    begins = BEGINS + timedelta(days=day)
    begins_s = begins.timestamp()
    lines: list[tuple[float, bytes]] = []
    for agent in range(AGENTS):
        ill_s = dice.uniform(0, 82_800) if dice.random() < ILL_SHARE else 90_000.0
        second, number = dice.expovariate(TASKS_AN_HOUR / 3600), 0
        while second < 86_340:
            ill = ill_s <= second < ill_s + 3600
            lasts_s = round(dice.uniform(40, 300) if ill else dice.uniform(5, 40), 3)
            of = f'"id":"d{day}-{agent}-{number}","agent":"agent-{agent:02}","attempt":{1 + 2 * ill}'
            for at_s, rest in _task(dice, begins_s + second, lasts_s, ill=ill):
                ts = (begins + timedelta(seconds=at_s - begins_s)).isoformat(timespec="milliseconds")
                lines.append((at_s, f'{{"ts":"{ts}",{of},{rest}}}\n'.encode()))
            second, number = second + lasts_s + dice.expovariate(TASKS_AN_HOUR / 3600), number + 1
    lines.sort()
    return lines


def _task(dice: random.Random, begins_s: float, lasts_s: float, *, ill: bool) -> Iterator[tuple[float, str]]:
    """What is told of one task: when, and the fields."""
    failed, tokens = (
        dice.random() < (0.5 if ill else 0.02),
        dice.randint(4000, 9000) if ill else dice.randint(900, 1500),
    )
    ends_s = begins_s + lasts_s
    yield begins_s, f'"type":"task_started","started_at":{begins_s:.3f}'
    if not failed:
        yield ends_s, f'"type":"test_run","passed":{dice.randint(20, 60)},"failed":{int(ill)}'
    usage = f'"usage":{{"total_tokens":{tokens},"total_usd":{tokens / 50_000:.4f}}}'
    status = "failed" if failed else "success"
    yield (
        ends_s,
        f'"type":"task_finished","status":"{status}","started_at":{begins_s:.3f},"duration_s":{lasts_s},{usage}',
    )


def write(directory: Path, days: int) -> list[Path]:
    """The history, a file a day."""
    dice = random.Random(7)
    files = []
    for day in range(days):
        files.append(directory / f"events-{BEGINS + timedelta(days=day):%Y%m%d}.jsonl")
        files[-1].write_bytes(b"".join(line for _, line in _day(dice, day)))
    return files


def measure(days: int = DAYS) -> list[Figure]:
    """How long it takes, with a progress bar, beside decoding the same lines once and nothing else."""
    from rich.progress import Progress

    spec = load_spec(Settings()).model_copy(update={"grid": GRID_S})
    with tempfile.TemporaryDirectory() as directory:
        files = write(Path(directory), days)
        decoder = msgspec.json.Decoder(Event)
        began = time.process_time()
        events = sum(len(decoder.decode_lines(file.read_bytes())) for file in files)
        bare_s = time.process_time() - began
        began, watch = time.process_time(), time.perf_counter()
        with Progress() as progress:
            bar = progress.add_task(f"{days} days", total=1.0)
            done: Replay = replay(spec, files, lambda share: progress.update(bar, completed=share))
        cpu_s, took_s = time.process_time() - began, time.perf_counter() - watch
    measured = f"{cpu_s / 60:.1f} CPU min, {took_s / 60:.1f} min, {len(done.incidents)} incidents"
    name = f"backtest of {days} days, {AGENTS} agents, {events / 1e6:.2f} million events"
    return [Figure(name, measured, f"bare typed decode: {bare_s:.0f} CPU s", "minutes", cpu_s < 600)]


if __name__ == "__main__":
    tell(measure(int(sys.argv[1]) if len(sys.argv) > 1 else DAYS), "A year")
