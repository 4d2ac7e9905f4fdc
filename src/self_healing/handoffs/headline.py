"""What a notification says in a line, from what is known of its incident; cleaned already, as evidence is."""

from __future__ import annotations

from typing import Any

from self_healing.model import Handoff


def about(handoff: Handoff) -> dict[str, Any]:
    """The symptom of the incident behind `handoff`; empty where it has none."""
    symptom = handoff.message["context"].get("symptom", {})
    return symptom if isinstance(symptom, dict) else {}


def headline(handoff: Handoff) -> str:
    """What is wrong with whom, and what is wanted."""
    symptom = about(handoff)
    wanted = handoff.message["context"].get("wanted") or "a look at it"
    return f"{symptom.get('trigger', handoff.incident)} of {handoff.about}: {wanted}"
