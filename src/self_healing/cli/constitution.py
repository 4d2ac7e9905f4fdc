"""``constitution``: the articles, own ones among them, the limits, and what they refused."""

from __future__ import annotations

from cyclopts import App

from self_healing.cli import output
from self_healing.cli.client import Json, call
from self_healing.cli.options import Shown
from self_healing.cli.output import Column

OWN = "VI"
"""The article of a person's own policies, which are shown as they were written: nothing else says what they are for."""


app = App(name="constitution", help_format="plaintext")


@app.default
@app.command(name="show")
def constitution(*, shown: Shown | None = None) -> int:
    """Show the articles, your own among them, the limits and how much of them is used, and the newest denials."""
    shown = shown or Shown()
    output.show(call(shown.settings(), "constitution"), shown.format, _print)
    return 0


def _print(told: Json) -> None:
    from self_healing.cli.incidents import held_against

    for article in told["articles"]:
        output.paragraph(f"{article['number']}  {article['title']}: {article['text']}")
        if article["number"] == OWN:
            for policy in article["policies"]:
                output.paragraph(policy["text"], indent=4)
        else:
            output.paragraph(", ".join(policy["id"] for policy in article["policies"]), indent=4)
    output.title("limits")
    output.table(
        ("limit", "value", "used"),
        ((each["name"], _limit(each), each["used"]) for each in told["limits"]),
        empty="none",
    )
    output.title(f"violations: {told['violations']}")
    output.table(
        (output.when("at"), "incident", "action", Column("articles", text=True)),
        (
            (output.instant(each["at"]), each["incident"], each["action"], held_against(each["articles"]))
            for each in told["denials"]
        ),
        empty="nothing was denied",
    )


def _limit(told: Json) -> str:
    return output.span(told["limit"]) if told["unit"] == "s" else f"{told['limit']} {told['unit']}".rstrip()
