"""No line stops the loop: whatever it holds, what is read of it can be committed, and the rest goes on."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from self_healing.clock import FakeClock, to_us
from self_healing.config import Settings
from self_healing.measures import LARGEST, MICRO, Totals
from self_healing.model import Accounting, Ingested
from self_healing.orchestrator import SelfHealingOrchestrator
from self_healing.taps import Restart, Seen
from self_healing.telemetry.encoding import ATTRIBUTES_MAX, TEXT_MAX
from self_healing.telemetry.lines import LINE_MAX_BYTES
from self_healing.telemetry.metric import MetricPoint
from self_healing.telemetry.reader import DirectoryReader
from self_healing.verification import growing

AT = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
KINDS = (
    *("task_started", "task_finished", "heartbeat", "llm_call", "tool_call", "test_run", "quality_score", "span"),
    "metric",
)
SOURCE: tuple[dict[str, str], ...] = ({}, {"source": "otlp"})  # of a line in a native file, and in a segment
QUEUE = """
[[trigger]]
name = "queue"
type = "performance"
signal = "metric.x"
aggregate = "p99"
window = "5m"
group_by = ["agent"]
condition = { kind = "threshold", op = ">", value = 1e6 }
severity = "low"
target_agent = "AuditorAgent"
actions = ["comprehensive_system_analysis"]
"""
Line = dict[str, Any]


def line(**fields: Any) -> Line:
    return {"ts": AT.isoformat(), "type": "task_finished", "id": "t", "agent": "Coder", **fields}


class Fleet:
    """Files of telemetry and the loop on them; every cycle is a process of its own."""

    def __init__(self, directory: Path) -> None:
        self.native = directory / "telemetry"
        self.segments = directory / "state" / "segments"
        self.native.mkdir(parents=True)
        self.segments.mkdir(parents=True)
        triggers = directory / "triggers.toml"
        triggers.write_text(QUEUE)
        self.settings = Settings.model_validate(
            {
                "telemetry": {"dir": self.native},
                "triggers": {"files": [triggers]},
                "storage": {"state_dir": directory / "state", "logs_dir": directory / "logs"},
            }
        )

    def write(self, *lines: Line | str, segment: bool = False) -> None:
        file = self.segments / "0000000001.jsonl" if segment else self.native / "events.jsonl"
        with file.open("a") as out:
            out.writelines(f"{text if isinstance(text, str) else json.dumps(text)}\n" for text in lines)

    def cycle(self, seconds: float) -> Accounting:
        """One cycle of a fresh process, then what the state says."""
        with SelfHealingOrchestrator.open(self.settings, clock=FakeClock(AT + timedelta(seconds=seconds))) as loop:
            loop.check()
        with SelfHealingOrchestrator.open(self.settings, clock=FakeClock(AT + timedelta(seconds=seconds))) as loop:
            return loop.telemetry.accounting


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path)


def balanced(count: Accounting) -> bool:
    fates = (count.quarantined, count.dropped)
    return (
        count.received == count.accepted + sum(count.rejected.values())
        and count.accepted == count.aggregated + sum(sum(fate.values()) for fate in fates) + count.in_flight
    )


@pytest.mark.parametrize("segment", [False, True])
def test_numbers_beyond_64_bits_in_attributes_stop_nothing(fleet: Fleet, segment: bool) -> None:
    fleet.cycle(0)
    odd = [
        line(id=f"{kind}{number}", type=kind, attributes={"n": number, "deep": [{"n": number}]}, **SOURCE[segment])
        for kind in (*KINDS, "odd")
        for number in (10**30, -(10**30), 2**64, -(2**63) - 1)
    ]
    fleet.write(*odd, line(duration_s=90.0), segment=segment)
    assert fleet.cycle(1).aggregated == len(odd) + 1
    fleet.write(line(id="t2", ts=(AT + timedelta(seconds=2)).isoformat()), segment=segment)
    assert fleet.cycle(3).aggregated == len(odd) + 2


def test_the_other_attributes_of_such_a_line_are_kept(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path)
    fleet.write(line(attributes={"n": 10**30, "tier": "gold"}))
    (event,) = DirectoryReader(fleet.native).read(to_us(AT)).events
    assert event.attributes == {"n": "(an integer of 100 bits)", "tier": "gold"}


@pytest.mark.parametrize("segment", [False, True])
def test_huge_attributes_are_cut(tmp_path: Path, segment: bool) -> None:
    fleet = Fleet(tmp_path)
    huge = {"text": "x" * 100_000, "many": list(range(10_000)), **{f"k{number}": number for number in range(1_000)}}
    fleet.write(line(attributes=huge, **SOURCE[segment]), segment=segment)
    (event,) = DirectoryReader(fleet.native, segments=fleet.segments).read(to_us(AT)).events
    assert event.attributes is not None
    assert len(event.attributes) <= ATTRIBUTES_MAX + 1
    assert len(msgspec.msgpack.encode(event.attributes)) < 2 * TEXT_MAX


def test_sums_of_the_largest_figures_are_held_within_what_the_state_holds() -> None:
    restart, most = Restart(0), LARGEST * MICRO
    for _ in range(30_000):
        restart.add(1, most, most)
    seen = Seen(0, True, [(1, 1, most)] * 30_000)
    totals: list[Totals] = [restart.totals(0, 10), growing([seen], 1, quantiles=False)]
    assert [int(total.amount[0]) for total in totals] == [2**62, 2**62]
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(restart), type=Restart) == restart


def test_thousands_of_the_largest_figures_in_one_pane_do_not_wrap_around(fleet: Fleet) -> None:
    fleet.cycle(0)
    most = {"total_tokens": LARGEST, "total_usd": LARGEST}
    fleet.write(*(line(id=f"t{number}", duration_s=LARGEST, usage=most) for number in range(5_000)))
    assert fleet.cycle(1).aggregated == 5_000
    with SelfHealingOrchestrator.open(fleet.settings, clock=FakeClock(AT + timedelta(seconds=1))) as loop:
        costly = next(i for i in loop.register.open.values() if i.trigger == "cost_efficiency_degradation")
        assert costly.value == LARGEST


@pytest.mark.parametrize("segment", [False, True])
@pytest.mark.parametrize(
    "point",
    [
        {"bounds": [1.0], "buckets": [0, 0, 0, 5], "count": 5, "sum": 1},
        {"bounds": [2.0, 1.0], "buckets": [1, 1, 1], "count": 3},
        {"bounds": [1.0], "buckets": [1, 1], "count": 3},
        {"scale": -2000, "buckets": [5], "count": 5},
        {"scale": 21, "buckets": [5], "count": 5},
        {"scale": 1, "buckets": [-5], "count": -5},
        {"scale": 1, "buckets": [5], "count": 5, "offset": 2**31},
        {"scale": 1, "buckets": [1] * 1025, "count": 1025},
        {"count": -1, "sum": 3.0},
        {"count": 1, "sum": 1e300},
        {"count": 1, "started_at": -1.0},
        7,
    ],
)
def test_a_point_of_a_metric_that_cannot_be_used_is_quarantined(fleet: Fleet, point: Any, segment: bool) -> None:
    fleet.cycle(0)
    named = point if isinstance(point, int) else {"name": "x", **point}
    fleet.write(line(type="metric", attributes={"point": named}, **SOURCE[segment]), line(duration_s=90.0))
    count = fleet.cycle(1)
    assert (count.quarantined, count.aggregated) == ({"invalid_value": 1}, 1)


# --- whatever a line may hold ----------------------------------------------------------------------------------------

NUMBERS = st.sampled_from(
    [0, -1, 0.5, 1, LARGEST, LARGEST + 1, 2**53 + 1, 2**63 - 1, 2**63, 2**64, -(2**63) - 1, 10**30, 1e-320, 1e308]
)
TEXTS = st.one_of(
    st.sampled_from(["", "\0", "é\u2028\U0001f600", "x" * 5_000, "../../etc/passwd", "{}", "9999-12-31T23:59:59Z"]),
    st.text(st.characters(codec="utf-8"), max_size=8),
)
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=8
)
COLUMNS = [field.encode_name for field in msgspec.structs.fields(Ingested) if field.encode_name not in ("ts", "type")]
TIMES = st.sampled_from([AT.isoformat(), None, "1970-01-01T00:00:00Z", "9999-12-31T23:59:59.999Z", "0001-01-01"])
USAGE = st.dictionaries(st.sampled_from(["prompt_tokens", "completion_tokens", "total_tokens", "total_usd"]), NUMBERS)

FIGURES = st.one_of(NUMBERS, st.sampled_from([2, 3, -2000]), st.lists(NUMBERS, max_size=4))
POINTS = st.fixed_dictionaries(
    {"name": st.just("x"), "temporality": st.sampled_from(["delta", "cumulative", "instant"])},
    optional={
        field.encode_name: FIGURES
        for field in msgspec.structs.fields(MetricPoint)
        if field.name not in ("name", "temporality")
    },
)


@st.composite
def nasty_lines(draw: st.DrawFn) -> Line:
    """A line whose every field is as odd as may be; what is not drawn is as it should be, so that the line is used."""
    fields = draw(st.dictionaries(st.sampled_from([*COLUMNS, "pid", "odd"]), VALUES, max_size=4))
    usage = draw(st.none() | USAGE)
    attributes = draw(st.none() | st.dictionaries(TEXTS, VALUES, max_size=4) | st.builds(dict, point=POINTS))
    own = line(type=draw(st.sampled_from(KINDS) | TEXTS), ts=draw(TIMES), usage=usage, attributes=attributes)
    return {**own, "attempt": 1, "status": "success", **fields}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(native=st.lists(nasty_lines(), max_size=8), segment=st.lists(nasty_lines(), max_size=8))
def test_whatever_lines_hold_a_cycle_commits_and_the_equations_hold(native: list[Line], segment: list[Line]) -> None:
    with TemporaryDirectory() as directory:
        fleet = Fleet(Path(directory))
        fleet.cycle(0)
        fleet.write(*native)
        fleet.write(*segment, segment=True)
        assert balanced(fleet.cycle(1))
        before = fleet.cycle(2).aggregated
        fleet.write(line(id="well", ts=(AT + timedelta(seconds=3)).isoformat()))
        count = fleet.cycle(700)  # what waited for the rest of its trace or its session is decided too
        assert balanced(count)
        assert count.aggregated >= before + 1


@pytest.mark.parametrize("column", ["agent", "id", "model", "error_type", "handoff_id"])
def test_a_line_as_long_as_is_read_stops_nothing(fleet: Fleet, column: str) -> None:
    fleet.cycle(0)
    slow = line(duration_s=90.0)
    slow[column] = "y" * (LINE_MAX_BYTES - len(json.dumps({**slow, column: ""})))
    fleet.write(slow, line(id="t2", duration_s=90.0))
    assert fleet.cycle(1).aggregated == 2
