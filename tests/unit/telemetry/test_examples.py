"""Examples: a few of each agent, the newest and the worst, whatever the others do, and known again after a restart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from self_healing.clock import SECOND_US, from_us
from self_healing.model import Event, Usage
from self_healing.telemetry.attributes import MOST_ATTRIBUTES
from self_healing.telemetry.examples import ASIDE_FOR_US, MOST_AGENTS, MOST_ASIDE, PER_AGENT, Examples
from self_healing.telemetry.samples import tokens_of
from self_healing.telemetry.timestamps import UNREAD
from self_healing.telemetry.worst import PER_MEASURE, Worst, notable, weighable


def ended(agent: str | None, number: int = 0, **fields: Any) -> Event:
    return Event(kind="task_finished", agent=agent, task_id=f"t{number}", **fields)


def taken(examples: Examples, *events: Event) -> None:
    examples.add(weighable(events), 0)


def dull(count: int, agent: str = "A") -> list[Event]:
    """So many attempts, each hardly longer than the one before."""
    return [
        ended(agent, n, ts=from_us(n * SECOND_US).isoformat(), status="success", duration_s=5 + n / 1000, attempt=1)
        for n in range(count)
    ]


def put(examples: Examples, events: list[Event], *, one_by_one: bool) -> None:
    for end in range(1, len(events) + 1) if one_by_one else [len(events)]:
        examples.add(weighable(events[end - 1 : end] if one_by_one else events), end * SECOND_US)


def names(events: list[Event]) -> set[str | None]:
    return {event.task_id for event in events}


def test_a_busy_agent_leaves_the_examples_of_a_quiet_one_alone() -> None:
    examples = Examples()
    taken(examples, ended("Quiet"))
    taken(examples, *(ended("Busy", number) for number in range(1000)))
    assert [event.task_id for event in examples.of("Quiet")] == ["t0"]
    assert [event.task_id for event in examples.of("Busy")] == [f"t{n}" for n in range(1000 - PER_AGENT, 1000)]
    assert examples.of("Nobody") == []


def test_of_too_many_agents_those_that_ended_something_last_stay() -> None:
    examples = Examples()
    taken(examples, *(ended(f"A{number}") for number in range(MOST_AGENTS)))
    taken(examples, ended("A0"), ended("New"), ended(None))
    assert (len(examples.of("A0")), len(examples.of("A1")), len(examples.of("New"))) == (2, 0, 1)


def test_the_attributes_are_columns_and_what_is_plain() -> None:
    examples = Examples()
    taken(examples, ended("A", model="m-1", tool="search"), ended("A", model="m-2", error_type="429"))
    taken(examples, ended("A", attributes={"region": "eu", "beta": True, "deep": {"a": 1}, "long": "x" * 500}))
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
    taken(before, ended("A", 1, model="m"), ended("B", 2, attributes={str(n): n for n in range(1000)}))
    was_changed = before.changed
    after.unpack(before.pack())
    assert (was_changed, before.changed) == (True, False)
    assert after.of("A") == before.of("A")
    assert len(after.of("B")[0].attributes or ()) == MOST_ATTRIBUTES


BAD: dict[str, dict[str, Any]] = {
    "failed": {"status": "failed"},
    "timed out": {"status": "timeout"},
    "slow": {"duration_s": 90.0},
    "slow by its times": {"duration_s": None, "started_at": 1.0, "finished_at": 91.0},
    "retried": {"attempt": 4},
    "hungry": {"usage": Usage(prompt_tokens=9_000)},
    "dear": {"usage": Usage(total_usd=9.0)},
}


@pytest.mark.parametrize("one_by_one", [True, False])
@pytest.mark.parametrize("bad", BAD)
def test_what_was_worst_in_some_way_stays_though_many_others_came_after_it(bad: str, one_by_one: bool) -> None:
    examples, events = Examples(), dull(40)
    events[2] = msgspec.structs.replace(events[2], **BAD[bad])
    put(examples, events, one_by_one=one_by_one)
    assert "t2" in names(examples.worst("A", 0))
    assert names(examples.of("A")) == {f"t{number}" for number in range(40 - PER_AGENT, 40)}
    assert "t2" not in names(examples.worst("A", 3 * SECOND_US))


@pytest.mark.parametrize("one_by_one", [True, False])
def test_of_many_bad_ones_a_few_of_each_kind_are_kept(one_by_one: bool) -> None:
    events = [
        msgspec.structs.replace(
            each, status="failed", duration_s=float(n), attempt=1000 - n, usage=Usage(total_tokens=n, total_usd=n * 1.0)
        )
        for n, each in enumerate(dull(500))
    ]
    examples = Examples()
    put(examples, events, one_by_one=one_by_one)
    assert names(examples.worst("A", 0)) == {
        f"t{n}" for n in range(PER_MEASURE)
    }  # those tried most often; the newest are the worst otherwise


def test_what_was_worst_long_ago_makes_room() -> None:
    examples, events = Examples(), dull(2 * ASIDE_FOR_US // SECOND_US + 100)
    events[0] = msgspec.structs.replace(events[0], duration_s=90.0)
    put(examples, events[:1000], one_by_one=True)
    assert "t0" in names(examples.worst("A", 0))
    put(examples, events, one_by_one=True)
    assert "t0" not in names(examples.worst("A", 0))


def test_the_worst_are_kept_of_so_many_agents_and_of_another_once_one_has_ended_nothing_for_half_an_hour() -> None:
    examples, last = Examples(), f"A{MOST_ASIDE}"
    for number in range(MOST_ASIDE + 1):
        put(examples, dull(PER_AGENT + 1, f"A{number}")[::-1], one_by_one=False)
    assert (len(examples.worst("A0", 0)), examples.worst(last, 0)) == (1, [])
    examples.add(weighable(dull(PER_AGENT + 1, last)[::-1]), 10 * SECOND_US + ASIDE_FOR_US)
    assert (examples.worst("A0", 0), len(examples.worst("A1", 0))) == ([], 1)
    assert examples.worst(last, 0)


def test_the_worst_are_the_same_after_a_restart_and_go_on() -> None:
    before, after, events = Examples(), Examples(), dull(40)
    for number, (bad, fields) in enumerate(BAD.items()):
        events[3 * number] = msgspec.structs.replace(events[3 * number], error_type=bad, **fields)
    put(before, events, one_by_one=True)
    after.unpack(before.pack())
    assert after.worst("A", 0) == before.worst("A", 0)
    for each in (before, after):
        each.add(weighable([ended("A", 50, ts="1970-01-01T00:00:50Z", duration_s=99.0), *dull(8)]), 50 * SECOND_US)
    assert "t50" in names(after.worst("A", 0)) & names(before.worst("A", 0))
    assert after.worst("A", 0) == before.worst("A", 0)


@st.composite
def histories(draw: st.DrawFn) -> list[list[Event]]:
    """Stretches of attempts of a few agents, with many equal figures and many unknown ones."""
    figure = st.none() | st.integers(0, 6)
    events = draw(
        st.lists(
            st.builds(
                lambda agent, status, s, n, tokens, usd: ended(
                    agent, status=status, duration_s=s, attempt=n, usage=Usage(total_tokens=tokens, total_usd=usd)
                ),
                st.sampled_from("ABC"),
                st.sampled_from([None, "success", "failed", "timeout", "canceled"]),
                figure,
                st.none() | st.integers(1, 6),
                figure,
                figure,
            ),
            max_size=120,
        )
    )
    each = draw(st.integers(1, 60))
    events = [msgspec.structs.replace(event, task_id=f"t{n}") for n, event in enumerate(events)]
    return [events[start : start + each] for start in range(0, len(events), each)]


def plainly(events: list[Event]) -> set[str | None]:
    """The ids of the worst, found by putting all of them in order, of each way to be bad."""
    ways: list[Callable[[Event], float | None]] = [
        lambda event: event.duration_s or None,
        lambda event: event.attempt if event.attempt != 1 else None,
        lambda event: tokens_of(event.usage) or None,
        lambda event: (event.usage and event.usage.total_usd) or None,
    ]
    found = [event for event in events if event.status in ("failed", "timeout")][-PER_MEASURE:]
    for way in ways:
        known = [(value, event) for event in events if (value := way(event)) is not None]
        found += [event for _, event in sorted(known, key=lambda each: -each[0])[:PER_MEASURE]]
    return names(found)


@settings(max_examples=30)
@given(histories())
def test_what_is_kept_is_what_weighing_each_attempt_plainly_keeps(history: list[list[Event]]) -> None:
    examples = Examples()
    for stretch in history:
        taken(examples, *stretch)
    for agent in "ABC":
        own = [event for stretch in history for event in stretch if event.agent == agent]
        newest = names(own[-PER_AGENT:])
        beside = names(examples.worst(agent, UNREAD))
        assert names(examples.of(agent)) == newest
        assert beside == (plainly(own) - newest if len(own) > PER_AGENT else set())


@settings(max_examples=30)
@given(histories())
def test_to_weigh_what_is_notable_alone_keeps_the_same(history: list[list[Event]]) -> None:
    plain, quick = ({agent: Worst() for agent in "ABC"} for _ in range(2))
    for stretch in history:
        ended = weighable(stretch)
        of = [[place for place, event in enumerate(stretch) if event.agent == agent] for agent in "ABC"]
        least = [worst.least for worst in quick.values()]
        for agent, places, few in zip("ABC", of, notable(ended, of, least, few=0), strict=True):
            plain[agent].weigh(ended, places)
            quick[agent].weigh(ended, few)
    assert [list(worst) for worst in quick.values()] == [list(worst) for worst in plain.values()]
