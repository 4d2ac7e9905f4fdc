"""The constitution: its articles, what it decided, the audit log, and the stop."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from self_healing.api.models.base import At, Json, Model, Page
from self_healing.api.models.looking import Stop
from self_healing.model import Outcome

Number = Literal["I", "II", "III", "IV", "V", "VI"]
"""Of an article; VI are a person's own ones."""


class Held(Model):
    """What one policy held against a proposal."""

    policy: str
    outcome: Outcome


class Decision(Model):
    """The gate's answer to a proposal, article by article."""

    id: str
    at: At
    incident: str
    action: str
    step: int
    attempt: int
    target: str
    outcome: Outcome
    articles: dict[Number, list[Held]]


class Decisions(Page):
    """Decisions, the newest first."""

    decisions: list[Decision]


class Needed(Model):
    """A fact that would have to be otherwise."""

    fact: str
    now: Any
    needed: str = Field(description="in words")
    value: Any = Field(description="one that would do")


class WayOut(Model):
    """What would have to be otherwise so that a policy does not hold."""

    changes: list[Needed] = Field(description="together")
    then: list[str] = Field(description="the policies that hold only then")


class HeldBecause(Held):
    """What one policy held, by which facts, and what would have to change."""

    text: str = Field(description="the policy, in Cedar")
    facts: Json
    passes_if: list[WayOut]


class ArticleHeld(Model):
    """What one article held against a proposal, and why."""

    number: Number = Field(alias="article")
    title: str
    text: str
    held: list[HeldBecause]


class DecisionDetail(Decision):
    """One decision: the proposal, the facts that it rests on, and why, article by article."""

    proposal: Json
    facts: Json
    entry: int | None = Field(description="its place in the audit log")
    constitution: str = Field(description="the version of the articles that decided")
    constitution_now: str
    why: list[ArticleHeld]


class Policy(Model):
    """One policy of an article."""

    id: str
    outcome: Outcome
    text: str = Field(description="in Cedar")


class Article(Model):
    """One article."""

    number: Number
    title: str
    text: str
    policies: list[Policy]


class Limit(Model):
    """One limit on automation, and how much of it is used."""

    name: str
    limit: int
    unit: str
    used: int | None


class Constitution(Model):
    """The articles, the limits, and what was decided and refused last."""

    version: str
    articles: list[Article]
    facts: dict[str, str] = Field(description="what the articles may ask, and of which kind each is")
    limits: list[Limit]
    violations: int
    decisions: list[Decision]
    denials: list[Decision]


class Entry(Model):
    """One line of the audit log."""

    seq: int
    at: At
    kind: str
    payload: Json
    previous: str = Field(description="the hash of the entry before it")
    hash: str


class Entries(Page):
    """Entries of the audit log, the newest first."""

    entries: list[Entry]


class AuditReport(Model):
    """Whether the audit log is what was written and signed."""

    ok: bool
    entries: int = Field(description="checked and found right")
    trimmed: int = Field(description="older ones that left the log, as a signed entry says")
    first_bad_seq: int | None
    problem: str | None


class Stopped(Model):
    """The stop that was set."""

    stopped: Stop


class Resumed(Model):
    """Whether anything had been stopped."""

    resumed: bool
