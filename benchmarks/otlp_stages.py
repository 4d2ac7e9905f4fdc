"""What a span costs by stage: bodies taken through the stages of both processes, one after the other, in this one."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from self_healing.config import Settings, load_spec
from self_healing.telemetry.assembly import Assembly
from self_healing.telemetry.encoded import encoded
from self_healing.telemetry.lines import FOLDED
from self_healing.telemetry.native import decode
from self_healing.telemetry.otlp import traces
from self_healing.telemetry.telemetry import Telemetry

RUNS = 3


def stages(bodies: Sequence[bytes]) -> dict[str, float]:
    """Seconds of processor time that all of them take in each stage, the best of a few runs."""
    runs = [_run(bodies) for _ in range(RUNS)]
    return {stage: min(run[stage] for run in runs) for stage in runs[0]}


def _run(bodies: Sequence[bytes]) -> dict[str, float]:
    now_us = time.time_ns() // 1000
    telemetry, assembly = Telemetry(load_spec(Settings()).triggers), Assembly()

    def assemble(events: Any) -> None:
        assembly.learn(*events)
        assembly.put(events, None, now_us)

    def fold(events: Any) -> None:
        telemetry.queue(*events)
        telemetry.fold(evaluated_us=now_us)

    took = dict.fromkeys(("to events", "to lines", "reading", "assembling", "folding"), 0.0)

    def timed(stage: str, call: Callable[..., Any], *arguments: Any) -> Any:
        began = time.process_time()
        result = call(*arguments)
        took[stage] += time.process_time() - began
        return result

    for body in bodies:  # one by one, as they come: what becomes of one is in the way of no other
        batch = timed("to lines", encoded, timed("to events", traces, body), "otlp")
        read = timed("reading", partial(decode, now_us=now_us, form=FOLDED), batch.lines)
        events = read.events, read.kind, read.ts
        timed("assembling", assemble, events)
        timed("folding", fold, events)
    took["folding"] -= took["assembling"]  # which is a part of it
    return took
