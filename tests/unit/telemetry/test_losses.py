"""Whoever has been silent for too long is given up at that instant, and nobody else, whatever happened before."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.telemetry.fleet import Fleet, Line, at_us, beat, finished, started

Tell = tuple[Callable[[float, str, str], Line], int, str, str]

_events = st.tuples(
    st.sampled_from([started, beat, finished]), st.integers(0, 20), st.sampled_from("tuv"), st.sampled_from("AB")
)
_steps = st.lists(st.tuples(st.lists(_events, max_size=8), st.integers(1, 60)), min_size=1, max_size=8)


def found(fleet: Fleet) -> list[int]:
    """When each running task is lost, if nothing more is heard of it; looked for one by one."""
    agents = fleet.telemetry.tasks.agents.values()
    return sorted(task.seen_us + agent.patience_us + 1 for agent in agents for task in agent.running.values())


@settings(max_examples=40, deadline=None)
@given(_steps)
def test_what_stands_in_order_is_what_looking_at_every_task_finds(steps: list[tuple[list[Tell], int]]) -> None:
    fleet, now_s = Fleet(), 0
    for events, passes_s in steps:
        lines: list[Line] = [tells(now_s + after_s, id, agent) for tells, after_s, id, agent in events]
        fleet.take(*sorted(lines, key=lambda line: str(line["ts"])))
        now_s += passes_s
        kept = [us for us in found(fleet) if us > at_us(now_s)]

        fleet.telemetry.give_up_lost(at_us(now_s))

        assert found(fleet) == kept
        assert fleet.telemetry.next_lost_us() == min(kept, default=None)
