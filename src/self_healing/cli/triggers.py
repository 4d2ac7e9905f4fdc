"""``triggers``: what is watched for."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from self_healing.cli import output
from self_healing.cli.backtesting import print_backtest, print_compared
from self_healing.cli.client import Json, call
from self_healing.cli.following import shown_as_asked
from self_healing.cli.options import By, Shown, Watched, person
from self_healing.cli.output import Column
from self_healing.cli.progress import progress

app = App(name="triggers", help_format="plaintext")

REPLAYING = "replaying history"

_DURATIONS = ("window", "for", "keep_firing_for", "flap_window")


@app.default
@app.command(name="list")
def triggers(*, shown: Watched | None = None) -> int:
    """List the triggers."""
    shown = shown or Watched()
    return shown_as_asked(shown, partial(call, shown.settings(), "triggers"), _print)


@app.command
def show(name: str, /, *, shown: Watched | None = None) -> int:
    """Show one trigger, and what it says of each series and why.

    Args:
        name: of the trigger.
    """
    shown = shown or Watched()
    return shown_as_asked(shown, partial(call, shown.settings(), "trigger", {"name": name}), _print_one)


@app.command
def enable(name: str, /, *, by: By = None, shown: Shown | None = None) -> int:
    """Switch a trigger on; that is audited, and part of the spec version.

    Args:
        name: of the trigger.
    """
    return _switch("enable", name, by, shown)


@app.command
def disable(name: str, /, *, by: By = None, shown: Shown | None = None) -> int:
    """Switch a trigger off; that is audited, and part of the spec version.

    Args:
        name: of the trigger.
    """
    return _switch("disable", name, by, shown)


def _switch(command: str, name: str, by: str | None, shown: Shown | None) -> int:
    shown = shown or Shown()
    answer = call(shown.settings(), command, {"name": name, "by": person(by)})
    output.show(answer, shown, _print_switched)
    return 0


def _print_switched(told: Json) -> None:
    dismissed = told["dismissed"]
    print(f"{told['name']} is {'on' if told['enabled'] else 'off'}; the spec version is now {told['spec_version']}")
    if dismissed:
        print(f"{len(dismissed)} of its incidents {'is' if len(dismissed) == 1 else 'are'} dismissed with it:")
        for id in dismissed:
            print(f"  {id}")


@app.command(name="test")
def run_tests(
    *files: Annotated[Path, Parameter(help="Files of tests, in TOML.")],
    shown: Shown | None = None,
) -> int:
    """Run unit tests of triggers on a fake clock; exits with 1 when one fails."""
    from self_healing.errors import SelfHealingError
    from self_healing.loading import try_spec
    from self_healing.spec_tests.running import run_files
    from self_healing.spec_tests.telling import as_json, told
    from self_healing.status import loaded_spec, stored_overrides

    if not files:
        raise SelfHealingError("triggers test: name at least one file of tests")
    shown = shown or Shown()
    settings = shown.settings()
    spec = loaded_spec(settings)
    try_spec(spec, (), settings, stored_overrides(settings))
    ran = run_files(files, settings, spec)
    lines = [line for each in ran for line in told(each)]
    output.show(as_json(ran), shown, lambda summary: _print_tests(lines, summary))
    return 1 if lines else 0


def _print_tests(lines: list[str], summary: Json) -> None:
    for line in lines:
        output.line(line)
    tests = "1 test" if summary["tests"] == 1 else f"{summary['tests']} tests"
    print(f"{tests}, {summary['failed']} failed" if summary["failed"] else f"{tests}, all passed")


@app.command
def backtest(
    *files: Annotated[Path, Parameter(help="Event files, in any order.")],
    against: Annotated[Path | None, Parameter(help="A file of triggers to replay beside the loaded ones.")] = None,
    shown: Shown | None = None,
) -> int:
    """Replay history in event time: which incidents would there have been?"""
    from self_healing import backtest_report as report
    from self_healing.config import load_spec
    from self_healing.errors import SelfHealingError
    from self_healing.loading import try_spec
    from self_healing.status import loaded_spec
    from self_healing.telemetry.signals import unit

    if not files:
        raise SelfHealingError("triggers backtest: name at least one file of events")
    shown = shown or Shown()
    settings = shown.settings()
    spec = loaded_spec(settings)
    units = {trigger.name: unit(trigger) for trigger in spec.triggers}
    if against is None:
        with progress() as tell:
            told = report.backtest(spec, files, partial(tell, REPLAYING))
        output.show(told, shown, lambda told: print_backtest(told, units))
        return 0
    # The limits and the actions are the same; only what is watched for is another.
    triggers = settings.triggers.model_copy(update={"files": (against,)})
    settings = settings.model_copy(update={"triggers": triggers})
    other = load_spec(settings)
    try_spec(other, (), settings, {})  # what could not go live would only be seen to open nothing
    with progress() as tell:
        told = report.compare(spec, other, files, partial(tell, REPLAYING))
    output.show(told, shown, print_compared)
    return 0


def _print(told: Json) -> None:
    output.table(
        ("trigger", "condition", Column("window", rank=1), Column("severity", rank=2), "firing"),
        (
            (
                each["name"],
                each["condition"],
                output.span(each["window_s"]),
                each["severity"],
                f"{each['firing']} of {each['series']}" if each["enabled"] else "off",
            )
            for each in told["triggers"]
        ),
        empty="no trigger is declared",
    )


def _print_one(told: Json) -> None:
    declared = told["trigger"] | {"condition": told["condition"]}
    output.pairs((name, _declared(name, value, told["unit"])) for name, value in declared.items())
    output.title("series")
    output.table(
        (
            "group",
            "state",
            "reason",
            "value",
            Column("limit", rank=2),
            Column("samples", rank=3),
            output.when("since", rank=1),
        ),
        (
            (
                output.group(each["group"]),
                each["state"],
                output.reason(each),
                output.amount(each["value"], told["unit"]),
                output.amount(each["threshold"], told["unit"]),
                each["samples"],
                output.instant(each["since"]),
            )
            for each in told["series"]
        ),
        empty="none yet"
        if declared["enabled"]
        else f"none: it is off, and `self-healing triggers enable {declared['name']}` switches it on",
    )


def _declared(name: str, value: Any, unit: str) -> object:
    """A field of a trigger as it reads in a line."""
    match value:
        case dict():
            return ", ".join(f"{key} = {each}" for key, each in value.items())
        case list():
            return ", ".join(map(str, value))
        case int() if name in _DURATIONS:
            return output.span(value)
        case float() if name == "clear":
            return output.amount(value, unit)
    return value
