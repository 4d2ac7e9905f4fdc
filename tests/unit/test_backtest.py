"""History in event time: what the live engine would have seen, and nothing that it would not."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from self_healing.backtest import replay
from self_healing.backtest_report import backtest, compare
from self_healing.clock import FakeClock
from self_healing.config import Settings, load_spec
from self_healing.errors import TelemetryError
from self_healing.model import Transition
from self_healing.orchestrator import SelfHealingOrchestrator

START = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
Line = dict[str, Any]


def at(seconds: float) -> str:
    return (START + timedelta(seconds=seconds)).isoformat()


def finished(seconds: float, agent: str = "Coder", **fields: Any) -> Line:
    return {"ts": at(seconds), "type": "task_finished", "agent": agent, "attempt": 1, "status": "success", **fields}


def write(path: Path, lines: Iterable[Line | str]) -> Path:
    text = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("\n".join(text) + "\n")
    return path


def test_its_report_has_the_keys_of_the_contract(tmp_path: Path) -> None:
    lines = [finished(0, duration_s=70.0), finished(10, duration_s=90.0)]
    lines += [finished(320, duration_s=1.0), finished(400, duration_s=1.0)]

    report = backtest(load_spec(Settings()), [write(tmp_path / "a.jsonl", lines)])

    keys = ["events", "span_s", "events_per_s", "incidents", "transitions", "telemetry", "triggers"]
    assert list(report) == keys
    assert (report["events"], report["span_s"], report["transitions"]) == (4, 400.0, 3)
    assert report["incidents"] == [
        {
            "trigger": "slow_tasks",
            "group": {"agent": "Coder"},
            "opened_at": at(0),
            "closed_at": at(380),
            "peak": 90.0,
            "duration_s": 380.0,
            "suppressed": False,
        }
    ]
    assert report["telemetry"]["received"] == report["telemetry"]["aggregated"] == 4
    assert json.loads(json.dumps(report)) == report


def test_groups_whose_places_were_used_again_are_counted_each_once(tmp_path: Path) -> None:
    # Two days apart, so that each is forgotten before the next one comes; and an hour of an incident of each.
    lines = [finished(day * 172_800, agent, duration_s=70.0) for day, agent in enumerate(("A", "B", "C", "A"))]
    spec = load_spec(Settings())
    file = write(tmp_path / "a.jsonl", lines)

    (slow,) = [each for each in backtest(spec, [file])["triggers"] if each["trigger"] == "slow_tasks"]

    assert (slow["groups"], slow["incidents"]) == (3, 4)
    lasted_s = sum(found["duration_s"] for found in backtest(spec, [file])["incidents"])
    assert slow["open_share"] == pytest.approx(lasted_s / (3 * 3 * 172_800))


def test_files_are_sorted_together_by_the_time_of_their_events(tmp_path: Path) -> None:
    lines = [finished(s, duration_s=70.0 if s == 100 else 1.0) for s in range(0, 600, 20)]
    spec = load_spec(Settings())

    one = backtest(spec, [write(tmp_path / "one.jsonl", lines)])
    two = backtest(spec, [write(tmp_path / "b.jsonl", lines[::-2]), write(tmp_path / "a.jsonl", lines[::2])])

    assert two["incidents"] == one["incidents"] != []


def test_bad_lines_are_accounted_for_and_stop_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", ["not json", finished(0, duration_s=70.0), '{"ts": "never", "type": "log"}'])

    report = backtest(load_spec(Settings()), [path])

    count = report["telemetry"]
    assert (count["received"], count["aggregated"], sum(count["quarantined"].values())) == (3, 1, 2)
    assert len(report["incidents"]) == 1


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(TelemetryError, match=r"cannot read .*gone\.jsonl: No such file"):
        backtest(load_spec(Settings()), [tmp_path / "gone.jsonl"])


def test_a_day_of_silence_closes_an_incident_to_the_second(tmp_path: Path) -> None:
    # The window of five minutes holds the sample of 0 s until 309 s.
    lines = [finished(0, duration_s=70.0), finished(200_000, duration_s=1.0)]

    report = backtest(load_spec(Settings()), [write(tmp_path / "a.jsonl", lines)])

    assert report["incidents"][0]["closed_at"] == at(309 + 24 * 3600)


def test_one_timestamp_of_the_far_future_is_stepped_over_quickly(tmp_path: Path) -> None:
    lines = [finished(0, duration_s=70.0), {**finished(0, duration_s=1.0), "ts": "2999-01-01T00:00:00Z"}]

    done = replay(load_spec(Settings()), [write(tmp_path / "a.jsonl", lines)])

    assert done.framework.evaluations < 100
    assert len(done.incidents) == 1


def test_it_says_of_each_trigger_how_often_how_long_and_how_many_actions_a_day(tmp_path: Path) -> None:
    lines = [finished(0, duration_s=70.0), finished(400, duration_s=1.0), finished(1000, duration_s=70.0)]
    lines += [finished(1700, duration_s=1.0), finished(2400, duration_s=1.0)]

    report = backtest(load_spec(Settings()), [write(tmp_path / "a.jsonl", lines)])

    slow, retries = (next(each for each in report["triggers"] if each["trigger"] == name) for name in NAMED)
    lasted_s = [incident["duration_s"] for incident in report["incidents"]]
    assert (slow["incidents"], slow["groups"], slow["flaps"]) == (2, 1, 0)
    assert (slow["median_s"], slow["longest_s"]) == (sum(lasted_s) / 2, max(lasted_s))
    assert slow["open_share"] == sum(lasted_s) / 2400
    assert slow["actions_per_day"] == 2 * 86400 / 2400
    assert (retries["incidents"], retries["median_s"], retries["actions_per_day"]) == (0, None, 0.0)


NAMED = ("slow_tasks", "high_retry_rate")


def test_how_the_history_is_cut_into_files_changes_nothing(tmp_path: Path) -> None:
    lines = history(8, 1800)
    spec = load_spec(Settings())
    cuts = [lines[:50], lines[50:90], lines[80:], []]

    whole = replay(spec, [write(tmp_path / "whole.jsonl", lines[:80] + lines[80:90] * 2 + lines[90:])])
    cut = replay(spec, [write(tmp_path / f"{number}.jsonl", part) for number, part in enumerate(cuts)])

    assert seen(cut.transitions) == seen(whole.transitions) != []
    assert cut.incidents == whole.incidents
    assert cut.telemetry.accounting == whole.telemetry.accounting


def test_progress_is_told_and_only_grows(tmp_path: Path) -> None:
    shares: list[float] = []

    replay(load_spec(Settings()), [write(tmp_path / "a.jsonl", history(8, 4 * 3600))], shares.append)

    assert shares == sorted(shares)
    assert 0 < shares[0] < 0.5 < shares[-1] <= 1


def test_progress_is_told_from_the_first_of_several_files_on(tmp_path: Path) -> None:
    shares: list[float] = []
    lines = history(8, 2 * 3600)

    files = [write(tmp_path / "a.jsonl", lines[:100]), write(tmp_path / "b.jsonl", lines[100:])]
    replay(load_spec(Settings()), files, shares.append)

    assert shares == sorted(shares)
    assert shares[:2] == [0, 0.05]
    assert 0.5 < shares[-1] <= 1


# --- what mutes ----------------------------------------------------------------------------------------------------

WINDOW = """
[[maintenance]]
name = "deploy"
days = ["mon"]
from = "10:05"
to = "10:15"
"""


def muting(directory: Path, text: str) -> Settings:
    file = directory / "muting.toml"
    file.write_text(text)
    return Settings.model_validate({"triggers": {"files": [file]}})


def test_nothing_opens_in_a_maintenance_window_and_what_still_fires_opens_after_it(tmp_path: Path) -> None:
    lines = [finished(s, duration_s=70.0) for s in range(360, 1000, 60)]

    report = backtest(load_spec(muting(tmp_path, WINDOW)), [write(tmp_path / "a.jsonl", lines)])

    assert [incident["opened_at"] for incident in report["incidents"]] == [at(900)]


def test_an_incident_is_suppressed_when_a_maintenance_window_begins(tmp_path: Path) -> None:
    lines = [finished(s, duration_s=70.0) for s in range(60, 1000, 60)]

    report = backtest(load_spec(muting(tmp_path, WINDOW)), [write(tmp_path / "a.jsonl", lines)])

    spans = [(each["opened_at"], each["closed_at"], each["suppressed"]) for each in report["incidents"]]
    assert spans == [(at(60), at(300), True), (at(900), None, False)]


INHIBITED = """
[[trigger]]
name = "slow_tasks"
inhibited_by = ["high_retry_rate"]
"""


def test_what_is_inhibited_opens_nothing_while_the_other_fires(tmp_path: Path) -> None:
    lines = [finished(s, duration_s=70.0) | {"attempt": 3 if s < 100 else 1} for s in range(0, 1200, 60)]
    path = write(tmp_path / "a.jsonl", lines)

    free, inhibited = (backtest(load_spec(each), [path]) for each in (Settings(), muting(tmp_path, INHIBITED)))

    opened = [i["opened_at"] for i in free["incidents"] if i["trigger"] == "slow_tasks"]
    later = [i["opened_at"] for i in inhibited["incidents"] if i["trigger"] == "slow_tasks"]
    retried = next(i for i in inhibited["incidents"] if i["trigger"] == "high_retry_rate")
    assert opened == [at(0)]
    assert later == [retried["closed_at"]] != [None]


# --- two specs side by side ----------------------------------------------------------------------------------------


def test_two_specs_are_compared_on_one_history(tmp_path: Path) -> None:
    lines = [finished(s, duration_s=70.0 if s < 600 else 65.0) for s in [0, 60, 700, 720]]
    lines += [finished(s, "Other", duration_s=66.0) for s in (0, 10)] + [finished(1500, duration_s=1.0)]
    stricter = '[[trigger]]\nname = "slow_tasks"\ncondition = { kind = "threshold", op = ">=", value = 68 }\n'
    path = write(tmp_path / "a.jsonl", lines)
    loaded, other = load_spec(Settings()), load_spec(muting(tmp_path, stricter))

    report = compare(loaded, other, [path])

    slow = next(each for each in report["compared"] if each["trigger"] == "slow_tasks")
    assert {key: report[key] for key in ("incidents", "triggers")} == {
        key: backtest(loaded, [path])[key] for key in ("incidents", "triggers")
    }
    assert report["against"]["incidents"] == backtest(other, [path])["incidents"]
    assert slow["in_both"] == 1
    assert [incident["group"] for incident in slow["only_here"] if incident["opened_at"] == at(0)] == [
        {"agent": "Other"}
    ]
    assert slow["only_there"] == []
    assert slow["here"]["incidents"] == slow["in_both"] + len(slow["only_here"])
    assert slow["there"]["incidents"] == 1
    assert report["summary"]["incidents"] == {
        "here": len(report["incidents"]),
        "there": len(report["against"]["incidents"]),
    }
    assert report["summary"]["open_s"]["here"] == sum(each["duration_s"] for each in report["incidents"])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "a.jsonl: it is empty; expected are native JSON lines, such as"),
        ("name,duration\nt1,5\n", "a.jsonl: 2 lines, all refused: invalid_json 2; the first is name,duration ("),
        (
            '{"type":"task_finished"}\n',
            'a.jsonl: 1 line, all refused: undated 1; the first is {"type":"task_finished"}',
        ),
        ('{"ts":"2026-01-05T10:00:00Z","type":"self_healing_trigger"}\n', "nothing but what self-healing wrote itself"),
    ],
)
def test_of_files_without_an_event_it_is_told_what_was_found_in_them(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text(text)
    report = backtest(load_spec(Settings()), [file])
    assert (report["events"], report["incidents"], report["span_s"]) == (0, [], 0.0)
    assert told in report["why_none"]


# --- live and backtest agree ---------------------------------------------------------------------------------------


def history(seed: int, until_s: int) -> list[Line]:
    """The work of three agents, with trouble of every kind now and then."""
    dice = random.Random(seed)
    lines: list[Line] = []
    for agent in ("Ada", "Bob", "Eve"):
        seconds, number = dice.uniform(0, 20), 0
        while seconds < until_s:
            ill = dice.random() < (0.6 if until_s / 2 < seconds < until_s * 3 / 4 else 0.03)
            task = f"{agent}-{number}"
            duration_s = round(dice.uniform(20, 90) if ill else dice.uniform(1, 9), 3)
            begin = (START + timedelta(seconds=seconds)).timestamp()
            lines.append({"ts": at(seconds), "type": "task_started", "id": task, "agent": agent, "started_at": begin})
            end = finished(seconds + duration_s, agent, id=task, started_at=begin, duration_s=duration_s)
            end["attempt"] = dice.choice([3, 4]) if ill else 1
            end["status"] = dice.choice(["failed", "timeout"]) if ill else "success"
            end["usage"] = {"total_tokens": 9000 if ill else 1000, "total_usd": 1.5 if ill else 0.1}
            lines.append(end)
            if dice.random() < 0.3:
                lines.append({"ts": at(seconds), "type": "test_run", "agent": agent, "passed": 9, "failed": int(ill)})
            seconds, number = seconds + duration_s + dice.uniform(5, 50), number + 1
    return sorted(lines, key=lambda line: datetime.fromisoformat(line["ts"]))


def seen(transitions: Iterable[Transition]) -> list[tuple[str, ...]]:
    return sorted(
        (
            *(t.verdict.at.isoformat(), t.verdict.trigger, t.verdict.group[0][1], t.before.name, t.after.name),
            "" if t.verdict.muted is None else t.verdict.muted.what,
        )
        for t in transitions
    )


def live(directory: Path, lines: list[Line], step_s: int, triggers: tuple[Path, ...] = ()) -> list[Transition]:
    """What the loop sees in observe mode when each event is written as it happens."""
    telemetry = directory / "telemetry"
    telemetry.mkdir()
    configured = Settings.model_validate(
        {
            "telemetry": {"dir": telemetry},
            "triggers": {"files": triggers},
            "actions": {"mode": "observe"},
            "storage": {"state_dir": directory / "state", "logs_dir": directory / "logs"},
        }
    )
    times = [(datetime.fromisoformat(line["ts"]) - START).total_seconds() for line in lines]
    last_s, waiting, transitions = ceil(times[-1]), 0, list[Transition]()
    clock = FakeClock(START - timedelta(seconds=1))
    with SelfHealingOrchestrator.open(configured, clock=clock) as loop, (telemetry / "events.jsonl").open("a") as file:
        loop.cycle(clock.now())
        for now_s in [*range(0, last_s, step_s), last_s]:
            while waiting < len(lines) and times[waiting] <= now_s:
                file.write(json.dumps(lines[waiting]) + "\n")
                waiting += 1
            file.flush()
            clock.set(START + timedelta(seconds=now_s))
            transitions += loop.cycle(clock.now()).transitions
    return transitions


@pytest.mark.parametrize(("seed", "step_s", "until_s"), [(1, 1, 300), (2, 7, 900), (3, 60, 2400), (4, 60, 2400)])
def test_live_and_backtest_agree_on_every_transition(tmp_path: Path, seed: int, step_s: int, until_s: int) -> None:
    lines = history(seed, until_s)

    found = seen(live(tmp_path, lines, step_s))

    expected = seen(replay(load_spec(Settings()), [tmp_path / "telemetry" / "events.jsonl"]).transitions)
    assert found == expected
    assert len(expected) >= 3


OTHERS = """
[[trigger]]
name = "rising"
type = "custom"
signal = "task.duration_s"
aggregate = "mean"
window = "1m"
condition = { kind = "rate_of_change", op = ">=", value = 10 }
severity = "high"
target_agent = "Helper"

