"""A service follows its configuration: all of it or nothing, and what is under way goes on."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from self_healing import status
from self_healing.clock import FakeClock
from self_healing.config import Settings
from self_healing.constitution.audit import Audit
from self_healing.documents import Documents
from self_healing.errors import ConfigError
from self_healing.given import load_settings
from self_healing.model import Decision, Reason
from self_healing.reloading import Configuration
from self_healing.service import Service
from self_healing.surface import Surface
from self_healing.testing import MONDAY

FIVE_MINUTES = '[[trigger]]\nname = "slow_tasks"\ncondition = { kind = "threshold", op = ">=", value = 300 }\n'


class Bench:
    """A service on a fake clock, with its configuration in files."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "telemetry").mkdir()
        self.triggers = directory / "triggers.toml"
        self.triggers.write_text("")
        self.config = directory / "self-healing.toml"
        self.configure()
        self.clock = FakeClock(MONDAY)
        self.told: list[str] = []
        self.reading_fails: Exception | None = None
        self.committing_fails: Exception | None = None
        self.service = self._service()

    def configure(self, sections: str = "", triggers: str = "") -> None:
        self.config.write_text(
            f"""
            [telemetry]
            dir = "{self.directory}/telemetry"
            [storage]
            state_dir = "{self.directory}/state"
            logs_dir = "{self.directory}/logs"
            [triggers]
            files = ["{self.triggers}"]
            {triggers}
            {sections}
            """
        )

    def settings(self) -> Settings:
        if self.reading_fails is not None:
            raise self.reading_fails
        return load_settings(self.config, environ={}, flags={})

    def _crash(self, _point: str) -> None:
        failing, self.committing_fails = self.committing_fails, None
        if failing is not None:
            raise failing

    def _hear(self, what: str, line: str) -> None:
        self.told.append(f"{what}: {line}")

    def _service(self) -> Service:
        configuration = Configuration(self.config, self.settings)
        self.stop, self.hangup = asyncio.Event(), asyncio.Event()
        return Service(
            configuration.settings(),
            clock=self.clock,
            stop=self.stop,
            crash=self._crash,
            on_health=self._hear,
            on_reload=self._hear,
            configuration=configuration,
            hangup=self.hangup,
        )

    def look(self, times: int = 2) -> list[bool]:
        """Look at the files so often; each time, whether they were read."""

        async def looking() -> list[bool]:
            assert self.service.reloader is not None
            return [await self.service.reloader.look() for _ in range(times)]

        return asyncio.run(looking())

    def turn(self, seconds: float = 1) -> None:
        self.clock.advance(seconds)
        asyncio.run(self.service.turn())

    def event(self, kind: str, **fields: Any) -> None:
        line = json.dumps({"ts": self.clock.now().isoformat(), "type": kind, "agent": "Coder", **fields})
        with (self.directory / "telemetry" / "events.jsonl").open("a") as file:
            file.write(line + "\n")

    def call(self, command: str, **arguments: Any) -> dict[str, Any]:
        return Surface(self.service.loop).call(command, arguments)

    def state_of(self, trigger: str) -> str:
        return self.service.loop.framework.state_of(trigger, (("agent", "Coder"),)).name.lower()

    def logged(self) -> list[dict[str, Any]]:
        (file,) = (self.directory / "logs" / "self_healing").glob("orchestrator-*.log")
        return [json.loads(line) for line in file.read_text().splitlines()]

    def close(self) -> None:
        asyncio.run(self.service.close())

    def restart(self) -> None:
        """A new process."""
        self.close()
        self.service = self._service()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.close()


def test_nothing_is_read_while_nothing_changed(bench: Bench) -> None:
    assert bench.look(3) == [False, False, False]


def test_a_changed_file_is_followed_once_it_is_no_longer_being_written(bench: Bench) -> None:
    bench.triggers.write_text(FIVE_MINUTES[:20])
    assert bench.look(1) == [False]
    bench.triggers.write_text(FIVE_MINUTES)
    assert bench.look(3) == [False, True, False]
    assert bench.service.loop.spec.trigger("slow_tasks").condition.value == 300  # type: ignore[union-attr] # a threshold
    changed = f"reloaded: {bench.triggers} changed: trigger slow_tasks: condition.value: 60.0 -> 300.0"
    assert bench.told == [changed]


