"""Page by page every event comes once, whatever the times are, and wherever each stands by then."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from self_healing.telemetry.query.files import Places
from self_healing.telemetry.query.pages import page
from self_healing.telemetry.query.rows import Wanted
from tests.unit.telemetry.query.test_belonging import span
from tests.unit.telemetry.query.test_find import ALL, as_ingested, native, places, segment, ts, us


def paged(where: Places, limit: int, wanted: Wanted = ALL) -> list[dict[str, Any]]:
    """All events, asked for in pages of `limit`."""
    told: list[dict[str, Any]] = []
    cursor = None
    while True:
        found = page(where, wanted, limit, cursor)
        told += [row.told for row in found.rows]
        if found.cursor is None:
            return told
        assert len(found.rows) == limit
        cursor = found.cursor


SECONDS = st.lists(st.tuples(st.integers(0, 3), st.sampled_from("ab")), max_size=12)


@settings(max_examples=40, deadline=None)
@given(SECONDS, SECONDS, st.integers(1, 6))
def test_every_event_is_on_one_page_however_many_share_an_instant(
    ours: list[tuple[int, str]], theirs: list[tuple[int, str]], limit: int
) -> None:
    both = [[{"ts": ts(at), "id": id, "type": "heartbeat"} for at, id in each] for each in (ours, theirs)]
    with TemporaryDirectory() as name:
        segment(Path(name), *map(as_ingested, both[0]))
        native(Path(name), *both[1])
        told = paged(places(Path(name)), limit)
    expected = sorted(((us(at), id) for at, id in ours + theirs), reverse=True)
    assert sorted(((us(0) + _since(row), row["task_id"]) for row in told), reverse=True) == expected
    assert [row["ts"] for row in told] == sorted((row["ts"] for row in told), reverse=True)


def _since(row: dict[str, Any]) -> int:
    return int(float(row["ts"][17:-1]) * 1_000_000)


def test_what_is_compacted_between_two_pages_comes_once(tmp_path: Path) -> None:
    segment(tmp_path, *(as_ingested({"ts": ts(0), "id": f"t{number}", "type": "heartbeat"}) for number in range(9)))
    first = page(places(tmp_path), ALL, 4)
    segment(tmp_path, compacted=True)
    second = page(places(tmp_path), ALL, 4, first.cursor)
    third = page(places(tmp_path), ALL, 4, second.cursor)
    told = [row.told["task_id"] for found in (first, second, third) for row in found.rows]
    assert sorted(told) == [f"t{number}" for number in range(9)]
    assert third.cursor is None


def test_a_call_whose_agent_ends_between_two_pages_comes_once(tmp_path: Path) -> None:
    segment(tmp_path, *(span(f"s{number}", "tool", "root") for number in range(5)))
    first = page(places(tmp_path), ALL, 3)
    segment(tmp_path, span("root", "agent", at=9, agent="Coder"))
    second = page(places(tmp_path), ALL, 3, first.cursor)
    told = [row.told["attributes"]["span_id"] for found in (first, second) for row in found.rows]
    assert sorted(told) == [f"s{number}" for number in range(5)]
    assert {row.told["agent"] for row in second.rows} == {"Coder"}


def test_what_comes_in_meanwhile_moves_nothing(tmp_path: Path) -> None:
    native(tmp_path, *({"ts": ts(at), "id": f"t{at}"} for at in range(4)))
    first = page(places(tmp_path), ALL, 2)
    native(tmp_path, {"ts": ts(9), "id": "new"})
    second = page(places(tmp_path), ALL, 2, first.cursor)
    assert [row.told["task_id"] for found in (first, second) for row in found.rows] == ["t3", "t2", "t1", "t0"]


@pytest.mark.parametrize("cursor", ["", "x", "-1", "1-2", "1-0123456789abcdef-", "99999999999999999"])
def test_what_no_page_said_is_refused(cursor: str, tmp_path: Path) -> None:
    native(tmp_path, {"ts": ts(0), "id": "t"})
    with pytest.raises(ValueError, match="allowed is what the page before said as next"):
        page(places(tmp_path), ALL, 2, cursor)
