"""``actions``: what can be done, and how well it works."""

from __future__ import annotations

from functools import partial

from self_healing.cli import output
from self_healing.cli.client import Json, call
from self_healing.cli.following import shown_as_asked
from self_healing.cli.options import Watched
from self_healing.cli.output import Column


def actions(*, shown: Watched | None = None) -> int:
    """List the actions, with what is known of how well they work."""
    shown = shown or Watched()
    return shown_as_asked(shown, partial(call, shown.settings(), "actions"), _print)


def _print(told: Json) -> None:
    output.table(
        ("action", Column("answers", rank=1), Column("target agent", rank=2), "healed", Column("within", rank=3)),
        (
            (
                each["name"],
                ", ".join(each["answers"]),
                each["target_agent"],
                _healed(each),
                output.span(each["median_heal_s"]),
            )
            for each in told["actions"]
        ),
        empty="no action is declared",
    )
    lessons = [(action["name"], lesson) for action in told["actions"] for lesson in action["lessons"]]
    if lessons:
        output.title("lessons")
        output.table(
            ("action", "trigger", "agent", "healed", Column("credit", rank=2), Column("within", rank=1)),
            (
                (
                    name,
                    lesson["trigger"],
                    lesson["agent"],
                    _healed(lesson),
                    output.number(lesson["credit"]),
                    output.span(lesson["median_heal_s"]),
                )
                for name, lesson in lessons
            ),
            empty="none",
        )


def _healed(worked: Json) -> str:
    """How many of those that were judged; a try counts neither for nor against an action before it is."""
    if not worked["tries"]:
        return "never tried"
    waiting, judged = worked["not_judged"], worked["tries"] - worked["not_judged"]
    said = [f"{worked['healed']} of {judged}"] if judged > 0 else []
    return ", ".join([*said, f"{waiting} not judged"] if waiting else said)
