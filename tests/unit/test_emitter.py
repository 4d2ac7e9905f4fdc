"""Events out of a process of its own, in real files."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from self_healing import emitter as emitter_module
from self_healing.emitter import Emitter, TelemetryHandler
from tests.unit.telemetry.test_segments import files_no_larger_than

AT = datetime(2026, 1, 5, 23, 59, 59, tzinfo=UTC).timestamp()


class Now:
    """A clock that is set by hand, seconds since 1970."""

    def __init__(self) -> None:
        self.at = AT

    def __call__(self) -> float:
        return self.at


def lines(directory: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for file in sorted(directory.iterdir()) for line in file.read_text().splitlines()]


def emitted(tmp_path: Path, **fields: Any) -> dict[str, Any]:
    emitter = Emitter(tmp_path / "telemetry", now=Now())
    emitter.emit("log", **fields)
    emitter.close()
    (line,) = lines(tmp_path / "telemetry")
    return line


def test_an_event_is_a_line_of_a_file_of_this_process_and_day(tmp_path: Path) -> None:
    now = Now()
    emitter = Emitter(tmp_path, now=now)
    emitter.emit("task_finished", id="t1", agent="Coder", status="success", usage={"total_tokens": 7})
    emitter.flush()
    now.at += 2
    emitter.emit("heartbeat", ts="2026-01-05T10:00:00Z", id="t2")
    emitter.close()
    names = [f"events-{day}-{os.getpid()}-1.jsonl" for day in ("20260105", "20260106")]
    assert sorted(file.name for file in tmp_path.iterdir()) == names
    assert lines(tmp_path) == [
        {
            "ts": "2026-01-05T23:59:59.000+00:00",
            "type": "task_finished",
            "id": "t1",
            "agent": "Coder",
            "status": "success",
            "usage": {"total_tokens": 7},
        },
        {"ts": "2026-01-05T10:00:00Z", "type": "heartbeat", "id": "t2"},
    ]


def test_what_is_emitted_is_written_without_being_asked_for(tmp_path: Path) -> None:
    emitter = Emitter(tmp_path)
    emitter.emit("log")
    waited = threading.Event()
    for _ in range(3000):
        if list(tmp_path.glob("*.jsonl")) and lines(tmp_path):
            break
        waited.wait(0.01)
    assert [line["type"] for line in lines(tmp_path)] == ["log"]
    emitter.close()


def test_a_file_that_is_there_already_is_left_alone(tmp_path: Path) -> None:
    there = tmp_path / f"events-20260105-{os.getpid()}-1.jsonl"
    there.write_text("another process of the same number\n")
    emitter = Emitter(tmp_path, now=Now())
    emitter.emit("log")
    emitter.close()
    assert there.read_text() == "another process of the same number\n"
    assert there.with_name(f"events-20260105-{os.getpid()}-2.jsonl").exists()


def test_what_is_too_much_is_dropped_and_counted(tmp_path: Path) -> None:
    emitter = Emitter(tmp_path, most_waiting=0)
    emitter.emit("log")
    emitter.emit("log")
    emitter.close()
    assert emitter.dropped == 2
    assert list(tmp_path.iterdir()) == []


def test_many_threads_lose_nothing(tmp_path: Path) -> None:
    emitter = Emitter(tmp_path, most_waiting=100_000)

    def work(number: int) -> None:
        for each in range(500):
            emitter.emit("log", id=f"{number}-{each}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    emitter.close()
    assert {line["id"] for line in lines(tmp_path)} == {f"{n}-{each}" for n in range(8) for each in range(500)}
    assert (len(lines(tmp_path)), emitter.dropped) == (4000, 0)


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (float("nan"), None),
        ([1, {"x": float("inf")}], [1, {"x": None}]),
        ({1: "a", (2, 3): "b"}, {"1": "a", "(2, 3)": "b"}),
        (datetime(2026, 1, 5, tzinfo=UTC), "2026-01-05T00:00:00+00:00"),
        (Path("a"), "a"),
        ("sk-abcdefghijklmnopqrstuvwxyz", "[redacted]"),
        ({"password": "hunter2", "total_tokens": 5}, {"password": "[redacted]", "total_tokens": 5}),
    ],
)
def test_any_value_becomes_json_without_secrets(tmp_path: Path, value: Any, kept: Any) -> None:
    assert emitted(tmp_path, value=value)["value"] == kept


def test_a_circle_is_cut(tmp_path: Path) -> None:
    circle: dict[str, Any] = {}
    circle["self"] = circle
    assert "(nested too deep)" in json.dumps(emitted(tmp_path, value=circle))


class Unsayable:
    def __str__(self) -> str:
        raise LookupError("nobody can say it")


def test_an_event_that_cannot_be_said_is_dropped_and_counted_and_no_other_is(tmp_path: Path) -> None:
    emitter = Emitter(tmp_path, now=Now())
    for id, value in ("before", 1), ("lost", Unsayable()), ("after", 2):
        emitter.emit("log", id=id, value=value)
    emitter.close()
    assert [line.get("id") for line in lines(tmp_path)] == ["before", "after", None]
    assert emitter.dropped == 1


@pytest.fixture
def hanging_disk(tmp_path: Path) -> Iterator[Path]:
    """A telemetry directory in which a write waits until the test is over: its file is a pipe that nobody reads."""
    file = tmp_path / f"events-20260105-{os.getpid()}-1.jsonl"
    os.mkfifo(file)
    reading = os.open(file, os.O_RDONLY | os.O_NONBLOCK)
    yield tmp_path
    os.close(reading)


def test_a_disk_that_hangs_keeps_no_agent_waiting(hanging_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emitter_module, "CLOSE_S", 0.1)
    monkeypatch.setattr(
        emitter_module, "_opened", lambda directory, _day: os.open(next(directory.iterdir()), os.O_WRONLY)
    )
    emitter = Emitter(hanging_disk, most_waiting=2, now=Now())
    emitter.emit("log", text="x" * 1_000_000)  # more than a pipe holds
    until = time.monotonic() + 30
    while emitter._queue:
        assert time.monotonic() < until
        time.sleep(0.01)
    began = time.monotonic()
    for _ in range(5):
        emitter.emit("log")
    emitter.flush()
    emitter.close()
    assert time.monotonic() - began < 5
    assert emitter.dropped == 3
    assert "the disk may hang" in str(emitter.problem)


class Logging:
    """Logs while it is said, as values of real programs do."""

    def __init__(self, emitter: Emitter) -> None:
        self._emitter = emitter

    def __str__(self) -> str:
        for _ in range(3):
            self._emitter.emit("log")
        self._emitter.flush()
        return "said"


def test_a_value_that_emits_while_it_is_said_stops_nothing(tmp_path: Path) -> None:
    emitter = Emitter(tmp_path, most_waiting=1, now=Now())
    emitter.emit("log", id="t", value=Logging(emitter))
    emitter.close()
    assert lines(tmp_path)[0]["value"] == "said"
    assert emitter.dropped == 2


def test_a_disk_that_takes_no_more_costs_only_what_it_does_not_take(tmp_path: Path) -> None:
    emitter = Emitter(tmp_path, now=Now())
    emitter.emit("log", id="kept")
    emitter.flush()
    with files_no_larger_than(100):
        emitter.emit("log", id="lost", text="x" * 200)
        emitter.flush()
    assert emitter.dropped == 1
    assert "File too large" in str(emitter.problem)
    emitter.emit("log", id="after")
    emitter.close()
    kept, after, told = lines(tmp_path)
    assert (kept["id"], after["id"]) == ("kept", "after")
    assert (told["logger"], told["level"], told["dropped"]) == ("self_healing.emitter", "WARNING", 1)
    assert emitter.problem is None


AT_END = """
import self_healing, os
self_healing.emit("log", id="parent")
child = os.fork()
self_healing.emit("log", id="child" if child == 0 else "parent again")
if child:
    os.waitpid(child, 0)
