"""Decided: why the gate said of a proposal what it did, article by article, and what would have to change."""

from __future__ import annotations

from typing import Any

import msgspec

from self_healing import views
from self_healing.constitution.gate import Gate, Held
from self_healing.errors import NotFound
from self_healing.model import Approval, Decision, Execution, group_dict
from self_healing.spec import OwnArticle
from self_healing.storage.store import Store

Json = dict[str, Any]


def decided(store: Store, own: tuple[OwnArticle, ...], id: str) -> Json:
    """All that is known of one decision, as JSON.

    Args:
        store: the state.
        own: a person's own articles, as they are loaded.
        id: of the decision; or of a proposal, an execution or an approval, whose newest decision it is then.

    Raises:
        NotFound: there is nothing of that id.
    """
    decision, gate = _found(store, id), Gate(own=tuple(own))
    held = gate.why(decision)
    return {
        **views.decision(decision),
        "proposal": {**msgspec.to_builtins(decision.proposal), "group": group_dict(decision.proposal.group)},
        "facts": decision.facts,
        "entry": decision.entry,
        "constitution": decision.constitution,
        "constitution_now": gate.version,
        "why": [
            {
                "article": article.number,
                "title": article.title,
                "text": article.text,
                "held": [_held(each) for each in held if each.policy.article == article.number],
            }
            for article in gate.articles()
        ],
    }


def _found(store: Store, id: str) -> Decision:
    of: Execution | Approval | None = store.find(Execution, id) or store.find(Approval, id)
    decision = store.find(Decision, id if of is None else of.decision)
    if decision is not None:
        return decision
    about = [each for each in store.select(Decision) if each.proposal.id == id]
    if not about:
        raise NotFound("decision, proposal, execution or approval", id)
    return about[-1]


def _held(held: Held) -> Json:
    return {
        "policy": held.policy.id,
        "outcome": held.policy.outcome.value,
        "text": held.policy.text,
        "facts": held.facts,
        "passes_if": [msgspec.to_builtins(each) for each in held.ways_out],
    }
