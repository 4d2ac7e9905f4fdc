from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from self_healing.handoffs.message import ContextMessageHandoff, file_name, new_handoff, unique_name
from self_healing.model import HandoffStatus

AT = datetime(2026, 1, 5, 10, 0, 0, 123456, tzinfo=UTC)
KEYS = ["target_agent", "prompt", "context", "tags", "created_at", "id", "incident", "execution", "deadline"]


def message(**changes: Any) -> ContextMessageHandoff:
    fields: dict[str, Any] = {
        "target_agent": "Auditor",
        "prompt": "Find out why.\nThen say so.",
        "context": {"symptom": {"value": 90.0}},
        "tags": ("slow",),
        "created_at": AT,
        "id": "hnd-1",
        "incident": "inc-1",
        "execution": "exe-1",
        "deadline": AT + timedelta(minutes=15),
    }
    return ContextMessageHandoff(**{**fields, **changes})


def test_the_json_has_all_nine_keys_with_the_context_as_an_object() -> None:
    written = json.loads(message().to_json())
    assert list(written) == KEYS
    assert written["context"] == {"symptom": {"value": 90.0}}
    assert written["created_at"] == "2026-01-05T10:00:00.123456Z"


def test_the_json_is_indented_for_people() -> None:
    assert message().to_json().startswith(b'{\n  "target_agent": "Auditor",\n')


def test_a_message_survives_its_json_and_its_record() -> None:
    assert ContextMessageHandoff.from_json(message().to_json()) == message()
    assert ContextMessageHandoff.from_dict(message().to_dict()) == message()


def test_times_are_written_in_utc_whatever_zone_they_came_in() -> None:
    elsewhere = AT.astimezone(timezone(timedelta(hours=5)))
    assert message(created_at=elsewhere).to_dict()["created_at"] == "2026-01-05T10:00:00.123456Z"


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="deadline has no time zone"):
        message(deadline=datetime(2026, 1, 5))


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b'{"target_agent": 1}'])
def test_what_is_not_a_handoff_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match="not a handoff"):
        ContextMessageHandoff.from_json(text)


def test_a_new_handoff_is_created_and_not_delivered() -> None:
    handoff = new_handoff(message(), about="Coder", file="handoff.json")
    assert handoff.status is HandoffStatus.CREATED
    assert handoff.delivered_at is None
    assert list(handoff.message) == KEYS


def test_the_file_name_says_when_and_for_whom() -> None:
    assert file_name(AT, "ChiefArchitectAgent") == "handoff_20260105_100000_123456_ChiefArchitectAgent.json"


@pytest.mark.parametrize(
    ("agent", "safe"),
    [("../../etc/passwd", "_.._etc_passwd"), ("a b/c", "a_b_c"), ("", "agent"), ("...", "agent"), ("x" * 99, "x" * 64)],
)
def test_the_agents_name_is_sanitised_in_the_file_name(agent: str, safe: str) -> None:
    assert file_name(AT, agent) == f"handoff_20260105_100000_123456_{safe}.json"


@given(st.text())
def test_a_file_name_is_always_plain_and_short(agent: str) -> None:
    name = file_name(AT, agent)
    assert Path(name).name == name
    assert name.isascii()
    assert len(name) <= 110


def test_a_name_that_is_taken_by_a_file_or_an_intent_is_moved_on_by_a_microsecond(tmp_path: Path) -> None:
    (tmp_path / file_name(AT, "A")).touch()
    (tmp_path / file_name(AT + timedelta(microseconds=2), "A")).symlink_to("nowhere")
    taken = {file_name(AT + timedelta(microseconds=1), "A")}
    assert unique_name(tmp_path, taken, AT, "A") == "handoff_20260105_100000_123459_A.json"


def test_a_name_is_found_before_the_directory_is_made(tmp_path: Path) -> None:
    assert unique_name(tmp_path / "later", (), AT, "A") == file_name(AT, "A")
