"""The real engine over real panes, fed with lines of native telemetry and asked at explicit instants."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from self_healing.clock import SECOND_US, from_us
from self_healing.model import Group, SeriesState, Transition, Verdict
from self_healing.spec import MAX_GROUPS, Spec, TriggerSpec
from self_healing.telemetry.columns import asked_attributes
from self_healing.telemetry.lines import native_asking
from self_healing.telemetry.native import decode
from self_healing.telemetry.telemetry import Telemetry
from self_healing.triggers.framework import TriggerFramework

START_S = 1_767_607_200  # 2026-01-05T10:00:00Z, the start of a 15-minute pane
FAR_US = START_S * SECOND_US * 2

Line = dict[str, Any]
Change = tuple[float, str, str, SeriesState, SeriesState]


def trigger(**changes: Any) -> TriggerSpec:
    """slow_tasks, but for `changes`; a condition may be given as a pair of operator and value."""
    values: dict[str, Any] = {
        "name": "tried",
        "type": "custom",
        "signal": "task.duration_s",
        "aggregate": "max",
        "window": 60,
        "condition": (">=", 60),
        "severity": "high",
        "target_agent": "Helper",
        **changes,
    }
    if isinstance(values["condition"], tuple):
        op, value = values["condition"]
        values["condition"] = {"kind": "threshold", "op": op, "value": value}
    return TriggerSpec.model_validate(values)


def absence(silent_for: int = 60, signal: str = "agent.events", **changes: Any) -> TriggerSpec:
    """A trigger on so many seconds of silence."""
    values = {"signal": signal, "condition": {"kind": "absence", "silent_for": silent_for}, **changes}
    return TriggerSpec.model_validate({**_NAMED, **values})


def composite(**changes: Any) -> TriggerSpec:
    """A trigger that looks at others, by ``all`` or ``any``."""
    members = {key: changes.pop(key) for key in ("all", "any") if key in changes}
    return TriggerSpec.model_validate({**_NAMED, "condition": {"kind": "composite", **members}, **changes})


_NAMED = {"name": "tried", "type": "custom", "severity": "high", "target_agent": "Helper"}


def group(agent: str) -> Group:
    return (("agent", agent),)


def at_us(seconds: float) -> int:
    return round((START_S + seconds) * SECOND_US)


def started(at: float, id: str, agent: str = "A") -> Line:
    return {"ts": _iso(at), "type": "task_started", "id": id, "agent": agent, "attempt": 1, "started_at": START_S + at}


def finished(at: float, duration_s: float | None = 1.0, agent: str = "A", **more: Any) -> Line:
    line = {"ts": _iso(at), "type": "task_finished", "agent": agent, "attempt": 1, "status": "success", **more}
    return line if duration_s is None else {**line, "duration_s": duration_s}


def beat(at: float, id: str, agent: str = "A") -> Line:
    return {"ts": _iso(at), "type": "heartbeat", "id": id, "agent": agent}


def _iso(at: float) -> str:
    return from_us(at_us(at)).isoformat()


class Engine:
    """Triggers over panes.

    Args:
        triggers: what is watched for.
    """

    def __init__(self, *triggers: TriggerSpec, grid: int = 1, max_groups: int = MAX_GROUPS) -> None:
        self.grid_us = grid * SECOND_US
        self.telemetry = Telemetry(triggers, max_groups=max_groups)
        self.framework = TriggerFramework(Spec(triggers=triggers, actions=(), grid=grid), self.telemetry)

    def push(self, *lines: Line) -> None:
        """Hand over lines; they are folded as their time comes."""
        text = "\n".join(json.dumps(line) for line in sorted(lines, key=lambda line: str(line["ts"])))
        form = native_asking(asked_attributes(self.framework.spec.triggers))
        decoded = decode(text.encode(), now_us=FAR_US, form=form)
        assert not decoded.bad, decoded.bad
        self.telemetry.account(len(lines), {})
        self.telemetry.queue(decoded.events, decoded.kind, decoded.ts)

    def at(self, seconds: float) -> list[Transition]:
        """Fold what happened until then, and evaluate."""
        self.telemetry.fold(at_us(seconds))
        self.telemetry.give_up_lost(at_us(seconds))
        return self.framework.evaluate(at_us(seconds))

    def close(self, name: str, agent: str, seconds: float, opened: float) -> None:
        """Do to a series what the close of its incident does."""
        self.telemetry.restart(name, group(agent), at_us(seconds))
        self.framework.leave_out(name, group(agent), at_us(opened), at_us(seconds))
        self.framework.reset(name, group(agent), at_us(seconds))

    def state(self, agent: str = "A", name: str = "tried") -> SeriesState:
        return self.framework.state_of(name, group(agent))

    def verdict(self, seconds: float, agent: str = "A", name: str = "tried") -> Verdict:
        return self.framework.verdict(name, group(agent), at_us(seconds))

    def due(self, seconds: float) -> float | None:
        """When the next evaluation is due, in seconds."""
        due_us = self.framework.next_due_us(at_us(seconds), self.grid_us)
        return None if due_us is None else due_us / SECOND_US - START_S

    def every_instant(self, first_s: int, last_s: int) -> list[Change]:
        """Evaluate each instant of the grid; returns what changed."""
        step = self.grid_us // SECOND_US
        return changes(change for seconds in range(first_s, last_s + 1, step) for change in self.at(seconds))

    def due_instants(self, first_s: int, last_s: int) -> tuple[list[Change], int]:
        """Evaluate only when it is due, and where something happened; returns what changed, and how often it looked."""
        found, looked = list(self.at(first_s)), 1
        now_us = at_us(first_s)
        while (next_us := self._next_us(now_us)) is not None and next_us <= at_us(last_s):
            found += self.at(next_us / SECOND_US - START_S)
            now_us, looked = next_us, looked + 1
        return changes(found), looked

    def _next_us(self, now_us: int) -> int | None:
        due = [self.framework.next_due_us(now_us, self.grid_us)]
        queued_us = self.telemetry.next_queued_us()
        if queued_us is not None:
            due.append(max(-(-queued_us // self.grid_us) * self.grid_us, now_us + self.grid_us))
        return min((instant for instant in due if instant is not None), default=None)


def changes(transitions: Iterable[Transition]) -> list[Change]:
    """When which series went from where to where, in seconds from the start."""
    return [
        (t.verdict.at.timestamp() - START_S, t.verdict.trigger, t.verdict.group[0][1], t.before, t.after)
        for t in transitions
    ]


def states(found: Sequence[Change]) -> list[tuple[float, SeriesState]]:
    """When the state became what, for histories of one series."""
    return [(seconds, after) for seconds, _, _, _, after in found]
