"""The articles as people read them and as Cedar holds them: titles, texts, policies, and their checks on load."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import cedarpy
import msgspec

from self_healing.errors import ConfigError
from self_healing.model import Outcome
from self_healing.spec import OwnArticle

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

OWN = "VI"
"""The number under which a person's own policies stand; as text it sorts behind V."""

_OWN_TEXT = (OWN, "Own articles", "What is forbidden here besides.")

WORDS = "proposal"
"""The fact in which own articles are told the words of a proposal."""

_NO_WORDS = "// VI: what own articles may ask besides is declared here where there are some"
_WORDS = f"""{WORDS}: {{
      action: String, type: String, trigger: String, agent: String, recipient: String, sets: Set<String>,
      hour: Long, weekday: Long,
    }},"""

OWN_SCHEMA = SCHEMA.replace(_NO_WORDS, _WORDS)
"""The facts that own policies may look at."""

_TOKEN = re.compile(r"""//[^\n]*|"(?:\\.|[^"\\])*"?|;|\s+|[^\s";/]+|/""")
"""A comment, a text, the end of a statement, a gap, or anything else of Cedar."""

_Declared = tuple[str, str, dict[str, Any], list[dict[str, Any]]]
"""A policy: what Cedar calls it, its effect, its annotations and its conditions."""

_FORBIDDING = tuple(outcome.value for outcome in (Outcome.DENY, Outcome.ASK, Outcome.DEFER))


class PolicyInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One policy: its id, which says in plain words why it holds, and what it makes of a proposal."""

    id: str
    outcome: Outcome
    text: str  # in Cedar


class ArticleInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One article of the constitution, for people."""

    number: str  # I to V; VI where there are own ones
    title: str
    text: str
    policies: tuple[PolicyInfo, ...]  # in the order of their text


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """One forbid policy as it was loaded."""

    cedar_id: str  # what Cedar calls it in its reasons
    id: str
    article: str
    outcome: Outcome
    text: str
    conditions: list[dict[str, Any]]  # in Cedar's JSON


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """Checked articles, parsed once: parsing anew for every decision would cost fifteen times the decision."""

    policies: cedarpy.PolicySet
    schema: cedarpy.Schema
    entities: cedarpy.Entities
    forbids: dict[str, Policy]  # by Cedar's own id
    version: str  # hash of the policies and of what they may look at, in hex

    def infos(self) -> list[ArticleInfo]:
        """The articles with their policies, in order; own ones only where there are some."""
        infos = [
            ArticleInfo(
                number=number,
                title=title,
                text=text,
                policies=tuple(
                    PolicyInfo(id=policy.id, outcome=policy.outcome, text=policy.text)
                    for policy in self.forbids.values()
                    if policy.article == number
                ),
            )
            for number, title, text in (*_TEXTS, _OWN_TEXT)
        ]
        return infos if infos[-1].policies else infos[:-1]


@lru_cache(maxsize=16)
def load(articles: str = ARTICLES, schema: str = SCHEMA, own: tuple[OwnArticle, ...] = ()) -> Loaded:
    """Check and parse the constitution; the same one once, since whoever is given it can only read it.

    Args:
        articles: Cedar policies.
        schema: the Cedar schema that declares every fact.
        own: policies that forbid besides; they may also look at the words of a proposal.

    Raises:
        ConfigError: with every problem: it does not parse, does not agree with the schema, a forbid says not what it is
            for, an article forbids nothing, or more than one policy permits.
    """
    if own:
        articles = "\n\n".join([articles, *map(_enforced, own)])
        schema = schema.replace(_NO_WORDS, _WORDS)
    try:
        parsed_schema = cedarpy.Schema.from_str(schema)
        policies = cedarpy.PolicySet.from_str(articles)
    except ValueError as error:
        raise ConfigError([f"constitution: {error}"]) from error
    checked = cedarpy.validate_policies(articles, parsed_schema)
    if not checked.validation_passed:
        raise ConfigError([f"constitution: {error}" for error in checked.errors])
    declared = _declared(articles)
    problems = list(_problems(declared, [number for number, _, _ in _TEXTS] + [OWN] * bool(own)))
    if problems:
        raise ConfigError([f"constitution: {problem}" for problem in problems])
    return Loaded(
        policies=policies,
        schema=parsed_schema,
        entities=cedarpy.Entities.from_json_str("[]", parsed_schema),
        forbids={
            cedar_id: Policy(
                cedar_id=cedar_id,
                id=notes["id"],
                article=notes["article"],
                outcome=Outcome(notes["outcome"]),
                text=text,
                conditions=conditions,
            )
            for (cedar_id, effect, notes, conditions), (_, text) in zip(declared, statements(articles), strict=True)
            if effect == "forbid"
        },
        version=hashlib.sha256(f"{schema}\0{articles}".encode()).hexdigest()[:16],
    )


