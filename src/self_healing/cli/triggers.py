"""``triggers``: what is watched for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from self_healing.cli import output
from self_healing.cli.client import Json, call
from self_healing.cli.options import By, Shown, person

app = App(name="triggers", help_format="plaintext")


@app.default
@app.command(name="list")
def triggers(*, shown: Shown | None = None) -> int:
    """List the triggers."""
    shown = shown or Shown()
    output.show(call(shown.settings(), "triggers"), shown.format, _print)
    return 0


@app.command
def show(name: str, *, shown: Shown | None = None) -> int:
    """Show one trigger, and what it says of each series and why.

    Args:
        name: of the trigger.
    """
    shown = shown or Shown()
    output.show(call(shown.settings(), "trigger", {"name": name}), shown.format, _print_one)
    return 0


@app.command
def enable(name: str, *, by: By = None, shown: Shown | None = None) -> int:
    """Switch a trigger on; that is audited, and part of the spec version.

    Args:
        name: of the trigger.
    """
    return _switch("enable", name, by, shown)


@app.command
def disable(name: str, *, by: By = None, shown: Shown | None = None) -> int:
    """Switch a trigger off; that is audited, and part of the spec version.

    Args:
        name: of the trigger.
    """
    return _switch("disable", name, by, shown)


def _switch(command: str, name: str, by: str | None, shown: Shown | None) -> int:
    shown = shown or Shown()
    answer = call(shown.settings(), command, {"name": name, "by": person(by)})
    output.show(answer, shown.format, lambda told: output.pairs(told.items()))
    return 0


@app.command
def backtest(
    *files: Annotated[Path, Parameter(help="Event files, in any order.")],
    shown: Shown | None = None,
) -> int:
    """Replay history in event time: which incidents would there have been?"""
    from self_healing.backtest import backtest as replayed
    from self_healing.errors import SelfHealingError
    from self_healing.status import loaded_spec

    if not files:
        raise SelfHealingError("triggers backtest: name at least one file of events")
    shown = shown or Shown()
    output.show(replayed(loaded_spec(shown.settings()), files), shown.format, _print_backtest)
    return 0


def _print(told: Json) -> None:
    output.table(
        ("trigger", "condition", "window", "severity", "on", "firing"),
        (
            (
                each["name"],
                each["condition"],
                output.span(each["window_s"]),
                each["severity"],
                each["enabled"],
                f"{each['firing']} of {each['series']}",
            )
            for each in told["triggers"]
        ),
        whole=("trigger",),
        empty="no trigger is declared",
    )


def _print_one(told: Json) -> None:
    output.pairs((name, _declared(value)) for name, value in told["trigger"].items())
    output.title("series")
    output.table(
        ("group", "state", "reason", "value", "limit", "samples", "since (UTC)"),
        (
            (
                output.group(each["group"]),
                each["state"],
                each["reason"],
                output.number(each["value"]),
                output.number(each["threshold"]),
                each["samples"],
                output.instant(each["since"]),
            )
            for each in told["series"]
        ),
        empty="none yet",
    )


def _declared(value: object) -> object:
    """A field of a trigger as it reads in a line."""
    if isinstance(value, dict):
        return ", ".join(f"{key} = {each}" for key, each in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return value


def _print_backtest(told: Json) -> None:
    output.pairs((name.replace("_", " "), told[name]) for name in ("events", "span_s", "events_per_s", "transitions"))
    output.title("incidents")
    output.table(
        ("trigger", "group", "opened (UTC)", "closed (UTC)", "peak"),
        (
            (
                each["trigger"],
                output.group(each["group"]),
                output.instant(each["opened_at"]),
                output.instant(each["closed_at"]),
                output.number(each["peak"]),
            )
            for each in told["incidents"]
        ),
        empty="none",
    )
