"""The doctor: what it finds where something is wrong, and the thresholds that it proposes."""

from __future__ import annotations

import json
import shutil
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from self_healing.clock import FakeClock
from self_healing.config import NO_PORTS, Settings
from self_healing.constitution.stop import stop
from self_healing.doctor.examining import examine
from self_healing.doctor.observing import Observed, beyond
from self_healing.doctor.surroundings import FEW_FREE_BYTES, LEAST_FREE_BYTES
from self_healing.errors import ConfigError
from self_healing.orchestrator import SelfHealingOrchestrator
from self_healing.triggers.declared import load_triggers
from tests.unit.triggers.engine import Engine, at_us, finished, trigger

NOW = datetime(2026, 1, 25, 10, 0, tzinfo=UTC)
TRIGGER = '[[trigger]]\nname = "{name}"\ntype = "custom"\nsignal = "task.duration_s"\naggregate = "mean"\n' + (
    'window = "30m"\ncondition = {{ kind = "threshold", op = ">=", value = 10 }}\nseverity = "low"\n'
    'target_agent = "Ann"\n{more}\n'
)


def settings(tmp_path: Path, triggers: str = "", **sections: dict[str, Any]) -> Settings:
    """Settings of a directory with a file of those triggers, and the shipped ones switched off."""
    (tmp_path / "telemetry").mkdir(exist_ok=True)
    off = "".join(f'[[trigger]]\nname = "{each.name}"\nenabled = false\n' for each in load_triggers([]))
    (tmp_path / "t.toml").write_text(off + triggers)
    return Settings.model_validate(
        {
            "telemetry": {"dir": tmp_path / "telemetry"},
            "storage": {"state_dir": tmp_path / "state", "logs_dir": tmp_path / "logs"},
            "triggers": {"files": [tmp_path / "t.toml"]},
            "server": NO_PORTS,
        }
        | sections
    )


def history(tmp_path: Path, days: float, *, every_s: float = 1800, until: datetime = NOW) -> None:
    """Tasks of two agents that take 20 s, but for one of 90 s in each agent's second day."""
    at = until - timedelta(days=days)
    lines: list[str] = []
    second_day = at + timedelta(days=1)
    while at < until:
        for agent in ("A", "B"):
            slow = 0 <= (at - second_day).total_seconds() < every_s
            event = {"ts": at.isoformat(), "type": "task_finished", "agent": agent, "status": "success", "model": "m"}
            lines.append(json.dumps(event | {"id": f"{agent}{len(lines)}", "duration_s": 90.0 if slow else 20.0}))
        at += timedelta(seconds=every_s)
    (tmp_path / "telemetry" / "events-20260125.jsonl").write_text("\n".join(lines) + "\n")


def examined(told: Settings, at: datetime = NOW) -> dict[str, Any]:
    return examine(lambda: told, at=at, tell=lambda _what, _share: None)


def found(told: dict[str, Any], check: str) -> tuple[str, str]:
    """Outcome and words of a check."""
    [each] = [each for each in told["checks"] if each["check"] == check]
    return each["outcome"], f"{each['says']} -> {each['do']}"


def test_all_is_well_in_a_new_place_but_that_nothing_runs_and_nothing_arrived(tmp_path: Path) -> None:
    told = examined(settings(tmp_path))
    assert [each["check"] for each in told["checks"] if each["outcome"] != "ok"] == ["service", "telemetry"]
    assert told["counts"]["problem"] == 0
    assert not (tmp_path / "state").exists()


def test_a_configuration_that_does_not_load_is_a_problem_a_mistake(tmp_path: Path) -> None:
    def load() -> Settings:
        raise ConfigError(["a.toml:1: x", "a.toml:2: y"])

    told = examine(load, at=NOW, tell=lambda _what, _share: None)
    assert [(each["outcome"], each["says"]) for each in told["checks"]] == [
        ("problem", "a.toml:1: x"),
        ("problem", "a.toml:2: y"),
    ]


