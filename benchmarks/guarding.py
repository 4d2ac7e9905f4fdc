"""What it costs an agent to read a directive from its guard, beside a look into a dict."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.figure import Figure
from self_healing.actions.publication import Publication
from self_healing.guard import Guard
from self_healing.model import Directive
from self_healing.storage.store import Store

CALLS = 100_000
RUNS = 9
TARGET_US = 2.0


def measure() -> Iterator[Figure]:
    """Microseconds a read, in the median of the runs, of a setting in force and of one that is not."""
    bare = {"max_concurrency": 1}
    with tempfile.TemporaryDirectory() as directory:
        with Store(Path(directory)) as store:
            store.put(_directive())
            Publication(store)
        with Guard("Coder", state_dir=directory) as guard:
            assert guard.max_concurrency(8) == 1
            dict_us = _median_us(lambda: bare.get("max_concurrency", 8))
            figures = (
                ("read a directive in force", _median_us(lambda: guard.max_concurrency(8))),
                ("read a setting that nothing is in force for", _median_us(lambda: guard.max_retries(3))),
            )
    for name, us in figures:
        yield Figure(name, f"{us:.2f} us", f"dict.get {dict_us:.2f} us", f"<= {TARGET_US:g} us", us <= TARGET_US)


def _directive() -> Directive:
    now = datetime.now(UTC)
    return Directive(
        id="dir-1",
        agent="Coder",
        name="max_concurrency",
        value=1,
        owner="inc-1",
        execution="exe-1",
        kind="performance",
        reason="measured",
        created_at=now,
        expires_at=now + timedelta(hours=1),
    )


def _median_us(call: Callable[[], object]) -> float:
    times = []
    for _ in range(RUNS):
        began = time.perf_counter()
        for _ in range(CALLS):
            call()
        times.append((time.perf_counter() - began) / CALLS * 1e6)
    return sorted(times)[RUNS // 2]
