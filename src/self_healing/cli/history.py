"""``history``: what was done, and what came of it."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from cyclopts import Parameter, validators

from self_healing.cli import output
from self_healing.cli.client import Json, call
from self_healing.cli.following import shown_as_asked
from self_healing.cli.options import Watched
from self_healing.cli.output import Column
from self_healing.wording import stands

Limit = Annotated[int, Parameter(help="So many of the newest.", validator=validators.Number(gte=1))]


def history(
    *,
    agent: Annotated[
        tuple[str, ...], Parameter(show_default=False, help="Only about this agent; may be given several times.")
    ] = (),
    limit: Limit = 20,
    shown: Watched | None = None,
) -> int:
    """Show what was done, and what came of it; the newest first."""
    shown = shown or Watched()
    asked = {"agents": list(agent), "limit": limit}
    return shown_as_asked(shown, partial(call, shown.settings(), "history", asked), _print)


def _print(told: Json) -> None:
    output.table(
        (output.when("opened", rank=1), "incident", "trigger", "group", Column("done", text=True), "outcome"),
        (
            (
                output.instant(each["opened_at"]),
                each["incident"],
                each["trigger"],
                output.group(each["group"]),
                ", ".join(f"{action['action']} {action['result'] or stands(action)}" for action in each["actions"]),
                each["outcome"],
            )
            for each in told["history"]
        ),
        empty="nothing has happened yet",
    )
    if told["reloads"]:
        output.title("reloads")
    for reload in told["reloads"]:
        print(f"{output.instant(reload['at'])}  spec {reload['before']} -> {reload['spec_version']}")
        for change in reload["changes"]:
            output.paragraph(output.change(change), indent=2)
