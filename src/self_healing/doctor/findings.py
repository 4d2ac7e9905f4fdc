"""Findings: what was looked at, how it is, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any

import msgspec


class Outcome(StrEnum):
    """How something is."""

    OK = "ok"
    WARN = "warn"  # it works, and somebody should look at it
    PROBLEM = "problem"  # something does not work until it is mended


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at.

    Args:
        check: what was looked at, such as ``disk`` or ``trigger slow_tasks``.
        says: how it is.
        do: what to do about it; empty where it is well.
    """

    check: str
    outcome: Outcome
    says: str
    do: str = ""


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """Another threshold for a trigger, as a backtest on the stored history proposes it.

    Args:
        trigger: its name.
        condition: the whole condition, as in TOML.
        incidents_now, incidents_then: how many would have been opened in the stored history, as it is and as proposed.
        allowed: how many are once a week an agent, in that history.
    """

    trigger: str
    condition: dict[str, Any]
    incidents_now: int
    incidents_then: int
    allowed: int


Tell = Callable[[str, float], None]
"""Takes what is being done and how far it is, 0 to 1."""


def ok(check: str, says: str) -> Finding:
    return Finding(check=check, outcome=Outcome.OK, says=says)


def warn(check: str, says: str, do: str) -> Finding:
    return Finding(check=check, outcome=Outcome.WARN, says=says, do=do)


def problem(check: str, says: str, do: str) -> Finding:
    return Finding(check=check, outcome=Outcome.PROBLEM, says=says, do=do)