def test_a_wrong_trigger_is_a_problem_and_the_rest_is_looked_at_all_the_same(tmp_path: Path) -> None:
    told = examined(settings(tmp_path, TRIGGER.format(name="mine", more="windwo = 3")))
    assert found(told, "spec")[0] == "problem"
    assert "t.toml:" in found(told, "spec")[1]
    assert found(told, "disk")[0] == "ok"


def test_a_file_in_the_place_of_a_directory_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("")
    outcome, words = found(examined(settings(tmp_path)), "logs directory")
    assert outcome == "problem"
    assert "--logs-dir" in words


def test_a_port_that_somebody_else_has_is_a_problem_that_names_its_setting(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        server = {"port": port, "otlp_http_port": False, "otlp_grpc_port": False}
        outcome, words = found(examined(settings(tmp_path, server=server)), f"port {port}")
    assert outcome == "problem"
    assert "server.port" in words


def test_a_short_token_on_an_open_address_is_warned_of(tmp_path: Path) -> None:
    server = {"host": "0.0.0.0", "token": "abc", "port": False, "otlp_http_port": False, "otlp_grpc_port": False}
    assert found(examined(settings(tmp_path, server=server)), "token")[0] == "warn"


def test_a_variable_that_a_channel_or_the_heartbeat_names_and_nobody_set_is_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = {"kind": "webhook", "url": "https://example.org", "secret_env": "NO_SECRET"}
    told = settings(tmp_path, actions={"channels": {"tickets": hook}}, heartbeat={"url_env": "NO_MONITOR"})
    assert found(examined(told), "channel tickets")[0] == "warn"
    assert found(examined(told), "heartbeat")[0] == "warn"
    monkeypatch.setenv("NO_SECRET", "whsec_")
    assert "channel tickets" not in [each["check"] for each in examined(told)["checks"]]


def test_a_stop_in_force_is_told_with_who_and_why(tmp_path: Path) -> None:
    told = settings(tmp_path)
    told.storage.state_dir.mkdir()
    stop(told.storage.state_dir, "too loud", "ann", NOW)
    outcome, words = found(examined(told), "stop")
    assert (outcome, words) == ("warn", "stopped by ann: too loud -> self-healing resume-healing")


def test_telemetry_that_stopped_and_lines_that_cannot_be_used_are_warned_of(tmp_path: Path) -> None:
    told = settings(tmp_path)
    history(tmp_path, 0.1, until=NOW - timedelta(hours=3))
    assert found(examined(told), "telemetry of native files")[0] == "warn"
    assert found(examined(told), "quarantine")[0] == "ok"
    with (tmp_path / "telemetry" / "events-20260125.jsonl").open("a") as file:
        file.write("oops\n" * 5)
    outcome, words = found(examined(told), "quarantine")
    assert (outcome, "invalid_json 5" in words) == ("warn", True)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ('where = { model = "n" }', 'no event has model = "n"; seen were m'),
        ('where = { model = "mm" }', "did you mean m?"),
        ('group_by = ["tool"]\nwhere = { model = "m" }\nmin_samples = 50', "ever held 50 samples; the most were"),
        ("min_samples = 50", "no window of 30m ever held 50 samples"),
    ],
)
def test_a_trigger_that_cannot_fire_on_what_is_there_is_told_with_the_reason(
    tmp_path: Path, more: str, why: str
) -> None:
    told = settings(tmp_path, TRIGGER.format(name="mine", more=more))
    history(tmp_path, 1)
    outcome, words = found(examined(told), "trigger mine")
    assert (outcome, "cannot fire" in words, why in words) == ("warn", True, True), words


