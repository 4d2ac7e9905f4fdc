"""The life of incidents, whatever happens: a random fleet, random people, and rules that hold after every step."""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
from collections import Counter, defaultdict
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from self_healing.constitution.stop import resume, stop
from self_healing.handoffs.inbox import OPEN
from self_healing.incidents.lifecycle import NEXT
from self_healing.model import (
    Directive,
    Execution,
    Handoff,
    HandoffStatus,
    Incident,
    IncidentState,
    Verification,
)
from self_healing.storage import schema
from self_healing.storage.store import Store
from self_healing.testing import Scenario

AGENTS = {"A": "m-2", "B": "m-2", "C": "m-2", **dict.fromkeys("DEFGHIJ", "m-1")}
WORK: dict[str, dict[str, Any]] = {
    "good": {"duration_s": 5.0},
    "slow": {"duration_s": 90.0},
    "retried": {"duration_s": 1.0, "attempt": 3},
    "slower": {"duration_s": 300.0},
    "failed": {"duration_s": 1.0, "status": "failed"},
}
STRICT = {"attempts_per_target_per_day": 2, "cool_down": 60, "actions_per_minute": 2}
LOOSE = {"blast_radius_percent": 100, "fleet_stop_percent": 100, "cool_down": 0}

who = st.sampled_from(sorted(AGENTS))


@cache
def empty_state() -> Path:
    directory = Path(tempfile.mkdtemp(prefix="self-healing-life-"))
    atexit.register(shutil.rmtree, directory)
    Store(directory / "state").close()
    return directory / "state"


