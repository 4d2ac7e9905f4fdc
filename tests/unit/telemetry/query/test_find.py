"""Looking at events in real files of all three kinds, beside a filter in plain Python."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from self_healing.clock import FakeClock, to_us
from self_healing.errors import TelemetryError
from self_healing.model import Ingested, Usage
from self_healing.telemetry.query import find as finding
from self_healing.telemetry.query.files import Places
from self_healing.telemetry.query.find import Found, find
from self_healing.telemetry.query.rows import KINDS, Wanted
from self_healing.telemetry.retention import Retention
from tests.unit.telemetry.test_intake import batch, opened, send

AT = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
ALL = Wanted()

Line = dict[str, Any]


def places(directory: Path) -> Places:
    return Places(telemetry=directory / "telemetry", segments=directory / "state/segments")


def ts(second: float) -> str:
    return (AT + timedelta(seconds=second)).isoformat()


def us(second: float) -> int:
    return to_us(AT + timedelta(seconds=second))


def native(directory: Path, *lines: Line | bytes, name: str = "events-20260105.jsonl") -> Path:
    file = directory / "telemetry" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("ab") as opened_file:
        for line in lines:
            opened_file.write(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n")
    return file


def segment(directory: Path, *events: Ingested, compacted: bool = False) -> None:
    """A closed segment, compacted or not."""
    segments = directory / "state/segments"
    segments.mkdir(parents=True, exist_ok=True)
    with opened(segments, FakeClock(AT)) as intake:
        send(intake, batch(*events, key=str(len(list(segments.iterdir()))), undated=1), "otlp/codex")
    if compacted:
        folded = {file.name: file.stat().st_size for file in segments.iterdir()}
        keeper = Retention(segments, keep=timedelta(days=7), keep_bytes=1 << 30)
        assert keeper.tend(folded, active=None, now=AT) == []


def tasks(found: Found) -> list[str]:
    return [row.told["task_id"] for row in found.rows]


def one(directory: Path, *lines: Line | bytes) -> Line:
    native(directory, *lines)
    (row,) = find(places(directory), ALL, 50).rows
    return row.told


def test_events_of_all_three_kinds_of_files_come_together_the_newest_first(tmp_path: Path) -> None:
    native(tmp_path, {"ts": ts(1), "type": "heartbeat", "id": "n1"}, {"ts": ts(4), "type": "heartbeat", "id": "n4"})
    segment(tmp_path, Ingested(ts=ts(2), kind="heartbeat", task_id="c2"), compacted=True)
    segment(tmp_path, Ingested(ts=ts(3), kind="heartbeat", task_id="s3"))
    found = find(places(tmp_path), ALL, 50)
    assert (tasks(found), found.warnings) == (["n4", "s3", "c2", "n1"], [])
    assert [row.told["source"] for row in found.rows] == ["native", "otlp/codex", "otlp/codex", "native"]
    assert tasks(find(places(tmp_path), ALL, 2)) == ["n4", "s3"]


@pytest.mark.parametrize("compacted", [False, True], ids=["segment", "compacted"])
def test_an_event_says_the_same_wherever_it_stands(compacted: bool, tmp_path: Path) -> None:
    fields: Line = {"agent": "Coder", "model": "m", "attempt": 2, "status": "failed", "duration_s": 1.5}
    fields |= {"error_type": "Timeout", "trace_id": "tr", "handoff_id": "h", "attributes": {"deep": {"a": [1, None]}}}
    usage = Usage(prompt_tokens=9, completion_tokens=1, total_usd=0.5)
    line = {"ts": ts(0), "type": "task_finished", "id": "t", **fields, "usage": msgspec.to_builtins(usage)}
    segment(tmp_path, Ingested(ts=ts(0), kind="task_finished", task_id="t", **fields, usage=usage))
    if compacted:
        segment(tmp_path, compacted=True)
    native(tmp_path, line)
    first, second = [row.told for row in find(places(tmp_path), ALL, 50).rows]
    assert {first.pop("source"), second.pop("source")} == {"native", "otlp/codex"}
    assert first == second
    assert first["total_tokens"] == 10
    assert first["attributes"] == {"handoff_id": "h", "deep": {"a": [1, None]}}


def test_what_no_column_holds_is_an_attribute_and_secrets_are_not_shown(tmp_path: Path) -> None:
    told = one(tmp_path, {"ts": ts(0), "type": "deployed", "id": "t", "region": "eu", "password": "hunter2"})
    assert told["kind"] == "log"
    assert told["attributes"] == {"type": "deployed", "region": "eu", "password": "[redacted]"}


def test_a_torn_line_and_bad_ones_are_left_out_and_so_are_our_own(tmp_path: Path) -> None:
    good = {"ts": ts(0), "type": "heartbeat", "id": "good"}
    native(tmp_path, {"ts": ts(9), "type": "self_healing_trigger", "id": "own"}, name="events-self-healing-1.jsonl")
    told = one(
        tmp_path,
        b"\xef\xbb\xbf",
        {"ts": ts(1), "type": "self_healing_trigger", "id": "own"},
        b'{"ts": "\xff"}\n\n[1]\nnull\nnonsense\n',
        {"ts": ts(2), "type": "heartbeat", "attempt": -1},
        {"type": "heartbeat", "id": "undated"},
        {"ts": "2026-01-05T10:00:00", "id": "without a zone"},
        good,
        json.dumps(good | {"ts": ts(3)}).encode()[:-4],
    )
    assert told["task_id"] == "good"


def test_bad_lines_that_look_new_hide_no_good_one(tmp_path: Path) -> None:
    native(tmp_path, *({"ts": ts(n), "id": f"t{n}", "attempt": "x" if n >= 20 else 1} for n in range(200)))
    native(tmp_path, *({"ts": "yesterday", "id": "undated"} for _ in range(100)))
    assert tasks(find(places(tmp_path), ALL, 3)) == ["t19", "t18", "t17"]


def test_a_time_that_is_written_otherwise_is_read_as_everywhere_else(tmp_path: Path) -> None:
    native(
        tmp_path,
        {"ts": "20260105T100001Z", "id": "basic"},
        {"ts": "2026-01-05T12:00:02+02:00", "id": "zone"},
        {"finished_at": us(3) / 1e6, "id": "finished"},
        {"ts": "nonsense", "started_at": us(4) / 1e6, "id": "started"},
        {"ts": "2026-01-05T10:00:05.123456789Z", "id": "nano"},
    )
    assert tasks(find(places(tmp_path), ALL, 50)) == ["nano", "started", "finished", "zone", "basic"]
    wanted = Wanted(since_us=us(2), until_us=us(5))
    assert tasks(find(places(tmp_path), wanted, 50)) == ["started", "finished", "zone"]


def test_a_file_that_is_there_under_two_names_is_read_once(tmp_path: Path) -> None:
    file = native(tmp_path, {"ts": ts(0), "id": "t"})
    file.with_name("again.jsonl").hardlink_to(file)
    assert tasks(find(places(tmp_path), ALL, 50)) == ["t"]


def test_a_segment_that_was_compacted_and_not_deleted_yet_is_read_once(tmp_path: Path) -> None:
    segment(tmp_path, Ingested(ts=ts(0), kind="heartbeat", task_id="t"))
    (file,) = places(tmp_path).segments.iterdir()
    data = file.read_bytes()
    segment(tmp_path, compacted=True)
    file.write_bytes(data)
    assert tasks(find(places(tmp_path), ALL, 50)) == ["t"]


def test_a_corrupt_file_is_named_and_skipped(tmp_path: Path) -> None:
    segment(tmp_path, Ingested(ts=ts(0), kind="heartbeat", task_id="t"), compacted=True)
    corrupt = places(tmp_path).segments / "0000000009.parquet"
    corrupt.write_bytes(b"no parquet at all")
    found = find(places(tmp_path), ALL, 50)
    assert tasks(found) == ["t"]
    assert len(found.warnings) == 1
    assert f"{corrupt} is skipped: " in found.warnings[0]


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read any file")
def test_a_file_that_may_not_be_read_is_named_and_skipped(tmp_path: Path) -> None:
    native(tmp_path, {"ts": ts(0), "id": "t"})
    secret = native(tmp_path, {"ts": ts(1), "id": "secret"}, name="secret.jsonl")
    secret.chmod(0)
    found = find(places(tmp_path), ALL, 50)
    assert (tasks(found), found.warnings) == (["t"], [f"{secret} is skipped: Permission denied; make it readable"])


def test_a_segment_that_goes_away_while_it_is_read_is_found_where_it_went(tmp_path: Path) -> None:
    segment(tmp_path, Ingested(ts=ts(0), kind="heartbeat", task_id="t"))
    with finding.Look(places(tmp_path), ALL) as look:
        segment(tmp_path, compacted=True)
        with pytest.raises(finding._Vanished):
            look.newest(50)
    assert tasks(find(places(tmp_path), ALL, 50)) == ["t"]


LONG = """
import sys
from pathlib import Path
from self_healing.telemetry.query import find as finding
from self_healing.telemetry.query.files import Form, Places
from self_healing.telemetry.query.rows import Wanted

