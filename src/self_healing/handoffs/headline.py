"""What a notification says in a line, from what is known of its incident; cleaned already, as evidence is."""

from __future__ import annotations

from typing import Any

from self_healing.model import Handoff


def about(handoff: Handoff) -> dict[str, Any]:
    """The symptom of the incident behind `handoff`; empty where it has none."""
    symptom = handoff.message["context"].get("symptom", {})
    return symptom if isinstance(symptom, dict) else {}


def environment(handoff: Handoff) -> dict[str, str]:
    """Which of several fleets it is about, as a label; empty where there is only one."""
    name = handoff.message["context"].get("environment")
    return {"environment": str(name)} if name else {}


def headline(handoff: Handoff) -> str:
    """What is wrong with whom, and what is wanted; which fleet it is comes first."""
    symptom, label = about(handoff), environment(handoff)
    wanted = handoff.message["context"].get("wanted") or "a look at it"
    where = f"[{label['environment']}] " if label else ""
    return f"{where}{symptom.get('trigger', handoff.incident)} of {handoff.about}: {wanted}"
