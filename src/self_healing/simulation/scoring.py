"""What a simulated run was worth: what became of each fault, and what was done that should not have been."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from self_healing.clock import DAY_US
from self_healing.model import (
    CloseReason,
    Directive,
    Execution,
    Incident,
    Result,
    Verification,
    affected_agent,
    group_dict,
)
from self_healing.simulation.faults import Fault
from self_healing.simulation.scenario import Injection, Scenario
from self_healing.spec import Spec

WEEK_S = 7 * DAY_US / 1_000_000

GRACE = timedelta(minutes=2)
"""What began within it after a fault and its window were over is still the fault's."""


@dataclass(frozen=True)
class Records:
    """What the run left in the state."""

    incidents: Sequence[Incident]
    executions: Sequence[Execution]
    directives: Sequence[Directive]
    verifications: Sequence[Verification]


@dataclass(frozen=True)
class Trouble:
    """An injected fault as it really was.

    Args:
        kind: what.
        members: one an agent.
        one_cause: whether they share it; otherwise each is a fault of its own.
        onset: when it began.
        ended: when it was over for each agent, by repair or by itself; None while it was there.
        alone: when it goes away for each agent by itself; None for never.
        repaired: of the agents, those whose fault a specialist removed.
    """

    kind: str
    members: tuple[Fault, ...]
    one_cause: bool
    onset: datetime
    ended: Mapping[str, datetime | None]
    alone: Mapping[str, datetime | None]
    repaired: frozenset[str]

    @classmethod
    def of(
        cls, injection: Injection, faults: Sequence[Fault], cured: Mapping[str, datetime], start: datetime
    ) -> Trouble:
        """What became of an injection, of which the fleet knows what was cured."""
        ended, alone = {}, {}
        for fault in faults:
            itself = None if fault.ends_after_s is None else start + timedelta(seconds=fault.ends_after_s)
            known = [at for at in (itself, cured.get(fault.name)) if at is not None]
            ended[fault.agent], alone[fault.agent] = min(known, default=None), itself
        return cls(
            kind=injection.kind,
            members=tuple(faults),
            one_cause=injection.model is not None,
            onset=start + timedelta(seconds=injection.at),
            ended=ended,
            alone=alone,
            repaired=frozenset(fault.agent for fault in faults if fault.name in cured),
        )

    def is_felt(self, agent: str, at: datetime, window: timedelta) -> bool:
        """Whether what a window shows of `agent` at that instant can come of it."""
        if agent not in self.ended or at < self.onset:
            return False
        ended = self.ended[agent]
        return ended is None or at <= ended + window + GRACE

    def sick_s(self, agents: Iterable[str], over: Mapping[str, datetime | None], end: datetime) -> float:
        """How many seconds `agents` suffered on average until it was `over` for each, or until `end`."""
        return round(statistics.fmean(_s(min(over[agent] or end, end) - self.onset) for agent in agents), 3)


def score(
    records: Records, troubles: Sequence[Trouble], spec: Spec, start: datetime, scenario: Scenario
) -> dict[str, Any]:
    """What the run was worth, for people and programs."""
    end = start + timedelta(seconds=scenario.lasts)
    faults = [row for trouble in troubles for row in _rows(trouble, records, spec, start, end)]
    false = [each for each in records.incidents if _is_false(each, troubles, spec)]
    detected = [row for row in faults if row["detected_after_s"] is not None]
    windows = sorted(row["detected_after_windows"] for row in detected)
    return {
        "faults": faults,
        "run": {
            "faults": len(faults),
            "detected": len(detected),
            "recall": round(len(detected) / len(faults), 4) if faults else None,
            "healed": sum(row["healed_after_s"] is not None for row in faults),
            "incidents": sum(not each.is_parent for each in records.incidents),
            "false_incidents": [
                {"trigger": each.trigger, "group": group_dict(each.group), "opened_s": _s(each.first_opened_at - start)}
                for each in false
            ],
            "false_incidents_per_agent_week": round(len(false) / (scenario.agents * scenario.lasts / WEEK_S), 4),
            "detected_after_windows_p95": _percentile(windows, 95),
            "detected_after_s_median": _median(row["detected_after_s"] for row in detected),
            "healed_after_s_median": _median(row["healed_after_s"] for row in faults),
            "sick_s": round(sum(row["sick_s"] for row in faults), 3),
            "sick_without_healing_s": round(sum(row["sick_without_healing_s"] for row in faults), 3),
            "actions": sum(each.tries > 0 for each in records.executions),
            "worse": sum(each.result is Result.WORSE for each in records.verifications),
            "harmful_actions": _harmful(records, troubles, spec),
            "escalated": sum(each.escalated_at is not None for each in records.incidents),
        },
    }


