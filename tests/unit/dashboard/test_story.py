"""The story of an incident: four answers that a person reads in ten seconds."""

from __future__ import annotations

from typing import Any

import pytest

from self_healing.dashboard.story import Answer, story

INCIDENT = {
    "value": 0.571,
    "threshold": 0.2,
    "peak": 0.727,
    "baseline": None,
    "unit": "%",
    "state": "verifying",
    "close_reason": None,
    "escalation": None,
    "opened_at": "2026-01-05T10:00:00Z",
    "closed_at": None,
}
EXECUTION = {
    "action": "handle_error_spike",
    "status": "succeeded",
    "target_agent": "TestGeneratorAgent",
    "reason": None,
}
PAUSED = {"name": "paused", "value": True}
JUDGED = {"samples": 3, "needed": 10, "value": 0.0, "unit": None, "result": None}
NOTHING: dict[str, Any] = {"I": [], "II": [], "III": [], "IV": [], "V": []}
ALLOWED = {"action": "handle_error_spike", "outcome": "allow", "articles": NOTHING}
LIMITED = {**ALLOWED, "outcome": "defer", "articles": {**NOTHING, "III": [{"policy": "rate_limit"}]}}


def told(*, lists: dict[str, Any] | None = None, **changes: Any) -> list[Answer]:
    found = {
        "incident": INCIDENT | changes,
        "executions": [EXECUTION],
        "directives": [PAUSED],
        "verifications": [JUDGED],
        "decisions": [ALLOWED],
    }
    return story(found | (lists or {}))


def test_an_incident_that_is_verified_is_told_in_four_answers() -> None:
    assert told() == [
        Answer("What is wrong", "57.1 %, the limit is 20 %", "72.7 % at its worst", "bad"),
        Answer("What was done", "handle error spike", "handed to TestGeneratorAgent; paused = yes", "good"),
        Answer("Whether it worked", "Not known yet", "0 % on 3 of 10 samples begun after it so far", "waits"),
        Answer(
            "What the constitution said",
            "handle error spike: allowed",
            "nothing against it in any article",
            "good",
        ),
    ]


@pytest.mark.parametrize(
    ("state", "says", "kind"),
    [
        (
            {"state": "closed", "close_reason": "healed", "closed_at": "2026-01-05T10:19:02Z"},
            "Healed after 19m 2s",
            "good",
        ),
        (
            {"state": "closed", "close_reason": "dismissed", "closed_at": "2026-01-05T10:05:00Z"},
            "Dismissed after 5m",
            "waits",
        ),
        ({"state": "escalated", "escalation": "out of attempts"}, "No: it is with a person", "bad"),
        ({"state": "mitigated"}, "It is better, for as long as what was set stays", "waits"),
        ({"state": "open"}, "Not known yet", "waits"),
    ],
)
def test_whether_it_worked_is_said_of_each_state(state: dict[str, Any], says: str, kind: str) -> None:
    worked = told(**state)[2]
    assert (worked.says, worked.kind) == (says, kind)


@pytest.mark.parametrize(
    ("decisions", "says", "more", "kind"),
    [
        ([], "Not asked yet", "", "waits"),
        ([LIMITED], "handle error spike: waits its turn", "rate limit (III)", "waits"),
        ([LIMITED, ALLOWED], "handle error spike: allowed", "before that deferred", "good"),
        ([{**LIMITED, "outcome": "deny"}], "handle error spike: denied", "rate limit (III)", "bad"),
        ([{**LIMITED, "outcome": "ask"}], "handle error spike: asks a person", "rate limit (III)", "waits"),
    ],
)
def test_the_newest_decision_is_told_with_what_is_held_against_it(
    decisions: list[Any], says: str, more: str, kind: str
) -> None:
    assert told(lists={"decisions": decisions})[3] == Answer("What the constitution said", says, more, kind)


@pytest.mark.parametrize(
    ("executions", "question", "says", "more"),
    [
        ([], "What was done", "Nothing", ""),
        (
            [{**EXECUTION, "status": "deferred", "reason": "the rate limit"}],
            "What was done",
            "Nothing",
            "the rate limit",
        ),
        (
            [{**EXECUTION, "status": "would"}],
            "What would be done",
            "handle error spike",
            "observe mode: nothing is done",
        ),
    ],
)
def test_what_was_not_done_is_said_with_why(executions: list[Any], question: str, says: str, more: str) -> None:
    assert told(lists={"executions": executions})[1] == Answer(question, says, more, "waits")
