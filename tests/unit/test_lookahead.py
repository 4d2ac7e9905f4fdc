"""The instants that a backtest leaves out: what is seen ahead, and what looking at every event finds, are the same."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from self_healing.backtest import Replay, replay
from self_healing.config import Settings, load_spec
from self_healing.lookahead import LookAhead
from self_healing.model import Ingested, Kind, Usage
from self_healing.spec import Spec
from self_healing.telemetry.assembly import traced
from self_healing.telemetry.replayed import Replayed
from self_healing.triggers.framework import TriggerFramework

START = datetime(2026, 1, 5, 10, 0, tzinfo=UTC).timestamp()
Line = dict[str, Any]

TRIGGERS = """
[[trigger]]
name = "slow_tasks"
window = "1m"
clear = 45
inhibited_by = ["dear"]

[[trigger]]
name = "dear"
type = "cost"
signal = "task.cost_usd"
aggregate = "mean"
window = "5m"
condition = { kind = "threshold", op = ">", value = 0.5 }
clear = 0.2
for = "30s"
min_samples = 2
severity = "high"
target_agent = "Helper"

[[trigger]]
name = "rare"
type = "custom"
signal = "task.duration_s"
aggregate = "count"
window = "2m"
condition = { kind = "threshold", op = "<=", value = 1 }
severity = "high"
target_agent = "Helper"

[[trigger]]
name = "quick"
type = "custom"
signal = "task.duration_s"
aggregate = "min"
window = "1m"
condition = { kind = "threshold", op = "<", value = 2 }
no_data = "fire"
severity = "high"
target_agent = "Helper"

[[trigger]]
name = "rising"
type = "custom"
signal = "task.tokens"
aggregate = "sum"
window = "1m"
condition = { kind = "rate_of_change", op = ">=", value = 2000 }
no_data = "clear"
severity = "high"
target_agent = "Helper"

[[trigger]]
name = "above"
type = "custom"
signal = "task.tokens"
aggregate = "mean"
window = "3m"
condition = { kind = "baseline", ratio = 1.5, over = "1h", min_samples = 3 }
severity = "high"
target_agent = "Helper"

[[trigger]]
name = "mostly"
type = "custom"
signal = "llm.duration_s"
aggregate = "p90"
window = "5m"
group_by = ["model"]
condition = { kind = "threshold", op = ">=", value = 5 }
severity = "high"
target_agent = "Helper"

[[trigger]]
name = "both"
type = "custom"
condition = { kind = "composite", all = ["slow_tasks", "dear"] }
severity = "high"
target_agent = "Helper"

[[trigger]]
name = "silent"
type = "custom"
signal = "agent.events"
condition = { kind = "absence", silent_for = "1m" }
severity = "high"
target_agent = "Helper"

[[trigger]]
name = "stuck"
type = "custom"
signal = "task.heartbeat"
condition = { kind = "absence", silent_for = "15s" }
severity = "high"
target_agent = "Helper"

[[trigger]]
name = "quiet"
type = "custom"
condition = { kind = "composite", any = ["silent", "stuck"] }
severity = "high"
target_agent = "Helper"

