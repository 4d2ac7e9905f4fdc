"""What emitting an event costs whoever emits it, beside a bare append to a deque and what logging itself costs."""

from __future__ import annotations

import logging
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator

from benchmarks.figure import Figure
from self_healing.emitter import Emitter, TelemetryHandler

CALLS = 5_000  # fewer than may wait, so that none is dropped
RUNS = 20
TARGET_US = 5.0


def measure() -> Iterator[Figure]:
    """Microseconds of CPU that a call takes of its thread, in the median of the runs.

    What the emitter's own thread does afterwards is not in it, and neither is what other processes do beside it.
    """
    bare: deque[tuple[float, str]] = deque()
    with tempfile.TemporaryDirectory() as directory:
        emitter = Emitter(directory)
        handler = TelemetryHandler(emitter)
        record = logging.LogRecord("agent", logging.INFO, __file__, 1, "step %d of %d", (1, 2), None)
        append_us = _median_us(lambda: bare.append((0.0, "task_finished")), bare.clear)
        emit_us = _median_us(
            lambda: emitter.emit("task_finished", id="t1", agent="Coder", status="success", duration_s=1.5),
            emitter.flush,
        )
        handle_us = _median_us(lambda: handler.handle(record), emitter.flush)
        logger = logging.Logger("agent")
        logger.addHandler(logging.NullHandler())
        logging_us = _median_us(lambda: logger.info("step %d of %d", 1, 2), emitter.flush)
        dropped = emitter.dropped
        emitter.close()
    for name, us, beside in (
        ("emit an event, for its caller", emit_us, f"deque.append {append_us:.2f} us"),
        ("handle a record, for its caller", handle_us, f"logging it to nobody {logging_us:.2f} us"),
    ):
        met = us <= TARGET_US and dropped == 0
        yield Figure(name, f"{us:.2f} us", beside, f"<= {TARGET_US:g} us", met)


def _median_us(call: Callable[[], object], between: Callable[[], object]) -> float:
    times = []
    for _ in range(RUNS):
        began = time.thread_time()
        for _ in range(CALLS):
            call()
        times.append((time.thread_time() - began) / CALLS * 1e6)
        between()
    return sorted(times)[RUNS // 2]
