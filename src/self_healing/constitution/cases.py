"""Cases: what the articles must say of a proposal with such facts, as people write them down, and whether they do.

A case begins with facts against which nothing holds, and says only which of them are otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Literal

import msgspec
from pydantic import Field, StrictBool, StrictInt, ValidationError

from self_healing.constitution.facts import Facts
from self_healing.constitution.gate import Gate
from self_healing.documents import Document, Read, read_document
from self_healing.errors import ConfigError
from self_healing.model import Decision, Outcome, Proposal
from self_healing.problems import one_line, problems_of, shown, unknown
from self_healing.spec import ActionType, Declared, Flag, Limits, Whole

SHIPPED = Path(__file__).with_name("articles_tests.toml")
"""The cases of the five articles."""

_MONDAY = datetime(2026, 1, 5, tzinfo=UTC)


class Words(Declared):
    """What own articles may ask of a proposal in words."""

    action: str = "adjust"
    type: ActionType = ActionType.CONFIGURATION
    trigger: str = "slow_tasks"
    agent: str = "Coder"
    recipient: str = "Auditor"
    sets: tuple[str, ...] = ("model",)
    hour: Whole = Field(default=12, ge=0, le=23)
    weekday: Whole = Field(default=1, ge=1, le=7)


class Case(Declared):
    """One proposal, and what is expected of it.

    Args:
        name: unique in its file.
        renews: whether it is set once more.
        facts: those that are otherwise than where nothing holds.
        proposal: words that are otherwise.
        expect: the outcome.
        reasons: exactly the policies that hold; not looked at when left out.
        articles: exactly the articles that they are of; not looked at when left out.
    """

    name: str = Field(min_length=1)
    renews: Flag = False
    facts: dict[str, StrictBool | StrictInt] = Field(default={})
    proposal: Words = Words()
    expect: Outcome
    reasons: tuple[str, ...] | None = None
    articles: tuple[Literal["I", "II", "III", "IV", "V", "VI"], ...] | None = None


class CaseFile(Declared):
    """A file of cases."""

    case: tuple[Case, ...] = ()


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is not as expected."""

    what: str  # outcome, reasons or articles
    expected: list[str]
    got: list[str]


