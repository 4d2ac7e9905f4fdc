"""What is shown on a terminal is shown to the letter, whoever chose the letters."""

from __future__ import annotations

import ast
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.table import Table

import self_healing
from self_healing.clock import ScaledClock
from self_healing.model import Note
from self_healing.simulation.demo import Board, Story, _tell_outcome
from self_healing.simulation.faults import FAULTS
from self_healing.terminal import Terminal
from tests.unit.constitution.fine import incident

MARKUP = "[/x][bold]:bug:"


def test_a_text_in_a_line_a_cell_or_a_title_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("agent", title=f"title {MARKUP}")
    table.add_row(f"cell {MARKUP}")
    console = Terminal(width=80)
    console.print(f"line {MARKUP}")
    console.print(table)
    printed = capsys.readouterr().out
    assert all(f"{where} {MARKUP}" in printed for where in ("line", "cell", "title"))


def test_the_demo_shows_what_happened_to_the_letter(capsys: pytest.CaptureFixture[str]) -> None:
    start = datetime(2026, 1, 5, tzinfo=UTC)
    board = Board(Terminal(width=200), ScaledClock(1.0, start), [], live=False)
    board.note(incident(), Note(at=start, what="detected", text=f"\x1b[2J{MARKUP}"))
    assert rf"\x1b[2J{MARKUP}" in capsys.readouterr().out


def test_what_came_of_the_faults_is_told_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    start = datetime(2026, 1, 5, tzinfo=UTC)
    healed = incident(trigger=FAULTS[0].trigger, first_opened_at=start + timedelta(seconds=90))
    story = Story(FAULTS[0], start, healed, "pause")
    board = Board(Terminal(), ScaledClock(1.0, start), [story], live=False)
    assert _tell_outcome(board, Path("kept")) == 1  # not healed
    told = json.loads(capsys.readouterr().out)
    assert (told["healed"], told["kept"]) == (0, "kept")
    (one,) = told["faults"]
    assert (one["detected_after_s"], one["action"], one["healed_after_s"]) == (90.0, "pause", None)


def makes_a_console(source: str) -> bool:
    """Whether it takes rich's console for more than its type, by whatever name."""
    tree = ast.parse(source)
    names = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "rich"
        for alias in node.names
        if alias.name in ("Console", "get_console", "print")
    }
    called = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return any(
        (isinstance(each, ast.Name) and each.id in names)
        or (isinstance(each, ast.Attribute) and each.attr in ("Console", "get_console"))
        for each in called
    )


@pytest.mark.parametrize(
    "source",
    [
        "from rich.console import Console as C\nC().print(1)",
        "import rich.console\nshow(rich.console.Console())",
        "from rich import get_console\nreturned = [get_console()]",
        "from rich import print\nprint(1)",
    ],
)
def test_a_console_is_found_by_whatever_name_it_is_made(source: str) -> None:
    assert makes_a_console(source)


def test_no_other_console_is_made() -> None:
    package = Path(self_healing.__file__).parent
    assert [file.name for file in package.rglob("*.py") if makes_a_console(file.read_text(encoding="utf-8"))] == []
