"""A drill sends a fault through the real loop, answers it, and says how long each stage took."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from self_healing.clock import FakeClock
from self_healing.config import NO_PORTS, Settings
from self_healing.constitution.stop import stop
from self_healing.drill import AGENT, FILE, Ask, Drill
from self_healing.errors import SelfHealingError
from self_healing.model import Handoff
from self_healing.service import Service
from self_healing.surface import Surface

AT = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)


class Bench:
    """A service on a fake clock, which turns whenever the drill waits."""

    def __init__(self, directory: Path, mode: str) -> None:
        given = {
            "telemetry": {"dir": directory / "telemetry"},
            "storage": {"state_dir": directory / "state", "logs_dir": directory / "logs"},
            "server": NO_PORTS,
            "actions": {"mode": mode},
        }
        self.settings = Settings.model_validate(given)
        self.settings.telemetry.dir.mkdir()
        self.clock = FakeClock(AT)
        self.running = asyncio.Runner()
        self.service = Service(self.settings, clock=self.clock, stop=asyncio.Event())
        self.ask("enable", name="drill", by="Ada")

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        return Surface(self.service.loop).call(command, arguments)

    async def turn(self) -> None:
        await self.service.turn()
        await self.service.loop.executor.drain()

    def close(self) -> None:
        with self.running:
            self.running.run(self.service.close())

    def drill(self, *, turning: bool = True, ask: Ask | None = None) -> dict[str, Any]:
        def sleep(seconds: float) -> None:
            self.clock.advance(max(seconds, 1.0))
            if turning:
                self.running.run(self.turn())

        file = self.settings.telemetry.dir / FILE
        return Drill(ask or self.ask, file, within_s=60, now=self.clock.now, sleep=sleep).run()


Make = Callable[..., Bench]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Make]:
    made: list[Bench] = []

    def make(mode: str = "act") -> Bench:
        made.append(Bench(tmp_path, mode))
        return made[-1]

    yield make
    for each in made:
        each.close()


def stages(told: dict[str, Any]) -> list[str]:
    return [each["stage"] for each in told["stages"]]


def test_a_fault_goes_through_every_stage_and_is_healed(bench: Make) -> None:
    one = bench()
    told = one.drill()
    assert (told["ok"], told["why"]) == (True, None)
    assert stages(told) == ["detected", "allowed", "handed over", "answered", "healed"]
    after = [each["after_s"] for each in told["stages"]]
    assert after == sorted(after)
    assert after[-1] < 30
    [handoff] = one.service.loop.store.select(Handoff)
    assert (handoff.about, handoff.target_agent, handoff.result) == (
        AGENT,
        "ChiefArchitectAgent",
        "A drill: nothing was wrong.",
    )
    assert [each["outcome"] for each in one.ask("history")["history"]] == ["healed"]


def test_drills_are_held_again_and_again_and_the_daily_limit_of_the_constitution_holds_for_them(bench: Make) -> None:
    one = bench()
    came = []
    for _ in range(6):
        came.append(one.drill())
        one.clock.advance(3600)
        one.running.run(one.turn())
    assert [each["ok"] for each in came] == [True] * 5 + [False]
    assert came[-1]["why"] == "the constitution denied analyze_slow_tasks, by article III"
    assert stages(came[-1]) == ["detected"]
    assert len({each["incident"] for each in came}) == 6


def test_a_recipient_may_answer_before_the_drill_does(bench: Make) -> None:
    one = bench()
    plain = one.ask

    def ask(command: str, **arguments: Any) -> dict[str, Any]:
        if command == "complete":
            plain("complete", id=arguments["id"], by="ChiefArchitectAgent", result="I was quicker.")
        return plain(command, **arguments)

    told = one.drill(ask=ask)
    assert (told["ok"], stages(told)[-2:]) == (True, ["answered", "healed"])
    [handoff] = one.service.loop.store.select(Handoff)
    assert handoff.result == "I was quicker."


def test_no_other_trigger_minds_a_drill(bench: Make) -> None:
    one = bench()
    for name in ("quality_score_low", "stuck_tasks", "tool_error_rate"):
        one.ask("enable", name=name, by="Ada")
    one.drill()
    assert {each["trigger"] for each in one.ask("history")["history"]} == {"drill"}


def test_in_observe_mode_nothing_is_handed_over_and_the_rest_is_timed(bench: Make) -> None:
    one = bench("observe")
    told = one.drill()
    assert (told["ok"], told["mode"], stages(told)) == (True, "observe", ["detected", "allowed", "healed"])
    assert one.service.loop.store.select(Handoff) == []


def test_a_drill_is_refused_while_healing_is_stopped(bench: Make) -> None:
    one = bench()
    stop(one.settings.storage.state_dir, "moving house", "Ada", AT)
    with pytest.raises(SelfHealingError, match="healing is stopped: moving house; `self-healing resume-healing` first"):
        one.drill()


def test_a_service_that_stands_still_fails_the_drill(bench: Make) -> None:
    told = bench().drill(turning=False)
    assert (told["ok"], told["incident"], stages(told)) == (False, None, [])
    assert told["why"] == "it was not detected within 60 s"


def test_a_drill_is_refused_while_its_trigger_is_off(bench: Make) -> None:
    one = bench()
    one.ask("disable", name="drill", by="Ada")
    with pytest.raises(SelfHealingError, match="`self-healing triggers enable drill` first"):
        one.drill()
    assert not (one.settings.telemetry.dir / FILE).exists()


def test_a_fault_that_cannot_be_written_says_where_and_what_to_do(bench: Make) -> None:
    held = bench()
    held.settings.telemetry.dir.rmdir()
    with pytest.raises(SelfHealingError, match=f"{FILE}: No such file or directory; make the directory"):
        held.drill()