[[maintenance]]
name = "deploy"
days = ["mon"]
from = "10:10"
to = "10:14"
"""


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Spec:
    file = tmp_path_factory.mktemp("spec") / "triggers.toml"
    file.write_text(TRIGGERS)
    return load_spec(Settings.model_validate({"triggers": {"files": [file]}}))


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(START + seconds, UTC).isoformat()


def work(dice: random.Random, agent: str, until_s: int, rest_s: float, lost: float) -> Iterator[Line]:
    """An agent's tasks, some of which fail, last, beat, vanish, or say late or never what they used.

    Args:
        rest_s: how long it mostly rests between them.
        lost: the share of starts and of ends that are never told.
    """
    seconds, number = dice.uniform(0, 60), 0
    beats_s, ill_from_s = dice.choice([None, 4, 20]), dice.uniform(0, until_s)
    while seconds < until_s:
        ill = dice.random() < (0.6 if ill_from_s < seconds < ill_from_s + 400 else 0.05)
        lasts_s = round(dice.uniform(20, 150) if ill else dice.uniform(1, 15), 3)
        end_s = seconds + lasts_s
        of: Line = {"id": f"{agent}-{number}", "agent": agent}
        attempt = dice.choice([2, 3]) if ill else 1
        start: Line = {"ts": iso(seconds), "type": "task_started", "attempt": attempt, **of}
        end: Line = {"ts": iso(end_s), "type": "task_finished", "status": "failed" if ill else "success", **of}
        if dice.random() < 0.8:
            start["started_at"] = end["started_at"] = START + seconds - dice.choice([0, 0, 50])
            end["duration_s"] = lasts_s
        if dice.random() < 0.7:
            end["usage"] = {"total_tokens": 9000 if ill else 1000, "total_usd": 1.5 if ill else 0.1}
        else:
            heard_s = [dice.uniform(seconds, end_s), end_s + dice.uniform(0, 300)][: dice.randint(1, 2)]
            usage = {"total_tokens": dice.randint(1, 9000), "total_usd": dice.choice([0.1, 2.0])}
            for at_s in heard_s:
                call = {"ts": iso(at_s), "type": "llm_call", "model": "m", "duration_s": dice.uniform(0, 9)}
                yield call | {"usage": usage, **of}
        if dice.random() < 0.05:
            start["handoff_id"] = "h"
        for beat in range(1, int(lasts_s / beats_s) if beats_s else 0):
            if dice.random() < 0.9:
                yield {"ts": iso(seconds + beat * (beats_s or 0) + dice.random()), "type": "heartbeat", **of}
        yield from (line for line in (start, end) if dice.random() >= lost)
        if dice.random() < 0.4:
            yield {"ts": iso(end_s), "type": "test_run", "passed": 9, "failed": dice.randint(0, 5) if ill else 0, **of}
        seconds = (end_s if dice.random() < 0.8 else seconds) + dice.expovariate(1 / rest_s)
        seconds, number = seconds + (4000 if dice.random() < 0.01 else 0), number + 1


def history(seed: int, until_s: int, rest_s: float = 20, lost: float = 0.07) -> list[Line]:
    dice = random.Random(seed)
    lines = [line for agent in ("Ada", "Bob", "Eve") for line in work(dice, agent, until_s, rest_s, lost)]
    return sorted(lines, key=lambda line: datetime.fromisoformat(line["ts"]))


def replayed(spec: Spec, lines: list[Line], *, every_event: bool = False) -> Replay:
    with TemporaryDirectory() as directory:
        path = Path(directory) / "events.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return replay(spec, [path], every_event=every_event)


LIMITS = {"task.duration_s": 20, "task.tokens": 5000, "task.cost_usd": 0.5, "llm.duration_s": 4, "task.attempts": 2}
"""What some tasks exceed and others do not, by signal."""


@st.composite
def silences(draw: st.DrawFn, name: str) -> str:
    """One trigger that waits for silence, of agents or of their tasks."""
    signal = draw(st.sampled_from(["agent.events", "task.heartbeat"]))
    lines = [f'name = "{name}"\ntype = "custom"\nsignal = "{signal}"\nseverity = "high"\ntarget_agent = "Helper"']
    lines += [f'condition = {{ kind = "absence", silent_for = "{draw(st.sampled_from([10, 25, 90]))}s" }}']
    lines += [f'for = "{draw(st.sampled_from([0, 0, 20]))}s"']
    further = ["max_series = 1", 'group_by = ["model"]', 'where = { agent = "Ada" }']
    return "\n".join(["[[trigger]]", *lines, *draw(st.lists(st.sampled_from(further), unique=True)), ""])


@st.composite
def triggers(draw: st.DrawFn, name: str) -> str:
    """One trigger of any kind."""
    if draw(st.integers(0, 3)) == 0:
        return draw(silences(name))
    signal = draw(st.sampled_from(sorted(LIMITS)))
    limit, op = LIMITS[signal] * draw(st.sampled_from([0.5, 1, 2])), draw(st.sampled_from([">=", ">", "<=", "<"]))
    aggregate = draw(st.sampled_from(["max", "max", "min", "mean", "sum", "count", "rate", "p90"]))
    if aggregate in ("count", "rate"):
        limit = draw(st.integers(1, 3)) / (20 if aggregate == "rate" else 1)
    kind = draw(st.sampled_from(["threshold", "threshold", "rate_of_change", "baseline"]))
    if kind == "rate_of_change" and op.startswith("<"):
        limit = -limit
    condition = f'kind = "{kind}", op = "{op}", value = {limit}'
    if kind == "baseline":
        aggregate, condition = "mean", 'kind = "baseline", ratio = 1.2, over = "1h", min_samples = 2'
    lines = [f'name = "{name}"\ntype = "custom"\nsignal = "{signal}"\nseverity = "high"\ntarget_agent = "Helper"']
    lines += [f'aggregate = "{aggregate}"', f"condition = {{ {condition} }}"]
    lines += [f'window = "{draw(st.sampled_from([20, 60, 300]))}s"', f'for = "{draw(st.sampled_from([0, 0, 20]))}s"']
    further = [f'no_data = "{each}"' for each in ("clear", "fire")] + ["max_series = 1", 'group_by = ["model"]']
    if kind == "threshold":
        further.append(f"clear = {limit * (0.5 if op.startswith('>') else 2)}")
    if aggregate in ("max", "min", "mean", "p90"):
        further.append("min_samples = 2")
    of_each = {each.split()[0]: each for each in draw(st.lists(st.sampled_from(further), max_size=2))}
    return "\n".join(["[[trigger]]", *lines, *of_each.values(), ""])


def assert_seen_ahead(spec: Spec, lines: list[Line]) -> None:
    """What is seen ahead is what looking at every event shows."""
    ahead, plain = replayed(spec, lines), replayed(spec, lines, every_event=True)

    assert ahead.transitions == plain.transitions
    assert ahead.incidents == plain.incidents
    assert ahead.telemetry.accounting == plain.telemetry.accounting


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 100_000),
    grid_s=st.sampled_from([1, 7, 60]),
    drawn=st.tuples(triggers("first"), triggers("second")),
    most=st.sampled_from([1, 10_000]),
)
def test_what_is_seen_ahead_is_what_every_event_shows(
    seed: int, grid_s: int, drawn: tuple[str, ...], most: int
) -> None:
    with TemporaryDirectory() as directory:
        whole = loaded(Path(directory), "\n".join(drawn))
    only = tuple(each for each in whole.triggers if each.name in ("first", "second"))
    spec, lines = Spec(triggers=only, actions=(), grid=grid_s, max_groups=most), history(seed, 300)
    assert_seen_ahead(spec, lines)


@settings(max_examples=1, deadline=None)
@given(seed=st.integers(0, 100_000))
def test_many_triggers_that_look_at_one_another_are_seen_ahead(spec: Spec, seed: int) -> None:
    spec, lines = spec.model_copy(update={"grid": 10}), history(seed, 600)
    assert_seen_ahead(spec, lines)


@settings(max_examples=1, deadline=None)
@given(seed=st.integers(0, 100_000))
def test_hours_without_an_event_and_tasks_that_hang_are_seen_ahead_as_well(spec: Spec, seed: int) -> None:
    spec, lines = spec.model_copy(update={"grid": 60}), history(seed, 12_000, rest_s=4000, lost=0.3)
    assert_seen_ahead(spec, lines)


def loaded(tmp_path: Path, triggers: str) -> Spec:
    file = tmp_path / "triggers.toml"
    file.write_text(triggers)
    return load_spec(Settings.model_validate({"triggers": {"files": [file]}}))


@pytest.mark.parametrize("further", ["", "clear = 20", "min_samples = 3", 'no_data = "fire"', "max_series = 1"])
def test_a_task_that_hangs_is_seen_ahead_whatever_else_its_trigger_asks(tmp_path: Path, further: str) -> None:
    spec = loaded(tmp_path, f'[[trigger]]\nname = "slow_tasks"\n{further}\n')
    ended: Line = {"type": "task_finished", "status": "success", "duration_s": 1.0, "agent": "Ada"}
    tried = [(1, 10), (2, 150)]
    lines = [{"ts": iso(second), "id": f"t{second}", **ended} for second in (1, 2, 3)]
    lines += [{"ts": iso(at), "type": "task_started", "id": "hung", "agent": "Ada", "attempt": n} for n, at in tried]
    lines += [{"ts": iso(155), "id": "hung", "attempt": 2, **ended}, {"ts": iso(900), "id": "t900", **ended}]

    ahead, plain = replayed(spec, lines), replayed(spec, lines, every_event=True)

    assert ahead.transitions == plain.transitions
    assert ahead.incidents == plain.incidents
    assert [(each.opened_us, each.peak) for each in ahead.incidents] == [((START + 70) * 1_000_000, 139.0)]


def test_the_peak_of_a_task_that_hangs_is_its_age_right_before_there_are_too_few_samples(tmp_path: Path) -> None:
    condition = 'window = "1m"\nmin_samples = 3\ncondition = { kind = "threshold", op = ">=", value = 30 }'
    spec = loaded(tmp_path, f'[[trigger]]\nname = "slow_tasks"\n{condition}\n')
    ended: Line = {"type": "task_finished", "status": "success", "duration_s": 1.0, "agent": "Ada"}
    lines = [{"ts": iso(second), "id": f"t{second}", **ended} for second in (1, 2, 3)]
    lines += [{"ts": iso(10), "type": "task_started", "id": "hung", "agent": "Ada"}]
    lines += [{"ts": iso(900), "id": "t900", **ended}]

    assert [each.peak for each in replayed(spec, lines).incidents] == [59.0]


def test_the_peak_of_a_change_is_the_largest_change_and_not_the_largest_value(tmp_path: Path) -> None:
    condition = 'aggregate = "sum"\nwindow = "1m"\ncondition = { kind = "rate_of_change", op = ">=", value = 5 }'
    spec = loaded(tmp_path, f'[[trigger]]\nname = "slow_tasks"\n{condition}\n')
    lasted_s = {1: 100.0, 35: 0.1, 95: 110.0, 400: 1.0}
    lines = [
        {"ts": iso(at), "type": "task_finished", "status": "success", "agent": "Ada", "id": f"t{at}", "duration_s": s}
        for at, s in lasted_s.items()
    ]

    # From 100.1 s to 110 s, and once the first task has left the minute before, from 0.1 s.
    assert [each.peak for each in replayed(spec, lines).incidents if each.trigger == "slow_tasks"] == [109.9]


def test_who_speaks_first_is_kept_apart_of_whatever_signal(tmp_path: Path) -> None:
    further = 'aggregate = "max"\ngroup_by = ["model"]\nseverity = "high"\ntarget_agent = "Helper"\ntype = "custom"'
    condition = 'condition = { kind = "threshold", op = ">=", value = 5 }\nwindow = "1m"'
    signals = [
        f'[[trigger]]\nname = "{s}"\nsignal = "{s}.duration_s"\n{further}\n{condition}\n' for s in ("task", "llm")
    ]
    spec = loaded(tmp_path, "\n".join(signals)).model_copy(update={"max_groups": 1})
    lines: list[Line] = [
        {"ts": iso(1), "type": "llm_call", "agent": "Ada", "model": "m1", "duration_s": 9.0},
        {
            "ts": iso(30),
            "type": "task_finished",
            "status": "success",
            "agent": "Ada",
            "model": "m2",
            "duration_s": 70.0,
        },
    ]

    opened = {each.trigger: each.group for each in replayed(spec, lines).incidents}

    assert (opened["llm"], opened["task"]) == ((("model", "m1"),), (("model", "overflow"),))


def ended(second: int, duration_s: float) -> Line:
    of = {"id": f"t{second}", "agent": "Ada", "status": "success", "duration_s": duration_s}
    return {"ts": iso(second), "type": "task_finished", **of}


def test_a_baseline_of_most_of_a_year_is_replayed_as_a_shorter_one_is(tmp_path: Path) -> None:
    condition = '{ kind = "baseline", ratio = 1.5, over = "300d", min_samples = 20 }'
    spec = loaded(tmp_path, f'[[trigger]]\nname = "duration_increase"\ncondition = {condition}\n')

    done = replayed(spec, [ended(60 * n, s) for n, s in enumerate([10.0] * 120 + [100.0] * 20)])

    assert [each.trigger for each in done.incidents].count("duration_increase") == 1
    assert done.sees_ahead


def test_a_well_fleet_is_hardly_looked_at_also_where_triggers_wait_for_silence(tmp_path: Path) -> None:
    spec = loaded(tmp_path, '[[trigger]]\nname = "agent_silent"\n[[trigger]]\nname = "stuck_tasks"\n')
    lines: list[Line] = []
    for second in range(0, 7200, 10):
        of = {"id": f"t{second}", "agent": "Coder", "started_at": START + second}
        lines.append({"ts": iso(second), "type": "task_started", **of})
        lines += [{"ts": iso(second + after), "type": "heartbeat", **of} for after in (2, 4)]
        lines.append({"ts": iso(second + 5), "type": "task_finished", "status": "success", "duration_s": 5.0, **of})

    done = replayed(spec, lines)

    assert done.incidents == []
    assert done.framework.evaluations <= 7  # the first sign of each kind, and the end of each hour


def test_a_quantile_is_hardly_looked_at_while_no_sample_meets_its_condition(tmp_path: Path) -> None:
    spec = loaded(
        tmp_path,
        """[[trigger]]\nname = "tail"\ntype = "performance"\nsignal = "task.duration_s"\naggregate = "p99"
        condition = { kind = "threshold", op = ">", value = 9 }\nwindow = "5m"\nseverity = "low"\ntarget_agent = "Ada"
        """,
    )
    done = replayed(spec, [ended(second, 5.0 if second < 3600 else 12.0) for second in range(0, 3700, 10)])

    assert [each.trigger for each in done.incidents] == ["tail"]
    assert done.framework.evaluations <= 30  # those of the last minutes


def test_a_composite_is_looked_at_with_all_that_it_looks_at_and_with_nothing_else(tmp_path: Path) -> None:
    members = '"slow_tasks", "high_retry_rate"'
    spec = loaded(
        tmp_path,
        f"""[[trigger]]\nname = "both"\ntype = "custom"\nseverity = "low"\ntarget_agent = "Planner"
        condition = {{ kind = "composite", all = [{members}] }}""",
    )
    history = Replayed(spec.triggers, grid_us=1_000_000, max_groups=10)
    ahead = LookAhead(spec, TriggerFramework(spec, history), history, lambda _trigger, _place: None)

    assert ahead.together(["high_error_rate"]) == {"high_error_rate"}
    assert ahead.together(["slow_tasks"]) == {"slow_tasks", "high_retry_rate", "both"}


KINDS = {"log": Kind.LOG, "llm_call": Kind.LLM_CALL, "tool_call": Kind.TOOL_CALL}


def said_in_sessions(seed: int) -> list[Ingested]:
    """What agents say of tasks whose end they never say, with gaps on both sides of the idle minutes that end one."""
    drawn, said = random.Random(seed), []
    for session in range(40):
        agent, at = drawn.choice("AB"), START + drawn.uniform(0, 3 * 3600)
        for _ in range(drawn.randint(1, 12)):
            event = Ingested(
                ts=datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds"),
                kind=drawn.choice(list(KINDS)),
                task_id=f"s{session}",
                agent=agent,
                attempt=drawn.randint(1, 4),
                status=drawn.choice(["success", "failed"]),
                source="otlp/claude_code",
            )
            if event.kind == "llm_call":
                event.usage = Usage(total_tokens=drawn.randint(1, 20_000), total_usd=drawn.random())
            said.append(event)
            at += drawn.choice([1, 5, 60, 400, 599, 601])
    return sorted(said, key=lambda event: event.ts or "")


@pytest.mark.parametrize("seed", [1, 4])
def test_what_sessions_will_have_done_is_seen_ahead(seed: int) -> None:
    events = said_in_sessions(seed)
    kind = np.array([KINDS[event.kind or ""] for event in events], np.uint8)
    stamps = [datetime.fromisoformat(event.ts or "").timestamp() for event in events]
    ts = np.array([round(at * 1e3) * 1_000 for at in stamps], np.int64)
    assert not traced(events, kind)
    spec, found = load_spec(Settings()), []
    for by_step in (True, False):
        replayed = Replay(spec, by_step=by_step, first_us=int(ts[0]), last_us=int(ts[-1]))
        replayed.telemetry.queue(list(events), kind, ts)
        replayed.run(int(ts[-1]) // 1_000_000 * 1_000_000 + 3600 * 1_000_000)
        assert replayed.sees_ahead is not by_step
        found.append((replayed.transitions, replayed.incidents))
    assert found[0][1]
    assert found[0] == found[1]
