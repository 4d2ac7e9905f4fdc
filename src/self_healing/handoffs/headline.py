"""What a notification says in a line, from what is known of its incident; cleaned already, as evidence is."""

from __future__ import annotations

from typing import Any

from self_healing.handoffs.cleaning import clean_text
from self_healing.labelling import LABEL, label, marked
from self_healing.model import Handoff

MOST_NAME = 200
"""Characters of the name of an agent, which is text from telemetry."""


def name(handoff: Handoff) -> str:
    """Whom it is about, made harmless: a title of mail with a line break in it is a header of somebody else's."""
    return clean_text(handoff.about, MOST_NAME)


def about(handoff: Handoff) -> dict[str, Any]:
    """The symptom of the incident behind `handoff`; empty where it has none."""
    symptom = handoff.message["context"].get("symptom", {})
    return symptom if isinstance(symptom, dict) else {}


def asked(handoff: Handoff) -> dict[str, Any]:
    """What a person is asked to allow, and until when; empty where it is not about an approval."""
    approval = handoff.message["context"].get("approval", {})
    names = ("id", "action", "target", "settings", "calls", "parameters", "expires_at", "plan")
    return {name: approval[name] for name in names if approval.get(name)}


def environment(handoff: Handoff) -> dict[str, str]:
    """Which of several fleets it is about, as a label; empty where there is only one."""
    return label(str(handoff.message["context"].get(LABEL) or ""))


def headline(handoff: Handoff) -> str:
    """What is wrong with whom, and what is wanted; which fleet it is comes first."""
    symptom = about(handoff)
    wanted = handoff.message["context"].get("wanted") or "a look at it"
    told = f"{symptom.get('trigger', handoff.incident)} of {name(handoff)}: {wanted}"
    return marked(environment(handoff).get(LABEL, ""), told)
