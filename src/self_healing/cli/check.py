"""``check``: one whole cycle of the loop."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from self_healing.cli import output
from self_healing.cli.client import Json, call
from self_healing.cli.incidents import print_incidents
from self_healing.cli.options import Shown
from self_healing.cli.output import Column
from self_healing.cli.parsing import instant
from self_healing.cli.progress import waiting

if TYPE_CHECKING:
    from self_healing.config import Settings
    from self_healing.spec import Spec

INCIDENTS_OPEN = 3
"""What ``check --exit-code`` exits with."""

COULD_NOT_READ = 1
"""What ``check`` exits with when there is no telemetry directory, or none that it can read: it says what stands."""

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

    When a service runs on the same state, it is asked to. Exits with 1 when the telemetry directory cannot be read,
    having printed what stands.

    For example: self-healing check --format json --exit-code
    """
    from self_healing.status import loaded_spec, why_unreadable
    from self_healing.telemetry.signals import unit

    shown = shown or Shown()
    at = None if now is None else instant("--now", now)
    arguments = {} if at is None else {"now": at.isoformat()}
    settings = shown.settings()
    with waiting("reading, evaluating, acting"):
        report = call(settings, "check", arguments, timeout_s=_TIMEOUT_S, now=at)
    spec = loaded_spec(settings)
    units = {trigger.name: unit(trigger) for trigger in spec.triggers}
    output.show(report, shown, lambda told: _print(told, units))
    _warn(settings, spec)
    if why_unreadable(settings) is not None:
        return COULD_NOT_READ
    return INCIDENTS_OPEN if exit_code and report["incidents"] else 0


def _warn(settings: Settings, spec: Spec) -> None:
    """Say beside the report what keeps it from being the whole truth, such as a directory that cannot be read."""
    from self_healing.status import last_health

    for issue in last_health(settings, spec, at=datetime.now(UTC))["issues"]:
        print(f"warning: {output.text(issue)}", file=sys.stderr)


def _print(report: Json, units: dict[str, str]) -> None:
    names = ("triggers_evaluated", "triggers_fired", "actions_executed", "constitutional_violations")
    output.pairs([(name.replace("_", " "), report[name]) for name in names])
    output.title("incidents")
    incidents = [each | {"unit": units.get(each["trigger"])} for each in report["incidents"]]
    print_incidents(incidents, empty="none is open")
    output.title("actions")
    output.table(
        ("action", "incident", "status", Column("target agent", rank=1)),
        ((each["action"], each["incident"], each["status"], each["target_agent"]) for each in report["actions"]),
        empty="none",
    )
    if report["handoffs"]:
        output.title("handoffs")
        for path in report["handoffs"]:
            print(output.text(path))
