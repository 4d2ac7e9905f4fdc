"""What a notification says in a line."""

from __future__ import annotations

import msgspec

from self_healing.handoffs.headline import headline, name
from tests.unit.actions.intents import handoff


def test_the_name_of_an_agent_cannot_break_out_of_a_title() -> None:
    hostile = msgspec.structs.replace(handoff(1), about="Coder\r\nBcc: all@example.com \u202e" + "A" * 5000)
    assert name(hostile).startswith("Coder\\r\\nBcc: all@example.com \\u202eA")
    assert len(name(hostile)) <= 200
    assert headline(hostile).isprintable()
