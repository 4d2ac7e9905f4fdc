"""The gate: what the constitution says of a proposal, and why. No effect comes about but through it."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import cedarpy
import msgspec

from self_healing.constitution import articles as shipped
from self_healing.constitution.articles import ArticleInfo, Policy
from self_healing.constitution.changing import Way, changed, read, value, ways_out
from self_healing.constitution.facts import Facts
from self_healing.model import Decision, Finding, Outcome, Proposal, new_id
from self_healing.spec import OwnArticle

GATE_UNAVAILABLE = Finding(article="III", policy="gate_unavailable", outcome=Outcome.DENY)
"""What stands in a decision when the articles could not be judged: nothing is done then."""

_STRICTEST_FIRST = (Outcome.DENY, Outcome.ASK, Outcome.DEFER)

# The five see nothing of the proposal itself: names from telemetry cannot reach them, nor break a request.
_REQUEST = {"principal": 'Framework::"self_healing"', "resource": 'Fleet::"fleet"'}
_EXECUTE, _RENEW = 'Action::"execute"', 'Action::"renew"'

Findings = tuple[Finding, ...]


class WayOut(msgspec.Struct, frozen=True, kw_only=True):
    """What would have to be otherwise so that a policy does not hold."""

    changes: Way  # together
    then: list[str]  # the reasons that hold only then, none of which denies


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """A policy that held against a proposal."""

    policy: Policy
    facts: dict[str, Any]  # what it looks at, by name, as it was then
    ways_out: list[WayOut]


class Gate:
    """Judges proposals by the five articles, and by own ones.

    Args:
        articles: Cedar policies.
        schema: the Cedar schema that declares every fact.
        own: policies that forbid besides.

    Raises:
        ConfigError: these articles cannot be used.
    """

    def __init__(
        self, articles: str = shipped.ARTICLES, schema: str = shipped.SCHEMA, *, own: tuple[OwnArticle, ...] = ()
    ) -> None:
        self._loaded = shipped.load(articles, schema, own)
        self._own = bool(own)
        # The same facts have the same answer, and in a storm most of what waits has the same facts.
        self._answer = lru_cache(maxsize=4096)(self._ask)

    def articles(self) -> list[ArticleInfo]:
        """The articles with their policies, in order."""
        return self._loaded.infos()

    @property
    def version(self) -> str:
        """The hash of the articles, in hex; every decision carries it."""
        return self._loaded.version

    def decide(self, proposal: Proposal, facts: Facts, at: datetime) -> Decision:
        """What the constitution says of `proposal`.

        A deny beats an ask, which beats a defer; only where nothing holds against it is it allowed. It fails closed:
        when the articles cannot be judged the decision is a denial by ``gate_unavailable``, with the cause beside the
        facts under ``gate_errors``. It never raises.
        """
        record: dict[str, Any] = msgspec.structs.asdict(facts)
        # Only where somebody asks for them: without the names, proposals whose facts are the same share an answer.
        words = {shipped.WORDS: words_of(proposal, at)} if self._own else {}
        findings, errors = self._judge(_EXECUTE if proposal.renews is None else _RENEW, {**record, **words})
        if errors:
            record["gate_errors"] = errors
        held = {finding.outcome for finding in findings}
        return Decision(
            id=new_id("dec"),
            proposal=proposal,
            at=at,
            outcome=next((outcome for outcome in _STRICTEST_FIRST if outcome in held), Outcome.ALLOW),
            findings=findings,
            facts=record,
            constitution=self.version,
        )

    def why(self, decision: Decision) -> list[Held]:
        """What was held against a proposal, policy by policy, as far as these articles have them, and each way out.

        Each way out was tried on the articles: none is told that leads to another denial.
        """
        action = _EXECUTE if decision.proposal.renews is None else _RENEW
        facts: dict[str, Any] = {name: decision.facts.get(name) for name in Facts.__struct_fields__}
        facts |= {shipped.WORDS: words_of(decision.proposal, decision.at)} if self._own else {}
        known = {policy.id: policy for policy in self._loaded.forbids.values()}
        return [
            self._why(known[finding.policy], action, facts) for finding in decision.findings if finding.policy in known
        ]

    def _why(self, policy: Policy, action: str, facts: dict[str, Any]) -> Held:
        try:
            before, _ = self._judge(action, facts)
            tried = [self._tried(policy.id, way, before, action, facts) for way in ways_out(policy.conditions, facts)]
            out = [each for each in tried if each is not None]
        except (KeyError, TypeError):  # facts of another release: nothing is known of what these articles ask
            out = []
        looked_at = {name: found for name in read(policy.conditions) if (found := _known(facts, name)) is not None}
        return Held(policy=policy, facts=looked_at, ways_out=out)

    def _tried(self, policy: str, way: Way, before: Findings, action: str, facts: dict[str, Any]) -> WayOut | None:
        """What the articles say once a way out is taken; None where it leads nowhere."""
        after, errors = self._judge(action, changed(facts, way))
        new = [finding for finding in after if finding not in before]
        if errors or any(finding.policy == policy for finding in after):
            return None
        if any(finding.outcome is Outcome.DENY for finding in new):
            return None
        return WayOut(changes=way, then=[finding.policy for finding in new])

    def _judge(self, action: str, facts: dict[str, Any]) -> tuple[Findings, list[str]]:
        """All that holds against these facts, by article, and what kept the articles from being judged."""
        try:
            findings, errors = self._answer(action, msgspec.json.encode(facts).decode())
        except Exception as error:  # whatever it is, the answer is no, and the decision says what it was
            findings, errors = (), (repr(error),)
        if errors:
            findings = tuple(sorted((*findings, GATE_UNAVAILABLE), key=_by_article))
        return findings, list(errors)

    def _ask(self, action: str, context: str) -> tuple[Findings, tuple[str, ...]]:
        """What Cedar finds against these facts, and what kept it from judging; both are empty only when it allows."""
        loaded = self._loaded
        request = {**_REQUEST, "action": action, "context": context}
        answer = cedarpy.is_authorized(request, loaded.policies, loaded.entities, loaded.schema)
        errors = tuple(answer.diagnostics.errors)
        if answer.allowed:
            return (), errors
        held = [loaded.forbids[reason] for reason in answer.diagnostics.reasons]
        if not held and not errors:
            errors = ("nothing permits it, and nothing says why",)
        findings = [Finding(article=policy.article, policy=policy.id, outcome=policy.outcome) for policy in held]
        return tuple(sorted(findings, key=_by_article)), errors


def _known(facts: dict[str, Any], name: str) -> Any:
    try:
        return value(facts, name)
    except (KeyError, TypeError):
        return None


def words_of(proposal: Proposal, at: datetime) -> dict[str, Any]:
    """What own articles may ask of a proposal in words; a name from telemetry is a value there, and nothing else."""
    instant = at.astimezone(UTC)
    return {
        "action": proposal.action,
        "type": proposal.action_type,
        "trigger": proposal.trigger,
        "agent": proposal.target,
        "recipient": proposal.target_agent,
        "sets": sorted(proposal.settings),
        "hour": instant.hour,
        "weekday": instant.isoweekday(),
    }


def _by_article(finding: Finding) -> tuple[str, str]:
    """For sorting; the numbers of the articles happen to sort as text."""
    return finding.article, finding.policy
