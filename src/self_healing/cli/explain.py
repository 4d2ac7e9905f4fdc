"""``explain``: why a trigger fired, or did not."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated, Any

from cyclopts import Parameter

from self_healing.cli import output
from self_healing.cli.client import call
from self_healing.cli.columns import Column
from self_healing.cli.options import Shown
from self_healing.cli.parsing import pair, seconds
from self_healing.cli.progress import waiting
from self_healing.errors import SelfHealingError

Json = dict[str, Any]

PIPED_WIDTH = 80
"""How wide a chart is that no terminal shows."""


def explain(
    trigger: Annotated[str, Parameter(help="Its name.")],
    /,
    *group: Annotated[str, Parameter(help="Which of its series, such as agent=Coder; all when left out.")],
    at: Annotated[
        str | None,
        Parameter(show_default=False, help="When: so long ago, such as 15m, or 2026-01-05T10:00:00Z; else now."),
    ] = None,
    lasts: Annotated[str, Parameter(name="--for", help="How much of the time before is shown of one series.")] = "1h",
    shown: Shown | None = None,
) -> int:
    """Show what a trigger saw of its series, and why it fired or did not; now, or at any time that is stored.

    For example: self-healing explain slow_tasks agent=Coder --at 2h
    """
    from self_healing.explaining.explain import Question
    from self_healing.explaining.explain import explain as explained

    shown = shown or Shown()
    settings, now = shown.settings(), datetime.now(UTC)
    question = Question(
        trigger=trigger,
        keys=dict(pair("explain:", each) for each in group),
        at=None if at is None else _instant(at, now),
        span=timedelta(seconds=seconds("explain: --for", lasts)),
    )
    with waiting("looking at what is stored"):
        told = explained(settings, question, now=now, ask=partial(call, settings))
    output.show(told, shown, _print)
    return 0


def _instant(text: str, now: datetime) -> datetime:
    from self_healing.clock import from_us
    from self_healing.telemetry.query.instants import instant_us

    try:
        return from_us(instant_us(text, now))
    except ValueError as error:
        raise SelfHealingError(f"explain: --at {error}") from error


def _print(told: Json) -> None:
    if len(told["series"]) == 1:
        _print_one(told, told["series"][0])
    else:
        _print_all(told)
    for warning in told["warnings"]:
        output.paragraph(f"note: {warning}")


def _print_all(told: Json) -> None:
    over = "" if told["window_s"] is None else f", over {output.span(told['window_s'])}"
    output.paragraph(f"{told['trigger']} fires at {told['condition']}{over}; {_as_of(told)}")
    print()
    output.table(
        ("group", "state", output.when("since", rank=1), Column("why", text=True)),
        (
            (
                output.group(each["group"]),
                each["state"],
                output.instant(each["since"]),
                each["why"],
            )
            for each in told["series"]
        ),
        empty=f"no series: {told['why_none'] or 'nothing has been seen yet'}",
    )


def _print_one(told: Json, series: Json) -> None:
    since = "" if series["since"] is None else f" since {output.instant(series['since'])}"
    print(output.text(f"{told['trigger']} of {output.group(series['group'])}: {series['state']}{since}"))
    output.paragraph(series["why"])
    print()
    output.pairs((name, value) for name, value in _figures(told, series) if value is not None)
    if told["history"] is not None:
        _print_chart(told)


def _print_chart(told: Json) -> None:
    import shutil

    from self_healing.cli.chart import chart, strokes
    from self_healing.terminal import Terminal

    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else PIPED_WIDTH
    console = Terminal()
    print()
    with console.capture() as captured:
        for line in chart(told, width, strokes(sys.stdout.encoding)):
            console.print(line, soft_wrap=True)
    print(captured.get(), end="")


def _figures(told: Json, series: Json) -> Iterator[tuple[str, str | None]]:
    unit = told["unit"]
    yield "fires at", told["condition"]
    clear = "" if series["clear"] is None else f", recovers at {output.amount(series['clear'], unit)}"
    yield "value", output.amount(series["value"], unit)
    yield "threshold", output.amount(series["threshold"], unit) + clear
    if told["window_s"] is not None:
        yield (
            "samples",
            f"{series['samples']} within {output.span(told['window_s'])}, {series['samples_needed']} needed",
        )
    yield "baseline", _baseline(series["baseline"], unit)
    yield "timer", None if series["until"] is None else f"{output.span(series['left_s'])} left"
    yield "to fire", series["to_fire"]
    yield "muted by", _muted(series["muted_by"])
    yield "incident", _incident(series["incident"])
    yield "on record", _recorded(series["recorded"])
    yield "as of", _as_of(told)


def _baseline(baseline: Json | None, unit: str) -> str | None:
    if baseline is None:
        return None
    frozen = ", frozen since it fires" if baseline["frozen"] else ""
    samples = f"{baseline['samples']} samples, {baseline['samples_needed']} needed"
    return f"{output.amount(baseline['value'], unit)} on {samples}{frozen}"


def _muted(muted: Json | None) -> str | None:
    if muted is None:
        return None
    until = "" if muted["until"] is None else f" until {output.instant(muted['until'])}"
    return f"{muted['kind']} by {muted['what']}{until}: {muted['text']}"


def _incident(incident: Json | None) -> str | None:
    if incident is None:
        return None
    beneath = "" if incident["parent"] is None else f", beneath {incident['parent']}"
    return f"{incident['id']}, opened {output.instant(incident['opened_at'])}, {incident['state']} now{beneath}"


def _recorded(recorded: Json | None) -> str | None:
    if recorded is None:
        return None
    since = output.instant(recorded["since"])
    return f"{recorded['state']} since {since}, under spec {recorded['spec_version']}"


def _as_of(told: Json) -> str:
    how = "recomputed from stored history" if told["source"] == "recomputed" else "as the engine has it"
    return f"{output.instant(told['at'])} UTC, {how}, spec {told['spec_version']}"
