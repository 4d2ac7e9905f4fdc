"""``incidents``: what is wrong in the fleet."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from cyclopts import App, Parameter

from self_healing.cli import output
from self_healing.cli.client import Json, call
from self_healing.cli.following import shown_as_asked
from self_healing.cli.options import NO_REASON, By, Shown, Watched, Why, person
from self_healing.cli.output import Column
from self_healing.model import IncidentState
from self_healing.wording import stands

app = App(name="incidents", help_format="plaintext")


@app.default
@app.command(name="list")
def incidents(
    *,
    state: Annotated[
        tuple[IncidentState, ...],
        Parameter(show_default=False, help="Only those in this state; may be given several times."),
    ] = (),
    agent: Annotated[
        tuple[str, ...], Parameter(show_default=False, help="Only those about this agent; may be given several times.")
    ] = (),
    everything: Annotated[bool, Parameter(name="--all", show_default=False, help="Closed ones as well.")] = False,
    shown: Watched | None = None,
) -> int:
    """List the incidents that are not closed."""
    shown = shown or Watched()
    states = tuple(IncidentState) if everything else state
    asked = {"agents": list(agent), **({"states": list(states)} if states else {})}
    look = partial(call, shown.looked_at(), "incidents", asked)
    return shown_as_asked(shown, look, lambda told: print_incidents(told["incidents"]))


@app.command
def show(id: str, /, *, shown: Watched | None = None) -> int:
    """Show the whole story of one incident.

    Args:
        id: of the incident.
    """
    shown = shown or Watched()
    return shown_as_asked(shown, partial(call, shown.looked_at(), "incident", {"id": id}), _print_one)


@app.command
def ack(id: str, /, *, reason: Why = NO_REASON, by: By = None, shown: Shown | None = None) -> int:
    """Say that you have seen an incident.

    Args:
        id: of the incident.
    """
    return _answer("ack", id, reason, by, shown)


@app.command
def close(id: str, /, *, reason: Why = NO_REASON, by: By = None, shown: Shown | None = None) -> int:
    """Dismiss an incident: it is none, or it is over.

    Args:
        id: of the incident.
    """
    return _answer("close", id, reason, by, shown)


def _answer(command: str, id: str, reason: str, by: str | None, shown: Shown | None) -> int:
    shown = shown or Shown()
    answer = call(shown.settings(), command, {"id": id, "by": person(by), "reason": reason})
    output.show(answer, shown, lambda told: print_incidents([told["incident"]]))
    return 0


def print_incidents(incidents: list[Json], *, empty: str = "no incident") -> None:
    """A line an incident; `opened_at` and `close_reason` where they are known."""
    dated = any("opened_at" in each for each in incidents)  # the report of a check is not
    output.table(
        (
            "id",
            "trigger",
            "group",
            Column("severity", rank=3),
            "state",
            "value",
            Column("limit", rank=1),
            *([output.when("opened", rank=2)] if dated else []),
        ),
        (
            (
                each["id"],
                each["trigger"],
                output.group(each["group"]),
                each["severity"],
                each.get("close_reason") or each["state"],
                output.amount(each["value"], each["unit"]),
                output.amount(each["threshold"], each["unit"]),
                *([output.instant(each["opened_at"])] if dated else []),
            )
            for each in incidents
        ),
        empty=empty,
    )


def _print_one(told: Json) -> None:
    incident = told["incident"]
    value, peak, threshold = (
        output.amount(incident[name], incident["unit"]) for name in ("value", "peak", "threshold")
    )
    closed = f"{output.instant(incident['closed_at'])}, {incident['close_reason']}" if incident["closed_at"] else None
    output.known(
        [
            ("incident", incident["id"]),
            ("trigger", incident["trigger"]),
            ("group", output.group(incident["group"])),
            ("severity", incident["severity"]),
            ("state", incident["state"]),
            ("value", f"{value} (peak {peak})"),
            ("threshold", threshold),
            *([("series", output.verdict(told["series"]))] if told["series"] else []),
            ("opened (UTC)", output.instant(incident["opened_at"])),
            ("closed (UTC)", closed),
            ("attempts", incident["attempts"]),
            *([("parent", incident["parent"])] if incident["parent"] else []),
            *(
                ("beneath it", f"{each['id']} {output.group(each['group'])} {each['close_reason'] or each['state']}")
                for each in told["beneath"]
            ),
            ("escalated", incident["escalation"]),
            ("acknowledged by", incident["acknowledged_by"]),
            ("spec version", incident["spec_version"]),
            *(
                [("goes on by", f"spec {told['goes_on_by']}, which is not the loaded one")]
                if told["goes_on_by"]
                else []
            ),
        ]
    )
    _print_timeline(told["timeline"])
    _print_decisions(told["decisions"])
    _print_executions(told["executions"])
    _print_verifications(told["verifications"], incident["unit"])
    _print_directives(told["directives"])
    _print_handoffs(told["handoffs"])


def _print_timeline(notes: list[Json]) -> None:
    output.title("timeline")
    output.table(
        (output.when("at"), "what", Column("text", text=True)),
        ((output.instant(each["at"]), each["what"], each["text"]) for each in notes),
        empty="nothing yet",
    )


def _print_decisions(decisions: list[Json]) -> None:
    output.title("decisions")
    output.table(
        (output.when("at"), "id", "action", "outcome", Column("articles", text=True, sparse=True)),
        (
            (output.instant(each["at"]), each["id"], each["action"], each["outcome"], held_against(each["articles"]))
            for each in decisions
        ),
        empty="none",
    )


def held_against(articles: Json) -> str:
    """What the articles hold against a proposal, such as ``III rate_limit``."""
    return ", ".join(f"{number} {finding['policy']}" for number, found in articles.items() for finding in found)


def _print_executions(executions: list[Json]) -> None:
    output.title("executions")
    output.table(
        (
            "id",
            "action",
            Column("attempt", rank=2),
            "status",
            Column("target agent", rank=1),
            Column("reason", text=True, sparse=True),
        ),
        (
            (each["id"], each["action"], each["attempt"] + 1, stands(each), each["target_agent"], each["reason"])
            for each in executions
        ),
        empty="none",
    )


def _print_verifications(verifications: list[Json], unit: str | None) -> None:
    output.title("verifications")
    output.table(
        ("action", "phase", Column("judged by", rank=1, sparse=True), "samples", "value", "result"),
        (
            (
                each["action"],
                each["phase"],
                each["judged_by"],
                f"{each['samples']} of {each['needed']}",
                output.amount(each["value"], unit if each["unit"] is None else each["unit"]),
                each["result"] or "waits",
            )
            for each in verifications
        ),
        empty="none",
    )


def _print_directives(directives: list[Json]) -> None:
    output.title("directives")
    output.table(
        ("id", "agent", "setting", "value", output.when("expires", rank=1), Column("undone", text=True, sparse=True)),
        (
            (
                each["id"],
                each["agent"],
                each["name"],
                each["value"],
                output.instant(each["expires_at"]),
                each["undone_reason"],
            )
            for each in directives
        ),
        empty="none",
    )


def _print_handoffs(handoffs: list[Json]) -> None:
    output.title("handoffs")
    output.table(
        ("id", "target agent", "status", Column("result", text=True, sparse=True)),
        ((each["id"], each["target_agent"], each["status"], each["result"]) for each in handoffs),
        empty="none",
    )