def facts(*, own: bool) -> dict[str, str]:
    """Each fact that a policy may look at, with its type in Cedar.

    Args:
        own: those of own policies.
    """
    declared = (OWN_SCHEMA if own else SCHEMA).partition("context: {")[2].rpartition("}")[0].rpartition("}")[0]
    return {
        name: " ".join(kind.split()).removesuffix(",")
        for name, kind in re.findall(r"^    (\w+): ({[^}]*}|\w+),", declared, flags=re.MULTILINE)
    }


def statements(text: str) -> Iterator[tuple[int, str]]:
    """Each statement of Cedar with the line on which it begins, from 1, without the comments before it."""
    begins: int | None = None
    for token in _TOKEN.finditer(text):
        if begins is None and not token[0].isspace() and not token[0].startswith("//"):
            begins = token.start()
        if begins is not None and (token[0] == ";" or token.end() == len(text)):
            yield text.count("\n", 0, begins) + 1, text[begins : token.end()].rstrip()
            begins = None


def _enforced(own: OwnArticle) -> str:
    """An own policy as the gate holds it: in its article, and asking only for what is not approved yet."""
    unless = "\nwhen { !context.approved }" if own.outcome is Outcome.ASK else ""
    return f'@article("{OWN}") {own.text.removesuffix(";")}{unless};'


def _declared(articles: str) -> list[_Declared]:
    """Each policy, in the order of their text."""
    static = msgspec.json.decode(cedarpy.policies_to_json_str(articles))["staticPolicies"]
    # Cedar numbers them as they stand (policy0, policy1, ...), and lists them in any order.
    ids = sorted(static, key=lambda cedar_id: int(cedar_id.removeprefix("policy")))
    return [(id, static[id]["effect"], static[id].get("annotations", {}), static[id]["conditions"]) for id in ids]


def _problems(declared: list[_Declared], numbers: list[str]) -> Iterator[str]:
    """What Cedar's own validation does not know of."""
    permits = sum(effect == "permit" for _, effect, _, _ in declared)
    if permits != 1:
        yield f"{permits} policies permit; allowed is exactly one"
    forbids = [(cedar_id, notes) for cedar_id, effect, notes, _ in declared if effect == "forbid"]
    seen: set[str] = set()
    for cedar_id, notes in forbids:
        name = notes.get("id") or cedar_id
        if not notes.get("id"):
            yield f"{name}: has no @id, which is the reason that people see"
        if name in seen:
            yield f"{name}: more than one policy has this @id"
        seen.add(name)
        if notes.get("article") not in numbers:
            yield f"{name}: @article({notes.get('article')!r}): allowed is one of {', '.join(numbers)}"
        if notes.get("outcome") not in _FORBIDDING:
            yield f"{name}: @outcome({notes.get('outcome')!r}): allowed is one of {', '.join(_FORBIDDING)}"
    for number, title, _ in _TEXTS:
        if not any(notes.get("article") == number for _, notes in forbids):
            yield f"article {number} ({title}): no policy enforces it"
