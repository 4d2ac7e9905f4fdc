"""watch: the fleet in one line, what is open and where it stands, and the last hour in bars."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from self_healing.cli import execute
from self_healing.cli.watch import BARS, bars, headline, last_hour
from self_healing.terminal import Terminal


@pytest.mark.parametrize(
    ("stopped", "unwell", "open_in_all", "agents", "says"),
    [
        (None, 0, 0, 0, "No agent has been heard of yet"),
        (None, 0, 0, 1, "The one agent is well"),
        (None, 0, 0, 24, "All 24 agents are well"),
        (None, 1, 1, 24, "1 of 24 agents unwell, 1 incident open"),
        (None, 2, 3, 24, "2 of 24 agents unwell, 3 incidents open"),
        ({"by": "Ada", "reason": "a drill"}, 2, 3, 24, "Healing is stopped by Ada: a drill"),
        ({"by": None, "reason": "x\x1b[2J"}, 0, 0, 1, "Healing is stopped by somebody: x\\x1b[2J"),
    ],
)
def test_the_fleet_is_told_in_one_line(stopped: Any, unwell: int, open_in_all: int, agents: int, says: str) -> None:
    told = {"status": {"stopped": stopped}, "unwell": unwell, "open_in_all": open_in_all, "agents": agents}
    assert headline(told) == says


def test_bars_are_as_high_as_the_highest() -> None:
    assert bars([0.0, None, 5.0, 10.0], "utf-8") == "▁ ▅█"


def test_nothing_at_all_is_the_lowest_bar() -> None:
    assert bars([0.0, 0.0], "utf-8") == "▁▁"


def test_a_terminal_without_bars_gets_plain_characters() -> None:
    assert bars([0.0, 10.0], "ascii") == "_#"


@given(st.lists(st.none() | st.floats(0, 1e12)))
def test_each_value_is_one_character(values: list[float | None]) -> None:
    assert len(bars(values, "utf-8")) == len(values)
    assert set(bars(values, "utf-8")) <= {*BARS, " "}


@pytest.mark.parametrize(
    ("width", "kept", "ends"),
    [
        (62, 26, [["newest", "least", "greatest"], ["6", "/s", "2", "/s", "12", "/s"]]),
        (61, 26, [["newest"], ["6", "/s"]]),
        (40, 23, [["newest"], ["6", "/s"]]),
    ],
)
def test_the_last_hour_has_its_least_and_greatest_where_there_is_room_and_always_its_newest(
    width: int, kept: int, ends: list[list[str]]
) -> None:
    values = [2.0, *[6.0] * 6, *[12.0, 6.0] * 9, None]
    course = dict.fromkeys(("events_per_s", "tasks_per_min", "usd_per_h"), values) | {"errors": [0.0] * 26}
    console = Terminal(width=width)
    with console.capture() as captured:
        console.print(last_hour(course, width))
    _, head, events, *_ = captured.get().splitlines()
    start = f"events  {bars(values, sys.stdout.encoding)[-kept:]}  "
    assert events.startswith(start)
    assert [head.removeprefix(f"{'':8}course").split(), events.removeprefix(start).split()] == ends


def test_as_json_it_is_a_line_at_each_change_until_ctrl_c(tmp_path: Path) -> None:
    at = ["--state-dir", str(tmp_path / "state"), "--logs-dir", str(tmp_path / "logs")]
    assert execute(["check", *at]) == 1  # there is no telemetry, but a state from then on
    command = [str(Path(sys.executable).with_name("self-healing")), "watch", "--format", "json", *at]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        first = json.loads(watching.stdout.readline())
        assert execute(["stop-healing", "--reason", "a drill", "--by", "Ada", *at]) == 0
        second = json.loads(watching.stdout.readline())
        watching.send_signal(signal.SIGINT)
        assert watching.wait(30) == 0
    assert (first["status"]["stopped"], second["status"]["stopped"]["by"]) == (None, "Ada")


def test_on_a_terminal_it_is_a_page_until_ctrl_c(tmp_path: Path) -> None:
    at = ["--state-dir", str(tmp_path / "state"), "--logs-dir", str(tmp_path / "logs")]
    assert execute(["check", *at]) == 1
    ours, theirs = pty.openpty()
    command = [str(Path(sys.executable).with_name("self-healing")), "watch", *at]
    environ = os.environ | {"TERM": "xterm", "PYTHONIOENCODING": "utf-8"}
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, env=environ) as watching:
        os.close(theirs)
        shown = b""
        while b"last healings" not in shown:
            shown += os.read(ours, 4096)  # fails once the other end is closed: it has ended by itself
        watching.send_signal(signal.SIGINT)
        assert watching.wait(30) == 0
    os.close(ours)
    assert b"the last hour" in shown
