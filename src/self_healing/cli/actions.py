"""``actions``: what can be done, and how well it works."""

from __future__ import annotations

from self_healing.cli import output
from self_healing.cli.client import Json, call
from self_healing.cli.options import Shown


def actions(*, shown: Shown | None = None) -> int:
    """List the actions, with what is known of how well they work."""
    shown = shown or Shown()
    output.show(call(shown.settings(), "actions"), shown.format, _print)
    return 0


def _print(told: Json) -> None:
    output.table(
        ("action", "answers", "target agent", "tried", "healed", "in"),
        (
            (
                each["name"],
                ", ".join(each["answers"]),
                each["target_agent"],
                each["tries"],
                each["healed"],
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
            ("action", "trigger", "agent", "tried", "healed", "credit", "in"),
            (
                (
                    name,
                    lesson["trigger"],
                    lesson["agent"],
                    lesson["tries"],
                    lesson["healed"],
                    output.number(lesson["credit"]),
                    output.span(lesson["median_heal_s"]),
                )
                for name, lesson in lessons
            ),
            empty="none",
        )
