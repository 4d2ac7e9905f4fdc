"""Who waits at a terminal sees how far it has come, and nobody else is bothered with it."""

from __future__ import annotations

import json
import os
import pty
import sys
from pathlib import Path
from typing import Any

import pytest

from self_healing.cli import events, progress
from self_healing.cli.options import Format, Shown
from self_healing.telemetry.query import find
from self_healing.telemetry.query.rows import Wanted
from tests.unit.telemetry.query.test_find import native, places, ts


def told(monkeypatch: pytest.MonkeyPatch, after_s: float, what: str = "replaying history") -> str:
    """What a terminal is shown of something that tells of itself once, at half of it."""
    monkeypatch.setattr(progress, "BAR_AFTER_S", after_s)
    monkeypatch.setenv("TERM", "xterm")
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as stderr, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", stderr)
        with progress.progress() as tell:
            tell(what, 0.5)
        stderr.write("over\n")
        stderr.flush()
        shown = b""
        while b"over" not in shown:
            shown += os.read(ours, 4096)
    os.close(ours)
    return shown.decode()


def test_a_terminal_is_shown_what_is_done_and_how_much_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = told(monkeypatch, after_s=-1)
    assert "replaying history" in shown
    assert "50%" in shown


def test_what_is_done_is_named_to_the_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "[/x]:bug:[bold]" in told(monkeypatch, after_s=-1, what="[/x]:bug:[bold]")


def test_what_is_soon_done_shows_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(monkeypatch, after_s=60).strip() == "over"


def test_a_terminal_is_shown_that_something_goes_on_of_which_nobody_knows_how_much(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(progress, "BAR_AFTER_S", 0)
    monkeypatch.setenv("TERM", "xterm")
    ours, theirs = pty.openpty()
    shown = b""
    with os.fdopen(theirs, "w") as stderr, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", stderr)
        with progress.waiting("verifying [/x]"):
            while b"verifying [/x]" not in shown:
                shown += os.read(ours, 4096)
    os.close(ours)
    assert b"\x1b[?25l" not in shown  # what hides the cursor: a signal may end it before anything brings that back


def test_who_looks_for_events_among_many_is_shown_that_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "BAR_AFTER_S", 0)
    monkeypatch.setenv("TERM", "xterm")
    native(tmp_path, {"type": "task_started", "id": "t1", "ts": ts(1)})
    ours, theirs = pty.openpty()

    def after_a_while(*asked: Any) -> find.Found:
        shown = b""
        while b"looking for events" not in shown:
            shown += os.read(ours, 4096)
        return found(*asked)

    found = find.find
    monkeypatch.setattr(find, "find", after_a_while)
    with os.fdopen(theirs, "w") as stderr, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", stderr)
        events._list(places(tmp_path), Wanted(), 1, Shown(format=Format.JSON))
    os.close(ours)
    assert len(json.loads(capsys.readouterr().out)["events"]) == 1


def test_who_is_no_terminal_is_shown_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.progress() as tell:
        tell("replaying history", 0.5)
    with progress.waiting("verifying"):
        pass
    assert capsys.readouterr() == ("", "")
