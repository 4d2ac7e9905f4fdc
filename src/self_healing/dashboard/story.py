"""The story of an incident in four answers: what is wrong, what was done, whether it worked, what was allowed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final, NamedTuple

from self_healing.wording import amount, plain, span

Json = dict[str, Any]


class Answer(NamedTuple):
    """One answer.

    Args:
        question: what it answers.
        says: in a few words.
        more: what else there is to say, perhaps nothing.
        kind: good, bad, or under way.
    """

    question: str
    says: str
    more: str
    kind: str


def story(told: Json) -> list[Answer]:
    """The four answers.

    Args:
        told: the incident with all that belongs to it, as the service tells it.
    """
    return [_wrong(told), _done(told), _worked(told), _constitution(told)]


def _wrong(told: Json) -> Answer:
    incident = told["incident"]
    unit = incident["unit"]
    value, limit, worst = (amount(incident[name], unit) for name in ("value", "threshold", "peak"))
    usual = "" if incident["baseline"] is None else f"; {amount(incident['baseline'], unit)} was usual"
    over = incident["state"] == "closed"
    more = f"{worst} at its worst{usual}" if worst != value else usual.removeprefix("; ")
    return Answer("What is wrong" if not over else "What was wrong", f"{value}, the limit is {limit}", more, "bad")


def _done(told: Json) -> Answer:
    made = [each for each in told["executions"] if each["status"] not in ("denied", "deferred")]
    set_to = ", ".join(f"{each['name']} = {plain(each['value'])}" for each in told["directives"])
    if not made:
        waits = next((each for each in reversed(told["executions"]) if each["reason"]), None)
        return Answer("What was done", "Nothing", "" if waits is None else waits["reason"], "waits")
    newest = made[-1]
    says = ", ".join(dict.fromkeys(_words(each["action"]) for each in made))
    if newest["status"] == "would":
        return Answer("What would be done", says, "observe mode: nothing is done", "waits")
    more = [f"handed to {newest['target_agent']}" if newest["target_agent"] else "", set_to]
    return Answer("What was done", says, "; ".join(each for each in more if each), "good")


def _worked(told: Json) -> Answer:
    question, incident = "Whether it worked", told["incident"]
    lasted = ""
    if incident["closed_at"] is not None:
        took = datetime.fromisoformat(incident["closed_at"]) - datetime.fromisoformat(incident["opened_at"])
        lasted = f"after {span(round(took.total_seconds()))}"
    judged = next(_judged(told), "")
    match incident["close_reason"] or incident["state"]:
        case "healed":
            return Answer(question, f"Healed {lasted}", judged, "good")
        case "escalated":
            return Answer(question, "No: it is with a person", incident["escalation"] or judged, "bad")
        case "mitigated":
            return Answer(question, "It is better, for as long as what was set stays", judged, "waits")
        case "verifying":
            return Answer(question, "Not known yet", judged, "waits")
        case "open" | "acting":
            return Answer(question, "Not known yet", judged or "nothing is there yet to be judged", "waits")
        case closed:
            return Answer(question, f"{_words(closed).capitalize()} {lasted}", judged, "waits")


def _judged(told: Json) -> Iterator[str]:
    """What the newest verification rests on."""
    for each in reversed(told["verifications"]):
        unit = told["incident"]["unit"] if each["unit"] is None else each["unit"]
        so_far = "" if each["result"] else " so far"
        value = "" if each["value"] is None else f"{amount(each['value'], unit)} "
        yield f"{value}on {each['samples']} of {each['needed']} samples begun after it{so_far}"


def _constitution(told: Json) -> Answer:
    question, decisions = "What the constitution said", told["decisions"]
    if not decisions:
        return Answer(question, "Not asked yet", "", "waits")
    newest = decisions[-1]
    against = ", ".join(
        f"{_words(finding['policy'])} ({number})" for number, found in newest["articles"].items() for finding in found
    )
    action = _words(newest["action"])
    match newest["outcome"]:
        case "allow":
            before = {_BEFORE[each["outcome"]] for each in decisions if each["outcome"] != "allow"}
            more = f"before that {', '.join(sorted(before))}" if before else "nothing against it in any article"
            return Answer(question, f"{action}: allowed", more, "good")
        case "deny":
            return Answer(question, f"{action}: denied", against, "bad")
        case "ask":
            return Answer(question, f"{action}: asks a person", against, "waits")
    return Answer(question, f"{action}: waits its turn", against, "waits")


_BEFORE: Final = {"defer": "deferred", "deny": "denied", "ask": "a person was asked"}
"""What is said of the decisions before the one that allowed it."""


def _words(name: str) -> str:
    return name.replace("_", " ")
