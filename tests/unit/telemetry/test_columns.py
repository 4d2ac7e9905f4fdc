"""Grouping by whatever a line carries: fields that no column holds, texts, numbers, and true or false."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from self_healing.model import Event
from self_healing.telemetry.columns import asked_attributes, getter, put, text_of
from self_healing.telemetry.lines import NATIVE, native_asking
from self_healing.telemetry.native import attributes_of, decode
from self_healing.telemetry.reader import DirectoryReader
from tests.unit.triggers.engine import Engine, absence, at_us, finished, started, trigger

NOW_US = at_us(1000)


@pytest.mark.parametrize(
    ("value", "text"),
    [("red", "red"), (3, "3"), (2.5, "2.5"), (True, "true"), (False, "false"), (None, None), ([1], None), ({}, None)],
)
def test_what_is_no_list_and_no_object_has_a_text(value: object, text: str | None) -> None:
    assert text_of(value) == text
    assert getter("attributes.team")(Event(attributes={"team": value})) == text


def test_a_column_and_an_attribute_are_read_as_they_were_put() -> None:
    event = Event(model="m", attributes={"a": 1})
    put(event, "model", "n")
    put(event, "attributes.team", "red")

    assert [getter(each)(event) for each in ("model", "attributes.team", "attributes.a", "attributes.none")] == [
        "n",
        "red",
        "1",
        None,
    ]


def test_what_is_asked_for_is_what_triggers_group_by_and_filter_on() -> None:
    tried = trigger(group_by=("agent", "attributes.team"), where={"attributes.env": "prod", "model": "m"})

    assert asked_attributes([tried, trigger(name="other")]) == ("env", "team")
    assert native_asking(()) is NATIVE
    assert native_asking(("model",)) is NATIVE  # a field that is a column is none else


names = st.sampled_from(["team", "service.name", "x y", "pid", "asked_0"])
values = st.one_of(st.text(max_size=5), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.booleans())


@given(
    lines=st.lists(
        st.tuples(st.dictionaries(names, values, max_size=3), st.none() | st.dictionaries(names, values, max_size=2)),
        min_size=1,
        max_size=5,
    ),
    asked=st.sets(names, max_size=3).map(lambda each: tuple(sorted(each))),
    bad=st.booleans(),
)
@example(lines=[({"service.name": -(2**63) - 1}, None)], asked=("service.name",), bad=False)
def test_a_field_that_is_asked_for_is_the_one_that_all_attributes_of_the_line_have(
    lines: list[tuple[dict[str, Any], dict[str, Any] | None]], asked: tuple[str, ...], bad: bool
) -> None:
    texts = [
        json.dumps({"ts": finished(1)["ts"], **fields, **({} if inner is None else {"attributes": inner})}).encode()
        for fields, inner in lines
    ]
    text = b"\n".join([*texts, *([b"{nonsense"] if bad else [])])

    decoded = decode(text, now_us=NOW_US, form=native_asking(asked))

    assert len(decoded.events) == len(lines)
    for event, line in zip(decoded.events, texts, strict=True):
        whole = Event(attributes=attributes_of(line))
        for name in asked:
            assert getter(f"attributes.{name}")(event) == getter(f"attributes.{name}")(whole)


def test_a_line_is_decoded_as_ever_beside_what_is_asked_for() -> None:
    line = json.dumps({**finished(1, 5.0, id="t", q=0.5), "team": "red"}).encode()

    [asked] = decode(line, now_us=NOW_US, form=native_asking(("team",))).events
    [plain] = decode(line, now_us=NOW_US).events

    assert asked.attributes == {"team": "red"}
    names = [name for name in Event.__struct_fields__ if name != "attributes"]
    assert [getattr(asked, name) for name in names] == [getattr(plain, name) for name in names]


def test_groups_are_told_apart_by_an_attribute() -> None:
    engine = Engine(trigger(group_by=("attributes.team",)))
    engine.push(finished(1, 60.0, team="red"), finished(1, 1.0, team="blue"), finished(1, 90.0))

    assert {change.verdict.group for change in engine.at(1)} == {
        (("attributes.team", "red"),),
        (("attributes.team", "unknown"),),
    }


def test_only_what_has_that_attribute_is_measured() -> None:
    engine = Engine(trigger(where={"attributes.canary": "true"}))
    engine.push(finished(1, 60.0, canary=False), finished(1, 1.0, canary=True))
    engine.at(1)

    assert (engine.verdict(1).samples, engine.verdict(1).value) == (1, 1.0)


def test_a_running_task_counts_by_its_age_for_the_attribute_that_its_start_named() -> None:
    engine = Engine(trigger(group_by=("attributes.team",)))
    engine.push({**started(0, "t"), "team": "red"})
    engine.at(0)

    [change] = engine.at(60)

    assert change.verdict.group == (("attributes.team", "red"),)


def test_a_late_call_joins_the_group_that_its_task_ended_in() -> None:
    tried = trigger(signal="task.tokens", aggregate="sum", group_by=("attributes.team",))
    engine = Engine(tried)
    engine.push(finished(1, 1.0, id="t", team="red", junk="x"))
    engine.at(1)
    engine.push({"ts": finished(2)["ts"], "type": "llm_call", "id": "t", "agent": "A", "usage": {"total_tokens": 70}})

    engine.at(2)

    assert engine.framework.verdict("tried", (("attributes.team", "red"),), at_us(2)).value == 70


def test_silence_of_a_group_by_an_attribute() -> None:
    engine = Engine(absence(group_by=("attributes.team",)))
    engine.push(finished(0, 1.0, team="red"), finished(50, 1.0, team="blue"), finished(50, 1.0))

    assert [agent for _, _, agent, _, _ in engine.every_instant(0, 70)] == ["red"]


def test_a_reader_fills_what_is_asked_for_at_the_time(tmp_path: Path) -> None:
    asked: list[str] = []
    reader = DirectoryReader(tmp_path, attributes=lambda: tuple(asked))
    file = tmp_path / "a.jsonl"
    line = json.dumps({**finished(1), "type": "log", "team": "red"}) + "\n"
    file.write_text(line)
    assert [event.attributes for event in reader.read(NOW_US).events] == [None]

    asked.append("team")
    file.write_text(line * 2)

    assert [event.attributes for event in reader.read(NOW_US).events] == [{"team": "red"}]