@pytest.mark.parametrize(
    ("condition", "told"),
    [
        ('op = ">=", value = 60000', "practically never fires: it takes 16h 40m, 667 times as much as the largest"),
        ('op = ">=", value = 4500', "practically never fires: it takes 75m, 50 times as much as the largest"),
        ('op = ">=", value = 4499', None),
        ('op = "<", value = 0.3', "practically never fires: it takes 0.3s, 67 times less than the smallest"),
        ('op = "<", value = 5', None),
    ],
)
def test_a_threshold_far_beyond_all_that_was_seen_is_told_with_what_was(
    tmp_path: Path, condition: str, told: str | None
) -> None:
    declared = TRIGGER.format(name="mine", more="").replace('op = ">=", value = 10', condition)
    fastest = settings(tmp_path, declared.replace('"mean"', '"max"'))
    history(tmp_path, 2)
    outcome, words = found(examined(fastest), "trigger mine")
    assert (outcome, (told or "practically") in words) == ("warn" if told else "ok", bool(told)), words


def test_an_attribute_that_no_event_has_is_told_with_the_nearest_that_some_have(tmp_path: Path) -> None:
    told = settings(tmp_path, TRIGGER.format(name="mine", more='group_by = ["agent", "attributes.tenat"]'))
    event = {"ts": NOW.isoformat(), "type": "task_finished", "id": "t", "agent": "A", "status": "success"}
    line = json.dumps(event | {"duration_s": 5.0, "tenant": "acme", "region": "eu"})
    (tmp_path / "telemetry" / "a.jsonl").write_text(f"{line}\n")
    assert found(examined(told), "trigger mine") == (
        "warn",
        "no event names its attributes.tenat, by which it groups; did you mean attributes.tenant?"
        " -> send attributes.tenat, or group by another column",
    )


@pytest.mark.parametrize(("agent", "outcome"), [("A", "ok"), ("a", "warn")])
def test_a_maintenance_window_for_nobody_who_was_ever_heard_of_is_told(
    tmp_path: Path, agent: str, outcome: str
) -> None:
    told = settings(tmp_path, f'[[maintenance]]\nname = "nightly"\nkeys = {{ agent = "{agent}" }}\n')
    history(tmp_path, 0.1)
    was, words = found(examined(told), "maintenance nightly")
    nobody = 'it is for nobody: no event has agent = "a"; seen are A, B -> correct its `keys`'
    assert (was, words == nobody) == (outcome, agent == "a")


def test_where_silence_fires_it_does_not_matter_that_no_window_ever_held_enough(tmp_path: Path) -> None:
    told = settings(tmp_path, TRIGGER.format(name="mine", more='min_samples = 50\nno_data = "fire"'))
    history(tmp_path, 1, every_s=6 * 3600)
    assert "fires all the time" in found(examined(told), "trigger mine")[1]


