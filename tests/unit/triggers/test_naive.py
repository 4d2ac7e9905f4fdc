"""A whole evaluation says what going through a plain list of samples would say."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from self_healing.clock import SECOND_US
from self_healing.measures import COARSE_US, FINE_US, begins_us
from self_healing.model import SeriesState
from self_healing.spec import Aggregate
from tests.unit.triggers.engine import Engine, at_us, finished, group, started, trigger

WINDOW_S, OVER_S = 60, 1800
AGENTS = ("A", "B")
TRIGGERS = (
    *(trigger(name=f"t_{each}", aggregate=each) for each in ("count", "sum", "mean", "min", "max", "p50", "p95")),
    trigger(
        name="against",
        aggregate="mean",
        condition={"kind": "baseline", "ratio": 2.0, "over": OVER_S, "min_samples": 2},
    ),
)
CHANGES = tuple(
    trigger(name=f"c_{each}", aggregate=each, condition={"kind": "rate_of_change", "value": 5, "per": 20})
    for each in ("count", "sum", "mean", "min", "max", "p50")
)


@dataclass(frozen=True)
class Sample:
    """A task that ended: seconds from the start, seconds it took, who did it."""

    at: int
    taken: int
    agent: str


samples = st.lists(st.builds(Sample, st.integers(0, 5000), st.integers(0, 300), st.sampled_from(AGENTS)), max_size=30)
looks = st.lists(st.integers(1, 6000), min_size=1, max_size=4, unique=True).map(sorted)


def between(found: list[Sample], agent: str, from_us: int, until_us: int) -> list[int]:
    return [each.taken for each in found if each.agent == agent and from_us <= at_us(each.at) < until_us]


def value(aggregate: str, taken: list[int]) -> object:
    """What the aggregate is to be, exactly but for quantiles; None for no value."""
    if aggregate == "count":
        return len(taken)
    if not taken:
        return None
    match aggregate:
        case "sum":
            return sum(taken)
        case "mean":
            return pytest.approx(sum(taken) / len(taken), rel=1e-12)
        case "min":
            return min(taken)
        case "max":
            return max(taken)
    rank = max(math.ceil(len(taken) * int(aggregate[1:]) / 100), 1)
    return pytest.approx(sorted(taken)[rank - 1], rel=0.022)


def is_left_out(at: int, incident: Incident) -> bool:
    """Whether a sample lies in a 15-minute pane that the incident touches."""
    if incident is None:
        return False
    first, last = (at_us(each) // COARSE_US for each in incident)
    return first <= at_us(at) // COARSE_US <= last


Incident = tuple[int, int] | None
"""From when to when series A of the trigger with a baseline had one, seconds from the start."""


def baseline(found: list[Sample], agent: str, look: int, begin_us: int, incident: Incident) -> object:
    from_us = (at_us(look) - (WINDOW_S + OVER_S) * SECOND_US) // COARSE_US * COARSE_US
    kept = [each for each in found if not is_left_out(each.at, incident if agent == "A" else None)]
    before = between(kept, agent, from_us, begin_us)
    return pytest.approx(sum(before) / len(before)) if len(before) > 1 and any(before) else None


def change(aggregate: str, found: list[Sample], agent: str, look: int) -> tuple[int, object, object]:
    """Samples of the last minute of whole panes, the value of the minute before that, and the change in 20 s."""
    end_us = at_us(look) // FINE_US * FINE_US
    middle_us, begin_us = (end_us - lengths * WINDOW_S * SECOND_US for lengths in (1, 2))
    later, earlier = between(found, agent, middle_us, end_us), between(found, agent, begin_us, middle_us)
    before = value(aggregate, earlier) if earlier else None
    now = value(aggregate, later)
    if before is None or now is None:
        return len(later), before, None
    rose = exactly(now) - exactly(before)
    spread = 0.022 * (exactly(now) + exactly(before)) if aggregate == "p50" else 1e-9
    return len(later), before, pytest.approx(rose / 3, abs=spread)


def exactly(told: Any) -> float:
    return float(getattr(told, "expected", told))


def agrees(engine: Engine, look: int, agent: str, found: list[Sample], started_at: int | None, out: Incident) -> None:
    """Compare all that is said of one agent at one instant."""
    begin_us = begins_us(WINDOW_S * SECOND_US, at_us(look))
    inside = between(found, agent, begin_us, (at_us(look) // FINE_US + 1) * FINE_US)
    age = [look - started_at] if started_at is not None and started_at <= look else []
    for each in TRIGGERS[:-1]:
        verdict = engine.verdict(look, agent, each.name)
        counted = [*inside, *age] if each.aggregate is Aggregate.MAX else inside
        assert (verdict.samples, verdict.value) == (len(counted), value(each.aggregate.value, counted))
    for each in CHANGES:
        verdict = engine.verdict(look, agent, each.name)
        assert (verdict.samples, verdict.baseline, verdict.value) == change(each.aggregate.value, found, agent, look)
    verdict = engine.verdict(look, agent, "against")
    if verdict.state is SeriesState.INACTIVE:  # else its baseline is frozen as it was
        assert verdict.baseline == baseline(found, agent, look, begin_us, out)


@settings(max_examples=80, deadline=None)
@given(
    found=samples,
    looks=looks,
    running=st.dictionaries(st.sampled_from(AGENTS), st.integers(0, 6000), max_size=2),
    incident=st.none() | st.tuples(st.integers(0, 3000), st.integers(0, 1500)).map(lambda i: (i[0], i[0] + i[1])),
)
def test_values_samples_and_baselines_are_those_of_a_plain_list(
    found: list[Sample], looks: list[int], running: dict[str, int], incident: Incident
) -> None:
    engine = Engine(*TRIGGERS, *CHANGES)
    lines = [finished(each.at, float(each.taken), each.agent) for each in found]
    lines += [started(at, "runs", agent) for agent, at in running.items()]
    if lines:
        engine.push(*lines)
    out: Incident = None
    for look in looks:
        engine.at(look)
        known = [agent for agent in AGENTS if engine.telemetry.place(("agent",), group(agent)) is not None]
        if out is None and incident is not None and look >= incident[1] and "A" in known:
            engine.framework.leave_out("against", group("A"), at_us(incident[0]), at_us(incident[1]))
            out = incident
        so_far = [each for each in found if each.at <= look]
        assert {each.agent for each in so_far} <= set(known)
        for agent in known:
            agrees(engine, look, agent, so_far, running.get(agent), out)
