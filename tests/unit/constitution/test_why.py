"""Why the gate said what it did: what a policy looked at, and what would have to be otherwise."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from self_healing.constitution.cases import SHIPPED, run_cases
from self_healing.constitution.changing import changed
from self_healing.constitution.facts import Facts
from self_healing.constitution.gate import Gate
from self_healing.constitution.own import read_own
from self_healing.errors import ConfigError
from self_healing.spec import Limits
from tests.unit.constitution.fine import FINE, GATE, NOW, decided, held, proposal
from tests.unit.constitution.test_gate import CASES, Case


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.policy}-{len(case.over)}")
def test_every_way_out_of_every_policy_leads_out_and_to_no_denial(case: Case) -> None:
    facts = msgspec.structs.replace(FINE, **case.over)
    [policy] = GATE.why(decided(facts))
    assert policy.policy.id == case.policy
    assert set(case.over) & set(policy.facts)
    assert policy.ways_out
    for way in policy.ways_out:
        after = msgspec.convert(changed(msgspec.structs.asdict(facts), way.changes), Facts)
        assert held(after) == way.then


def test_a_way_out_says_what_a_fact_is_and_what_it_would_have_to_be() -> None:
    [policy] = GATE.why(decided(msgspec.structs.replace(FINE, unwell_with_one_cause=9)))
    told = [[(each.fact, each.now, each.needed) for each in way.changes] for way in policy.ways_out]
    assert told == [
        [("changes_agent", True, "false")],
        [("fleet_size", 20, "at most 2")],
        [("unwell_with_one_cause", 9, "at most 8")],
    ]


def test_a_way_out_that_leads_to_a_question_says_so() -> None:
    [policy] = GATE.why(decided(msgspec.structs.replace(FINE, reversible=False, signals_agreeing=1)))
    assert [(way.changes[0].fact, way.then) for way in policy.ways_out] == [
        ("reversible", []),
        ("signals_agreeing", ["cannot_be_undone"]),
    ]


@pytest.mark.parametrize(
    ("condition", "ways"),
    [
        ('context.proposal.agent == "Coder"', [[("proposal.agent", 'not "Coder"')]]),
        (
            "context.proposal.hour >= 8 && context.proposal.hour < 18",
            [[("proposal.hour", "at most 7")], [("proposal.hour", "at least 18")]],
        ),
        ("context.stopped || context.fleet_size < 21", [[("fleet_size", "at least 21")]]),
        ("!context.stopped && context.fleet_size != 7", [[("stopped", "true")], [("fleet_size", "7")]]),
        ("context.reversible || context.changes_agent", [[("reversible", "false"), ("changes_agent", "false")]]),
        ("true", []),
        ('["Coder"].contains(context.proposal.agent) && context.changes_agent', [[("changes_agent", "false")]]),
    ],
)
def test_a_policy_of_ones_own_is_turned_around_too(
    tmp_path: Path, condition: str, ways: list[list[tuple[str, str]]]
) -> None:
    file = tmp_path / "own.cedar"
    file.write_text(f'@id("own") forbid (principal, action, resource) when {{ {condition} }};')
    gate = Gate(own=read_own([file]).specs)
    [policy] = gate.why(gate.decide(proposal(), FINE, NOW))
    told = [[(each.fact, each.needed) for each in way.changes] for way in policy.ways_out]
    assert told == ways


def test_the_shipped_cases_are_as_the_articles_say_and_every_policy_has_one() -> None:
    ran = run_cases([SHIPPED], GATE, Limits())
    assert [each.case for each in ran if not each.passed] == []
    text = SHIPPED.read_text()
    assert [policy.id for info in GATE.articles() for policy in info.policies if f'"{policy.id}"' not in text] == []


def test_a_case_that_is_not_as_expected_says_what_differs(tmp_path: Path) -> None:
    file = tmp_path / "cases.toml"
    file.write_text(
        '[[case]]\nname = "a"\nfacts = { stopped = true }\nexpect = "deny"\narticles = ["I"]\nreasons = ["stopped"]\n'
    )
    [ran] = run_cases([file], GATE, Limits())
    assert [(each.what, each.expected, each.got) for each in ran.differences] == [
        ("outcome", ["deny"], ["defer"]),
        ("articles", ["I"], ["III"]),
    ]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("facts = { fleet_siz = 1 }", "facts.fleet_siz: 1: unknown; did you mean fleet_size?"),
        ("facts = { fleet_size = true }", "facts.fleet_size: true: allowed is a whole number"),
        ("facts = { stopped = 1 }", "facts.stopped: 1: allowed is true or false"),
        ('proposal = { typ = "x" }', "proposal.typ: "),
        ('reason = ["x"]', 'reason: ["x"]: unknown; did you mean reasons?'),
    ],
)
def test_a_mistake_in_a_case_is_told_with_its_line_and_its_name(tmp_path: Path, line: str, problem: str) -> None:
    file = tmp_path / "cases.toml"
    file.write_text(f'[[case]]\nname = "a"\nexpect = "allow"\n{line}\n')
    with pytest.raises(ConfigError) as error:
        run_cases([file], GATE, Limits())
    [told] = error.value.problems
    assert told.startswith(f"{file}:4: case a: ")
    assert problem in told
