"""Own articles: a person's policies forbid besides, permit nothing, and what is wrong with them is told by the line."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from self_healing.constitution.articles import OWN_SCHEMA, SCHEMA, facts, load, statements
from self_healing.constitution.facts import Facts
from self_healing.constitution.gate import Gate
from self_healing.constitution.own import OwnArticles, read_own
from self_healing.model import Decision, Finding, Outcome
from tests.unit.constitution.fine import FINE, NOW, proposal

NO_PAUSE = """
// Nobody is there at night. A ; and a "quote" in a comment end nothing.
@id("no_pause_of_coder")
forbid (principal, action, resource)
when { context.proposal.type == "emergency_shutdown" && context.proposal.agent == "Coder" };
"""


def read(directory: Path, text: str) -> OwnArticles:
    file = directory / "own.cedar"
    file.write_text(text)
    return read_own([file])


def decided(directory: Path, text: str, action: str = "pause", **changes: bool) -> Decision:
    own = read(directory, text)
    assert own.problems == ()
    return Gate(own=own.specs).decide(proposal(action), msgspec.structs.replace(FINE, **changes), NOW)


def test_an_own_policy_forbids_what_the_five_articles_allow(tmp_path: Path) -> None:
    decision = decided(tmp_path, NO_PAUSE)
    assert decision.findings == (Finding(article="VI", policy="no_pause_of_coder", outcome=Outcome.DENY),)
    assert decision.outcome is Outcome.DENY
    assert decided(tmp_path, NO_PAUSE, "budget").outcome is Outcome.ALLOW


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ('context.proposal.trigger == "errors"', True),
        ('context.proposal.action == "pause"', True),
        ('context.proposal.recipient == "Auditor"', True),
        ('context.proposal.sets.contains("paused")', True),
        ("context.proposal.hour == 10 && context.proposal.weekday == 1", True),  # a Monday, ten o'clock UTC
        ("context.fleet_size < 20", False),
        ("context.fleet_size < 21", True),
    ],
)
def test_an_own_policy_may_look_at_every_fact_and_at_the_words_of_the_proposal(
    tmp_path: Path, condition: str, holds: bool
) -> None:
    decision = decided(tmp_path, f'@id("own") forbid (principal, action, resource) when {{ {condition} }};')
    assert decision.outcome is (Outcome.DENY if holds else Outcome.ALLOW)


def test_a_name_out_of_telemetry_is_a_value_to_an_own_policy_and_nothing_else(tmp_path: Path) -> None:
    own = read(tmp_path, NO_PAUSE).specs
    hostile = proposal(target='Coder" || true || "', group=(("agent", 'Coder" || true || "'),))
    assert Gate(own=own).decide(hostile, FINE, NOW).outcome is Outcome.ALLOW


def test_an_own_policy_that_asks_asks_until_a_person_has_approved(tmp_path: Path) -> None:
    asks = '@id("ask_first") @outcome("ask") forbid (principal, action == Action::"execute", resource);'
    assert decided(tmp_path, asks).outcome is Outcome.ASK
    assert decided(tmp_path, asks, approved=True).outcome is Outcome.ALLOW


def test_what_the_five_hold_against_a_proposal_stays_beside_what_own_ones_do(tmp_path: Path) -> None:
    decision = decided(tmp_path, NO_PAUSE, stopped=True)
    assert [finding.policy for finding in decision.findings] == ["stopped", "no_pause_of_coder"]


def test_every_decision_carries_the_hash_of_the_articles_that_it_was_held_to(tmp_path: Path) -> None:
    own = decided(tmp_path, NO_PAUSE)
    assert own.constitution == Gate(own=read(tmp_path, NO_PAUSE).specs).version
    assert own.constitution != Gate().version == Gate().decide(proposal(), FINE, NOW).constitution


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "\n\npermit (principal, action, resource);",
            "3: permit: allowed is forbid: own articles only forbid, and what nothing forbids is permitted already",
        ),
        (
            "forbid (principal, action, resource);",
            "1: it has no @id: allowed is one, which is the reason that people see",
        ),
        (
            '@id("rate_limit") forbid (principal, action, resource);',
            '1: @id: "rate_limit": allowed is a name of its own; this one is taken by the five articles',
        ),
        (
            '@id("No") forbid (principal, action, resource);',
            '1: @id: "No": allowed are small letters, digits and _, a letter first',
        ),
        (
            '@id("a") @outcome("allow") forbid (principal, action, resource);',
            '1: @outcome: "allow": allowed are deny, defer, ask',
        ),
        (
            '@id("a") @outcom("deny") forbid (principal, action, resource);',
            "1: @outcom: did you mean outcome? allowed are @id and @outcome",
        ),
        (
            '@id("a") forbid (principal, action, resource) when { context.fleet_siz < 3 };',
            "1: context.fleet_siz: did you mean fleet_size? allowed are the facts that "
            "`self-healing constitution --format json` lists",
        ),
        (
            '@id("a") forbid (principal, action, resource) when { context.fleet_size < "3" };',
            "1: unexpected type: expected Long but saw String",
        ),
        (
            '@id("a") forbid (principal == ?principal, action, resource);',
            "1: a template, with a ?: allowed are policies that are whole",
        ),
        (
            '@id("a") @outcome("ask") forbid (principal, action, resource);',
            '1: action: allowed with @outcome("ask") is action == Action::"execute": nobody is asked to set again',
        ),
        (
            '@id("a") forbid (principal, action, resource)',
            "1: unexpected end of input: allowed are Cedar policies, each with a ; at its end",
        ),
    ],
)
def test_a_mistake_is_told_with_its_file_and_line(tmp_path: Path, text: str, problem: str) -> None:
    assert read(tmp_path, text) == OwnArticles((), (f"{tmp_path / 'own.cedar'}:{problem}",))


def test_all_mistakes_come_at_once_and_the_second_of_a_name_says_where_the_first_is(tmp_path: Path) -> None:
    text = NO_PAUSE + "permit (principal, action, resource);" + NO_PAUSE
    file = tmp_path / "own.cedar"
    problems = read(tmp_path, text).problems
    assert [problem.partition(": ")[0] for problem in problems] == [f"{file}:6", f"{file}:8"]
    assert problems[1].endswith(f"this one is taken by {file}:3")


def test_a_file_that_is_not_there_is_told_as_one_of_cedar(tmp_path: Path) -> None:
    missing = tmp_path / "none.cedar"
    assert read_own([missing]).problems == (f"{missing}: no such file: allowed is an existing Cedar file",)


def test_the_facts_that_are_listed_are_those_that_the_gate_knows() -> None:
    assert list(facts(own=False)) == list(Facts.__struct_fields__)
    assert list(facts(own=True)) == [*Facts.__struct_fields__, "proposal"]
    assert OWN_SCHEMA != SCHEMA


def test_each_policy_is_shown_in_its_own_words(tmp_path: Path) -> None:
    own = read(tmp_path, NO_PAUSE).specs
    *five, sixth = load(own=own).infos()
    assert [info.number for info in five] == ["I", "II", "III", "IV", "V"]
    assert (sixth.number, [policy.id for policy in sixth.policies]) == ("VI", ["no_pause_of_coder"])
    assert all(f'@id("{policy.id}")' in policy.text for info in (*five, sixth) for policy in info.policies)


def test_statements_end_at_no_semicolon_of_a_text_or_a_comment() -> None:
    text = 'a "x;\\";" b; // c;\n\nd // e;\n;'
    assert list(statements(text)) == [(1, 'a "x;\\";" b;'), (3, "d // e;\n;")]
