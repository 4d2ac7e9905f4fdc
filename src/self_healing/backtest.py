"""Backtest: a spec on history, in event time, at full speed.

It sees what the live engine would have seen and heals nothing: an incident ends when its series goes inactive, or after
a day without enough samples.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from self_healing.clock import DAY_US, SECOND_US, from_us
from self_healing.errors import TelemetryError
from self_healing.forgetting import Forgetting
from self_healing.model import Group, Reason, SeriesState, Transition, group_dict
from self_healing.spec import Spec
from self_healing.telemetry.columns import asked_attributes
from self_healing.telemetry.lines import native_asking
from self_healing.telemetry.native import decode
from self_healing.telemetry.telemetry import Telemetry
from self_healing.triggers.framework import TriggerFramework

FAR_FUTURE_US = 9000 * 365 * DAY_US
"""History has no future: no event in it is quarantined for lying ahead of now."""


@dataclass(slots=True)
class Found:
    """One incident that would have been.

    Args:
        opened_us, closed_us: microseconds; still open at the end of the history when None.
        peak: the worst value, in the signal's unit.
    """

    trigger: str
    group: Group
    opened_us: int
    peak: float | None
    closed_us: int | None = None


@dataclass(slots=True)
class Replay:
    """A history in event time.

    Args:
        spec: what is tried.
        first_us, last_us: the time of the first and the last event, microseconds.
    """

    spec: Spec
    telemetry: Telemetry = field(init=False)
    framework: TriggerFramework = field(init=False)
    transitions: list[Transition] = field(default_factory=list)
    incidents: list[Found] = field(default_factory=list)
    first_us: int = 0
    last_us: int = 0
    _open: dict[tuple[str, Group], Found] = field(default_factory=dict)
    _forgetting: Forgetting = field(init=False)

    def __post_init__(self) -> None:
        self.telemetry = Telemetry(self.spec.triggers, max_groups=self.spec.max_groups)
        self.framework = TriggerFramework(self.spec, self.telemetry)
        self._forgetting = Forgetting(self.telemetry, self.framework)

    def run(self, end_us: int) -> None:
        """Step the grid from the first queued event to `end_us`, at every instant at which something can change."""
        grid_us = self.spec.grid * SECOND_US
        first_us = self.telemetry.next_queued_us()
        if first_us is None:
            return
        t_us = first_us // grid_us * grid_us - grid_us
        while (next_us := self._next_us(t_us, grid_us)) is not None and next_us <= end_us:
            self.telemetry.fold(next_us)
            self.telemetry.give_up_lost(next_us)
            for transition in self.framework.evaluate(next_us):
                self._take(transition, next_us)
            self._tend(next_us)
            self._forgetting.look(next_us, self._open)
            t_us = next_us

    def _next_us(self, t_us: int, grid_us: int) -> int | None:
        due_us = self.framework.next_due_us(t_us, grid_us)
        due = [] if due_us is None else [due_us]
        due += [self._silent_us(found) for found in self._open.values()]
        told = (self.telemetry.next_queued_us(), self.telemetry.next_due_us())
        due += [told_us for told_us in told if told_us is not None]
        return max(-(-min(due) // grid_us) * grid_us, t_us + grid_us) if due else None

    def _silent_us(self, found: Found) -> int:
        """When an incident will have been without enough samples for a day, if no more come."""
        return max(self.framework.enough_at_us(found.trigger, found.group), found.opened_us) + DAY_US

    def _take(self, transition: Transition, t_us: int) -> None:
        self.transitions.append(transition)
        verdict = transition.verdict
        key = (verdict.trigger, verdict.group)
        if transition.after is SeriesState.FIRING and key not in self._open:
            found = self._open[key] = Found(*key, t_us, verdict.value)
            self.incidents.append(found)
            self.framework.leave_out(*key, t_us, None)
        elif transition.after is SeriesState.INACTIVE and key in self._open:
            self._close(key, t_us)

    def _tend(self, t_us: int) -> None:
        for key, found in list(self._open.items()):
            verdict = self.framework.verdict(*key, t_us)
            if verdict.value is not None and verdict.reason is Reason.CONDITION_MET:
                better = max if self.spec.trigger(key[0]).rising else min
                found.peak = verdict.value if found.peak is None else better(found.peak, verdict.value)
            if t_us >= self._silent_us(found):
                self._close(key, t_us)

    def _close(self, key: tuple[str, Group], t_us: int) -> None:
        found = self._open.pop(key)
        found.closed_us = t_us
        self.telemetry.restart(*key, t_us)
        self.framework.leave_out(*key, found.opened_us, t_us)
        self.framework.reset(*key, t_us)


def replay(spec: Spec, files: Sequence[Path]) -> Replay:
    """`spec` on the history in `files`, from its first event to its last.

    Args:
        files: native JSONL; sorted together by the time of their events.

    Raises:
        TelemetryError: a file cannot be read.
    """
    replay, form = Replay(spec), native_asking(asked_attributes(spec.triggers))
    events, kinds, stamps = [], [np.zeros(0, np.uint8)], [np.zeros(0, np.int64)]
    for path in files:
        try:
            text = path.read_bytes()
        except OSError as error:
            raise TelemetryError(f"cannot read {path}: {error.strerror}; give files of native JSON lines") from error
        decoded = decode(text, now_us=FAR_FUTURE_US, form=form)
        replay.telemetry.account(decoded.received, Counter(reason for _, reason in decoded.bad))
        events += decoded.events
        kinds.append(decoded.kind)
        stamps.append(decoded.ts)
    ts = np.concatenate(stamps)
    if len(ts):
        order = np.argsort(ts, kind="stable")
        replay.telemetry.queue([events[place] for place in order.tolist()], np.concatenate(kinds)[order], ts[order])
        replay.first_us, replay.last_us = int(ts.min()), int(ts.max())
        grid_us = spec.grid * SECOND_US
        replay.run(-(-replay.last_us // grid_us) * grid_us)
    return replay


def backtest(spec: Spec, files: Sequence[Path]) -> dict[str, Any]:
    """What `spec` would have said of the history in `files`; the mapping of ``triggers backtest --format json``.

    Args:
        files: native JSONL; sorted together by the time of their events.

    Raises:
        TelemetryError: a file cannot be read.
    """
    began = time.perf_counter()
    done = replay(spec, files)
    took_s = time.perf_counter() - began
    return {
        "events": done.telemetry.accounting.aggregated,
        "span_s": (done.last_us - done.first_us) / SECOND_US,
        "events_per_s": round(done.telemetry.accounting.aggregated / took_s),
        "incidents": [
            {
                "trigger": found.trigger,
                "group": group_dict(found.group),
                "opened_at": from_us(found.opened_us).isoformat(),
                "closed_at": None if found.closed_us is None else from_us(found.closed_us).isoformat(),
                "peak": found.peak,
            }
            for found in done.incidents
        ],
        "transitions": len(done.transitions),
        "telemetry": msgspec.to_builtins(done.telemetry.accounting),
    }