def test_a_file_that_is_replaced_by_one_of_the_same_size_and_time_is_followed(bench: Bench) -> None:
    bench.triggers.write_text(FIVE_MINUTES)
    bench.look()
    times = bench.triggers.stat()
    other = bench.directory / "other.toml"
    other.write_text(FIVE_MINUTES.replace("300", "400"))
    os.utime(other, ns=(times.st_atime_ns, times.st_mtime_ns))
    other.replace(bench.triggers)
    assert bench.look() == [False, True]
    assert "300.0 -> 400.0" in bench.told[-1]


def test_what_changed_is_logged_audited_and_shown_by_status_and_history(bench: Bench) -> None:
    before = bench.service.loop.spec.version
    bench.triggers.write_text(FIVE_MINUTES)
    bench.look()
    bench.turn()
    after = bench.service.loop.spec.version
    change = {"what": "trigger slow_tasks", "key": "condition.value", "before": 60, "after": 300}
    last = bench.call("status")["last_reload"]
    assert (last["before"], last["spec_version"], last["changes"]) == (before, after, [change])
    assert bench.call("history")["reloads"] == [last]
    (reloaded,) = [line for line in bench.logged() if line["event"] == "reloaded"]
    assert reloaded["changes"] == ["trigger slow_tasks: condition.value: 60.0 -> 300.0"]
    (entry,) = [entry for entry in Audit(bench.service.loop.store).tail(5) if entry.kind == "reload"]
    assert entry.payload["changes"] == [change]
    assert bench.call("status")["spec_version"] == after


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ("[[trigger", "allowed is TOML"),
        (FIVE_MINUTES.replace("slow_tasks", "slow_taks"), "did you mean slow_tasks"),
        (FIVE_MINUTES.replace("300", "-5"), "it can never recover"),
    ],
    ids=["no TOML", "a mistake", "a failing boundary test"],
)
def test_a_bad_file_keeps_the_old_spec_and_degrades_health_until_it_is_mended(
    bench: Bench, bad: str, said: str
) -> None:
    bench.turn()
    before = bench.service.loop.spec
    bench.triggers.write_text(bad)
    assert bench.look(3) == [False, True, False]
    bench.turn()
    assert bench.service.loop.spec is before
    health = bench.call("health")
    assert health["status"] == "degraded"
    assert f"spec {before.version} stays in force" in health["issues"][0]
    (refused,) = [line for line in bench.logged() if line["event"] == "reload_refused"]
    assert refused["level"] == "warning"
    assert any(said in problem for problem in refused["problems"])
    assert [line for line in bench.told if line.startswith("refused: ")] == [
        f"refused: {bench.triggers} changed: spec {before.version} stays in force, for",
        *(f"refused:   {problem}" for problem in refused["problems"]),
    ]
    bench.triggers.write_text(FIVE_MINUTES)
    assert bench.look() == [False, True]
    bench.turn()
    assert bench.call("health")["status"] == "healthy"


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), RecursionError("too deep"), KeyError("a bug")])
def test_reading_that_fails_as_nobody_foresaw_leaves_the_old_spec_in_force_and_is_tried_again(
    bench: Bench, error: Exception
) -> None:
    before = bench.service.loop.spec.version
    bench.triggers.write_text(FIVE_MINUTES)
    bench.reading_fails = error
    assert bench.look(4) == [False, True, False, False]
    bench.turn()
    assert bench.service.loop.spec.version == before
    (issue,) = bench.call("health")["issues"]
    assert issue.startswith(
        f"the configuration on disk is refused, and spec {before} stays in force: it could not be read"
    )
    assert repr(error) in issue
    (line,) = [line for line in bench.logged() if line["event"] == "reload_failed"]
    assert (line["level"], "in settings" in line["exception"]) == ("error", True)

    bench.reading_fails = None
    asyncio.run(reload(bench))
    bench.turn()
    assert bench.service.loop.spec.trigger("slow_tasks").condition.value == 300  # type: ignore[union-attr]
    assert bench.call("health")["status"] == "healthy"


