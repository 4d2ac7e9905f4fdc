"""``watch``: the first page of the dashboard, in the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from self_healing.cli import output
from self_healing.cli.client import Json, call
from self_healing.cli.following import followed, line
from self_healing.cli.options import Format, Shown
from self_healing.handoffs.cleaning import escape
from self_healing.wording import counted

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

BARS = "▁▂▃▄▅▆▇█"
_PLAIN_BARS = "_.-=*#"
"""For terminals that have nothing better."""

_GAP = 2
"""Between two columns of a table."""

_NUMBERS = frozenset(("value", "limit", "after", "newest", "least", "greatest"))


def watch(*, shown: Shown | None = None) -> int:
    """Show the fleet, what is wrong and what is done about it, anew at each change, until Ctrl-C.

    As JSON it is a line a change; as a table that no terminal shows it is printed once.
    """
    shown = shown or Shown()
    look = partial(call, shown.settings(), "overview")
    if shown.format is Format.JSON:
        return followed(look, partial(line, shown.label()))
    if not sys.stdout.isatty():
        _print(look())
        return 0
    from rich.live import Live

    from self_healing.terminal import Terminal

    # Nothing else is printed meanwhile; what Live would put in the place of stdout knows no encoding.
    console = Terminal()
    with Live(console=console, screen=True, auto_refresh=False, redirect_stdout=False) as live:
        return followed(look, lambda told: live.update(_page(told, console.width), refresh=True))


def _print(told: Json) -> None:
    from self_healing.terminal import Terminal

    console = Terminal(width=160)
    with console.capture() as captured:
        console.print(_page(told, console.width))
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))


def _page(told: Json, width: int) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    return Group(*_head(told), Text(), _open(told), Text(), last_hour(told["course"], width), Text(), _healed(told))


def _head(told: Json) -> Iterator[RenderableType]:
    from rich.text import Text

    status = told["status"]
    health = status["health"]
    where = f"{status['environment']}: " if status["environment"] else ""
    yield Text(where + headline(told), style="bold red" if status["stopped"] or told["open_in_all"] else "bold green")
    taken = f"{status['telemetry']['aggregated']:,} events taken in"
    evaluated = output.instant(status["evaluated_at"])
    yield Text(
        f"self-healing itself {health['status']} · mode {status['mode']}"
        f" · {counted(status['triggers_enabled'], 'trigger')} · {taken}"
        f" · {counted(status['directives_in_force'], 'directive')} in force"
        f" · {counted(status['constitutional_violations'], 'denial')}"
        f" · evaluated {evaluated}",
        style="dim",
    )
    if not status["service_running"]:
        yield Text("no service runs on this state: it is shown as it was left", style="yellow")
    for issue in health["issues"]:
        yield Text(escape(issue), style="yellow")


def headline(told: Json) -> str:
    """The fleet's state in one line."""
    stopped, open_in_all, agents = told["status"]["stopped"], told["open_in_all"], told["agents"]
    if stopped:
        return escape(f"Healing is stopped by {stopped['by'] or 'somebody'}: {stopped['reason']}")
    if open_in_all:
        return (
            f"{told['unwell']} of {agents} agents unwell, {open_in_all} incident{'' if open_in_all == 1 else 's'} open"
        )
    if agents == 1:
        return "The one agent is well"
    return f"All {agents} agents are well" if agents else "No agent has been heard of yet"


def _open(told: Json) -> Table:
    table = _table("open incidents", ("incident", "group", "severity", "value", "limit", "stage", "says"))
    for each in told["open"]:
        table.add_row(
            each["trigger"],
            escape(output.group(each["group"])),
            each["severity"],
            output.amount(each["value"], each["unit"]),
            output.amount(each["threshold"], each["unit"]),
            each["stage"],
            escape(each["says"]),
        )
    if not told["open"]:
        table.add_row("none", *[""] * 6)
    return table


def _healed(told: Json) -> Table:
    table = _table("last healings", ("incident", "group", "healed by", "after", "closed (UTC)"))
    for each in told["healed"]:
        table.add_row(
            each["trigger"],
            escape(output.group(each["group"])),
            each["action"] or "-",
            output.span(round(each["lasted_s"])),
            output.instant(each["closed_at"]),
        )
    if not told["healed"]:
        table.add_row("none yet", *[""] * 4)
    return table


def last_hour(course: Json, width: int) -> Table:
    """The rates of the last hour in bars, with the newest, the least and the greatest of each where they have room.

    Args:
        course: as the overview has it.
        width: in columns; where it is too narrow for all, only the newest are shown.
    """
    rows: list[tuple[str, ...]] = [
        (name, bars(course[key], sys.stdout.encoding), *_ends(course[key], unit))
        for name, key, unit in (
            ("events", "events_per_s", "/s"),
            ("tasks", "tasks_per_min", "/min"),
            ("cost", "usd_per_h", "USD/h"),
            ("errors", "errors", "%"),
        )
    ]
    columns: tuple[str, ...] = ("", "course", "newest", "least", "greatest")
    taken = [max(map(len, cells)) + _GAP for cells in zip(columns, *rows, strict=True)]
    if sum(taken) - _GAP > width:
        columns, room = columns[:3], max(width - taken[0] - taken[2], 1)
        rows = [(name, drawn[-room:], *told) for name, drawn, *told in rows]
    table = _table("the last hour", columns)
    for row in rows:
        table.add_row(*row[: len(columns)])
    return table


def _ends(values: list[float | None], unit: str) -> tuple[str, str, str]:
    known = [each for each in values if each is not None]
    newest, least, greatest = (known[-1], min(known), max(known)) if known else (None, None, None)
    return output.amount(newest, unit), output.amount(least, unit), output.amount(greatest, unit)


def _table(title: str, columns: tuple[str, ...]) -> Table:
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="dim")
    for name in columns:
        table.add_column(name, justify="right" if name in _NUMBERS else "left")
    return table


def bars(values: list[float | None], encoding: str) -> str:
    """A course of values as a line of bars, as high as the highest; a gap where nothing is known.

    Args:
        values: none below 0.
        encoding: of what they are printed on; where it has no bars, plain characters stand for them.
    """
    try:
        BARS.encode(encoding)
        steps = BARS
    except (UnicodeEncodeError, LookupError):
        steps = _PLAIN_BARS
    highest = max((each for each in values if each is not None), default=0.0)
    return "".join(
        " " if each is None else steps[0 if not highest else round(each / highest * (len(steps) - 1))]
        for each in values
    )
