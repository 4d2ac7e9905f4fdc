"""What every executor keeps to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Literal

import msgspec
import pytest

from self_healing.actions.effect import CRASH_POINTS, STALE, STOPPED
from self_healing.actions.runner import Executor, InlineExecutor, LocalExecutor
from self_healing.errors import ConstitutionBypass, NotFound
from self_healing.handoffs.channel import Channel
from self_healing.model import Decision, Directive, Execution, ExecutionStatus, Handoff, HandoffStatus, Outcome
from self_healing.spec import Limits
from self_healing.storage.store import Store
from self_healing.testing import FakeClock, RecordingChannel
from tests.unit.actions.intents import START, decision, directives_in, effect_on, execution, handoff, intend, record

S = ExecutionStatus


class Crash(BaseException):
    """The process ended here."""


@dataclass
class Bench:
    """An executor with all that it works on; `during` runs a test's steps in a loop, and closes the executor."""

    kind: Literal["inline", "local"]
    store: Store
    channel: Channel = field(default_factory=RecordingChannel)
    clock: FakeClock = field(default_factory=lambda: FakeClock(START))
    stopped: Callable[[], bool] = lambda: False
    fresh: Callable[[Decision], bool] = lambda _decision: True
    crash: Callable[[str], None] = lambda _point: None
    bypassed: Callable[[ConstitutionBypass], None] = lambda _bypass: None

    def during(self, steps: Callable[[Executor], Awaitable[None]]) -> None:
        async def run() -> None:
            executor = self._executor()
            await steps(executor)
            await executor.drain()
            await executor.close()

        asyncio.run(run())

    def submit(self, *ids: str) -> None:
        async def steps(executor: Executor) -> None:
            executor.submit(ids)

        self.during(steps)

    def recover(self) -> list[Execution]:
        found: list[Execution] = []

        async def steps(executor: Executor) -> None:
            found.extend(executor.recover())

        self.during(steps)
        return found

    def execution(self, id: str = "exe-1") -> Execution:
        return self.store.get(Execution, id)

    def in_force(self) -> list[str]:
        return [each.name for each in directives_in(self.store).in_force(at=self.clock.now())]

    def _executor(self) -> Executor:
        effect = effect_on(
            self.store,
            self.channel,
            now=self.clock.now,
            stopped=self.stopped,
            fresh=self.fresh,
            crash=self.crash,
            bypassed=self.bypassed,
        )
        return InlineExecutor(effect) if self.kind == "inline" else LocalExecutor(effect, Limits)