def test_a_configuration_that_cannot_be_followed_whole_is_not_followed_at_all(bench: Bench) -> None:
    bench.event("task_finished", id="t", status="success", duration_s=90.0)
    bench.turn()
    before = bench.service.loop.spec.version
    bench.configure('[actions]\nmode = "observe"')
    bench.triggers.write_text(FIVE_MINUTES)
    bench.committing_fails = KeyError("a bug")
    assert bench.look() == [False, True]
    assert (bench.service.loop.spec.version, bench.service.loop.settings.actions.mode) == (before, "act")
    bench.turn()  # it commits nothing any more, and is built anew
    bench.turn()
    loop = bench.service.loop
    assert (loop.spec.version, loop.settings.actions.mode, bench.state_of("slow_tasks")) == (before, "act", "firing")
    assert "could not be followed (KeyError('a bug'))" in bench.call("health")["issues"][0]
    assert "reload" not in [entry.kind for entry in loop.audit.tail(50)]

    asyncio.run(reload(bench))
    assert bench.service.loop.settings.actions.mode == "observe"
    assert bench.service.loop.refused == ()


async def reload(bench: Bench) -> None:
    """What SIGHUP asks for."""
    assert bench.service.reloader is not None
    await bench.service.reloader.reload("SIGHUP asked for it")


def test_own_articles_are_followed_and_a_bad_one_keeps_all_that_is_loaded(bench: Bench) -> None:
    own = bench.directory / "own.cedar"
    own.write_text('@id("never") forbid (principal, action, resource);')
    bench.configure(f'[constitution]\nfiles = ["{own}"]')
    assert bench.look() == [False, True]
    assert bench.told[-1].endswith("self-healing.toml changed: article never: added")
    bench.event("task_finished", id="t", duration_s=70)
    bench.turn()
    [decision, *_] = bench.service.loop.store.select(Decision)
    assert [f"{each.article}/{each.policy}" for each in decision.findings] == ["VI/never"]
    before = bench.service.loop.spec
    bench.triggers.write_text(FIVE_MINUTES)
    own.write_text("permit (principal, action, resource);")
    assert bench.look() == [False, True]
    assert bench.service.loop.spec is before
    assert "own.cedar:1: permit: allowed is forbid" in " ".join(bench.service.loop.refused)


def test_what_came_of_each_reload_is_told_at_once_and_whenever_it_is_asked_for(bench: Bench) -> None:
    async def scenario() -> None:
        following = asyncio.ensure_future(bench.service.follow())  # without a turn

        async def hangup(lines: int) -> list[str]:
            before = len(bench.told)
            bench.hangup.set()
            async with asyncio.timeout(10):
                while len(bench.told) < before + lines:
                    await asyncio.sleep(0.01)
            return bench.told[before:]

        version = bench.service.loop.spec.version
        bench.triggers.write_text('[[trigger]]\nname = "slow_tasks"\nwindwo = "1m"\nclear = 90\n')
        head, windwo, clear = await hangup(3)
        assert head == f"refused: SIGHUP asked for it: spec {version} stays in force, for"
        assert 'windwo: "1m": unknown' in windwo
        assert "clear: 90: allowed is at most 60" in clear
        assert await hangup(3) == [head, windwo, clear]
        bench.triggers.write_text(FIVE_MINUTES)
        (reloaded,) = await hangup(1)
        assert reloaded.startswith("reloaded: SIGHUP asked for it: trigger slow_tasks: condition.value: 60.0 -> 300.0")
        (unchanged,) = await hangup(1)
        assert unchanged.startswith("unchanged: SIGHUP asked for it: the files say what is in force, spec ")
        bench.stop.set()
        await following

    asyncio.run(scenario())


def test_a_failing_test_of_a_person_refuses_the_reload(bench: Bench) -> None:
    tests = bench.directory / "tests.toml"
    tests.write_text(
        """
        [[test]]
        name = "a task of a minute fires"
        series = [{ signal = "task.duration_s", group = { agent = "Coder" }, samples = "60" }]
        expect = [{ at = "0s", trigger = "slow_tasks", group = { agent = "Coder" }, state = "firing" }]
        """
    )
    bench.configure(triggers=f'tests = ["{tests}"]')
    assert bench.look() == [False, True]
    before = bench.service.loop.spec.version
    bench.triggers.write_text(FIVE_MINUTES)
    assert bench.look() == [False, True]
    assert bench.service.loop.spec.version == before
    assert bench.service.loop.refused[1:3] == (
        "  at 0s: slow_tasks of agent=Coder",
        "    state  expected firing  got inactive",
    )
    tests.write_text(tests.read_text().replace('"60"', '"300"'))
    assert bench.look() == [False, True], "tests are followed as well"
    assert bench.service.loop.spec.version != before


def test_nothing_of_a_configuration_is_followed_when_a_part_is_refused(bench: Bench) -> None:
    bench.configure('[actions]\nmode = "observe"')
    bench.triggers.write_text("[[trigger")
    bench.look()
    assert bench.service.loop.settings.actions.mode.value == "act"


