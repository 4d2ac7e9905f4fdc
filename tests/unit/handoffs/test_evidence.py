from __future__ import annotations

from datetime import timedelta

import msgspec

from self_healing.handoffs.evidence import evidence
from self_healing.model import (
    CloseReason,
    Directive,
    HandoffStatus,
    Incident,
    IncidentState,
    Note,
    Result,
    Severity,
    Verification,
    VerificationPhase,
)
from tests.unit.actions.intents import START, execution, handoff

INCIDENT = Incident(
    id="inc-1",
    trigger="slow_tasks",
    group=(("agent", "Coder"),),
    severity=Severity.HIGH,
    state=IncidentState.OPEN,
    opened_at=START,
    first_opened_at=START,
    value=90.0,
    threshold=60.0,
    baseline=None,
    peak=95.0,
    spec_version="v1",
    plan=("strict", "ask"),
    plan_version="plan",
    updated_at=START,
    notes=(Note(at=START, what="detected", text="slow\x1b[0m"),),
)
DIRECTIVE = Directive(
    id="dir-1",
    agent="Coder",
    name="quality_gate",
    value="strict",
    owner="inc-1",
    execution="exe-1",
    kind="quality_enforcement",
    reason="strict for slow_tasks",
    created_at=START,
    expires_at=START + timedelta(hours=1),
)


def test_the_evidence_tells_symptom_what_was_done_and_tried_examples_and_what_was_alike() -> None:
    past = msgspec.structs.replace(INCIDENT, id="inc-0", state=IncidentState.CLOSED, close_reason=CloseReason.HEALED)
    told = evidence(
        INCIDENT,
        unit="s",
        window={"samples": 3, "value": 90.0},
        examples=[{"task": "t1", "error": "boom\u202e"}],
        directives=[DIRECTIVE],
        tried=[execution(1)],
        similar=[past],
        wanted="Find out why.",
        done={"quality_gate": "strict"},
    )
    assert list(told) == [
        "symptom",
        "wanted",
        "done",
        "in_force",
        "tried",
        "examples",
        "differs",
        "similar",
        "timeline",
    ]
    assert told["symptom"]["group"] == {"agent": "Coder"}
    assert told["symptom"]["window"]["samples"] == 3
    assert told["symptom"]["baseline"] is None
    assert (told["symptom"]["unit"], told["similar"][0]["unit"]) == ("s", "s")
    assert told["symptom"]["opened_at"] == "2026-01-05T10:00:00Z"
    assert told["done"] == {"settings": {"quality_gate": "strict"}}
    assert told["in_force"][0]["value"] == "strict"
    assert told["tried"][0]["status"] == "intended"
    assert told["examples"] == [{"task": "t1", "error": "boom\\u202e"}]
    assert told["similar"][0]["close_reason"] == "healed"
    assert told["timeline"][0]["text"] == "slow\\x1b[0m"


def test_what_was_tried_is_told_with_how_it_went() -> None:
    judged = Verification(
        id="ver-1",
        incident="inc-1",
        execution="exe-1",
        trigger="slow_tasks",
        group=(("agent", "Coder"),),
        action="strict",
        phase=VerificationPhase.EFFECT,
        effect_at=START,
        deadline=START,
        needed=3,
        peak=90.0,
        threshold=60.0,
        result=Result.NOT_HEALED,
        value=80.0,
    )
    answered = msgspec.structs.replace(handoff(1), status=HandoffStatus.FAILED, result="no idea\u202e")
    told = evidence(
        INCIDENT,
        unit="s",
        window={},
        examples=[],
        directives=[],
        tried=[execution(1), execution(2)],
        came_to=[judged],
        answers=[answered],
        similar=[],
        wanted="",
        done={},
    )
    first, second = ({k: each[k] for k in ("result", "value_after", "handoff", "answer")} for each in told["tried"])
    assert first == {"result": "not_healed", "value_after": 80.0, "handoff": "failed", "answer": "no idea\\u202e"}
    assert set(second.values()) == {None}
    assert told["symptom"]["times_threshold"] == 1.5


def test_the_newest_part_of_a_long_timeline_is_told() -> None:
    notes = tuple(Note(at=START, what="acted", text=str(n)) for n in range(80))
    incident = msgspec.structs.replace(INCIDENT, notes=notes)
    told = evidence(incident, unit="", window={}, examples=[], directives=[], tried=[], similar=[], wanted="", done={})
    assert [told["timeline"][0]["text"], told["timeline"][-1]["text"]] == ["30", "79"]