@pytest.fixture(params=["inline", "local"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    with Store(tmp_path / "state") as store:
        yield Bench(request.param, store)


def recording(bench: Bench) -> RecordingChannel:
    assert isinstance(bench.channel, RecordingChannel)
    return bench.channel


def test_an_effect_sets_its_directives_delivers_its_handoff_and_is_dispatched(bench: Bench) -> None:
    bench.submit(intend(bench.store))
    done = bench.execution()
    assert (done.status, done.effect_at, done.tries, done.error) == (S.DISPATCHED, START, 1, None)
    [directive] = bench.store.select(Directive)
    assert (directive.agent, directive.name, directive.value) == ("Coder", "quality_gate", "strict")
    assert (directive.owner, directive.expires_at) == ("inc-1", START + timedelta(hours=1))
    delivered = bench.store.get(Handoff, "hnd-1")
    assert (delivered.status, delivered.delivered_at) == (HandoffStatus.DELIVERED, START)
    assert recording(bench).calls == 1


def test_the_effect_of_a_mere_handoff_is_not_there_before_it_is_completed(bench: Bench) -> None:
    bench.submit(intend(bench.store, action="ask"))
    assert (bench.execution().status, bench.execution().effect_at) == (S.DISPATCHED, None)


def test_an_action_without_a_handoff_is_dispatched_by_its_directives(bench: Bench) -> None:
    bench.submit(intend(bench.store, handoff=None))
    assert (bench.execution().status, bench.in_force()) == (S.DISPATCHED, ["quality_gate"])
    assert recording(bench).calls == 0


def test_each_effect_happens_once_however_often_it_is_submitted(bench: Bench) -> None:
    ids = [intend(bench.store, n) for n in range(1, 8)]

    async def steps(executor: Executor) -> None:
        for _ in range(3):
            executor.submit([*ids, *ids])
            executor.recover()
        await executor.drain()
        executor.submit(ids)

    bench.during(steps)
    assert recording(bench).calls == 7
    assert {bench.execution(id).tries for id in ids} == {1}
    assert bench.store.count(Directive) == 7


def test_the_most_urgent_goes_first(bench: Bench) -> None:
    def one_at_a_time(point: str) -> None:
        if point == "effect.directives":
            order.extend(e.action for e in bench.store.select(Execution) if e.tries and e.action not in order)

    order: list[str] = []
    bench.crash = one_at_a_time
    actions = ["ask_once", "ask", "strict", "pause"]
    bench.submit(*[intend(bench.store, n, action) for n, action in enumerate(actions, 1)])
    assert order == actions[::-1]


@pytest.mark.parametrize("status", [status for status in S if status is not S.INTENDED])
def test_what_is_not_intended_is_left_alone(bench: Bench, status: ExecutionStatus) -> None:
    before = execution(1, status=status)
    bench.store.put(decision(before), handoff(1), before)
    bench.submit("exe-1")
    assert bench.recover() == []
    assert bench.execution() == before
    assert recording(bench).calls == 0


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome is not Outcome.ALLOW])
def test_what_the_gate_did_not_allow_is_refused(bench: Bench, outcome: Outcome) -> None:
    allowed = intend(bench.store, 2)
    refused = execution(1)
    bench.store.put(decision(refused, outcome), handoff(1), refused)
    with pytest.raises(ConstitutionBypass, match=f"exe-1 is refused: decision dec-1 says {outcome.value}"):
        bench.submit(allowed, "exe-1")
    assert recording(bench).calls == 0
    assert bench.store.count(Directive) == 0


def test_what_the_gate_allowed_for_something_else_is_refused(bench: Bench) -> None:
    intended = execution(1)
    record(bench.store, decision(intended))
    bench.store.put(handoff(1), msgspec.structs.replace(intended, settings={"paused": True}))
    with pytest.raises(ConstitutionBypass, match="decision dec-1 is about another settings"):
        bench.submit("exe-1")


def test_what_the_gate_did_not_allow_is_ended_at_the_next_start_and_the_rest_goes_on(bench: Bench) -> None:
    heard: list[str] = []
    bench.bypassed = lambda bypass: heard.append(bypass.execution)
    forged = execution(1)
    record(bench.store, decision(forged, Outcome.DENY))
    bench.store.put(handoff(1), forged)
    other = intend(bench.store, 2)
    intend(bench.store, 3, handoff="hnd-2")
    missing = intend(bench.store, 4, handoff="hnd-9")

    assert [each.id for each in bench.recover()] == [other]

    assert heard == ["exe-1", "exe-3", missing]
    for id in heard:
        assert (bench.execution(id).status, bench.execution(id).tries) == (S.FAILED, 0)
        assert "only what the gate allowed is ever done" in (bench.execution(id).error or "")
    assert bench.execution(other).status is S.DISPATCHED
    assert [each.id for each in recording(bench).delivered] == ["hnd-2"]
    assert bench.store.get(Handoff, "hnd-1").status is HandoffStatus.FAILED
    assert bench.recover() == []


def test_what_is_changed_while_it_waits_for_its_effect_is_ended_before_it(bench: Bench) -> None:
    def tampered(point: str) -> None:
        if point == "intent.committed":
            bench.store.put(msgspec.structs.replace(bench.execution(), target="Other"))

    bench.crash = tampered
    bench.submit(intend(bench.store))
    assert (bench.execution().status, recording(bench).calls) == (S.FAILED, 0)
    assert bench.store.count(Directive) == 0


def test_a_decision_that_is_not_on_the_audit_log_allows_nothing(bench: Bench) -> None:
    intended = execution(1)
    bench.store.put(decision(intended), handoff(1), intended)
    with pytest.raises(ConstitutionBypass, match="decision dec-1 is not what the audit log has"):
        bench.submit("exe-1")


