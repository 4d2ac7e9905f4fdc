"""``directives``: the settings that the fleet reads."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from cyclopts import App, Parameter

from self_healing.cli import output
from self_healing.cli.client import Json, call
from self_healing.cli.following import shown_as_asked
from self_healing.cli.options import NO_REASON, By, Shown, Watched, Why, person
from self_healing.cli.output import Column
from self_healing.errors import SelfHealingError

app = App(name="directives", help_format="plaintext")


@app.default
@app.command(name="list")
def directives(*, shown: Watched | None = None) -> int:
    """List the directives in force, and which of them hold."""
    shown = shown or Watched()
    return shown_as_asked(shown, partial(call, shown.settings(), "directives"), _print)


@app.command
def undo(
    *ids: Annotated[str, Parameter(help="Of the directives.")],
    reason: Why = NO_REASON,
    by: By = None,
    shown: Shown | None = None,
) -> int:
    """Take directives back at once."""
    if not ids:
        raise SelfHealingError("directives undo: name at least one directive; `self-healing directives` lists them")
    shown = shown or Shown()
    answer = call(shown.settings(), "undo", {"ids": list(ids), "by": person(by), "reason": reason})
    output.show(answer, shown, _print_undone)
    return 0


def _print(told: Json) -> None:
    output.table(
        (
            "id",
            "agent",
            "setting",
            "value",
            Column("replaced", rank=1),
            "state",
            Column("incident", rank=2),
            output.when("expires"),
        ),
        (
            (
                each["id"],
                each["agent"],
                each["name"],
                each["value"],
                each["replaced"],
                _state(each["overridden_by"]),
                each["owner"],
                output.instant(each["expires_at"]),
            )
            for each in told["directives"]
        ),
        empty="no directive is in force",
    )


def _state(overridden_by: str | None) -> str:
    return "effective" if overridden_by is None else f"overridden by {overridden_by}"


def _print_undone(told: Json) -> None:
    output.table(
        ("id", "agent", "setting", "value", Column("incident", rank=1), output.when("undone")),
        (
            (each["id"], each["agent"], each["name"], each["value"], each["owner"], output.instant(each["undone_at"]))
            for each in told["directives"]
        ),
        empty="they were over already",
    )
