"""Examples: a few of each agent, whatever the others do, and known again after a restart."""

from __future__ import annotations

from typing import Any

from self_healing.model import Event
from self_healing.telemetry.examples import MOST_AGENTS, MOST_ATTRIBUTES, PER_AGENT, Examples


def ended(agent: str | None, number: int = 0, **fields: Any) -> Event:
    return Event(kind="task_finished", agent=agent, task_id=f"t{number}", **fields)


def test_a_busy_agent_leaves_the_examples_of_a_quiet_one_alone() -> None:
    examples = Examples()
    examples.add([ended("Quiet")])
    examples.add([ended("Busy", number) for number in range(1000)])
    assert [event.task_id for event in examples.of("Quiet")] == ["t0"]
    assert [event.task_id for event in examples.of("Busy")] == [f"t{n}" for n in range(1000 - PER_AGENT, 1000)]
    assert examples.of("Nobody") == []


def test_of_too_many_agents_those_that_ended_something_last_stay() -> None:
    examples = Examples()
    examples.add([ended(f"A{number}") for number in range(MOST_AGENTS)])
    examples.add([ended("A0"), ended("New"), ended(None)])
    assert (len(examples.of("A0")), len(examples.of("A1")), len(examples.of("New"))) == (2, 0, 1)


def test_the_attributes_are_columns_and_what_is_plain() -> None:
    examples = Examples()
    examples.add([ended("A", model="m-1", tool="search"), ended("A", model="m-2", error_type="429")])
    examples.add([ended("A", attributes={"region": "eu", "beta": True, "deep": {"a": 1}, "long": "x" * 500})])
    assert examples.attributes("A") == {
        ("model", "m-1"),
        ("model", "m-2"),
        ("tool", "search"),
        ("error_type", "429"),
        ("region", "eu"),
        ("beta", "True"),
    }
    assert examples.attributes("B") == frozenset()


def test_they_are_the_same_after_a_restart_but_for_what_is_too_much() -> None:
    before, after = Examples(), Examples()
    before.add([ended("A", 1, model="m"), ended("B", 2, attributes={str(n): n for n in range(1000)})])
    was_changed = before.changed
    after.unpack(before.pack())
    assert (was_changed, before.changed) == (True, False)
    assert after.of("A") == before.of("A")
    assert len(after.of("B")[0].attributes or ()) == MOST_ATTRIBUTES