class Ran(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one case."""

    file: str
    case: str
    passed: bool
    differences: list[Difference]


def fine(limits: Limits) -> Facts:
    """The facts of a proposal that nothing is held against, in a fleet of 20 agents.

    Args:
        limits: of the spec.
    """
    return Facts(
        incident_seen=True,
        evidence_present=True,
        samples=20,
        samples_needed=1,
        ingest_lag_s=0,
        oldest_in_flight_s=0,
        freshness_limit_s=limits.freshness,
        has_verification_plan=True,
        spec_tests_passed=True,
        decision_recorded=True,
        stopped=False,
        reversible=True,
        signals_agreeing=0,
        signals_needed=limits.independent_signals,
        approved=False,
        approval_refused=False,
        actions_last_minute=0,
        actions_per_minute_limit=limits.actions_per_minute,
        running_actions=0,
        running_actions_limit=limits.concurrent_actions,
        running_of_action=0,
        running_of_action_limit=limits.concurrent_actions,
        running_on_target=0,
        running_on_target_limit=limits.concurrent_per_target,
        cool_down_left_s=0,
        changes_agent=True,
        blast_radius_in_use=0,
        blast_radius_limit=max(1, 20 * limits.blast_radius_percent // 100),
        breaker_open=False,
        fleet_size=20,
        unwell_with_one_cause=0,
        fleet_stop_percent=limits.fleet_stop_percent,
        exempt_from_attempts=False,
        attempts_of_incident=0,
        attempts_of_incident_limit=limits.attempts_per_incident,
        attempts_on_target_today=0,
        attempts_on_target_today_limit=limits.attempts_per_target_per_day,
        causal_depth=1,
        causal_depth_limit=limits.causal_depth,
        handoff_to_itself=False,
        settings_empty_target=False,
        demoted=False,
        trigger_in_spec=True,
        action_in_spec=True,
        action_in_plan=True,
        step_condition_met=True,
        parameters_from_spec=True,
        spec_version_current=True,
        plan_version_current=True,
        condition_still_met=True,
    )


def run_cases(files: Sequence[Path], gate: Gate, limits: Limits, *, read: Read = read_document) -> list[Ran]:
    """Ask the gate of every case.

    Args:
        files: of cases, in TOML.
        gate: the articles.
        limits: of the spec; the facts that say them.
        read: how each file is read.

    Raises:
        ConfigError: with every mistake in every file.
    """
    problems: list[str] = []
    found = [(str(file), case) for file in files for case in _read(read(file), problems)]
    if problems:
        raise ConfigError([one_line(problem) for problem in problems])
    return [_run(file, case, gate, limits) for file, case in found]


def _read(document: Document, problems: list[str]) -> tuple[Case, ...]:
    problems += document.problems
    tables = document.values.get("case", ())
    names = [each.get("name") for each in tables if isinstance(each, Mapping)] if isinstance(tables, list) else []
    where = partial(_where, document, names)
    try:
        cases = CaseFile.model_validate(document.values).case
    except ValidationError as error:
        problems += problems_of(error, where, CaseFile, incomplete=bool(document.problems))
        return ()
    for number, case in enumerate(cases):
        problems += _mistakes(case, number, names, where)
    return cases


def _where(document: Document, names: Sequence[Any], key: str) -> str:
    number = key.partition(".")[2].partition(".")[0]
    name = names[int(number)] if number.isdigit() and int(number) < len(names) else None
    return f"{document.at(key)}: case {name}" if isinstance(name, str) else document.at(key)


def _mistakes(case: Case, number: int, names: Sequence[Any], where: Any) -> Iterator[str]:
    """What a case's own values do not say of themselves."""
    kinds = {field.name: field.type for field in msgspec.structs.fields(Facts)}
    if names.index(case.name) < number:
        yield f"{where(f'case.{number}.name')}: name: {shown(case.name)}: allowed is once in a file"
    for name, value in case.facts.items():
        place = f"{where(f'case.{number}.facts.{name}')}: facts.{name}: {shown(value)}"
        if name not in kinds:
            yield f"{place}: {unknown(name, kinds)}"
        elif type(value) is not kinds[name]:
            yield f"{place}: allowed is {'true or false' if kinds[name] is bool else 'a whole number'}"


def _run(file: str, case: Case, gate: Gate, limits: Limits) -> Ran:
    words = case.proposal
    proposal = Proposal(
        id="pro-case",
        incident="inc-case",
        trigger=words.trigger,
        group=(("agent", words.agent),),
        action=words.action,
        action_type=words.type.value,
        step=0,
        attempt=1,
        target=words.agent,
        target_agent=words.recipient,
        settings=dict.fromkeys(words.sets, True),
        spec_version="",
        plan_version="",
        renews="dec-case" if case.renews else None,
    )
    facts = msgspec.structs.replace(fine(limits), **case.facts)
    at = _MONDAY + timedelta(days=words.weekday - 1, hours=words.hour)
    differences = list(_differences(case, gate.decide(proposal, facts, at)))
    return Ran(file=file, case=case.name, passed=not differences, differences=differences)


def _differences(case: Case, decision: Decision) -> Iterator[Difference]:
    findings = decision.findings
    got: dict[str, list[str]] = {
        "outcome": [decision.outcome.value],
        "reasons": sorted(each.policy for each in findings),
        "articles": sorted({each.article for each in findings}),
    }
    expected = {"outcome": (case.expect.value,), "reasons": case.reasons, "articles": case.articles}
    for what, wanted in expected.items():
        if wanted is not None and sorted(wanted) != got[what]:
            yield Difference(what=what, expected=sorted(wanted), got=got[what])
