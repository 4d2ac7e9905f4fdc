"""``constitution``: the articles, the limits, and what they refused."""

from __future__ import annotations

from self_healing.cli import output
from self_healing.cli.client import Json, call
from self_healing.cli.options import Shown


def constitution(*, shown: Shown | None = None) -> int:
    """Show the five articles, the limits and how much of them is used, and the newest denials."""
    shown = shown or Shown()
    output.show(call(shown.settings(), "constitution"), shown.format, _print)
    return 0


def _print(told: Json) -> None:
    from self_healing.cli.incidents import held_against

    for article in told["articles"]:
        print(f"{article['number']}  {article['title']}: {article['text']}")
        print(f"    {', '.join(policy['id'] for policy in article['policies'])}")
    output.title("limits")
    output.table(
        ("limit", "value", "used"),
        ((each["name"], each["limit"], each["used"]) for each in told["limits"]),
        empty="none",
    )
    output.title(f"violations: {told['violations']}")
    output.table(
        ("at (UTC)", "incident", "action", "articles"),
        (
            (output.instant(each["at"]), each["incident"], each["action"], held_against(each["articles"]))
            for each in told["denials"]
        ),
        whole=("at (UTC)", "incident"),
        empty="nothing was denied",
    )
