"""What is written at the end of a turn comes back whole."""

from pathlib import Path

import numpy as np
import pytest

from self_healing import checkpoint
from self_healing.config import Settings, load_spec
from self_healing.measures import MICRO, Measure
from self_healing.model import Event, Kind, SeriesState, Usage
from self_healing.storage.store import Store
from self_healing.telemetry.telemetry import Telemetry
from self_healing.triggers.framework import TriggerFramework
from tests.unit.triggers.engine import Engine, finished
from tests.unit.triggers.engine import trigger as declared

START_S = 1_767_607_200
SPEC = load_spec(Settings())


def engine() -> tuple[Telemetry, TriggerFramework]:
    telemetry = Telemetry(SPEC.triggers)
    return telemetry, TriggerFramework(SPEC, telemetry)


def feed(telemetry: Telemetry, agents: int, at_s: int) -> None:
    """A task each that ends, one each that goes on running, and one each that lies ahead and waits."""
    done = [
        Event(
            kind="task_finished",
            task_id="done",
            agent=f"agent-{number}",
            attempt=1,
            status="success",
            duration_s=5.0 + number,
            usage=Usage(total_tokens=1000 + number, total_usd=0.01),
        )
        for number in range(agents)
    ]
    begun = [Event(kind="task_started", task_id="runs", agent=f"agent-{number}", attempt=1) for number in range(agents)]
    kinds = [int(Kind.TASK_FINISHED)] * agents + [int(Kind.TASK_STARTED)] * agents
    telemetry.account(2 * agents, {})
    telemetry.queue(done + begun, np.array(kinds, np.uint8), np.full(2 * agents, at_s * MICRO, np.int64))
    telemetry.fold()
    ahead = Event(kind="heartbeat", task_id="runs", agent="agent-0")
    telemetry.account(1, {})
    telemetry.queue([ahead], np.array([int(Kind.HEARTBEAT)], np.uint8), np.array([(at_s + 60) * MICRO], np.int64))


def save(store: Store, telemetry: Telemetry, framework: TriggerFramework, at_s: int) -> None:
    with store.transaction():
        checkpoint.save(store, telemetry, framework, checkpoint.Progress(evaluated_us=at_s * MICRO), [])


@pytest.mark.parametrize("agents", [1, 8, 9, 40])
def test_a_restart_finds_every_window_baseline_and_running_task_as_it_was(tmp_path: Path, agents: int) -> None:
    telemetry, framework = engine()
    feed(telemetry, agents, START_S)
    framework.evaluate((START_S + 90) * MICRO)
    with Store(tmp_path) as store:
        save(store, telemetry, framework, START_S + 90)
    again, same = engine()
    with Store(tmp_path) as store:
        progress = checkpoint.load(store, again, same)
    assert progress.evaluated_us == (START_S + 90) * MICRO
    t_us = (START_S + 91) * MICRO
    for trigger in SPEC.triggers:
        measure = Measure.of(trigger)
        for name in ("count", "amount", "maximum", "minimum"):
            before, after = (each.window(measure, trigger.window * MICRO, t_us) for each in (telemetry, again))
            np.testing.assert_array_equal(getattr(after, name), getattr(before, name))
        np.testing.assert_array_equal(again.oldest_running(measure), telemetry.oldest_running(measure))
    assert same.verdicts(t_us) == framework.verdicts(t_us)
    assert again.accounting == telemetry.accounting
    assert again.accounting.in_flight == 1


def test_a_turn_that_did_not_commit_leaves_the_state_of_the_one_before(tmp_path: Path) -> None:
    telemetry, framework = engine()
    feed(telemetry, 3, START_S)
    with Store(tmp_path) as store:
        save(store, telemetry, framework, START_S)
        committed = telemetry.accounting
        telemetry.fold()

        def turn_that_fails() -> None:
            with store.transaction():
                checkpoint.save(store, telemetry, framework, checkpoint.Progress(evaluated_us=START_S * 2), [])
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            turn_that_fails()
        again, same = engine()
        progress = checkpoint.load(store, again, same)
    assert progress.evaluated_us == START_S * MICRO
    assert again.accounting == committed


def test_a_trigger_that_was_gone_for_a_while_begins_anew(tmp_path: Path) -> None:
    spec = SPEC.model_copy(update={"triggers": (declared(**{"for": 60}), *SPEC.triggers)})
    for lives, state in ((spec, SeriesState.PENDING), (SPEC, None), (spec, SeriesState.INACTIVE)):
        engine = Engine(*lives.triggers)
        with Store(tmp_path) as store:
            checkpoint.load(store, engine.telemetry, engine.framework)
            if state is SeriesState.PENDING:
                engine.push(finished(1, 70))
                engine.at(2)
            assert state is None or engine.state() is state
            save(store, engine.telemetry, engine.framework, START_S + 2)
