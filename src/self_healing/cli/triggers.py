"""``triggers``: what is watched for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from self_healing.cli import output
from self_healing.cli.client import Json, call
from self_healing.cli.options import By, Shown, person
from self_healing.cli.output import Column

app = App(name="triggers", help_format="plaintext")

_DURATIONS = ("window", "for", "keep_firing_for")


@app.default
@app.command(name="list")
def triggers(*, shown: Shown | None = None) -> int:
    """List the triggers."""
    shown = shown or Shown()
    output.show(call(shown.settings(), "triggers"), shown.format, _print)
    return 0


@app.command
def show(name: str, /, *, shown: Shown | None = None) -> int:
    """Show one trigger, and what it says of each series and why.

    Args:
        name: of the trigger.
    """
    shown = shown or Shown()
    output.show(call(shown.settings(), "trigger", {"name": name}), shown.format, _print_one)
    return 0


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
    output.show(answer, shown.format, _print_switched)
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
    from self_healing.status import loaded_spec

    if not files:
        raise SelfHealingError("triggers test: name at least one file of tests")
    shown = shown or Shown()
    settings = shown.settings()
    spec = loaded_spec(settings)
    try_spec(spec, (), settings)
    ran = run_files(files, settings, spec)
    lines = [line for each in ran for line in told(each)]
    output.show(as_json(ran), shown.format, lambda summary: _print_tests(lines, summary))
    return 1 if lines else 0


def _print_tests(lines: list[str], summary: Json) -> None:
    for line in lines:
        output.line(line)
    tests = "1 test" if summary["tests"] == 1 else f"{summary['tests']} tests"
    print(f"{tests}, {summary['failed']} failed" if summary["failed"] else f"{tests}, all passed")


@app.command
def backtest(
    *files: Annotated[Path, Parameter(help="Event files, in any order.")],
    shown: Shown | None = None,
) -> int:
    """Replay history in event time: which incidents would there have been?"""
    from self_healing.backtest import backtest as replayed
    from self_healing.errors import SelfHealingError
    from self_healing.status import loaded_spec
    from self_healing.telemetry.signals import unit

    if not files:
        raise SelfHealingError("triggers backtest: name at least one file of events")
    shown = shown or Shown()
    spec = loaded_spec(shown.settings())
    units = {trigger.name: unit(trigger) for trigger in spec.triggers}
    output.show(replayed(spec, files), shown.format, lambda told: _print_backtest(told, units))
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
        empty="none yet",
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


def _print_backtest(told: Json, units: dict[str, str]) -> None:
    output.pairs(
        [
            ("events", told["events"]),
            ("from first to last", output.span(round(told["span_s"]))),
            ("events per second", round(told["events_per_s"])),
            ("transitions", told["transitions"]),
        ]
    )
    output.title("incidents")
    output.table(
        ("trigger", "group", output.when("opened"), output.when("closed"), Column("peak", rank=1)),
        (
            (
                each["trigger"],
                output.group(each["group"]),
                output.instant(each["opened_at"]),
                output.instant(each["closed_at"]),
                output.amount(each["peak"], units[each["trigger"]]),
            )
            for each in told["incidents"]
        ),
        empty="none",
    )