def test_a_missing_file_is_refused_and_its_return_is_followed(bench: Bench) -> None:
    bench.triggers.unlink()
    assert bench.look() == [False, True]
    assert "no such file" in bench.service.loop.refused[0]
    bench.triggers.write_text(FIVE_MINUTES)
    assert bench.look() == [False, True]
    assert bench.service.loop.refused == ()


def test_the_mode_is_followed_and_what_takes_a_restart_is_said(bench: Bench) -> None:
    bench.configure('[actions]\nmode = "observe"\n[server]\nport = 9000')
    bench.look()
    bench.turn()
    told = bench.call("status")
    assert told["mode"] == "observe"
    assert told["restart_needed"] == ["settings: server.port: 8787 -> 9000"]
    _, restart = bench.told
    assert restart == f"restart: {bench.config} changed: takes a restart: settings: server.port: 8787 -> 9000"
    assert [line["level"] for line in bench.logged() if line["event"] == "restart_needed"] == ["warning"]
    bench.event("task_finished", id="t", status="success", duration_s=90.0)
    bench.turn()
    assert [each["status"] for each in bench.call("check")["actions"]] == ["would"]
    bench.restart()
    assert bench.call("status")["restart_needed"] == []


@pytest.mark.parametrize("change", ['severity = "medium"', 'severity = "low"\nmax_series = 1'])
def test_firing_and_pending_series_outlive_a_reload_that_measures_the_same(bench: Bench, change: str) -> None:
    waiting = """
        [[trigger]]
        name = "retries_for_a_while"
        type = "custom"
        signal = "task.attempts"
        aggregate = "max"
        window = "15m"
        for = "60s"
        condition = { kind = "threshold", value = 2 }
        severity = "low"
        target_agent = "Operator"
        """
    bench.triggers.write_text(waiting)
    bench.look()
    bench.turn()
    bench.event("task_finished", id="t", status="success", duration_s=90.0, attempt=2)
    bench.turn()
    assert (bench.state_of("slow_tasks"), bench.state_of("retries_for_a_while")) == ("firing", "pending")
    (incident,) = bench.call("incidents")["incidents"]
    bench.turn(30)
    bench.triggers.write_text(waiting.replace('severity = "low"', change))
    assert bench.look() == [False, True]
    bench.turn(29)
    assert (bench.state_of("slow_tasks"), bench.state_of("retries_for_a_while")) == ("firing", "pending")
    bench.turn(1)
    assert bench.state_of("retries_for_a_while") == "firing", "its timer ran on"
    assert incident["id"] in [each["id"] for each in bench.call("incidents")["incidents"]]


def test_switching_a_trigger_off_works_while_the_file_on_disk_is_bad_and_survives_its_mending(bench: Bench) -> None:
    bench.triggers.write_text("[[trigger")
    bench.look()
    told = bench.call("disable", name="slow_tasks", by="Ann")
    assert told["enabled"] is False
    assert bench.service.loop.refused, "the file is still bad"
    bench.triggers.write_text(FIVE_MINUTES)
    bench.look()
    slow = bench.service.loop.spec.trigger("slow_tasks")
    assert (slow.enabled, slow.condition.value) == (False, 300)  # type: ignore[union-attr] # a threshold


def test_a_loop_that_is_built_anew_goes_on_by_what_was_loaded_though_the_file_is_bad(bench: Bench) -> None:
    bench.triggers.write_text(FIVE_MINUTES)
    bench.look()
    version = bench.service.loop.spec.version
    bench.triggers.write_text("[[trigger")
    bench.look()
    with pytest.raises(ZeroDivisionError), bench.service.loop._committing():
        raise ZeroDivisionError  # memory may be ahead of the state from here on
    bench.turn()
    assert bench.service.failures == 1
    assert bench.service.loop.spec.version == version
    bench.turn()
    assert bench.call("health")["status"] == "degraded"


def test_a_start_on_a_bad_file_is_refused(bench: Bench) -> None:
    bench.triggers.write_text("[[trigger")
    with pytest.raises(ConfigError, match="allowed is TOML"):
        bench.restart()
    bench.triggers.write_text("")
    bench.service = bench._service()


