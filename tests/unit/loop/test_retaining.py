"""Retention of the state: what is over goes in its time with all that belongs to it, and nothing else."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from self_healing.config import Settings
from self_healing.constitution.checkpoints import checkpoints_file, verify
from self_healing.loop.retaining import DELETED
from self_healing.loop.versions import ENTRY
from self_healing.model import (
    Approval,
    Decision,
    Directive,
    Execution,
    Handoff,
    Incident,
    Lesson,
    Record,
    Silence,
    Verification,
)
from self_healing.testing import Scenario

KINDS: tuple[type[Record], ...] = (Incident, Decision, Execution, Handoff, Directive, Verification, Approval, Silence)


def kept(fleet: Scenario) -> dict[str, int]:
    """How many records of each kind there are, those that are none left out."""
    counts = {kind.__name__.lower(): fleet.loop.store.count(kind) for kind in KINDS}
    return {name: count for name, count in counts.items() if count}


def later(fleet: Scenario, days: float) -> None:
    """A commit so long afterwards."""
    fleet.clock.set(fleet.start_at + timedelta(days=days))
    fleet.loop.rest()


@pytest.fixture
def fleet(tmp_path: Path) -> Scenario:
    """A fleet that erred so much that it was paused, which a person dismissed, and whose silences are over."""
    fleet = Scenario(tmp_path, step_s=10)
    for number in range(12):
        fleet.finish(f"t{number}", status="failed")
    fleet.at(30)
    return fleet


def dismissed(fleet: Scenario) -> Scenario:
    for incident in list(fleet.loop.register.open):
        fleet.loop.dismiss(incident, "Ada", "a drill")
    fleet.loop.silence("slow_tasks", {}, timedelta(minutes=1), "Ada", "a drill")
    return fleet.at(1800, step_s=300)


def test_what_is_over_goes_with_all_that_belongs_to_it(fleet: Scenario) -> None:
    before = kept(dismissed(fleet))
    assert {"incident", "decision", "execution", "handoff", "directive", "silence"} <= before.keys()
    later(fleet, 89)
    assert kept(fleet) == before
    later(fleet, 91)
    assert kept(fleet) == {}
    told = fleet.loop.store.fact(DELETED)
    assert {name.removesuffix("s"): count for name, count in told.items()} == before
    assert fleet.loop.store.count(Lesson) > 0
    fleet.loop.close()


def test_an_incident_that_is_not_closed_stays_with_all_that_it_rests_on(fleet: Scenario) -> None:
    incidents, decisions = fleet.loop.store.count(Incident), fleet.loop.store.count(Decision)
    later(fleet, 500)
    assert (fleet.loop.store.count(Incident), fleet.loop.store.count(Decision)) >= (incidents, decisions)
    oldest = min(each.entry for each in fleet.loop.store.select(Decision) if each.entry is not None)
    assert fleet.loop.audit.entry(oldest) is not None
    assert verify(fleet.loop.store, checkpoints_file(fleet.settings.storage.logs_dir)).ok
    fleet.loop.close()


def test_old_entries_leave_the_audit_log_which_holds_and_still_knows_the_loaded_spec(fleet: Scenario) -> None:
    dismissed(fleet)
    later(fleet, 370)
    report = verify(fleet.loop.store, checkpoints_file(fleet.settings.storage.logs_dir))
    assert (report.ok, report.problem) == (True, None)
    assert report.trimmed == fleet.loop.store.fact(DELETED)["audit"] > 0
    left = [entry.kind for entry in fleet.loop.audit.tail(100)]
    assert (ENTRY in left, left[-1]) == (True, "trimmed")
    fleet.restart()
    assert [entry.kind for entry in fleet.loop.audit.tail(100)] == left
    fleet.loop.close()


def test_no_audit_entry_is_kept_shorter_than_the_incident_that_it_is_about() -> None:
    with pytest.raises(ValueError, match=r"allowed is no less than storage\.keep, 30d"):
        Settings.model_validate({"storage": {"keep": "30d", "keep_audit": "29d"}})
