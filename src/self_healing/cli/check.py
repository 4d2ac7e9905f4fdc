"""``check``: one whole cycle of the loop."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from self_healing.cli import output
from self_healing.cli.client import Json, call
from self_healing.cli.options import Shown
from self_healing.errors import SelfHealingError

if TYPE_CHECKING:
    from self_healing.config import Settings

INCIDENTS_OPEN = 3
"""What ``check --exit-code`` exits with."""

_TIMEOUT_S = 600.0  # a service may have much to catch up with


def check(
    *,
    now: Annotated[
        str | None, Parameter(help="Evaluate at this instant, such as 2026-01-05T10:00:00Z; not while a service runs.")
    ] = None,
    exit_code: Annotated[bool, Parameter(show_default=False, help="Exit with 3 while incidents are open.")] = False,
    shown: Shown | None = None,
) -> int:
    """Run one whole cycle: read what is new, evaluate, act, and wait until the actions are dispatched.

    When a service runs on the same state, it is asked to.
    """
    shown = shown or Shown()
    at = None if now is None else _aware(now)
    arguments = {} if at is None else {"now": at.isoformat()}
    settings = shown.settings()
    report = call(settings, "check", arguments, timeout_s=_TIMEOUT_S, now=at)
    output.show(report, shown.format, _print)
    _warn(settings)
    return INCIDENTS_OPEN if exit_code and report["incidents"] else 0


def _warn(settings: Settings) -> None:
    """Say beside the report what keeps it from being the whole truth, such as a directory that cannot be read."""
    from self_healing.status import last_health, loaded_spec

    for issue in last_health(settings, loaded_spec(settings))["issues"]:
        print(f"warning: {issue}", file=sys.stderr)


def _aware(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise SelfHealingError(f"--now {text}: allowed is an instant such as 2026-01-05T10:00:00Z") from error
    if at.tzinfo is None:
        raise SelfHealingError(f"--now {text}: has no time zone; write 2026-01-05T10:00:00Z for UTC")
    return at


def _print(report: Json) -> None:
    names = ("triggers_evaluated", "triggers_fired", "actions_executed", "constitutional_violations")
    output.pairs([(name.replace("_", " "), report[name]) for name in names])
    output.title("incidents")
    output.table(
        ("id", "trigger", "group", "severity", "value", "limit", "state"),
        (
            (
                each["id"],
                each["trigger"],
                output.group(each["group"]),
                each["severity"],
                output.number(each["value"]),
                output.number(each["threshold"]),
                each["state"],
            )
            for each in report["incidents"]
        ),
        whole=("id",),
        empty="none is open",
    )
    output.title("actions")
    output.table(
        ("action", "incident", "status", "target agent"),
        ((each["action"], each["incident"], each["status"], each["target_agent"]) for each in report["actions"]),
        whole=("incident",),
        empty="none",
    )
    if report["handoffs"]:
        output.title("handoffs")
        for path in report["handoffs"]:
            print(output.text(path))
