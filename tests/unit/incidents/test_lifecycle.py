"""The life of an incident: a model-based walk through every state, and no state without an exit."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from self_healing.errors import LifecycleError
from self_healing.incidents.lifecycle import (
    MOST_NOTES,
    NEXT,
    closed,
    escalated,
    fresh_notes,
    moved,
    noted,
    opened,
    reopenable,
    reopened,
)
from self_healing.model import CloseReason, Incident, IncidentState, Reason, SeriesState, Verdict
from self_healing.triggers.declared import load_triggers

START = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
TRIGGER = next(trigger for trigger in load_triggers([]) if trigger.name == "slow_tasks")


def verdict(at: datetime, value: float = 90.0) -> Verdict:
    return Verdict(
        trigger="slow_tasks",
        group=(("agent", "Coder"),),
        at=at,
        state=SeriesState.FIRING,
        reason=Reason.CONDITION_MET,
        samples=1,
        value=value,
        threshold=60.0,
        spec_version="v1",
    )


def paths(state: IncidentState, seen: frozenset[IncidentState] = frozenset()) -> Iterator[IncidentState]:
    """Every state that can be reached."""
    if state not in seen:
        yield state
        for following in NEXT[state]:
            yield from paths(following, seen | {state})


@pytest.mark.parametrize("state", [state for state in IncidentState if state is not IncidentState.CLOSED])
def test_every_state_leads_to_closed_at_once_and_for_every_reason(state: IncidentState) -> None:
    assert IncidentState.CLOSED in NEXT[state]
    assert set(paths(IncidentState.OPEN)) == set(IncidentState)


class Life(RuleBasedStateMachine):
    """Walks as the loop may walk."""

    def __init__(self) -> None:
        super().__init__()
        self.at = START
        self.incident: Incident = opened(TRIGGER, verdict(START))
        self.first = self.incident

    def _later(self, seconds: int = 1) -> datetime:
        self.at += timedelta(seconds=seconds)
        return self.at

    @rule(to=st.sampled_from(IncidentState))
    def move(self, to: IncidentState) -> None:
        if to in (IncidentState.CLOSED, IncidentState.ESCALATED) or self.incident.state is IncidentState.CLOSED:
            return
        if to in NEXT[self.incident.state]:
            attempts = self.incident.attempts + (to is IncidentState.ACTING)
            self.incident = moved(self.incident, to, self._later(), attempts=attempts)
        else:
            with pytest.raises(LifecycleError, match=f"cannot become {to}"):
                moved(self.incident, to, self._later())

    @precondition(lambda self: self.incident.state not in (IncidentState.CLOSED, IncidentState.ESCALATED))
    @rule()
    def escalate(self) -> None:
        self.incident = escalated(self.incident, self._later(), "nothing is left")

    @precondition(lambda self: self.incident.state is not IncidentState.CLOSED)
    @rule(reason=st.sampled_from(CloseReason))
    def close(self, reason: CloseReason) -> None:
        self.incident = closed(self.incident, self._later(), reason, "over")
        with pytest.raises(LifecycleError):
            closed(self.incident, self._later(), reason, "again")

    @precondition(lambda self: self.incident.state is IncidentState.CLOSED)
    @rule(seconds=st.integers(1, 7200))
    def fire(self, seconds: int) -> None:
        again, before = verdict(self._later(seconds)), self.incident
        within = self.at - (before.closed_at or self.at) <= timedelta(hours=1)
        assert reopenable(before, self.at) == within
        if reopenable(before, self.at):
            self.incident = reopened(before, TRIGGER, again)
            assert self.incident.attempts == before.attempts
        else:
            self.incident = opened(TRIGGER, again)
            assert self.incident.id != before.id

    @invariant()
    def says_why(self) -> None:
        state = self.incident.state
        assert (state is IncidentState.CLOSED) == (self.incident.close_reason is not None)
        assert (state is not IncidentState.ESCALATED) or self.incident.escalation is not None
        assert len(self.incident.notes) <= MOST_NOTES


Life.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestLife = Life.TestCase


@given(st.integers(0, 250), st.integers(0, 30))
def test_the_new_lines_of_a_timeline_are_found_even_where_the_oldest_went(before: int, added: int) -> None:
    incident = opened(TRIGGER, verdict(START))
    for number in range(before):
        incident = noted(incident, START, "x", str(number))
    later = incident
    for number in range(added):
        later = noted(later, START, "y", str(number))
    assert [note.text for note in fresh_notes(incident.notes, later.notes)] == [str(n) for n in range(added)]
    assert fresh_notes((), later.notes) == later.notes


def test_what_a_person_saw_of_an_earlier_opening_says_nothing_about_the_next() -> None:
    seen = msgspec.structs.replace(opened(TRIGGER, verdict(START)), acknowledged_by="Ada")
    over = closed(seen, START, CloseReason.HEALED, "well")
    assert over.acknowledged_by == "Ada"
    assert reopened(over, TRIGGER, verdict(START)).acknowledged_by is None


def test_a_timeline_says_values_with_their_unit() -> None:
    assert opened(TRIGGER, verdict(START, 97.27)).notes[0].text == "97.27s, threshold 1m, on 1 sample"
