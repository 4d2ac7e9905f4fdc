"""A fleet's lines of telemetry, folded by the real thing, and asked for what triggers would see."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from self_healing.clock import HOUR_US, SECOND_US, from_us
from self_healing.measures import MICRO, NONE_MAX, NONE_MIN, Measure
from self_healing.model import Accounting, Group
from self_healing.spec import TriggerSpec
from self_healing.telemetry.lines import NATIVE, Lines
from self_healing.telemetry.native import decode
from self_healing.telemetry.telemetry import Telemetry
from tests.accounts import held

START_S = 1_767_607_200  # 2026-01-05T10:00:00Z, the start of a 15-minute pane
WINDOW_S = 3600

SIGNALS = (
    "task.duration_s",
    "task.attempts",
    "task.errors",
    "task.tokens",
    "task.cost_usd",
    "task.tests",
    "task.quality",
)
_RATIOS = ("task.errors", "task.tests", "tool.errors")

Line = dict[str, Any]


def at_us(seconds: float) -> int:
    return round((START_S + seconds) * SECOND_US)


def event(at: float, type: str, id: str | None = "t", agent: str = "A", **fields: Any) -> Line:
    """A line of native telemetry, `at` seconds after the start."""
    line = {"ts": from_us(at_us(at)).isoformat(), "type": type, "id": id, "agent": agent, **fields}
    return {name: value for name, value in line.items() if value is not None}


def started(at: float, id: str | None = "t", agent: str = "A", **fields: Any) -> Line:
    return event(at, "task_started", id, agent, **fields)


def finished(at: float, id: str | None = "t", agent: str = "A", status: str = "success", **fields: Any) -> Line:
    return event(at, "task_finished", id, agent, status=status, **fields)


def call(at: float, tokens: int | None = None, usd: float | None = None, id: str = "t", agent: str = "A") -> Line:
    return event(at, "llm_call", id, agent, usage={"total_tokens": tokens, "total_usd": usd})


def beat(at: float, id: str = "t", agent: str = "A") -> Line:
    return event(at, "heartbeat", id, agent)


def trigger(name: str, signal: str, **changes: Any) -> TriggerSpec:
    """A trigger that asks for all that a signal can tell."""
    return TriggerSpec.model_validate(
        {
            "name": name,
            "type": "custom",
            "signal": signal,
            "aggregate": "ratio" if signal in _RATIOS else "max",
            "window": WINDOW_S,
            "condition": {"kind": "threshold", "op": ">=", "value": 1},
            "severity": "high",
            "target_agent": "Helper",
            **changes,
        }
    )


TRIGGERS = tuple(trigger(signal.replace("task.", "each_"), signal) for signal in SIGNALS)


@dataclass
class _Disk:
    panes: dict[tuple[str, int, int], bytes] = field(default_factory=dict)
    facts: dict[str, bytes] = field(default_factory=dict)


class Fleet:
    """What is known of a fleet; each time that it folds, both equations of the accounting hold.

    Args:
        triggers: what is asked for.
        form: of its lines: of native files, or of our own segments.
    """

    def __init__(self, triggers: Sequence[TriggerSpec] = TRIGGERS, form: Lines = NATIVE) -> None:
        self.triggers = triggers
        self.form = form
        self.telemetry = Telemetry(triggers)
        self._disk = _Disk()

    def push(self, *lines: Line) -> None:
        """Hand over a batch; it waits until its time comes."""
        text = "\n".join(json.dumps(line) for line in sorted(lines, key=lambda line: str(line["ts"])))
        decoded = decode(text.encode(), now_us=at_us(10 * 86_400), form=self.form)
        assert not decoded.bad, decoded.bad
        self.telemetry.account(decoded.received, {})
        self.telemetry.queue(decoded.events, decoded.kind, decoded.ts)

    def fold(self, until: float | None = None, *, evaluated: float | None = None) -> None:
        """Fold what happened until then, all when left out."""
        evaluated_us = 0 if evaluated is None else at_us(evaluated)
        self.telemetry.fold(None if until is None else at_us(until), evaluated_us=evaluated_us)
        held(msgspec.to_builtins(self.telemetry.accounting))

    def take(self, *lines: Line) -> None:
        """Hand over a batch and fold it."""
        self.push(*lines)
        self.fold()

    def samples(self, signal: str, agent: str = "A", *, at: float = WINDOW_S, **changes: Any) -> tuple[int, float]:
        """How many samples of a signal there were in the window, an hour, before `at`, and their sum in its unit."""
        asked = trigger("asked", signal, **changes)
        measure = Measure.of(asked)
        place = self._place(measure, (("agent", agent),))
        if place is None:
            return 0, 0.0
        totals = self.telemetry.window(measure, asked.window * SECOND_US, at_us(at))
        return int(totals.count[place]), int(totals.amount[place]) / MICRO

    def extremes(self, signal: str, agent: str = "A") -> tuple[float, float]:
        """The smallest and the largest sample of a signal in the first hour, in its unit."""
        measure = Measure.of(trigger("asked", signal))
        place = self._place(measure, (("agent", agent),))
        totals = self.telemetry.window(measure, WINDOW_S * SECOND_US, at_us(WINDOW_S))
        assert place is not None
        assert totals.maximum[place] != NONE_MAX
        return int(totals.minimum[place]) / MICRO, int(totals.maximum[place]) / MICRO

    def quantile(self, name: str, percent: int, group: Group) -> float:
        """A percentile in the first hour, in its unit, of what the trigger of that name measures."""
        (asked,) = [each for each in self.triggers if each.name == name]
        measure = Measure.of(asked)
        place = self._place(measure, group)
        histograms = self.telemetry.window(measure, WINDOW_S * SECOND_US, at_us(WINDOW_S)).histograms
        assert place is not None
        assert histograms is not None
        return float(histograms.quantile(percent)[place]) / MICRO

    def oldest(self, agent: str = "A") -> float | None:
        """When the oldest running task of an agent started, seconds after the start; None when none runs."""
        measure = Measure.of(trigger("asked", "task.duration_s"))
        place = self._place(measure, (("agent", agent),))
        if place is None:
            return None
        started_us = int(self.telemetry.oldest_running(measure)[place])
        return None if started_us == NONE_MIN else started_us / SECOND_US - START_S

    def _place(self, measure: Measure, group: Group) -> int | None:
        return self.telemetry.place(measure.group_by, group)

    def all_samples(self, agents: Iterable[str]) -> dict[str, Any]:
        """Everything that triggers on any signal could see of those agents."""
        return {agent: [self.oldest(agent), *(self.samples(signal, agent) for signal in SIGNALS)] for agent in agents}

    def restarted(self) -> Fleet:
        """The same fleet in another process, which has what this one and those before it stored."""
        stored = self.telemetry.pack()
        self._disk.panes.update({(row["table_key"], row["level"], row["slot"]): row["columns"] for row in stored.panes})
        self._disk.facts.update({name: msgspec.msgpack.encode(value) for name, value in stored.facts.items()})
        other = Fleet(self.triggers, self.form)
        other._disk = self._disk
        panes = [(*place, columns) for place, columns in sorted(self._disk.panes.items())]
        facts = {name: msgspec.msgpack.decode(value) for name, value in self._disk.facts.items()}
        other.telemetry.restore(panes, facts)
        return other

    @property
    def accounting(self) -> Accounting:
        return self.telemetry.accounting


def unaccounted(count: Accounting) -> tuple[int, int]:
    """By how much the two equations of the accounting are wrong."""
    fates = count.aggregated + sum(count.quarantined.values()) + sum(count.dropped.values()) + count.in_flight
    return count.received - count.accepted - sum(count.rejected.values()), count.accepted - fates


DAY_S = 24 * HOUR_US // SECOND_US