def test_a_denial_that_was_made_an_allow_in_the_state_allows_nothing(bench: Bench) -> None:
    intended = execution(1)
    record(bench.store, decision(intended, Outcome.DENY))
    denied = bench.store.get(Decision, "dec-1")
    bench.store.put(msgspec.structs.replace(denied, outcome=Outcome.ALLOW), handoff(1), intended)
    with pytest.raises(ConstitutionBypass, match="decision dec-1 is not what the audit log has"):
        bench.submit("exe-1")


def test_a_key_that_is_not_that_of_the_decision_is_refused(bench: Bench) -> None:
    with pytest.raises(ConstitutionBypass, match="idempotency key is not that"):
        bench.submit(intend(bench.store, key="0" * 64))


def test_the_handoff_of_another_execution_is_refused(bench: Bench) -> None:
    intend(bench.store, 2)
    with pytest.raises(ConstitutionBypass, match="handoff hnd-2 is not its own"):
        bench.submit(intend(bench.store, 3, handoff="hnd-2"))


def test_an_intent_without_a_key_is_refused(bench: Bench) -> None:
    with pytest.raises(ConstitutionBypass, match="no idempotency key"):
        bench.submit(intend(bench.store, key=None))


def test_an_unknown_execution_is_not_found_and_nothing_is_begun(bench: Bench) -> None:
    with pytest.raises(NotFound):
        bench.submit(intend(bench.store), "exe-9")
    assert recording(bench).calls == 0


def test_the_stop_keeps_an_execution_from_its_effect(bench: Bench) -> None:
    bench.stopped = lambda: True
    bench.submit(intend(bench.store))
    assert (bench.execution().status, bench.execution().error) == (S.FAILED, STOPPED)
    assert (recording(bench).calls, bench.store.count(Directive)) == (0, 0)


def test_the_stop_is_asked_again_before_another_try(bench: Bench) -> None:
    bench.channel = RecordingChannel(fails=1)
    bench.stopped = lambda: recording(bench).calls > 0
    bench.submit(intend(bench.store))
    assert (bench.execution().status, bench.execution().error) == (S.FAILED, STOPPED)
    assert (recording(bench).calls, bench.in_force()) == (1, [])


def test_a_failing_delivery_is_tried_again(bench: Bench) -> None:
    bench.channel = RecordingChannel(fails=2)
    bench.submit(intend(bench.store))
    assert (bench.execution().status, bench.execution().tries) == (S.DISPATCHED, 3)
    assert bench.store.count(Directive) == 1


def test_a_delivery_that_surely_failed_is_tried_again_even_where_nobody_can_probe(bench: Bench) -> None:
    bench.channel = RecordingChannel(fails=1, probes=False)
    bench.submit(intend(bench.store))
    assert (bench.execution().status, recording(bench).calls) == (S.DISPATCHED, 2)


def test_after_the_last_try_it_has_failed_and_its_directives_are_undone(bench: Bench) -> None:
    bench.channel = RecordingChannel(fails=3)
    bench.submit(intend(bench.store))
    failed = bench.execution()
    assert (failed.status, failed.tries) == (S.FAILED, 3)
    assert failed.error == "handoff hnd-1 was refused, as this channel was told to"
    assert bench.in_force() == []
    assert bench.store.select(Directive)[0].undone_reason == failed.error
    assert bench.store.get(Handoff, "hnd-1").status is HandoffStatus.FAILED


def test_an_action_that_is_no_longer_declared_fails(bench: Bench) -> None:
    bench.submit(intend(bench.store, action="gone"))
    assert (bench.execution().status, bench.execution().error) == (S.FAILED, "action 'gone' is no longer declared")
    assert recording(bench).calls == 0


def test_a_handoff_that_expired_before_it_was_delivered_is_not_delivered(bench: Bench) -> None:
    id = intend(bench.store)
    bench.store.put(handoff(1, status=HandoffStatus.EXPIRED))
    bench.submit(id)
    assert (bench.execution().status, recording(bench).calls, bench.in_force()) == (S.FAILED, 0, [])
    assert "expired before it was delivered" in (bench.execution().error or "")


def crash_at(bench: Bench, point: str) -> None:
    """Submit, and lose the process at `point`."""

    def crash(passed: str) -> None:
        if passed == point:
            raise Crash(point)

    bench.crash = crash
    with suppress(Crash):
        bench.submit(intend(bench.store))
    bench.crash = lambda _point: None


