"""Handoffs to functions: how they are found, and what comes of what they return and raise."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest

from self_healing.errors import EffectError, EffectRefused, EffectUntold
from self_healing.handoffs.channel import Receipt
from self_healing.handoffs.declared import PythonDeclared
from self_healing.handoffs.function import FunctionChannel
from self_healing.model import Handoff
from tests.unit.actions.intents import handoff

HERE = "tests.unit.handoffs.test_function"
NO_FUNCTION = "text"


def deliver(function: str, given: Handoff | None = None) -> Receipt | None:
    return FunctionChannel("agents", PythonDeclared(kind="python", function=function)).deliver(given or handoff(1))


def takes(handoff: dict[str, Any]) -> str:
    return f"{handoff['id']} \x1b with sk-0123456789abcdefghij"


def is_full(_handoff: dict[str, Any]) -> None:
    raise EffectError("the queue is full")


def will_not(_handoff: dict[str, Any]) -> None:
    raise EffectRefused("not mine")


def breaks(_handoff: dict[str, Any]) -> None:
    raise KeyError("password=hunter2")


def exits(_handoff: dict[str, Any]) -> None:
    sys.exit(3)


def is_cancelled(_handoff: dict[str, Any]) -> None:
    async def work() -> None:
        raise asyncio.CancelledError

    asyncio.run(work())


def test_a_text_that_it_returns_is_kept_without_what_is_unsafe() -> None:
    assert deliver(f"{HERE}:takes") == Receipt(said="hnd-1 \\x1b with [redacted]")


@pytest.mark.parametrize(
    ("function", "error", "says"),
    [
        ("is_full", EffectError, "the queue is full"),
        ("will_not", EffectRefused, "not mine"),
        ("breaks", EffectUntold, r"breaks of handoff hnd-1 raised KeyError.*\[redacted\]"),
        ("exits", EffectUntold, r"exits of handoff hnd-1 raised SystemExit\(3\)"),
        ("is_cancelled", EffectUntold, "is_cancelled of handoff hnd-1 raised CancelledError"),
        ("nowhere", EffectRefused, "nowhere cannot be imported"),
        ("NO_FUNCTION", EffectRefused, "NO_FUNCTION is no function"),
    ],
)
def test_what_it_raises_says_what_became_of_it(function: str, error: type[EffectError], says: str) -> None:
    with pytest.raises(error, match=says) as raised:
        deliver(f"{HERE}:{function}")
    assert type(raised.value) is error


def test_an_entry_point_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    package = tmp_path / "fleet-1.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: fleet\nVersion: 1\n")
    (package / "entry_points.txt").write_text(f"[self_healing.channels]\nmy_fleet = {HERE}:takes\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert deliver("my_fleet") is not None