[[trigger]]
name = "quiet"
type = "custom"
signal = "agent.events"
condition = { kind = "absence", silent_for = "50s" }
severity = "high"
target_agent = "Helper"

[[trigger]]
name = "either"
type = "custom"
condition = { kind = "composite", any = ["rising", "quiet"] }
severity = "high"
target_agent = "Helper"

[[trigger]]
name = "far_above"
type = "custom"
signal = "task.tokens"
aggregate = "mean"
window = "5m"
condition = { kind = "baseline", absolute = 1500, over = "15m", min_samples = 2 }
severity = "high"
target_agent = "Helper"
"""


WITHOUT_SILENCE = OTHERS.replace(
    """signal = "agent.events"
condition = { kind = "absence", silent_for = "50s" }""",
    """signal = "task.duration_s"
aggregate = "count"
window = "1m"
no_data = "fire"
condition = { kind = "threshold", op = ">=", value = 3 }""",
)

MUTED = (
    INHIBITED
    + """
[[maintenance]]
name = "deploy"
days = ["mon"]
from = "10:04"
to = "10:05"
"""
)


@settings(max_examples=4, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    step_s=st.sampled_from([1, 7, 60]),
    until_s=st.integers(200, 500),
    triggers=st.sampled_from([WITHOUT_SILENCE, OTHERS]),
    muted=st.booleans(),
)
@example(seed=6, step_s=7, until_s=400, triggers=WITHOUT_SILENCE, muted=True)
def test_they_agree_on_every_kind_of_condition_and_where_something_mutes(
    seed: int, step_s: int, until_s: int, triggers: str, muted: bool
) -> None:
    with TemporaryDirectory() as name:
        directory = Path(name)
        configured = muting(directory, triggers + MUTED * muted)
        found = seen(live(directory, history(seed, until_s), step_s, tuple(configured.triggers.files)))
        done = replay(load_spec(configured), [directory / "telemetry" / "events.jsonl"])

    assert done.sees_ahead
    assert found == seen(done.transitions)


def test_every_kind_of_condition_fires_in_such_a_history_and_some_of_it_is_muted(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", history(6, 400))

    done = [replay(load_spec(muting(tmp_path, each + MUTED)), [path]) for each in (OTHERS, WITHOUT_SILENCE)]

    for each in done:
        assert {"rising", "quiet", "either", "far_above"} <= {t.verdict.trigger for t in each.transitions}
        assert any(t.verdict.muted is not None for t in each.transitions)


# --- the instants that are left out --------------------------------------------------------------------------------


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 10_000), gap_s=st.floats(1.0, 40.0), share=st.floats(0.0, 1.0))
def test_what_only_heartbeats_happen_at_need_not_be_looked_at(seed: int, gap_s: float, share: float) -> None:
    dice = random.Random(seed)
    lines = history(seed, 200)
    starts = [line for line in lines if line["type"] == "task_started" and dice.random() < share]
    ended = {line["id"]: line["started_at"] + line["duration_s"] for line in lines if line["type"] == "task_finished"}
    # Some tasks never end: they are lost once their heartbeats stop.
    lost = {line["id"] for line in starts if dice.random() < 0.2}
    for start in starts:
        at_s = start["started_at"] + gap_s
        while at_s < ended[start["id"]]:
            ts = datetime.fromtimestamp(at_s, UTC).isoformat()
            lines.append({"ts": ts, "type": "heartbeat", "id": start["id"], "agent": start["agent"]})
            at_s += gap_s
    lines = [line for line in lines if line["type"] != "task_finished" or line["id"] not in lost]
    with TemporaryDirectory() as directory:
        path = write(Path(directory) / "a.jsonl", lines)
        spec = load_spec(muting(Path(directory), WITHOUT_SILENCE))
        done, plain = replay(spec, [path]), replay(spec, [path], every_event=True)

    assert seen(done.transitions) == seen(plain.transitions)
    assert done.incidents == plain.incidents
    assert done.framework.evaluations <= plain.framework.evaluations


def test_a_history_of_heartbeats_is_hardly_looked_at(tmp_path: Path) -> None:
    lines = [finished(0, duration_s=1.0)]
    lines += [{"ts": at(s), "type": "heartbeat", "id": "t", "agent": "Coder"} for s in range(5, 3000, 5)]
    path = write(tmp_path / "a.jsonl", lines)

    done, plain = (replay(load_spec(Settings()), [path], every_event=each) for each in (False, True))

    assert done.incidents == plain.incidents == []
    assert done.framework.evaluations < plain.framework.evaluations / 10


# --- recorded runs of real agents ----------------------------------------------------------------------------------


def events_of(path: Path) -> list[Line]:
    return [json.loads(line) for line in path.read_text().splitlines()]


RUNS = [
    "chaterm_claude-4-sonnet",
    "droid_claude-4-1-opus",
    "droid_claude-4-sonnet",
    "droid_gpt-5",
    "openhands_claude-4-sonnet",
]


@pytest.mark.parametrize("run", RUNS)
def test_a_recorded_run_is_read_whole_and_its_incidents_follow_from_its_events(data_dir: Path, run: str) -> None:
    path = data_dir / "agent-trials" / f"{run}.jsonl"
    events = events_of(path)

    report = backtest(load_spec(Settings()), [path])

    telemetry = report["telemetry"]
    assert telemetry["received"] == telemetry["aggregated"] == report["events"] == len(events)
    assert sum(telemetry["quarantined"].values()) == sum(telemetry["dropped"].values()) == telemetry["in_flight"] == 0
    _slow_tasks_opens_a_minute_after_the_first_start(events, report)
    _no_value_beyond_what_happened(events, report)
    _one_open_incident_a_series(report)


def _slow_tasks_opens_a_minute_after_the_first_start(events: list[Line], report: dict[str, Any]) -> None:
    first_start = min(event["started_at"] for event in events if event["type"] == "task_started")
    ends = {event["id"]: event["finished_at"] for event in events if event["type"] == "task_finished"}
    first = min((e for e in events if e["type"] == "task_started"), key=lambda e: float(e["started_at"]))
    assert ends[first["id"]] > first_start + 60, "the first task runs for a minute at least"
    opened = next(i["opened_at"] for i in report["incidents"] if i["trigger"] == "slow_tasks")
    assert datetime.fromisoformat(opened).timestamp() == ceil(first_start + 60)


def _no_value_beyond_what_happened(events: list[Line], report: dict[str, Any]) -> None:
    longest = max(event["duration_s"] for event in events if event["type"] == "task_finished")
    errors = Counter(event["status"] in ("failed", "timeout") for event in events if event["type"] == "task_finished")
    peaks = Counter(i["trigger"] for i in report["incidents"])
    for incident in report["incidents"]:
        threshold = {"slow_tasks": 60, "high_error_rate": 0.2, "test_failure_spike": 0.05}.get(incident["trigger"], 0)
        assert incident["peak"] >= threshold
        if incident["trigger"] == "slow_tasks":
            assert incident["peak"] <= longest + 1
        if incident["trigger"] == "high_error_rate":
            assert incident["peak"] <= 1
    assert peaks["high_error_rate"] == 0 or errors[True] > 0
    assert peaks["high_retry_rate"] == 0, "no task of these runs has a third attempt"


def _one_open_incident_a_series(report: dict[str, Any]) -> None:
    series: dict[str, list[Line]] = {}
    for incident in report["incidents"]:
        series.setdefault(incident["trigger"], []).append(incident)
    for incidents in series.values():
        for earlier, later in pairwise(incidents):
            assert earlier["closed_at"] is not None
            assert earlier["closed_at"] <= later["opened_at"]