"""


AT_END_OF_WORKERS = """
import multiprocessing, self_healing
self_healing.emit("log", id="parent")
work = multiprocessing.get_context("fork").Process(target=self_healing.emit, args=["log"], kwargs={"id": "worker"})
work.start()
work.join()
"""


def test_a_worker_of_multiprocessing_writes_what_is_its_when_it_ends(tmp_path: Path) -> None:
    environment = {**os.environ, "SELF_HEALING_TELEMETRY_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", AT_END_OF_WORKERS], env=environment, check=True)
    assert sorted(line["id"] for line in lines(tmp_path)) == ["parent", "worker"]


def test_a_process_and_its_fork_write_what_is_theirs_when_they_end(tmp_path: Path) -> None:
    environment = {**os.environ, "SELF_HEALING_TELEMETRY_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", AT_END], env=environment, check=True)
    written = {tuple(json.loads(line)["id"] for line in file.read_text().splitlines()) for file in tmp_path.iterdir()}
    assert written == {("parent", "parent again"), ("child",)}


def test_what_a_program_logs_is_emitted_with_what_it_says_of_itself(tmp_path: Path) -> None:
    emitter = Emitter(tmp_path)
    handler = TelemetryHandler(emitter, agent="Coder", level="INFO")
    logger = logging.Logger("program")
    logger.addHandler(handler)
    logger.debug("not this")
    logger.info("%s of %s", 1, 2, extra={"agent": "Tester", "task_id": "t1"})
    try:
        raise KeyError("x")
    except KeyError:
        logger.exception("failed")
    handler.flush()
    emitter.close()
    assert [{name: value for name, value in line.items() if name != "ts"} for line in lines(tmp_path)] == [
        {"type": "log", "message": "1 of 2", "level": "INFO", "logger": "program", "agent": "Tester", "id": "t1"},
        {
            "type": "log",
            "message": "failed",
            "level": "ERROR",
            "logger": "program",
            "agent": "Coder",
            "error_type": "KeyError",
        },
    ]


def test_a_record_is_emitted_as_it_was_when_it_was_logged(tmp_path: Path) -> None:
    emitter = Emitter(tmp_path, now=Now())
    handler = TelemetryHandler(emitter)
    handler.addFilter(lambda record: "secret plan" not in str(record.msg))
    logger = logging.Logger("program")
    logger.addHandler(handler)
    steps = ["plan"]
    logger.info("steps %s", steps)
    steps.append("code")
    logger.info("secret plan")
    record = logging.LogRecord("program", logging.INFO, __file__, 1, "earlier", None, None)
    record.created = AT - 1.5
    logger.handle(record)
    emitter.close()
    assert [line["message"] for line in lines(tmp_path)] == ["steps ['plan']", "earlier"]
    assert lines(tmp_path)[1]["ts"] == "2026-01-05T23:59:57.500+00:00"


def test_a_record_that_cannot_be_said_disturbs_nobody(tmp_path: Path) -> None:
    emitter = Emitter(tmp_path)
    logger = logging.Logger("program")
    logger.addHandler(TelemetryHandler(emitter))
    before, logging.raiseExceptions = logging.raiseExceptions, False
    try:
        logger.info("%d", "no number")
    finally:
        logging.raiseExceptions = before
    emitter.close()
    assert emitter.dropped == 0
