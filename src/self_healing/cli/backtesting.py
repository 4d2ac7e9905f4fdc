"""How a backtest reads for people."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from self_healing.cli import output
from self_healing.cli.client import Json
from self_healing.cli.output import Column


def print_backtest(told: Json, units: Mapping[str, str]) -> None:
    """Print what one spec would have opened; `units` of the triggers' values by name."""
    _print_head(told)
    output.title("incidents")
    output.table(
        (
            "trigger",
            "group",
            output.when("opened"),
            output.when("closed", rank=1),
            Column("lasted", rank=2),
            Column("peak", rank=3),
        ),
        (
            (
                each["trigger"],
                output.group(each["group"]),
                output.instant(each["opened_at"]),
                output.instant(each["closed_at"]),
                _span(each["duration_s"]),
                output.amount(each["peak"], units[each["trigger"]]),
            )
            for each in told["incidents"]
        ),
        empty="none",
    )
    output.title("triggers")
    output.table(
        (
            "trigger",
            "incidents",
            Column("median", rank=3),
            Column("longest", rank=2),
            Column("flaps", rank=5),
            Column("open", rank=4),
            Column("actions a day", rank=1),
        ),
        (
            (
                each["trigger"],
                each["incidents"],
                _span(each["median_s"]),
                _span(each["longest_s"]),
                each["flaps"],
                _share(each["open_share"]),
                _rate(each["actions_per_day"]),
            )
            for each in told["triggers"]
        ),
        empty="none is on",
    )


def print_compared(told: Json) -> None:
    """Print two specs side by side; a pair of figures is that of the loaded one, then that of the other."""
    _print_head(told)
    compared = told["compared"]
    output.title("summary")
    output.table(
        ("all triggers", "loaded", "against", "difference"),
        [(name, *_sides(told["summary"][key], say)) for name, key, say in _SUMMED],
        empty="",
    )
    output.title("loaded / against")
    output.table(
        (
            "trigger",
            "incidents",
            "in both",
            "only loaded",
            "only against",
            Column("median", rank=3),
            Column("longest", rank=2),
            Column("actions a day", rank=1),
        ),
        (
            (
                each["trigger"],
                _both(each, "incidents", str),
                each["in_both"],
                len(each["only_here"]),
                len(each["only_there"]),
                _both(each, "median_s", _span),
                _both(each, "longest_s", _span),
                _both(each, "actions_per_day", _rate),
            )
            for each in compared
        ),
        empty="none is on",
    )
    for key, where in (("only_here", "only with the loaded triggers"), ("only_there", "only with the others")):
        output.title(where)
        output.table(
            ("trigger", "group", output.when("opened"), output.when("closed", rank=1), Column("lasted", rank=2)),
            (
                (
                    found["trigger"],
                    output.group(found["group"]),
                    output.instant(found["opened_at"]),
                    output.instant(found["closed_at"]),
                    _span(found["duration_s"]),
                )
                for each in compared
                for found in each[key]
            ),
            empty="none",
        )


def _print_head(told: Json) -> None:
    output.pairs(
        [
            ("events", told["events"]),
            ("from first to last", output.span(round(told["span_s"]))),
            ("events per second", round(told["events_per_s"])),
            ("transitions", told["transitions"]),
        ]
    )
    if "why_none" in told:
        output.paragraph(told["why_none"])


def _sides(pair: Json, say: Callable[[Any], str]) -> tuple[str, str, str]:
    """A figure with the loaded triggers, with the others, and by how much it is more or less with those."""
    here, there = pair["here"], pair["there"]
    if here is None or there is None:
        return say(here), say(there), "-"
    more = there - here
    return say(here), say(there), say(0) if not more else f"{'+' if more > 0 else '-'}{say(abs(more))}"


def _both(each: Json, key: str, say: Callable[[Any], str]) -> str:
    return " / ".join("-" if each[side] is None else say(each[side][key]) for side in ("here", "there"))


def _span(seconds: float | None) -> str:
    return "-" if seconds is None else output.span(round(seconds))


def _share(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _rate(number: float | None) -> str:
    return "-" if number is None else f"{number:.2g}"


_SUMMED: Final[tuple[tuple[str, str, Callable[[Any], str]], ...]] = (
    ("incidents", "incidents", str),
    ("median", "median_s", _span),
    ("longest", "longest_s", _span),
    ("open in all", "open_s", _span),
    ("flaps", "flaps", str),
    ("actions a day", "actions_per_day", _rate),
)
"""The figures of a summary: as people read them, by their key, and how each is said."""
