"""Own articles: a person's Cedar policies, which forbid what the five articles allow, and permit nothing.

Each is looked at by itself, so that every mistake is told with its file and line, and all of them at once.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from self_healing.documents import Document, Read, read_document
from self_healing.model import Outcome
from self_healing.problems import one_line, shown, suggestion
from self_healing.spec import OwnArticle

_NOTES = ("id", "outcome")
"""What a policy may be annotated with."""

_OUTCOMES = (Outcome.DENY, Outcome.DEFER, Outcome.ASK)

PERMITS = "permit: allowed is forbid: own articles only forbid, and what nothing forbids is permitted already"

Parsed = dict[str, Any]
"""A policy as Cedar has it in JSON."""


@dataclass(frozen=True)
class OwnArticles:
    """What was read.

    Args:
        specs: those that are valid, in their order.
        problems: every mistake; a line each.
    """

    specs: tuple[OwnArticle, ...] = ()
    problems: tuple[str, ...] = ()


def read_own(files: Sequence[Path], *, read: Read = read_document) -> OwnArticles:
    """The policies in a person's files.

    Args:
        files: in their order.
        read: how each of them is read.
    """
    if not files:
        return OwnArticles()  # and nobody pays for Cedar
    from self_healing.constitution.articles import load

    reading = _Reading([policy.id for policy in load().forbids.values()])
    for file in files:
        reading.file(read(file))
    return OwnArticles(tuple(reading.specs), tuple(map(one_line, reading.problems)))


class _Reading:
    """Collects the policies of file after file.

    Args:
        taken: the reasons of the five articles, which none may take.
    """

    def __init__(self, taken: Collection[str]) -> None:
        self.specs: list[OwnArticle] = []
        self.problems: list[str] = []
        self._taken = dict.fromkeys(taken, "the five articles")

    def file(self, document: Document) -> None:
        from self_healing.constitution.articles import statements

        self.problems += document.problems
        for line, text in statements(document.text):
            where = f"{document.file}:{line}"
            found = list(self._mistakes(where, text))
            self.problems += [f"{where}: {each}" for each in found]

    def _mistakes(self, where: str, text: str) -> Iterator[str]:
        """What is wrong with one policy; without any it is kept."""
        import cedarpy
        import msgspec

        try:
            found = msgspec.json.decode(cedarpy.policies_to_json_str(text))
        except ValueError as error:
            yield f"{error}: allowed are Cedar policies, each with a ; at its end"
            return
        if not found["staticPolicies"]:
            yield "a template, with a ?: allowed are policies that are whole"
            return
        [policy] = found["staticPolicies"].values()
        if policy["effect"] == "permit":
            yield PERMITS
            return
        wrong = [*_wrong(policy), *self._name(where, policy), *_disagreeing(text)]
        yield from wrong
        if not wrong:
            self._keep(policy["annotations"], text)

    def _keep(self, notes: Mapping[str, str], text: str) -> None:
        if "outcome" not in notes:
            text = f'@outcome("{Outcome.DENY.value}") {text}'
            notes = {**notes, "outcome": Outcome.DENY.value}
        self.specs.append(OwnArticle.model_validate({"name": notes["id"], "outcome": notes["outcome"], "text": text}))

    def _name(self, where: str, policy: Parsed) -> Iterator[str]:
        name = policy.get("annotations", {}).get("id")
        if name is None:
            yield "it has no @id: allowed is one, which is the reason that people see"
        elif re.fullmatch(r"[a-z][a-z0-9_]*", name) is None:
            yield f"@id: {shown(name)}: allowed are small letters, digits and _, a letter first"
        elif name in self._taken:
            yield f"@id: {shown(name)}: allowed is a name of its own; this one is taken by {self._taken[name]}"
        else:
            self._taken[name] = where


def _wrong(policy: Parsed) -> Iterator[str]:
    """What Cedar has nothing against, and the constitution has."""
    notes = policy.get("annotations", {})
    for name in notes:
        if name not in _NOTES:
            yield f"@{name}:{suggestion(name, _NOTES)} allowed are @id and @outcome"
    outcome = notes.get("outcome", Outcome.DENY.value)
    names = [each.value for each in _OUTCOMES]
    if outcome not in names:
        yield f"@outcome: {shown(outcome)}:{suggestion(str(outcome), names)} allowed are {', '.join(names)}"
    first = {"op": "==", "entity": {"type": "Action", "id": "execute"}}
    if outcome == Outcome.ASK.value and policy["action"] != first:
        yield 'action: allowed with @outcome("ask") is action == Action::"execute": nobody is asked to set again'


def _disagreeing(text: str) -> Iterator[str]:
    """Where a policy does not agree with the schema."""
    import cedarpy

    from self_healing.constitution.articles import OWN_SCHEMA

    checked = cedarpy.validate_policies(text, OWN_SCHEMA)
    told = [str(error).partition("for policy `policy0`, ") for error in checked.errors]
    # The same mistake is told of each of the two actions.
    yield from dict.fromkeys(_with_nearest(said or whole) for whole, _, said in told)


def _with_nearest(error: str) -> str:
    """What Cedar says, with the fact that was perhaps meant."""
    from self_healing.constitution.facts import Facts

    unknown = re.match(r"attribute `(\w+)` in context for Action::\S+ not found", error)
    if unknown is None:
        return error
    meant = suggestion(unknown[1], (*Facts.__struct_fields__, "proposal"))
    return f"context.{unknown[1]}:{meant} allowed are the facts that `self-healing constitution --format json` lists"
