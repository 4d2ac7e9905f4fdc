"""``constitution``: the articles, own ones among them, the limits, and what they refused."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from self_healing.cli import output
from self_healing.cli.client import Json, call
from self_healing.cli.following import shown_as_asked
from self_healing.cli.options import Shown, Watched
from self_healing.cli.output import Column

if TYPE_CHECKING:
    from self_healing.constitution.cases import Ran

OWN = "VI"
"""The article of a person's own policies, which are shown as they were written: nothing else says what they are for."""


app = App(name="constitution", help_format="plaintext")


@app.default
@app.command(name="show")
def constitution(*, shown: Watched | None = None) -> int:
    """Show the articles, your own among them, the limits, how much of them is used, and the newest decisions."""
    shown = shown or Watched()
    return shown_as_asked(shown, partial(call, shown.settings(), "constitution"), _print)


def _print(told: Json) -> None:
    for article in told["articles"]:
        output.paragraph(f"{article['number']}  {article['title']}: {article['text']}")
        if article["number"] == OWN:
            for policy in article["policies"]:
                for row in policy["text"].splitlines():
                    output.line(f"    {row}")
        else:
            output.paragraph(", ".join(policy["id"] for policy in article["policies"]), indent=4)
    output.title("limits")
    output.table(
        ("limit", "value", "used"),
        ((each["name"], _said(each, "limit"), _said(each, "used")) for each in told["limits"]),
        empty="none",
    )
    output.title("newest decisions")
    output.table(
        (output.when("at"), "incident", "action", "decision", Column("articles", text=True)),
        (_decided(each, each["outcome"]) for each in told["decisions"]),
        empty="nothing was proposed yet",
    )
    output.title(f"violations: {told['violations']}")
    output.table(
        (output.when("at"), "incident", "action", Column("articles", text=True)),
        (_decided(each) for each in told["denials"]),
        empty="nothing was denied",
    )


def _decided(told: Json, *outcome: str) -> tuple[object, ...]:
    from self_healing.cli.incidents import held_against

    return output.instant(told["at"]), told["incident"], told["action"], *outcome, held_against(told["articles"])


def _said(told: Json, name: str) -> str | None:
    """A limit, or how much of it is used, with its unit."""
    value = told[name]
    if value is None:
        return None
    return output.span(value) if told["unit"] == "s" else f"{value} {told['unit']}".rstrip()


@app.command
def explain(id: str, /, *, shown: Shown | None = None) -> int:
    """Show why the gate said what it did: article by article, with the facts, and what would have to change.

    Args:
        id: of a decision, a proposal, an execution or an approval.
    """
    shown = shown or Shown()
    output.show(call(shown.settings(), "decision", {"id": id}), shown, _print_decided)
    return 0


def _print_decided(told: Json) -> None:
    same = told["constitution"] == told["constitution_now"]
    output.pairs(
        [
            ("decision", told["id"]),
            ("at", output.instant(told["at"])),
            ("incident", told["incident"]),
            ("action", f"{told['action']} for {told['target']}, step {told['step']}, attempt {told['attempt']}"),
            ("outcome", told["outcome"]),
            (
                "articles",
                "as they are now" if same else "others are loaded by now; of those, what is the same is shown",
            ),
        ]
    )
    for article in told["why"]:
        found = told["articles"].get(article["article"], [])
        says = ", ".join(f"{each['policy']} ({each['outcome']})" for each in found)
        output.title(f"{article['article']}  {article['title']}: {says or 'nothing against it'}")
        for held in article["held"]:
            _print_held(held)
    for error in told["facts"].get("gate_errors", ()):
        output.paragraph(f"the articles could not be judged: {error}")
    output.title("facts")
    output.pairs((name, value) for name, value in told["facts"].items() if name != "gate_errors")


def _print_held(held: Json) -> None:
    facts = ", ".join(f"{name} is {output.text(value)}" for name, value in held["facts"].items())
    output.paragraph(f"{held['policy']}: {facts}", indent=4)
    for number, way in enumerate(held["passes_if"]):
        needed = " and ".join(f"{each['fact']} were {each['needed']}" for each in way["changes"])
        then = f"; then {', '.join(way['then'])} would hold" if way["then"] else ""
        output.paragraph(f"{'or' if number else 'it would not hold'} if {needed}{then}", indent=4)


@app.command(name="test")
def run_tests(
    *files: Annotated[Path, Parameter(help="Files of cases, in TOML; those of the five articles when left out.")],
    shown: Shown | None = None,
) -> int:
    """Ask the gate of proposals whose facts are written down; exits with 1 when it says of one what is not expected."""
    from self_healing.constitution.cases import SHIPPED, run_cases
    from self_healing.constitution.gate import Gate
    from self_healing.spec import Limits
    from self_healing.status import loaded_spec

    shown = shown or Shown()
    settings = shown.settings()
    if files:
        spec = loaded_spec(settings)
        ran = run_cases(files, Gate(own=spec.articles), spec.limits)
    else:  # these are about the five alone, at the limits as they are shipped
        ran = run_cases([SHIPPED], Gate(), Limits())
    failed = sum(not each.passed for each in ran)
    told = {"cases": len(ran), "passed": len(ran) - failed, "failed": failed, "results": [_told(each) for each in ran]}
    output.show(told, shown, _print_tests)
    return 1 if failed else 0


def _told(ran: Ran) -> Json:
    differences = [{"what": each.what, "expected": each.expected, "got": each.got} for each in ran.differences]
    return {"file": ran.file, "case": ran.case, "passed": ran.passed, "differences": differences}


def _print_tests(told: Json) -> None:
    for each in told["results"]:
        if not each["passed"]:
            output.line(f"{each['file']}: case {each['case']}: failed")
            for difference in each["differences"]:
                expected, got = (", ".join(difference[which]) or "none" for which in ("expected", "got"))
                output.line(f"    {difference['what']:<8}  expected {expected}")
                output.line(f"    {'':<8}  got      {got}")
    cases = "1 case" if told["cases"] == 1 else f"{told['cases']} cases"
    print(f"{cases}, {told['failed']} failed" if told["failed"] else f"{cases}, all as expected")
