"""Every kind of channel with a real recipient at its other end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from self_healing.handoffs.channel import Channel
from self_healing.handoffs.command import CommandChannel
from self_healing.handoffs.declared import CommandDeclared, PythonDeclared
from self_healing.handoffs.file import FileChannel
from self_healing.handoffs.function import FunctionChannel
from self_healing.handoffs.message import ContextMessageHandoff
from self_healing.testing import RecordingChannel


@dataclass(frozen=True)
class Way:
    """A channel and its recipient.

    Args:
        channel: to be tried.
        arrived: the ids of what came, sorted, each once, as the recipient sees it.
        tells: whether it can say that something was not delivered, so that delivering again is harmless.
    """

    channel: Channel
    arrived: Callable[[], list[str]]
    tells: bool


@contextmanager
def file(directory: Path) -> Iterator[Way]:
    def arrived() -> list[str]:
        return sorted(ContextMessageHandoff.from_json(each.read_bytes()).id for each in directory.iterdir())

    yield Way(FileChannel(directory), arrived, tells=True)


@contextmanager
def recording(_directory: Path) -> Iterator[Way]:
    channel = RecordingChannel()
    yield Way(channel, lambda: sorted(each.id for each in channel.delivered), tells=True)


PROGRAM = """
import json, pathlib, sys
handoff = json.load(sys.stdin)
pathlib.Path(sys.argv[1], handoff["id"]).write_text(handoff["prompt"])
"""


@contextmanager
def command(directory: Path) -> Iterator[Way]:
    directory.mkdir(parents=True)
    argv = (sys.executable, "-c", PROGRAM, str(directory))
    declared = CommandDeclared(kind="command", argv=argv)
    yield Way(
        CommandChannel("tickets", declared), lambda: sorted(each.name for each in directory.iterdir()), tells=False
    )


TAKEN: set[str] = set()
"""What the function below was called with."""


def take(handoff: dict[str, Any]) -> None:
    """Stands for a function of a person's."""
    TAKEN.add(handoff["id"])


@contextmanager
def python(_directory: Path) -> Iterator[Way]:
    TAKEN.clear()
    declared = PythonDeclared(kind="python", function="tests.contract.ways:take")
    yield Way(FunctionChannel("agents", declared), lambda: sorted(TAKEN), tells=False)


WAYS = (file, recording, command, python)
