"""The five articles as people read them and as Cedar holds them: titles, texts, policies, and their checks on load."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cedarpy
import msgspec

from self_healing.errors import ConfigError
from self_healing.model import Outcome

ARTICLES = Path(__file__).with_name("articles.cedar").read_text(encoding="utf-8")
"""The shipped policies."""

SCHEMA = Path(__file__).with_name("articles.cedarschema").read_text(encoding="utf-8")
"""The facts that the shipped policies look at."""

_TEXTS = (
    (
        "I",
        "Complete context",
        "The required evidence is present, telemetry is fresh, there are samples enough, and nothing in flight is "
        "older than the freshness limit.",
    ),
    (
        "II",
        "Full verification",
        "The action has a verification plan (signal, samples, deadline), and the spec's own tests pass for the loaded "
        "version.",
    ),
    (
        "III",
        "Automated enforcement",
        "The decision is recorded before the effect; limits on rate, blast radius and attempts hold; what cannot be "
        "undone is asked for, never assumed.",
    ),
    (
        "IV",
        "Learning",
        "The outcome will be recorded, and an action that keeps failing for this trigger is not tried again.",
    ),
    (
        "V",
        "Spec-driven",
        "Trigger, action and parameters come from the loaded, validated, hashed spec; nothing ad hoc.",
    ),
)

_FORBIDDING = tuple(outcome.value for outcome in (Outcome.DENY, Outcome.ASK, Outcome.DEFER))


class PolicyInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One policy: its id, which says in plain words why it holds, and what it makes of a proposal."""

    id: str
    outcome: Outcome


class ArticleInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One article of the constitution, for people."""

    number: str  # I to V
    title: str
    text: str
    policies: tuple[PolicyInfo, ...]  # in the order of their text


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """One forbid policy as it was loaded."""

    cedar_id: str  # what Cedar calls it in its reasons
    id: str
    article: str
    outcome: Outcome


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """Checked articles, parsed once: parsing anew for every decision would cost fifteen times the decision."""

    policies: cedarpy.PolicySet
    schema: cedarpy.Schema
    entities: cedarpy.Entities
    forbids: dict[str, Policy]  # by Cedar's own id

    def infos(self) -> list[ArticleInfo]:
        """The five articles with their policies, in order."""
        return [
            ArticleInfo(
                number=number,
                title=title,
                text=text,
                policies=tuple(
                    PolicyInfo(id=policy.id, outcome=policy.outcome)
                    for policy in self.forbids.values()
                    if policy.article == number
                ),
            )
            for number, title, text in _TEXTS
        ]


def load(articles: str = ARTICLES, schema: str = SCHEMA) -> Loaded:
    """Check and parse the constitution.

    Args:
        articles: Cedar policies.
        schema: the Cedar schema that declares every fact.

    Raises:
        ConfigError: with every problem: it does not parse, does not agree with the schema, a forbid says not what it is
            for, an article forbids nothing, or more than one policy permits.
    """
    try:
        parsed_schema = cedarpy.Schema.from_str(schema)
        policies = cedarpy.PolicySet.from_str(articles)
    except ValueError as error:
        raise ConfigError([f"constitution: {error}"]) from error
    checked = cedarpy.validate_policies(articles, parsed_schema)
    if not checked.validation_passed:
        raise ConfigError([f"constitution: {error}" for error in checked.errors])
    declared = _declared(articles)
    problems = list(_problems(declared))
    if problems:
        raise ConfigError([f"constitution: {problem}" for problem in problems])
    return Loaded(
        policies=policies,
        schema=parsed_schema,
        entities=cedarpy.Entities.from_json_str("[]", parsed_schema),
        forbids={
            cedar_id: Policy(
                cedar_id=cedar_id, id=notes["id"], article=notes["article"], outcome=Outcome(notes["outcome"])
            )
            for cedar_id, effect, notes in declared
            if effect == "forbid"
        },
    )


def _declared(articles: str) -> list[tuple[str, str, dict[str, Any]]]:
    """Cedar's id, the effect and the annotations of each policy, in the order of their text."""
    static = msgspec.json.decode(cedarpy.policies_to_json_str(articles))["staticPolicies"]
    # Cedar numbers them as they stand (policy0, policy1, ...), and lists them in any order.
    ids = sorted(static, key=lambda cedar_id: int(cedar_id.removeprefix("policy")))
    return [(cedar_id, static[cedar_id]["effect"], static[cedar_id].get("annotations", {})) for cedar_id in ids]


def _problems(declared: list[tuple[str, str, dict[str, Any]]]) -> Iterator[str]:
    """What Cedar's own validation does not know of."""
    permits = sum(effect == "permit" for _, effect, _ in declared)
    if permits != 1:
        yield f"{permits} policies permit; allowed is exactly one"
    forbids = [(cedar_id, notes) for cedar_id, effect, notes in declared if effect == "forbid"]
    seen: set[str] = set()
    for cedar_id, notes in forbids:
        name = notes.get("id") or cedar_id
        if not notes.get("id"):
            yield f"{name}: has no @id, which is the reason that people see"
        if name in seen:
            yield f"{name}: more than one policy has this @id"
        seen.add(name)
        numbers = [number for number, _, _ in _TEXTS]
        if notes.get("article") not in numbers:
            yield f"{name}: @article({notes.get('article')!r}): allowed is one of {', '.join(numbers)}"
        if notes.get("outcome") not in _FORBIDDING:
            yield f"{name}: @outcome({notes.get('outcome')!r}): allowed is one of {', '.join(_FORBIDDING)}"
    for number, title, _ in _TEXTS:
        if not any(notes.get("article") == number for _, notes in forbids):
            yield f"article {number} ({title}): no policy enforces it"