def test_files_are_read_once_and_remembered_as_they_were(tmp_path: Path) -> None:
    file, documents = tmp_path / "a.toml", Documents()
    file.write_text("a = 1")
    assert documents(file).values == {"a": 1}
    file.write_text("a = 2")
    assert documents(file).values == {"a": 1}
    assert documents.seen.keys() == {file}


def test_status_without_a_service_shows_the_last_reload(bench: Bench) -> None:
    bench.triggers.write_text(FIVE_MINUTES)
    bench.look()
    bench.turn()
    settings = bench.settings()
    told = status.status(settings, status.loaded_spec(settings), at=bench.clock.now())
    assert told["last_reload"]["why"] == f"{bench.triggers} changed"


def test_the_audit_log_is_verified_beside_the_loop_which_goes_on_meanwhile(bench: Bench) -> None:
    bench.turn()

    async def verifying() -> tuple[bool, dict[str, Any]]:
        asked = asyncio.ensure_future(bench.service.call("audit", {}))
        await asyncio.sleep(0)
        return asked.done(), await asked

    at_once, told = asyncio.run(verifying())
    assert (at_once, told["ok"]) == (False, True)


def test_a_trigger_on_what_nobody_measured_before_opens_nothing_until_its_window_was_watched(bench: Bench) -> None:
    few = """
        [[trigger]]
        name = "few_tokens"
        type = "custom"
        signal = "task.tokens"
        where = { model = "m" }
        aggregate = "count"
        window = "10m"
        condition = { kind = "threshold", op = "<", value = 5 }
        severity = "low"
        target_agent = "Operator"
        """
    bench.turn()
    bench.turn(300)  # the service is warm
    bench.triggers.write_text(few)
    bench.look()
    since = bench.clock.now()
    bench.event("task_finished", id="t1", status="success", model="m", usage={"total_tokens": 5})
    bench.turn()
    bench.restart()
    bench.turn(120)

    (verdict,) = [each for each in bench.service.loop.verdicts() if each.trigger == "few_tokens"]
    assert (verdict.state.name, verdict.reason) == ("INACTIVE", Reason.WARMING_UP)
    assert verdict.muted is not None
    assert (verdict.muted.what, verdict.muted.until) == ("window", since + timedelta(seconds=610))
    bench.turn(488)
    assert bench.call("incidents")["incidents"] == []
    bench.turn(2)
    assert [each["trigger"] for each in bench.call("incidents")["incidents"]] == ["few_tokens"]


LONGER = """
[[trigger]]
name = "{name}"
type = "custom"
signal = "task.tokens"
where = {{ model = "m" }}
aggregate = "{aggregate}"
window = "{window}"
condition = {{ {condition} }}
severity = "low"
target_agent = "Operator"
"""


@pytest.mark.parametrize(
    ("aggregate", "condition"),
    [
        ("sum", 'kind = "threshold", op = "<", value = 15'),
        ("count", 'kind = "rate_of_change", value = 5, per = "10m"'),
    ],
)
def test_a_longer_window_over_steady_work_is_no_fall_and_no_rise(bench: Bench, aggregate: str, condition: str) -> None:
    def works(until_s: int) -> None:
        for _ in range(0, until_s, 30):
            bench.event("task_finished", status="success", model="m", usage={"total_tokens": 1})
            bench.turn(30)

    never = condition.replace("15", "1").replace("value = 5", "value = 500")
    bench.triggers.write_text(LONGER.format(name="tried", aggregate=aggregate, window="1m", condition=never))
    bench.look()
    works(600)
    bench.triggers.write_text(LONGER.format(name="tried", aggregate=aggregate, window="10m", condition=condition))
    bench.look()

    works(1260)

    assert bench.service.loop.spec.trigger("tried").window == 600
    assert [each for each in bench.call("incidents")["incidents"] if each["trigger"] == "tried"] == []


def test_what_no_data_makes_fire_opens_by_samples_before_its_window_was_watched(bench: Bench) -> None:
    dear = """
        [[trigger]]
        name = "dear"
        type = "custom"
        signal = "task.tokens"
        where = { model = "m" }
        aggregate = "mean"
        window = "1m"
        no_data = "fire"
        condition = { kind = "threshold", value = 1000 }
        severity = "low"
        target_agent = "Operator"
        """
    bench.turn()
    bench.turn(300)
    bench.triggers.write_text(dear)
    bench.look()
    bench.event("task_finished", id="t1", status="success", model="m", usage={"total_tokens": 5000})
    bench.turn()

    assert [each["trigger"] for each in bench.call("incidents")["incidents"]] == ["dear"]
