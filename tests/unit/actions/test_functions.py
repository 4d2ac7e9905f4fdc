"""Actions that are a function of one's own: checked when they are loaded, and called once, whatever happens."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pydantic import BaseModel, Field

from self_healing.actions.registry import read_actions
from self_healing.actions.runner import InlineExecutor
from self_healing.errors import EffectError, EffectRefused
from self_healing.handoffs.channel import Channel
from self_healing.model import Execution, ExecutionStatus, Handoff, HandoffStatus
from self_healing.storage.store import Store
from self_healing.testing import RecordingChannel
from tests.scenarios.conftest import MakeScenario, empty_state, scenario  # noqa: F401 the fixtures
from tests.unit.actions.intents import ACTIONS, effect_on, intend

HERE = "tests.unit.actions.test_functions"
S = ExecutionStatus
CALLS: list[tuple[dict[str, Any], Any]] = []


class Drain(BaseModel):
    """What `drain` takes."""

    queue: str
    keep: int = Field(default=0, ge=0)


def drain(handoff: dict[str, Any], parameters: Drain) -> None:
    CALLS.append((handoff, parameters))


def anything(handoff: dict[str, Any], parameters: Any) -> None:
    CALLS.append((handoff, parameters))


def is_busy(handoff: dict[str, Any], parameters: Any) -> None:
    CALLS.append((handoff, parameters))
    if len(CALLS) == 1:
        raise EffectError("the queue is busy")


def will_not(handoff: dict[str, Any], parameters: Any) -> None:
    raise EffectRefused("not on a Sunday")


def breaks(handoff: dict[str, Any], parameters: Any) -> None:
    CALLS.append((handoff, parameters))
    raise KeyError("sk-proj-0123456789abcdefghijklmnopqrstuvwxyzABCD")


def exits(handoff: dict[str, Any], parameters: Any) -> None:
    CALLS.append((handoff, parameters))
    sys.exit(3)


def is_cancelled(handoff: dict[str, Any], parameters: Any) -> None:
    CALLS.append((handoff, parameters))
    raise asyncio.CancelledError


STORES: list[Store] = []


def is_answered_meanwhile(handoff: dict[str, Any], parameters: Any) -> None:
    known = STORES.pop()
    known.put(msgspec.structs.replace(known.get(Handoff, "hnd-1"), status=HandoffStatus.COMPLETED, result="done"))


def takes_one(handoff: dict[str, Any]) -> None:
    pass


@pytest.fixture(autouse=True)
def _nothing_called() -> None:
    CALLS.clear()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "state") as opened:
        yield opened


def table(function: str, more: str = "") -> str:
    return (
        f'[[action]]\nname = "drain_queue"\ntype = "agent_handoff"\npriority = "high"\ntarget_agent = "Aide"\n'
        f'prompt = "See."\nfunction = "{function}"\n{more}\n'
    )


def problems(directory: Path, function: str, more: str = "") -> list[str]:
    file = directory / "actions.toml"
    file.write_text(table(function, more))
    return [each.removeprefix(f"{file}:") for each in read_actions([file]).problems]


def test_a_function_is_called_with_the_handoff_and_its_checked_parameters_and_its_work_is_judged(
    scenario: MakeScenario,  # noqa: F811 the fixture
    tmp_path: Path,
) -> None:
    (tmp_path / "actions.toml").write_text(
        table(f"{HERE}:drain", 'reversible = true\nparameters = { queue = "slow", keep = 2 }')
    )
    (tmp_path / "triggers.toml").write_text('[[trigger]]\nname = "slow_tasks"\nactions = ["drain_queue"]\n')
    files = {"actions": "actions.toml", "triggers": "triggers.toml"}
    fleet = scenario(settings={kind: {"files": [tmp_path / file]} for kind, file in files.items()})
    fleet.finish("slow", duration_s=70.0)
    handoff = fleet.expect_handoff("slow_tasks", target_agent="Aide")
    [(told, parameters)] = CALLS
    assert (told["id"], parameters) == (handoff.id, Drain(queue="slow", keep=2))
    fleet.at(1).expect_incident("slow_tasks", "Coder", "verifying")  # from when the function had done its work
    for number in range(3):
        fleet.at(10 + number).finish(f"t{number}", duration_s=2.0)
    fleet.at(20).expect_incident("slow_tasks", "Coder", "closed", "healed")
    assert len(CALLS) == 1


def test_what_a_function_does_is_not_taken_for_what_can_be_undone(tmp_path: Path) -> None:
    file = tmp_path / "actions.toml"
    file.write_text(table(f"{HERE}:anything"))
    assert [each.reversible for each in read_actions([file]).checked() if each.name == "drain_queue"] == [False]


@pytest.mark.parametrize(
    ("function", "more", "problem"),
    [
        (f"{HERE}:nothing", "", "cannot be imported: AttributeError"),
        (f"{HERE}:HERE", "", "is no function: allowed is an entry point in self_healing.actions, or module:function"),
        (f"{HERE}:takes_one", "", "it takes 1 arguments, not two: the handoff and the parameters"),
        (f"{HERE}:drain", "", "8: action drain_queue: parameters.queue: missing: allowed is a value"),
        (
            f"{HERE}:drain",
            'parameters = { queue = "q", kep = 1 }',
            "8: action drain_queue: parameters.kep: 1: unknown; did you mean keep? allowed are queue, keep",
        ),
        (
            f"{HERE}:drain",
            'parameters = { queue = "q", keep = -1 }',
            "8: action drain_queue: parameters.keep: -1: allowed is what the function takes: "
            "input should be greater than or equal to 0",
        ),
    ],
)
def test_a_mistake_in_a_function_or_its_parameters_refuses_the_load(
    tmp_path: Path, function: str, more: str, problem: str
) -> None:
    [found] = problems(tmp_path, function, more)
    assert problem.removeprefix("8: ") in found


def run(store: Store, function: str, channel: Channel, *, idempotent: bool = False, tries: int = 0) -> Execution:
    action = ACTIONS["ask"].model_copy(update={"function": f"{HERE}:{function}", "idempotent": idempotent})
    executor = InlineExecutor(effect_on(store, channel, action=lambda _execution: action))
    executor.submit([intend(store, action="ask", tries=tries)])
    return store.get(Execution, "exe-1")


def test_what_it_says_was_not_done_is_tried_again_and_its_handoff_goes_once(store: Store) -> None:
    channel = RecordingChannel()
    ended = run(store, "is_busy", channel)
    assert (ended.status, ended.tries, len(CALLS), len(channel.delivered)) == (S.DISPATCHED, 2, 2, 1)


def test_what_it_refuses_is_failed_at_once(store: Store) -> None:
    ended = run(store, "will_not", RecordingChannel())
    assert (ended.status, ended.tries) == (S.FAILED, 1)
    assert "not on a Sunday" in str(ended.error)


@pytest.mark.parametrize("function", ["breaks", "exits", "is_cancelled"])
def test_after_any_other_exception_nobody_can_tell_and_it_is_not_called_again(store: Store, function: str) -> None:
    channel = RecordingChannel()
    ended = run(store, function, channel)
    assert (ended.status, len(CALLS), channel.delivered) == (S.UNKNOWN, 1, [])


def test_a_handoff_that_its_recipient_answered_meanwhile_stays_answered_and_does_not_go_again(store: Store) -> None:
    channel = RecordingChannel()
    STORES.append(store)
    ended = run(store, "is_answered_meanwhile", channel)
    answered = store.get(Handoff, "hnd-1")
    assert (ended.status, answered.status, channel.calls) == (S.DISPATCHED, HandoffStatus.COMPLETED, 0)


def test_a_function_that_has_run_is_not_called_again_for_a_handoff_that_does_not_go(store: Store) -> None:
    ended = run(store, "anything", RecordingChannel(fails=1))
    assert (ended.status, len(CALLS)) == (S.UNKNOWN, 1)


def test_an_idempotent_one_is_called_as_often_as_may_be_and_then_nobody_can_tell(store: Store) -> None:
    ended = run(store, "breaks", RecordingChannel(), idempotent=True)
    assert (ended.status, ended.tries, len(CALLS)) == (S.UNKNOWN, 3, 3)


@pytest.mark.parametrize(("fails", "status"), [(1, S.DISPATCHED), (3, S.UNKNOWN)])
def test_an_idempotent_one_is_called_again_for_a_handoff_that_does_not_go(
    store: Store, fails: int, status: ExecutionStatus
) -> None:
    assert run(store, "anything", RecordingChannel(fails=fails), idempotent=True).status is status


def test_what_a_crash_cut_off_is_unknown_unless_it_may_be_called_again(store: Store) -> None:
    assert (run(store, "anything", RecordingChannel(), tries=1).status, len(CALLS)) == (S.UNKNOWN, 0)


def test_what_is_idempotent_is_called_again_after_a_crash(store: Store) -> None:
    ended = run(store, "anything", RecordingChannel(), tries=1, idempotent=True)
    assert (ended.status, len(CALLS)) == (S.DISPATCHED, 1)


def test_a_handoff_that_arrived_says_that_the_function_had_done_its_work(store: Store) -> None:
    channel = RecordingChannel()
    run(store, "anything", channel)
    store.put(intended_again(store))
    InlineExecutor(effect_on(store, channel)).recover()
    assert (store.get(Execution, "exe-1").status, len(CALLS)) == (S.DISPATCHED, 1)


def intended_again(store: Store) -> Execution:
    """The execution as a crash right before its outcome leaves it."""
    import msgspec

    return msgspec.structs.replace(store.get(Execution, "exe-1"), status=S.INTENDED)
