"""``approvals``: what cannot be undone, and waits for a person."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from cyclopts import App, Parameter

from self_healing.cli import output
from self_healing.cli.client import Json, call
from self_healing.cli.following import shown_as_asked
from self_healing.cli.nested import in_a_line
from self_healing.cli.options import NO_REASON, By, Shown, Watched, Why, person
from self_healing.cli.output import Column

app = App(name="approvals", help_format="plaintext")

Plan = Annotated[
    str | None, Parameter(show_default=False, help="Of what you saw, in full; another one by now is refused.")
]


@app.default
@app.command(name="list")
def approvals(
    *,
    everything: Annotated[
        bool, Parameter(name="--all", show_default=False, help="Those that are answered or over as well.")
    ] = False,
    shown: Watched | None = None,
) -> int:
    """List what waits for a person's yes."""
    shown = shown or Watched()
    return shown_as_asked(shown, partial(call, shown.settings(), "approvals", {"everything": everything}), _print)


@app.command
def show(id: str, *, shown: Watched | None = None) -> int:
    """Show what would be done, why it is asked for, and what the incident is.

    Args:
        id: of the approval.
    """
    shown = shown or Watched()
    return shown_as_asked(shown, partial(call, shown.settings(), "approval", {"id": id}), _print_one)


@app.command
def approve(id: str, *, reason: Why = NO_REASON, plan: Plan = None, by: By = None, shown: Shown | None = None) -> int:
    """Say yes, once, to this very plan. It is decided anew, and done only if nothing else holds against it.

    Args:
        id: of the approval.
    """
    return _answer("approve", id, reason, plan, by, shown)


@app.command
def deny(id: str, *, reason: Why = NO_REASON, plan: Plan = None, by: By = None, shown: Shown | None = None) -> int:
    """Say no.

    Args:
        id: of the approval.
    """
    return _answer("deny", id, reason, plan, by, shown)


def _answer(command: str, id: str, reason: str, plan: str | None, by: str | None, shown: Shown | None) -> int:
    shown = shown or Shown()
    given = {"id": id, "by": person(by), "reason": reason, "plan": plan}
    answer = call(shown.settings(), command, given)
    output.show(answer, shown, lambda told: _print({"approvals": [told["approval"]]}))
    return 0


def _print(told: Json) -> None:
    output.table(
        (
            "id",
            "status",
            "action",
            "for",
            Column("incident", rank=1),
            output.when("until"),
            Column("by", rank=2, sparse=True),
            Column("reason", rank=3, text=True, sparse=True),
            Column("came to", rank=4, text=True, sparse=True),
        ),
        (
            (
                each["id"],
                each["status"],
                each["action"],
                each["target"],
                each["incident"],
                output.instant(each["expires_at"]),
                each["by"],
                each["reason"],
                each["came_to"],
            )
            for each in told["approvals"]
        ),
        empty="nothing waits for a person",
    )


def _print_one(told: Json) -> None:
    from self_healing.cli.incidents import held_against

    approval, incident = told["approval"], told["incident"]
    output.known(
        [
            ("approval", approval["id"]),
            ("status", approval["status"]),
            ("asked (UTC)", output.instant(approval["asked_at"])),
            ("until (UTC)", output.instant(approval["expires_at"])),
            ("answered (UTC)", output.instant(approval["answered_at"])),
            ("by", approval["by"]),
            ("reason", approval["reason"]),
            ("came to", approval["came_to"]),
            ("action", f"{approval['action']}, of type {approval['action_type']}"),
            ("for", approval["target"]),
            ("calls", approval["calls"]),
            ("parameters", in_a_line(approval["parameters"])),
            ("settings", in_a_line(approval["settings"])),
            ("target agent", approval["target_agent"]),
            ("plan", approval["plan"]),
            ("spec version", approval["spec_version"]),
            ("execution", approval["execution"]),
            ("decision", approval["decision"]),
        ]
    )
    output.title("incident")
    output.known(
        [
            ("id", incident["id"]),
            ("trigger", incident["trigger"]),
            ("group", output.group(incident["group"])),
            ("severity", incident["severity"]),
            ("state", incident["state"]),
            *((name, output.amount(incident[name], incident["unit"])) for name in ("value", "threshold", "peak")),
            ("opened (UTC)", output.instant(incident["opened_at"])),
            ("attempts", incident["attempts"]),
        ]
    )
    output.title("held against it")
    output.paragraph(held_against(told["decision"]["articles"]))
