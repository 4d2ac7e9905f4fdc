"""Which past incidents say most about one."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from self_healing.incidents.similar import similar
from self_healing.model import CAUSE, Incident, IncidentState
from self_healing.storage.store import Store
from tests.unit.constitution.fine import incident

CLOSED = {"state": IncidentState.CLOSED}


def past(id: str, **group: str) -> Incident:
    return msgspec.structs.replace(incident(id, **CLOSED), group=tuple(group.items()))


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ([past("a", agent="Coder"), past("b", agent="Coder")], ["b", "a"]),
        (
            [past("a", agent="Coder", model="m"), past("b", agent="Coder", model="n"), past("c", agent="X")],
            ["a", "b", "c"],
        ),
        ([past("a", agent="Coder"), msgspec.structs.replace(past("b", agent="Coder"), trigger="other")], ["a"]),
        ([past("a", agent="Coder"), incident("b")], ["a"]),
        ([past("a", agent="Coder"), past("b", **{CAUSE: "model=m"})], ["a"]),
        ([past(str(number), agent="Coder") for number in range(8)], ["7", "6", "5", "4", "3"]),
    ],
    ids=["newest first", "nearest first", "of its trigger", "closed ones", "of series", "five"],
)
def test_the_nearest_and_then_the_newest_of_its_trigger_are_told(
    known: list[Incident], expected: list[str], tmp_path: Path
) -> None:
    asked = msgspec.structs.replace(incident("asked"), group=(("agent", "Coder"), ("model", "m")))
    with Store(tmp_path, durable=False) as store:
        store.put(*known, past("asked", agent="Coder"))
        assert [each.id for each in similar(store, asked)] == expected
