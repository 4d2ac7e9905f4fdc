"""What a notification says in a line."""

from __future__ import annotations

from typing import Any

import msgspec

from self_healing.handoffs.headline import asked, headline, name
from tests.unit.actions.intents import handoff


def test_the_name_of_an_agent_cannot_break_out_of_a_title() -> None:
    hostile = msgspec.structs.replace(handoff(1), about="Coder\r\nBcc: all@example.com \u202e" + "A" * 5000)
    assert name(hostile).startswith("Coder\\r\\nBcc: all@example.com \\u202eA")
    assert len(name(hostile)) <= 200
    assert headline(hostile).isprintable()


def test_what_a_person_is_asked_to_allow_is_told_where_there_is_a_question() -> None:
    plain = handoff(1)
    approval: dict[str, Any] = {"id": "apr-1", "action": "erase", "calls": "wipe --all", "parameters": {}, "by": None}
    told = msgspec.structs.replace(plain, message={**plain.message, "context": {"approval": approval}})
    assert asked(told) == {"id": "apr-1", "action": "erase", "calls": "wipe --all"}
    assert asked(plain) == {}