class Life(RuleBasedStateMachine):
    """Drives the real loop: what happens to a fleet, what people do, and time."""

    @initialize(limits=st.sampled_from([{}, STRICT, LOOSE]), mode=st.sampled_from(["act", "act", "act", "observe"]))
    def begin(self, limits: dict[str, int], mode: str) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="self-healing-life-"))
        shutil.copytree(empty_state(), self.directory / "state")
        given = {"constitution": {"limits": limits}, "actions": {"mode": mode}}
        self.fleet = Scenario(self.directory, settings=given)
        self.tasks = 0
        for agent in AGENTS:
            self.finish(agent, "good")

    def finish(self, agent: str, how: str) -> None:
        self.tasks += 1
        self.fleet.finish(f"t{self.tasks}", agent, model=AGENTS[agent], **WORK[how])

    def later(self, seconds: float) -> None:
        self.fleet.at(self.fleet.now_s + seconds, step_s=max(1, round(seconds / 3)))
        self.fleet.handoffs("nobody")  # which looks at this instant

    # -- the fleet

    @rule(agents=st.sets(who, min_size=1, max_size=4), how=st.sampled_from(sorted(WORK)))
    def work(self, agents: set[str], how: str) -> None:
        for agent in sorted(agents):
            self.finish(agent, how)
        self.later(1)

    @rule(how=st.sampled_from(["slow", "retried"]))
    def the_model_is_ill(self, how: str) -> None:
        for agent in "ABC":
            self.finish(agent, how)
        self.later(2)

    @rule(agents=st.sets(who, min_size=1, max_size=10), how=st.sampled_from(["good", "good", "slow", "retried"]))
    def work_anew(self, agents: set[str], how: str) -> None:
        """Three tasks each that begin now and end a little later."""
        self.later(1)
        begun = self.fleet.clock.now().timestamp()
        self.later(6)
        for agent in sorted(agents):
            for _ in range(3):
                self.tasks += 1
                fields = {"model": AGENTS[agent], **WORK[how], "started_at": begun}
                self.fleet.finish(f"t{self.tasks}", agent, **fields)
        self.later(1)

    @rule(agent=who)
    def hang(self, agent: str) -> None:
        self.tasks += 1
        self.fleet.start(f"t{self.tasks}", agent, model=AGENTS[agent])

    @rule(to=st.sampled_from([HandoffStatus.COMPLETED, HandoffStatus.COMPLETED, HandoffStatus.FAILED]))
    def answer(self, to: HandoffStatus) -> None:
        for handoff in self.fleet.loop.store.select(Handoff, status=[each.value for each in OPEN]):
            if handoff.status in (HandoffStatus.DELIVERED, HandoffStatus.ACCEPTED):
                self.fleet.loop.move_handoff(handoff.id, to, "Helper", "done")
        self.later(1)

    # -- people

    def newest(self) -> Incident | None:
        return next(reversed(self.fleet.loop.register.open.values()), None)

    @rule(close=st.booleans())
    def a_person_looks(self, close: bool) -> None:
        incident = self.newest()
        if incident is not None and close:
            self.fleet.loop.dismiss(incident.id, "Ada", "none")
        elif incident is not None:
            self.fleet.loop.acknowledge(incident.id, "Ada", "seen")
        self.later(1)

    @rule(agent=who, minutes=st.sampled_from([1, 10, 90]))
    def mute(self, agent: str, minutes: int) -> None:
        self.fleet.loop.silence(None, {"agent": agent}, timedelta(minutes=minutes), "Ada", "a drill")
        self.later(1)

    @rule()
    def undo_directives(self) -> None:
        in_force = self.fleet.loop.store.select(Directive, open="yes")
        self.fleet.loop.undo_directives([each.id for each in in_force], "Ada", "enough")
        self.later(1)

    @rule(on=st.booleans())
    def stop_or_resume(self, on: bool) -> None:
        directory = self.fleet.settings.storage.state_dir
        if on:
            stop(directory, "looking", "Ada", self.fleet.clock.now())
        else:
            resume(directory, "looked", "Ada", self.fleet.clock.now())
        self.later(1)

    # -- time

    @rule(seconds=st.sampled_from([10, 60, 320, 1000, 4000]))
    def wait(self, seconds: int) -> None:
        self.later(seconds)

    @rule()
    def a_new_process(self) -> None:
        self.fleet.restart()

    # -- what always holds

    def open(self) -> list[Incident]:
        states = [state.value for state in IncidentState if state is not IncidentState.CLOSED]
        return self.fleet.loop.store.select(Incident, state=states)

    @invariant()
    def a_series_has_one_incident_at_most(self) -> None:
        if hasattr(self, "fleet"):
            assert set(Counter((i.trigger, i.group) for i in self.open()).values()) <= {1}

    @invariant()
    def nothing_of_a_closed_incident_is_in_force_or_judged(self) -> None:
        if hasattr(self, "fleet"):
            ids = {incident.id: incident for incident in self.open()}
            store = self.fleet.loop.store
            assert {each.owner for each in store.select(Directive, open="yes")} <= set(ids)
            judged = Counter(each.incident for each in store.select(Verification, open="yes"))
            assert set(judged.values()) <= {1}
            assert {ids[id].state for id in judged} <= {IncidentState.VERIFYING, IncidentState.MITIGATED}

    @invariant()
    def what_is_beneath_a_parent_is_open_only_with_it(self) -> None:
        if hasattr(self, "fleet"):
            ids = {incident.id: incident for incident in self.open()}
            for incident in ids.values():
                assert incident.parent is None or ids[incident.parent].is_parent

    @invariant()
    def nobody_tries_more_often_than_the_limit_says(self) -> None:
        if hasattr(self, "fleet"):
            effects = self.fleet.loop.store.select(Execution)
            tried = Counter(each.incident for each in effects if each.key is not None and each.step >= 0)
            assert all(count <= self.fleet.loop.spec.limits.attempts_per_incident for count in tried.values())

    def teardown(self) -> None:
        if not hasattr(self, "fleet"):
            return
        try:
            self.every_state_is_left_when_nothing_is_heard_for_a_day()
            self.every_step_was_allowed()
            assert self.fleet.loop.audit.verify().ok
        finally:
            self.fleet.close()
            shutil.rmtree(self.directory)

    def every_state_is_left_when_nothing_is_heard_for_a_day(self) -> None:
        # A task that hangs counts by its age until it is lost, after a day; what then still fires is open for another.
        self.fleet.at(self.fleet.now_s + 52 * 3600, step_s=7200)
        self.fleet.expect_nothing_open()

    def every_step_was_allowed(self) -> None:
        stood: defaultdict[str, IncidentState | None] = defaultdict(lambda: None)
        audit = schema.audit
        query = sa.select(audit.c.payload).where(audit.c.kind == "incident").order_by(audit.c.seq)
        for (payload,) in self.fleet.loop.store.rows(query):
            step = _decoded(payload)
            now, before = IncidentState(step["state"]), stood[step["incident"]]
            assert now is IncidentState.OPEN if before is None else now in NEXT[before]
            stood[step["incident"]] = now


def _decoded(payload: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(payload)
    return found


Life.TestCase.settings = settings(
    max_examples=10,
    stateful_step_count=10,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],  # a failure tells its steps at once; to shorten them would take minutes
    suppress_health_check=list(HealthCheck),
)
TestLife = Life.TestCase