@pytest.mark.parametrize(("needed", "why"), [(1, None), (4, "ever held 4 samples; the most were 3")])
def test_samples_between_two_looks_are_counted_as_well(tmp_path: Path, needed: int, why: str | None) -> None:
    short = TRIGGER.replace('"30m"', '"1m"').replace("value = 10", "value = 60")
    told = settings(tmp_path, short.format(name="mine", more=f"min_samples = {needed}"))
    lines: list[dict[str, Any]] = [
        {"ts": (NOW - timedelta(days=day)).isoformat(), "type": "log", "agent": "A"} for day in (13, 0)
    ]
    for number in range(3):
        at = NOW - timedelta(days=8, seconds=100 - 5 * number)
        done = {"ts": at.isoformat(), "type": "task_finished", "agent": "A", "status": "success", "duration_s": 5.0}
        lines.append(done | {"id": f"t{number}"})
    (tmp_path / "telemetry" / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    words = found(examined(told), "trigger mine")[1]
    assert (why in words) if why else ("0 incidents in 13.0 days" in words)


def test_a_change_from_windows_that_never_held_enough_cannot_fire(tmp_path: Path) -> None:
    changing = TRIGGER.replace('"threshold"', '"rate_of_change"').format(name="mine", more="min_samples = 3")
    told = settings(tmp_path, changing)
    history(tmp_path, 0.03, every_s=600)
    outcome, words = found(examined(told), "trigger mine")
    assert outcome == "warn"
    assert "cannot fire: no window of 30m before another ever held 3 samples; the most were 2" in words
    assert "let a day of history come in; if it is so still, lengthen its window" in words


def test_of_a_count_one_sample_is_enough_whatever_min_samples_says(tmp_path: Path) -> None:
    counting = TRIGGER.replace('"mean"', '"count"').format(name="mine", more="min_samples = 50")
    told = settings(tmp_path, counting)
    history(tmp_path, 1)
    assert found(examined(told), "trigger mine") == ("ok", "0 incidents in 1.0 days of 2 groups -> ")


def test_a_task_that_runs_is_a_sample_by_its_age_where_the_trigger_counts_that(tmp_path: Path) -> None:
    slow = TRIGGER.replace('"mean"', '"max"')
    told = settings(tmp_path, slow.format(name="longest", more="") + TRIGGER.format(name="average", more=""))
    hung = {"ts": (NOW - timedelta(hours=2)).isoformat(), "type": "task_started", "id": "t", "agent": "A"}
    later = {"ts": NOW.isoformat(), "type": "log", "agent": "A"}
    (tmp_path / "telemetry" / "a.jsonl").write_text(f"{json.dumps(hung)}\n{json.dumps(later)}\n")

    report = examined(told)

    assert "cannot fire" not in found(report, "trigger longest")[1]
    assert "fires all the time" in found(report, "trigger longest")[1]
    assert "cannot fire: no event of type task_finished" in found(report, "trigger average")[1]


def test_for_a_trigger_that_fires_all_the_time_a_threshold_is_proposed_that_a_backtest_finds_quiet(
    tmp_path: Path,
) -> None:
    told = settings(tmp_path, TRIGGER.format(name="mine", more=""), actions={"mode": "observe"})
    history(tmp_path, 8)
    found_all = examined(told)
    outcome, words = found(found_all, "trigger mine")
    assert (outcome, "fires all the time" in words) == ("warn", True)
    [proposal] = found_all["proposals"]
    assert proposal["condition"] == {
        "kind": "threshold",
        "op": ">=",
        "value": 21.0,
    }  # beyond six in seven days, not beyond the worst
    assert (proposal["incidents_then"] <= proposal["allowed"], proposal["incidents_now"]) == (True, 2)
    assert proposal["says"].startswith("value = 21.0 in place of 10.0: on the stored history (8.0 days) it opens ")
    assert "mine would act too often" in found(found_all, "mode")[1]
    # what is proposed is taken as it stands
    (tmp_path / "p.toml").write_text(proposal["toml"])
    files = (tmp_path / "t.toml", tmp_path / "p.toml")
    taken = told.model_copy(update={"triggers": told.triggers.model_copy(update={"files": files})})
    quiet = examined(taken)
    assert found(quiet, "trigger mine")[0] == "ok"
    assert "time to act" in found(quiet, "mode")[1]
    assert "not yet" not in found(quiet, "mode")[1]


def test_what_was_over_within_a_minute_is_counted_as_a_backtest_counts_it(tmp_path: Path) -> None:
    short = TRIGGER.format(name="mine", more="").replace('"30m"', '"10s"').replace("value = 10", "value = 60")
    told = settings(tmp_path, short)
    history(tmp_path, 1)
    slow = {"ts": (NOW - timedelta(minutes=50, seconds=40)).isoformat(), "type": "task_finished", "agent": "A"}
    with (tmp_path / "telemetry" / "events-20260125.jsonl").open("a") as file:
        file.write(json.dumps(slow | {"id": "slow", "status": "success", "duration_s": 90.0}) + "\n")
    assert "1 incident in 1.0 days" in found(examined(told), "trigger mine")[1]


def test_with_less_than_a_week_of_history_it_is_not_yet_time_to_act(tmp_path: Path) -> None:
    told = settings(tmp_path, actions={"mode": "observe"})
    history(tmp_path, 2)
    assert "not yet time to act: 2.0 of the 7 days" in found(examined(told), "mode")[1]


@given(st.floats(min_value=-1e6, max_value=1e6).filter(lambda value: value == 0 or abs(value) > 1e-3), st.booleans())
def test_the_next_round_number_lies_beyond_by_a_tenth_at_most(value: float, rising: bool) -> None:
    limit = beyond(value, rising=rising)
    assert limit > value if rising else limit < value
    assert abs(limit - value) <= max(abs(value) * 0.11, 0.02)


ABSENCE = (
    '[[trigger]]\nname = "{name}"\ntype = "custom"\nsignal = "{signal}"\nseverity = "low"\ntarget_agent = "Ann"\n'
    + ('condition = {{ kind = "absence", silent_for = "2h" }}\n{more}\n')
)
COMPOSITE = '[[trigger]]\nname = "both"\ntype = "custom"\nseverity = "low"\ntarget_agent = "Ann"\n' + (
    'condition = {{ kind = "composite", {kind} = ["mine", "other"] }}\n'
)


@pytest.mark.parametrize(
    ("signal", "more", "why"),
    [
        ("task.heartbeat", "", "no event of type heartbeat came of any group that it watches"),
        ("agent.events", 'group_by = ["tool"]', "no event names its tool, by which it groups -> send tool"),
        ("agent.events", 'where = { model = "mm" }', "did you mean m? -> correct `where`"),
        ("agent.events", "", None),
    ],
)
def test_a_trigger_on_silence_cannot_fire_where_nobody_ever_spoke(
    tmp_path: Path, signal: str, more: str, why: str | None
) -> None:
    told = settings(tmp_path, ABSENCE.format(name="mine", signal=signal, more=more))
    history(tmp_path, 1)
    outcome, words = found(examined(told), "trigger mine")
    assert outcome == ("ok" if why is None else "warn")
    assert (why or "0 incidents in 1.0 days of 2 groups") in words


@pytest.mark.parametrize(
    ("kind", "mine", "other", "why"),
    [
        (
            "all",
            "min_samples = 50",
            "",
            "cannot fire: mine, of which it is made, cannot fire: no window of 30m ever held",
        ),
        ("any", "min_samples = 50", "", None),
        (
            "any",
            "min_samples = 50",
            "min_samples = 60",
            "cannot fire: mine and other, of which it is made, cannot fire",
        ),
    ],
)
def test_a_composite_cannot_fire_where_too_many_of_what_it_is_made_of_cannot(
    tmp_path: Path, kind: str, mine: str, other: str, why: str | None
) -> None:
    members = TRIGGER.format(name="mine", more=mine) + TRIGGER.format(name="other", more=other)
    told = settings(tmp_path, members + COMPOSITE.format(kind=kind))
    history(tmp_path, 1)
    words = found(examined(told), "trigger both")[1]
    assert (why in words) if why else ("cannot fire" not in words)


def test_a_trigger_by_any_field_of_a_line_is_looked_at_by_it(tmp_path: Path) -> None:
    told = settings(tmp_path, TRIGGER.format(name="mine", more='group_by = ["attributes.team"]'))
    history(tmp_path, 1)
    file = tmp_path / "telemetry" / "events-20260125.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    file.write_text("".join(json.dumps(line | {"team": f"t-{line['agent']}"}) + "\n" for line in lines))
    assert "2 incidents in 1.0 days of 2 groups" in found(examined(told), "trigger mine")[1]


@pytest.mark.parametrize(
    ("condition", "proposed"),
    [
        ('{ kind = "threshold", op = "<=", value = 50 }', {"kind": "threshold", "op": "<=", "value": 19.0}),
        (
            '{ kind = "rate_of_change", op = "<=", value = -0.001, per = "1h" }',
            {"kind": "rate_of_change", "op": "<=", "value": -1.1, "per": 3600},
        ),
    ],
)
def test_for_a_trigger_on_too_little_a_lower_threshold_is_proposed(
    tmp_path: Path, condition: str, proposed: dict[str, Any]
) -> None:
    declared = TRIGGER.format(name="mine", more="").replace('{ kind = "threshold", op = ">=", value = 10 }', condition)
    told = settings(tmp_path, declared)
    history(tmp_path, 8)
    file = tmp_path / "telemetry" / "events-20260125.jsonl"
    lines = file.read_text().replace('"duration_s": 20.0', '"duration_s": {}').splitlines()  # up and down by a little
    file.write_text("\n".join(line.replace("{}", str(20 + row // 2 % 2 / 2)) for row, line in enumerate(lines)) + "\n")
    [proposal] = examined(told)["proposals"]
    assert proposal["condition"] == proposed
    assert proposal["incidents_then"] <= proposal["allowed"]


@pytest.mark.parametrize(("distance", "least"), [("ratio = 1.01", 1.1), ("percent = 1", 10), ("absolute = 0.1", 2)])
def test_for_a_trigger_against_a_baseline_a_greater_distance_of_the_same_kind_is_proposed(
    tmp_path: Path, distance: str, least: float
) -> None:
    condition = f'{{ kind = "baseline", {distance}, over = "2h", min_samples = 2 }}'
    declared = TRIGGER.format(name="mine", more="").replace('{ kind = "threshold", op = ">=", value = 10 }', condition)
    told = settings(tmp_path, declared)
    at = NOW - timedelta(days=8)
    file = tmp_path / "telemetry" / "events-20260125.jsonl"
    with file.open("w") as out:
        for number in range(8 * 96):  # half a day up, half a day down, each by a step a quarter of an hour
            duration_s = 20 + 4 * abs(number % 96 - 48) / 48 * (number % 4 + 1)
            event = {"ts": (at + timedelta(minutes=15 * number)).isoformat(), "type": "task_finished", "agent": "A"}
            out.write(json.dumps(event | {"id": f"t{number}", "status": "success", "duration_s": duration_s}) + "\n")
    [proposal] = examined(told)["proposals"]
    key = distance.split(" ", maxsplit=1)[0]
    assert proposal["condition"][key] >= least
    assert set(proposal["condition"]) == {"kind", key, "over", "min_samples"}
    assert proposal["incidents_then"] < proposal["incidents_now"]


def test_what_comes_on_top_of_nothing_is_a_peak_where_the_distance_is_absolute() -> None:
    condition = {"kind": "baseline", "absolute": 1, "over": "1h", "min_samples": 2}
    spec = trigger(aggregate="mean", condition=condition)
    engine = Engine(spec)
    engine.push(*(finished(second, 0.0) for second in range(0, 3600, 60)), finished(3700, 5.0))
    engine.every_instant(0, 3700)

    observed = Observed(spec)
    observed.see(engine.telemetry, at_us(3700))

    assert observed.peaks().tolist() == [5.0]


def test_a_state_that_was_evaluated_further_than_the_clock_is_a_problem_of_the_clock(tmp_path: Path) -> None:
    told = settings(tmp_path)
    with SelfHealingOrchestrator.open(told, clock=FakeClock(NOW)) as orchestrator:
        orchestrator.check(NOW)
    assert found(examined(told, NOW + timedelta(minutes=1)), "clock")[0] == "ok"
    outcome, words = found(examined(told, NOW - timedelta(hours=1)), "clock")
    assert (outcome, "set the clock of this machine" in words) == ("problem", True)


def test_each_disk_is_told_once_with_the_room_on_it(tmp_path: Path) -> None:
    outcome, words = found(examined(settings(tmp_path)), "disk")
    free = shutil.disk_usage(tmp_path).free
    assert outcome == ("ok" if free > FEW_FREE_BYTES else "warn" if free > LEAST_FREE_BYTES else "problem")
    assert "GiB are free where" in words


def test_whatever_is_not_well_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("")
    told = settings(tmp_path, TRIGGER.format(name="mine", more="min_samples = 50"))
    history(tmp_path, 0.1, until=NOW - timedelta(hours=3))
    checks = examined(told)["checks"]
    assert {"problem", "warn", "ok"} == {each["outcome"] for each in checks}
    assert [each for each in checks if (each["outcome"] == "ok") == bool(each["do"])] == []