@pytest.mark.parametrize("point", CRASH_POINTS)
def test_after_a_crash_the_effect_has_happened_once(bench: Bench, point: str) -> None:
    crash_at(bench, point)
    bench.clock.advance(60)
    found = bench.recover()
    assert [each.id for each in found] == ([] if point == "outcome.committed" else ["exe-1"])
    assert bench.execution().status is S.DISPATCHED
    assert bench.store.get(Handoff, "hnd-1").status is HandoffStatus.DELIVERED
    assert recording(bench).calls == 1
    assert bench.store.count(Directive) == 1


def test_the_effect_is_at_the_moment_its_directives_were_written_even_after_a_crash(bench: Bench) -> None:
    crash_at(bench, "effect.directives")
    bench.clock.advance(60)
    bench.recover()
    assert bench.execution().effect_at == START


def too_old(bench: Bench) -> None:
    bench.fresh = lambda _decision: False
    bench.recover()


@pytest.mark.parametrize("point", ["intent.committed", "effect.directives"])
def test_what_was_not_delivered_by_a_decision_that_is_too_old_is_undone(bench: Bench, point: str) -> None:
    crash_at(bench, point)
    too_old(bench)
    assert (bench.execution().status, bench.execution().error) == (S.FAILED, STALE)
    assert (bench.in_force(), recording(bench).calls) == ([], 0)
    assert bench.store.get(Handoff, "hnd-1").status is HandoffStatus.FAILED


def test_what_was_delivered_in_time_gets_its_outcome_however_late(bench: Bench) -> None:
    crash_at(bench, "effect.delivered")
    too_old(bench)
    assert (bench.execution().status, recording(bench).calls) == (S.DISPATCHED, 1)


def test_what_nobody_can_tell_of_is_unknown_however_late(bench: Bench) -> None:
    bench.channel = RecordingChannel(probes=False)
    crash_at(bench, "effect.directives")
    too_old(bench)
    assert bench.execution().status is S.UNKNOWN


def test_no_further_try_is_made_by_a_decision_that_has_become_too_old(bench: Bench) -> None:
    bench.channel = RecordingChannel(fails=1)
    bench.fresh = lambda _decision: recording(bench).calls == 0
    bench.submit(intend(bench.store))
    assert (bench.execution().error, recording(bench).calls, bench.in_force()) == (STALE, 1, [])


@pytest.mark.parametrize("point", ["effect.directives", "effect.delivered"])
def test_after_a_crash_that_nobody_can_probe_it_is_unknown_and_not_repeated(bench: Bench, point: str) -> None:
    bench.channel = RecordingChannel(probes=False)
    crash_at(bench, point)
    calls = recording(bench).calls
    bench.recover()
    assert bench.execution().status is S.UNKNOWN
    assert "ask Auditor whether it came" in (bench.execution().error or "")
    assert recording(bench).calls == calls
    assert bench.in_force() == ["quality_gate"]


def test_after_a_crash_before_anything_was_begun_it_runs_even_where_nobody_can_probe(bench: Bench) -> None:
    bench.channel = RecordingChannel(probes=False)
    crash_at(bench, "intent.committed")
    bench.recover()
    assert (bench.execution().status, recording(bench).calls) == (S.DISPATCHED, 1)


def test_what_the_stop_finds_delivered_after_a_crash_gets_its_outcome(bench: Bench) -> None:
    crash_at(bench, "effect.delivered")
    bench.stopped = lambda: True
    bench.recover()
    assert bench.execution().status is S.DISPATCHED


def test_what_the_stop_finds_undelivered_after_a_crash_is_undone(bench: Bench) -> None:
    crash_at(bench, "effect.directives")
    bench.stopped = lambda: True
    bench.recover()
    assert (bench.execution().status, bench.in_force(), recording(bench).calls) == (S.FAILED, [], 0)


def test_a_handoff_that_was_answered_before_recovery_keeps_its_answer(bench: Bench) -> None:
    crash_at(bench, "effect.delivered")
    bench.store.put(handoff(1, status=HandoffStatus.EXPIRED))
    bench.recover()
    assert bench.execution().status is S.DISPATCHED
    assert bench.store.get(Handoff, "hnd-1").status is HandoffStatus.EXPIRED
