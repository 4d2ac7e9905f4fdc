"""From lines in a directory to committed panes, beside decoding the same lines and nothing else."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec

from benchmarks.figure import Figure
from self_healing import checkpoint
from self_healing.config import Settings, load_spec
from self_healing.model import Event
from self_healing.orchestrator import TURN_SLICES
from self_healing.simulation import generate
from self_healing.storage.store import Store
from self_healing.telemetry.attributes import Beyond
from self_healing.telemetry.reader import SLICE_BYTES, Batch, DirectoryReader, Quarantined
from self_healing.telemetry.telemetry import Telemetry
from self_healing.triggers.framework import TriggerFramework

EVENTS = 300_000
CHUNK_BYTES = 8 << 20
NOW_US = 4_000_000_000_000_000
RUNS = 3


def _bare_s(file: Path) -> float:
    """Seconds to decode every line of the file into events, in chunks of whole lines, and let go of them."""
    decoder = msgspec.json.Decoder(Event)
    began = time.perf_counter()
    with file.open("rb") as lines:
        while chunk := lines.readlines(CHUNK_BYTES):
            decoder.decode_lines(b"".join(chunk))
    return time.perf_counter() - began


def _ours_s(directory: Path, state: Path) -> float:
    """Seconds to read, account, fold and commit every line of the directory, with the default triggers."""
    spec = load_spec(Settings())
    telemetry = Telemetry(spec.triggers)
    framework = TriggerFramework(spec, telemetry)
    progress = checkpoint.Progress()
    with Store(state) as store:
        reader = DirectoryReader(directory)
        began = time.perf_counter()
        caught_up = False
        while not caught_up:  # turns, as the orchestrator takes them
            bad: list[Quarantined] = []
            read: Callable[[int, int], Batch] = reader.read
            for _ in range(TURN_SLICES):
                batch = read(NOW_US, SLICE_BYTES)
                telemetry.account(batch.received, Counter({each.value: n for each, n in batch.quarantined.items()}))
                telemetry.queue(batch.events, batch.kind, batch.ts, batch.beyond)
                batch.events, batch.beyond = [], Beyond()
                telemetry.fold()
                bad, read, caught_up = bad + batch.bad, reader.read_on, batch.caught_up
                if caught_up:
                    break
            progress.positions = batch.positions
            with store.transaction():
                checkpoint.save(store, telemetry, framework, progress, bad)
        took_s = time.perf_counter() - began
        reader.close()
    if telemetry.accounting.aggregated != EVENTS:
        raise RuntimeError(f"{telemetry.accounting.aggregated} of {EVENTS} events were aggregated")
    return took_s


def measure() -> list[Figure]:
    """Events a second to committed panes, and as a share of a bare typed decode; the best of interleaved runs."""
    with tempfile.TemporaryDirectory() as directory:
        telemetry = Path(directory) / "telemetry"
        telemetry.mkdir()
        file = telemetry / "events-20260105.jsonl"
        with file.open("wb") as out:
            out.writelines(generate(EVENTS))
        pairs = [(_bare_s(file), _ours_s(telemetry, Path(directory) / f"state-{run}")) for run in range(RUNS)]
    bare, ours = EVENTS / min(bare for bare, _ in pairs), EVENTS / min(ours for _, ours in pairs)
    beside = f"bare typed decode: {bare:,.0f} events/s"
    return [
        Figure("JSONL to committed panes", f"{ours:,.0f} events/s", beside, ">= 100,000 events/s", ours >= 100_000),
        Figure("the same, as a share", f"{ours / bare:.2f} of the decode", beside, ">= 0.40", ours / bare >= 0.4),
    ]
