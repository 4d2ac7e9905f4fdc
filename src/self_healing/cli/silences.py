"""``silences``: series that open no incident for a time."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from cyclopts import App, Parameter

from self_healing.cli import output
from self_healing.cli.client import Json, call
from self_healing.cli.following import shown_as_asked
from self_healing.cli.options import By, Shown, Watched, Why, person
from self_healing.cli.parsing import instant, pair, seconds
from self_healing.wording import counted

app = App(name="silences", help_format="plaintext")


@app.default
@app.command(name="list")
def silences(
    *,
    everything: Annotated[
        bool, Parameter(name="--all", show_default=False, help="Those that are over as well.")
    ] = False,
    shown: Watched | None = None,
) -> int:
    """List what is muted, and what will be."""
    shown = shown or Watched()
    return shown_as_asked(shown, partial(call, shown.settings(), "silences", {"everything": everything}), _print)


@app.command
def add(
    *,
    trigger: Annotated[str | None, Parameter(show_default=False, help="Whose series; of every trigger if not.")] = None,
    key: Annotated[
        tuple[str, ...],
        Parameter(show_default=False, help="What their groups have, such as agent=Coder; may be given several times."),
    ] = (),
    lasts: Annotated[str, Parameter(name="--for", help="How long, such as 30m, 2h, 1d.")] = "1h",
    starts: Annotated[
        str | None, Parameter(name="--from", show_default=False, help="When it begins, such as 2026-01-05T22:00:00Z.")
    ] = None,
    reason: Why = "",
    by: By = None,
    shown: Shown | None = None,
) -> int:
    """Mute series: they open no incident until it is over, and what is open of them closes as suppressed."""
    shown = shown or Shown()
    given = {
        "trigger": trigger,
        "keys": dict(pair("silences add: --key", each) for each in key),
        "lasts_s": seconds("silences add: --for", lasts),
        "starts_at": None if starts is None else instant("silences add: --from", starts).isoformat(),
        "by": person(by),
        "reason": reason,
    }
    output.show(call(shown.settings(), "silence", given), shown, _print_added)
    return 0


@app.command
def remove(id: str, *, by: By = None, shown: Shown | None = None) -> int:
    """End a silence before its time.

    Args:
        id: of the silence.
    """
    shown = shown or Shown()
    told = call(shown.settings(), "unsilence", {"id": id, "by": person(by)})
    output.show(told, shown, lambda answer: _print({"silences": [answer["silence"]]}))
    return 0


def _print_added(told: Json) -> None:
    _print({"silences": [told["silence"]]})
    matches = told["matches"]
    print()
    if matches["warning"] is None:
        print(f"for {matches['series']} series of {counted(matches['triggers'], 'trigger')}, as there are now")
    else:
        output.paragraph(f"warning: it is for nothing that there is now: {matches['warning']}")


def _print(told: Json) -> None:
    output.table(
        ("id", "state", "trigger", "group", output.when("from"), output.when("until"), "by", "reason"),
        (
            (
                each["id"],
                each["state"],
                each["trigger"] or "all",
                ",".join(f"{key}={value}" for key, value in each["keys"].items()) or "all",
                output.instant(each["starts_at"]),
                output.instant(each["removed_at"] or each["ends_at"]),
                each["by"],
                each["reason"],
            )
            for each in told["silences"]
        ),
        empty="nothing is muted",
    )