def _rows(trouble: Trouble, records: Records, spec: Spec, start: datetime, end: datetime) -> Iterable[dict[str, Any]]:
    """A row for each fault: for each agent, or for all together where they share the cause."""
    if trouble.one_cause:
        yield _row(trouble, trouble.members, records, spec, start, end)
    else:
        for member in trouble.members:
            yield _row(trouble, [member], records, spec, start, end)


def _row(
    trouble: Trouble, members: Sequence[Fault], records: Records, spec: Spec, start: datetime, end: datetime
) -> dict[str, Any]:
    trigger = spec.trigger(members[0].trigger)
    window = timedelta(seconds=trigger.window)
    agents = {member.agent for member in members}
    own = [
        each
        for each in records.incidents
        if each.trigger == trigger.name
        and not each.is_parent
        and affected_agent(each.group) in agents
        and (each.closed_at is None or each.closed_at > trouble.onset)
        and trouble.is_felt(affected_agent(each.group), max(each.first_opened_at, trouble.onset), window)
    ]
    first = min(own, key=lambda each: each.first_opened_at, default=None)
    healed = [each for each in own if each.close_reason is CloseReason.HEALED]
    ids = {each.id for each in own} | {each.parent for each in own if each.parent}
    begun = [each for each in records.executions if each.incident in ids and each.tries and each.step >= 0]
    done = sorted(begun, key=lambda each: each.created_at)
    detected_s = None if first is None else max(_s(first.first_opened_at - trouble.onset), 0.0)
    all_healed = bool(own) and len(healed) == len(own)
    return {
        "fault": trouble.kind,
        "trigger": trigger.name,
        "agents": sorted(agents),
        "injected_s": _s(trouble.onset - start),
        "detected_after_s": detected_s,
        "detected_after_windows": None if detected_s is None else round(detected_s / trigger.window, 3),
        "acted_after_s": _s(done[0].created_at - trouble.onset) if done else None,
        "actions": [each.action for each in done],
        "repaired": agents <= trouble.repaired,
        "sick_s": trouble.sick_s(agents, trouble.ended, end),
        "sick_without_healing_s": trouble.sick_s(agents, trouble.alone, end),
        "healed_after_s": _s(max(h.closed_at for h in healed if h.closed_at) - trouble.onset) if all_healed else None,
        "healed_by": done[-1].action if all_healed and done else None,
        "outcomes": dict(sorted(Counter((each.close_reason or each.state).value for each in own).items())),
    }


def _is_false(incident: Incident, troubles: Sequence[Trouble], spec: Spec) -> bool:
    """Whether an incident was opened that no fault of its agent explains."""
    if incident.is_parent:
        return False
    agent, window = affected_agent(incident.group), timedelta(seconds=spec.trigger(incident.trigger).window)
    return not any(trouble.is_felt(agent, incident.first_opened_at, window) for trouble in troubles)


def _harmful(records: Records, troubles: Sequence[Trouble], spec: Spec) -> int:
    """How often an agent was restrained that had nothing the matter with it.

    To be let back from a pause one task at a time is no new restraint, though the fault may be gone by then: nobody can
    know that while the agent does nothing.
    """
    triggers = {each.id: each.trigger for each in records.executions}
    let_back = {(each.execution, each.undone_at) for each in records.directives if each.name == "paused"}
    harmful = set()
    for directive in records.directives:
        if directive.name != "paused" and (directive.execution, directive.created_at) in let_back:
            continue
        window = timedelta(seconds=spec.trigger(triggers[directive.execution]).window)
        if not any(trouble.is_felt(directive.agent, directive.created_at, window) for trouble in troubles):
            harmful.add(directive.execution)
    return len(harmful)


def _s(span: timedelta) -> float:
    return round(span.total_seconds(), 3)


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(statistics.median(known), 3) if known else None


def _percentile(ordered: Sequence[float], percent: int) -> float | None:
    """The nearest rank."""
    return ordered[-(-len(ordered) * percent // 100) - 1] if ordered else None
