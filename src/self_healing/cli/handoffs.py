"""``handoffs``: the work that was handed over."""

from __future__ import annotations

import re
from functools import partial
from typing import Annotated

from cyclopts import App, Parameter

from self_healing.cli import output
from self_healing.cli.client import Json, call
from self_healing.cli.following import shown_as_asked
from self_healing.cli.history import Limit
from self_healing.cli.nested import tree
from self_healing.cli.options import By, Shown, Watched, person
from self_healing.cli.output import Column
from self_healing.model import HandoffStatus

app = App(name="handoffs", help_format="plaintext")

Result = Annotated[str | None, Parameter(help="What came of it, in your own words.")]


@app.default
@app.command(name="list")
def handoffs(
    *,
    status: Annotated[
        tuple[HandoffStatus, ...],
        Parameter(show_default=False, help="Only those of this status; may be given several times."),
    ] = (),
    agent: Annotated[
        tuple[str, ...],
        Parameter(show_default=False, help="Only those about this agent, or for it; may be given several times."),
    ] = (),
    limit: Limit = 50,
    shown: Watched | None = None,
) -> int:
    """List the handoffs, the newest first."""
    shown = shown or Watched()
    asked = {"kind": "handoffs", "where": {"status": list(status), "agent": list(agent)}, "limit": limit}
    return shown_as_asked(shown, partial(call, shown.settings(), "records", asked), _print)


@app.command
def show(
    id: str,
    /,
    *,
    markdown: Annotated[
        bool, Parameter(show_default=False, help="As Markdown: what is asked, and the evidence in tables.")
    ] = False,
    shown: Watched | None = None,
) -> int:
    """Show one handoff with what it asks.

    Args:
        id: of the handoff.
    """
    shown = shown or Watched()
    look = partial(call, shown.settings(), "handoff", {"id": id})
    if markdown:
        _print_markdown(look())
        return 0
    return shown_as_asked(shown, look, _print_one)


@app.command
def accept(id: str, /, *, by: By = None, shown: Shown | None = None) -> int:
    """Say that you work on it.

    Args:
        id: of the handoff.
    """
    return _move("accept", {"id": id, "by": person(by)}, shown)


@app.command
def complete(id: str, /, *, result: Result = None, by: By = None, shown: Shown | None = None) -> int:
    """Say that it is done; from now on, new work shows whether it helped.

    Args:
        id: of the handoff.
    """
    return _move("complete", {"id": id, "by": person(by), "result": result}, shown)


@app.command
def fail(id: str, /, *, result: Result = None, by: By = None, shown: Shown | None = None) -> int:
    """Say that it cannot be done.

    Args:
        id: of the handoff.
    """
    return _move("fail", {"id": id, "by": person(by), "result": result}, shown)


def _move(command: str, arguments: Json, shown: Shown | None) -> int:
    shown = shown or Shown()
    answer = call(shown.settings(), command, arguments)
    output.show(answer, shown, lambda told: _print({"handoffs": [told["handoff"]]}))
    return 0


def _print(told: Json) -> None:
    output.table(
        (
            "id",
            "status",
            "target agent",
            Column("channel", rank=3),
            "about",
            Column("incident", rank=2),
            output.when("deadline", rank=1),
        ),
        (
            (
                each["id"],
                each["status"],
                each["target_agent"],
                each["channel"],
                each["about"],
                each["incident"],
                output.instant(each["deadline"]),
            )
            for each in told["handoffs"]
        ),
        empty="no handoff",
    )


def _print_markdown(told: Json) -> None:
    from self_healing.handoffs.markdown import markdown

    print(markdown(told["handoff"]["message"]), end="")


def _print_one(told: Json) -> None:
    handoff = told["handoff"]
    output.known(
        [
            ("handoff", handoff["id"]),
            ("status", handoff["status"]),
            ("target agent", handoff["target_agent"]),
            ("about", handoff["about"]),
            ("channel", handoff["channel"] + ("" if handoff["served"] else " (no channel serves the recipient)")),
            ("called there", handoff["remote"]),
            ("waits for", handoff["pause"]),
            ("trouble", handoff["trouble"]),
            ("tries", handoff["tries"]),
            ("incident", handoff["incident"]),
            ("created (UTC)", output.instant(handoff["created_at"])),
            ("deadline (UTC)", output.instant(handoff["deadline"])),
            ("ended (UTC)", output.instant(handoff["ended_at"])),
            ("result", handoff["result"]),
            ("file", handoff["path"]),
        ]
    )
    output.title("prompt")
    for part in re.split(r"(?<=[.:])\n|\n\n", handoff["message"]["prompt"].strip()):
        output.paragraph(" ".join(part.split()))
    for name, value in handoff["message"]["context"].items():
        output.title(f"context: {name.replace('_', ' ')}")
        tree(value)
    output.title("notes")
    output.table(
        (output.when("at"), "what", Column("text", text=True)),
        ((output.instant(each["at"]), each["what"], each["text"]) for each in handoff["notes"]),
        empty="none",
    )
