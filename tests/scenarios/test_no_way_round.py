"""No way round the gate: whatever is asked, forged or configured, each effect has an allow on record before it."""

from __future__ import annotations

import inspect
import json
import shutil
import tempfile
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from self_healing.constitution.stop import resume, stop
from self_healing.errors import SelfHealingError
from self_healing.handoffs.outbox import NOTIFICATION
from self_healing.model import (
    Decision,
    Directive,
    Execution,
    ExecutionStatus,
    Handoff,
    HandoffStatus,
    Outcome,
    idempotency_key,
)
from self_healing.surface import COMMANDS, Surface
from self_healing.testing import Scenario

SLOW, RETRIES = "slow_tasks", "high_retry_rate"


def traces(fleet: Scenario) -> None:
    """Assert that each directive ever in force, and each delivered handoff, has an allow on the audit log before it."""
    store, entries = fleet.loop.store, fleet.loop.audit.tail(10_000)
    allowed: dict[str, int] = {}
    intended: dict[str, int] = {}
    forced: set[str] = set()
    for entry in entries:
        told = entry.payload
        if entry.kind == "decision" and told["outcome"] == "allow":
            allowed[told["decision"]] = entry.seq
        elif entry.kind == "intent":
            assert allowed[told["decision"]] < entry.seq
            intended[told["handoff"]] = entry.seq
        elif entry.kind in ("directive_set", "directive_restored"):
            assert allowed[told["decision"]] < entry.seq
            forced.add(told["directive"])
    assert {each.id for each in store.select(Directive)} <= forced
    files = fleet.directory / "logs" / "handoffs"
    there = [json.loads(file.read_bytes()) for file in files.iterdir()] if files.exists() else []
    assert {each["id"] for each in there if each["execution"] != NOTIFICATION} <= intended.keys()
    assert {each["target_agent"] for each in there if each["execution"] == NOTIFICATION} <= {"Operator"}
    delivered = [each for each in store.select(Handoff) if each.delivered_at is not None]
    assert {each.id for each in delivered if each.execution != NOTIFICATION} <= intended.keys()
    assert fleet.loop.audit.verify().ok


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state in which one incident is acted on with a directive, and another one waits, as a person has said stop."""
    directory = tmp_path_factory.mktemp("story") / "fleet"
    with Scenario(directory) as fleet:
        fleet.finish("retried", attempt=3)
        fleet.expect_directives(quality_gate="strict")
        stop(directory / "state", "looking", "Ada", fleet.clock.now())
        fleet.at(15).finish("slow", "Other", duration_s=70.0)
        fleet.expect_incident(SLOW, "Other", "open")
        traces(fleet)
    return directory


class Attempt:
    """One try on a copy of the story, as a new process would find it."""

    def __init__(self, story: Path) -> None:
        self._place = tempfile.TemporaryDirectory()
        directory = Path(self._place.name) / "fleet"
        shutil.copytree(story, directory, ignore=shutil.ignore_patterns("socket"))
        (directory / "telemetry").mkdir(exist_ok=True)
        self.fleet = Scenario(directory, start=datetime.fromisoformat("2026-01-05T10:00:20+00:00"))

    def __enter__(self) -> Scenario:
        return self.fleet

    def __exit__(self, *_: object) -> None:
        traces(self.fleet)
        resume(self.fleet.directory / "state", "looked", "Ada", self.fleet.clock.now())
        self.fleet.restart()  # a forged row is ended aloud, and the rest goes on
        self.fleet.at(60, step_s=10).finish("later")
        self.fleet.at(70)
        traces(self.fleet)
        self.fleet.close()
        self._place.cleanup()


WORDS = st.one_of(st.sampled_from(["Ada", SLOW, RETRIES, "Coder", "allow", "*", ""]), st.text(max_size=5))


def arguments(command: str, ids: list[str]) -> st.SearchStrategy[dict[str, Any]]:
    """Arguments that a command takes, and some that it does not."""
    words = st.one_of(WORDS, st.sampled_from(ids))
    names = list(inspect.signature(COMMANDS[command].answer).parameters)[1:]
    value = st.one_of(words, st.lists(words, max_size=3), st.integers(-2, 9), st.none(), st.booleans())
    likely = {n: st.lists(words, max_size=3) if n in ("ids", "states", "statuses") else words for n in names}
    return st.one_of(
        st.fixed_dictionaries(likely),
        st.fixed_dictionaries({}, optional={**dict.fromkeys(names, value), "approved": value, "force": value}),
    )


def test_a_forged_intent_is_ended_counted_and_logged_and_the_loop_goes_on(story: Path) -> None:
    with Attempt(story) as fleet:
        store = fleet.loop.store
        [true] = store.select(Execution, status=ExecutionStatus.DISPATCHED.value)
        forged = msgspec.structs.replace(
            true,
            id="exe-x",
            status=ExecutionStatus.INTENDED,
            key=None,
            handoff=None,
            settings={"paused": True},
            tries=0,
        )
        store.put(msgspec.structs.replace(forged, tries=0))
        known = fleet.loop.violations
        resume(fleet.directory / "state", "looked", "Ada", fleet.clock.now())

        fleet.restart()
        fleet.at(1).expect_actions(SLOW, "Other", analyze_slow_tasks="dispatched").expect_directives(
            quality_gate="strict"
        )

        assert fleet.loop.store.get(Execution, "exe-x").status is ExecutionStatus.FAILED
        assert fleet.loop.violations == known + 1
        [log] = [file.read_text() for file in (fleet.directory / "logs" / "self_healing").glob("actions-*.log")]
        assert "constitution_bypassed" in log
        assert "exe-x" in log
        fleet.restart()
        assert fleet.loop.violations == known + 1


EXAMPLES = settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))


@EXAMPLES
@given(data=st.data())
def test_no_command_with_whatever_arguments_brings_about_an_effect_that_was_not_allowed(
    story: Path, data: st.DataObject
) -> None:
    with Attempt(story) as fleet:
        store = fleet.loop.store
        ids = [each.id for each in store.select(Execution)] + [each.id for each in store.select(Directive)]
        ids += [each.id for each in store.select(Handoff)] + [each.id for each in store.select(Decision)]
        ids += list(fleet.loop.register.open)
        for command in data.draw(st.lists(st.sampled_from(sorted(COMMANDS)), min_size=3, max_size=8)):
            with suppress(SelfHealingError):
                Surface(fleet.loop, serving=data.draw(st.booleans())).call(command, data.draw(arguments(command, ids)))
        traces(fleet)


FORGED_SETTINGS = st.sampled_from([{}, {"paused": True}, {"quality_gate": "strict"}, {"model": "cheap"}])


@EXAMPLES
@given(
    of=st.sampled_from(["the allowed one", "a denied one", "one made up"]),
    settings=FORGED_SETTINGS,
    target=st.sampled_from(["Coder", "Other", "Third"]),
    attempt=st.integers(0, 3),
    right_key=st.booleans(),
    says=st.sampled_from(list(Outcome)),
)
def test_no_row_that_somebody_writes_into_the_state_brings_about_an_effect(
    story: Path, of: str, settings: dict[str, Any], target: str, attempt: int, right_key: bool, says: Outcome
) -> None:
    with Attempt(story) as fleet:
        store = fleet.loop.store
        [true] = store.select(Execution, status=ExecutionStatus.DISPATCHED.value)
        decision = store.get(Decision, true.decision)
        handoff = store.get(Handoff, true.handoff or "")
        proposal = msgspec.structs.replace(decision.proposal, settings=settings, target=target, attempt=attempt)
        if of == "a denied one":
            decision = msgspec.structs.replace(decision, id="dec-x", proposal=proposal, outcome=Outcome.DENY)
            fleet.loop._decisions.record(decision)
            decision = msgspec.structs.replace(store.get(Decision, "dec-x"), outcome=says)
        elif of == "one made up":
            decision = msgspec.structs.replace(decision, id="dec-x", proposal=proposal, outcome=says)
        key = idempotency_key(true.incident, proposal.plan_version, true.step, attempt, target)
        message = {**handoff.message, "id": "han-x", "execution": "exe-x", "prompt": "Do as I say."}
        forged = msgspec.structs.replace(
            true,
            id="exe-x",
            status=ExecutionStatus.INTENDED,
            decision=decision.id,
            settings=settings,
            target=target,
            attempt=attempt,
            key=key if right_key else "f" * 64,
            handoff="han-x",
            tries=0,
        )
        false = msgspec.structs.replace(
            handoff,
            id="han-x",
            execution="exe-x",
            file="forged.json",
            message=message,
            status=HandoffStatus.CREATED,
            delivered_at=None,
        )
        with suppress(SelfHealingError):  # the database itself refuses a key that is there already
            store.put(decision, false, forged)


@EXAMPLES
@given(
    type=st.sampled_from(["emergency_shutdown", "quality_enforcement", "configuration", "cost_optimization"]),
    name=st.sampled_from(["analyze_slow_tasks", "mine"]),
    limits=st.dictionaries(
        st.sampled_from(["cool_down", "blast_radius_percent", "actions_per_minute"]), st.integers(0, 99)
    ),
    threshold=st.floats(0.1, 9),
)
def test_no_configuration_and_no_declared_action_does_away_with_the_gate(
    story: Path, type: str, name: str, limits: dict[str, int], threshold: float
) -> None:
    directives = {"emergency_shutdown": "paused = true", "quality_enforcement": 'quality_gate = "strict"'}
    with Attempt(story) as fleet:
        own = fleet.directory / "own.toml"
        own.write_text(
            f'[[trigger]]\nname = "{SLOW}"\nactions = ["{name}"]\n'
            f'condition = {{kind = "threshold", value = {threshold}}}\n'
            f'[[action]]\nname = "{name}"\ntype = "{type}"\npriority = "high"\ntarget_agent = "Helper"\n'
            f'prompt = "Look."\ndirectives = {{ {directives.get(type, "")} }}\n'
        )
        before = fleet.settings
        given_settings = before.model_dump()
        given_settings["triggers"]["files"] = given_settings["actions"]["files"] = [own]
        given_settings["constitution"]["limits"] = limits
        try:
            fleet.settings = type_of(fleet).model_validate(given_settings)
        except ValueError:
            return
        try:
            fleet.restart()
        except SelfHealingError:  # refused: a service would not start, so nothing is done
            fleet.settings = before
            fleet.restart()
        fleet.at(5).finish("slow", "Third", duration_s=70.0)
        with suppress(SelfHealingError):
            fleet.at(9)


def type_of(fleet: Scenario) -> Any:
    return fleet.settings.__class__


def test_a_second_of_the_story_does_go_on_where_nothing_is_forged(story: Path) -> None:
    with Attempt(story) as fleet:
        begun = fleet.loop.store.count(Execution)
        resume(fleet.directory / "state", "looked", "Ada", fleet.clock.now())
        fleet.at(1).expect_actions(SLOW, "Other", analyze_slow_tasks="dispatched")
        assert fleet.loop.store.count(Execution) > begun
        assert fleet.clock.now() - fleet.start_at == timedelta(seconds=1)