places = Places(telemetry=Path(sys.argv[1]).parent, segments=Path("nowhere"))

def long(_form, _files):
    print("asking", flush=True)
    return "SELECT count(*) FROM range(1000000000) a WHERE hash(a.range) % 7 = 1", {}

with finding.Look(places, Wanted()) as look:
    try:
        look._ask(Form.NATIVE, [Path(sys.argv[1])], long)
    except KeyboardInterrupt:
        print("Ctrl-C", flush=True)
"""


def test_ctrl_c_in_the_middle_of_a_query_is_ctrl_c(tmp_path: Path) -> None:
    file = native(tmp_path, {"ts": ts(0), "type": "log"})
    # A process of its own: the one that runs the tests has other things to do at Ctrl-C.
    with subprocess.Popen([sys.executable, "-c", LONG, str(file)], stdout=subprocess.PIPE, text=True) as asking:
        assert asking.stdout is not None
        assert asking.stdout.readline() == "asking\n"
        time.sleep(0.2)
        asking.send_signal(signal.SIGINT)
        assert asking.stdout.read() == "Ctrl-C\n"


def test_a_path_is_no_pattern(tmp_path: Path) -> None:
    inside = tmp_path / "a[1]*"
    native(inside, {"ts": ts(0), "id": "t"}, name="e?.jsonl")
    native(inside, {"ts": ts(1), "id": "other"}, name="ex.jsonl.old")
    assert tasks(find(places(inside), ALL, 50)) == ["t"]


def test_without_any_telemetry_it_says_where_it_should_be(tmp_path: Path) -> None:
    with pytest.raises(TelemetryError, match=r"no telemetry yet: .*/telemetry does not exist"):
        find(places(tmp_path), ALL, 50)
    places(tmp_path).telemetry.mkdir()
    assert find(places(tmp_path), ALL, 50) == Found([], [])


def test_what_was_last_written_before_the_range_is_not_even_opened(tmp_path: Path) -> None:
    old = native(tmp_path, {"ts": ts(0), "id": "t"}, name="old.jsonl")
    os.utime(old, (us(0) / 1e6, us(0) / 1e6))
    wanted = Wanted(since_us=us(600))
    with finding.Look(places(tmp_path), wanted) as look:
        assert not any(look._files.values())
    assert tasks(find(places(tmp_path), Wanted(since_us=us(0)), 50)) == ["t"]


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        (Wanted(agents=("Codre",)), "no event has the agent 'Codre'; did you mean Coder?"),
        (Wanted(models=("m",), agents=("Coder",)), "no event has the model 'm'"),
        (Wanted(sources=("otpl",)), "no event has the source 'otpl'; did you mean otlp?"),
    ],
    ids=["agent", "model", "source"],
)
def test_of_a_name_that_no_event_has_the_nearest_is_told(wanted: Wanted, told: str, tmp_path: Path) -> None:
    native(tmp_path, {"ts": ts(0), "id": "t", "agent": "Coder"})
    segment(tmp_path, Ingested(ts=ts(0), kind="heartbeat", agent="Tester"))
    found = find(places(tmp_path), wanted, 50)
    assert (found.rows, found.warnings) == ([], [told])


def test_a_source_is_found_by_itself_and_by_the_way_in(tmp_path: Path) -> None:
    native(tmp_path, {"ts": ts(0), "id": "n"})
    segment(tmp_path, Ingested(ts=ts(1), kind="heartbeat", task_id="s"))
    found = {
        name: tasks(find(places(tmp_path), Wanted(sources=(name,)), 50)) for name in ("native", "otlp", "otlp/codex")
    }
    assert found == {"native": ["n"], "otlp": ["s"], "otlp/codex": ["s"]}


# -- beside a filter in plain Python

NAMES = st.sampled_from(["A", "B", 'quo"te', "ünï", "a b"])
EVENTS = st.fixed_dictionaries(
    {"ts": st.integers(0, 60_000_000), "type": st.sampled_from([*KINDS, "unknown_type", "self_healing_summary"])},
    optional={
        "agent": NAMES,
        "id": NAMES,
        "model": NAMES,
        "trace_id": NAMES,
        "status": st.sampled_from(["success", "failed", "timeout", "canceled"]),
    },
)
WANTED = st.fixed_dictionaries(
    {},
    optional={
        "agents": st.lists(NAMES, min_size=1, max_size=2).map(tuple),
        "tasks": st.lists(NAMES, min_size=1, max_size=2).map(tuple),
        "models": st.lists(NAMES, min_size=1, max_size=2).map(tuple),
        "traces": st.lists(NAMES, min_size=1, max_size=2).map(tuple),
        "kinds": st.lists(st.sampled_from(KINDS), min_size=1, max_size=4).map(tuple),
        "statuses": st.lists(st.sampled_from(["success", "failed"]), min_size=1).map(tuple),
        "sources": st.sampled_from([("native",), ("otlp",), ("native", "otlp/codex")]),
        "since_us": st.integers(us(0), us(60)),
        "until_us": st.integers(us(0), us(60)),
    },
)
FIELDS = {"agents": "agent", "tasks": "id", "models": "model", "traces": "trace_id", "statuses": "status"}


def fits(line: Line, source: str, wanted: Line) -> bool:
    kind = line["type"] if line["type"] in KINDS else "log"
    return (
        not line["type"].startswith("self_healing_")
        and all(line.get(field) in wanted[name] for name, field in FIELDS.items() if name in wanted)
        and kind in wanted.get("kinds", KINDS)
        and any(source.startswith(each) for each in wanted.get("sources", ("",)))
        and wanted.get("since_us", 0) <= us(0) + line["ts"] < wanted.get("until_us", us(100))
    )


def as_ingested(line: Line) -> Ingested:
    names = {"type": "kind", "id": "task_id"}
    return Ingested(**{names.get(name, name): value for name, value in line.items()})


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(EVENTS, max_size=12), min_size=3, max_size=3), WANTED, st.integers(1, 20))
def test_it_finds_what_a_filter_in_plain_python_finds(parts: Sequence[list[Line]], wanted: Line, limit: int) -> None:
    # Nobody else may say self_healing_*: the way in makes it a log.
    lines, closed, compacted = parts[0], *([e for e in part if e["type"] in KINDS] for part in parts[1:])
    expected = [line["ts"] for line in lines if fits(line, "native", wanted)]
    expected += [line["ts"] for line in [*closed, *compacted] if fits(line, "otlp/codex", wanted)]
    with TemporaryDirectory() as name:
        directory = Path(name)
        segment(directory, *(as_ingested(line | {"ts": ts(line["ts"] / 1e6)}) for line in compacted), compacted=True)
        segment(directory, *(as_ingested(line | {"ts": ts(line["ts"] / 1e6)}) for line in closed))
        native(directory, *(line | {"ts": ts(line["ts"] / 1e6)} for line in lines))
        found = find(places(directory), Wanted(**wanted), limit)
    assert [row.at_us - us(0) for row in found.rows] == sorted(expected, reverse=True)[:limit]
