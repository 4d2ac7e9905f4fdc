"""Scenarios: which fleet, and what goes wrong in it, declared in TOML."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from self_healing.documents import read_document
from self_healing.errors import ConfigError
from self_healing.problems import listed, one_line, problems_of, suggestion
from self_healing.simulation.agents import profiles
from self_healing.simulation.faults import FAULTS, Fault, Repair
from self_healing.spec import Declared, Duration
from self_healing.wording import span

SHIPPED = Path(__file__).with_name("scenarios")
"""The scenarios that come along."""

KINDS = {fault.name: fault for fault in FAULTS}
"""What can go wrong, by name."""

KindOfFault = Literal[
    "duration_regression",
    "error_burst",
    "retry_storm",
    "token_leak",
    "cost_drift",
    "failing_tests",
    "slow_model",
]


class Injection(Declared):
    """One thing that goes wrong.

    Args:
        kind: what.
        agents: whom it befalls, each with a cause of its own; the kind's usual agent when neither this nor `model` is
            given.
        model: all agents that use this model, with one cause, which no repair of an agent removes.
        at: when it begins, from the start.
        lasts: when it goes away by itself; never when left out.
        share: of the attempts that it befalls.
        repair: what comes of a specialist's repair.
    """

    kind: KindOfFault
    agents: tuple[str, ...] = ()
    model: str | None = None
    at: Duration
    lasts: Annotated[Duration, Field(gt=0)] | None = None
    share: float = Field(default=1.0, gt=0, le=1)
    repair: Repair = Repair.CURES


class Scenario(Declared):
    """A fleet and its troubles.

    Args:
        description: what it shows.
        agents: how many product agents.
        lasts: how long it is watched.
        grid: how often triggers are evaluated, and the fleet looks at its directives.
        tasks_per_minute: about how many each agent ends while well; 4 to 6 when left out.
        history: how much of a healthy past there is to compare with.
        faults: ``[[fault]]`` tables.
    """

    description: str = ""
    agents: int = Field(default=24, ge=1, le=1000)
    lasts: Annotated[Duration, Field(gt=0)]
    grid: Annotated[Duration, Field(ge=1, le=60)] = 10
    tasks_per_minute: float | None = Field(default=None, gt=0, le=6)
    history: Duration = 86400
    faults: tuple[Injection, ...] = Field(default=(), alias="fault")


def shipped() -> dict[str, Path]:
    """The scenarios that come along, by name."""
    return {path.stem: path for path in sorted(SHIPPED.glob("*.toml"))}


def load(given: str) -> tuple[str, Scenario]:
    """The name and the content of a scenario.

    Args:
        given: the name of a shipped one, or the path of a TOML file.

    Raises:
        ConfigError: with every problem.
    """
    names = shipped()
    path = names.get(given, Path(given))
    if given not in names and not path.exists():
        raise ConfigError([f"{given}: no such file or scenario;{suggestion(given, names)} {listed(names)}, or a file"])
    document = read_document(path)
    problems = list(document.problems)
    if not problems:
        try:
            scenario = Scenario.model_validate(document.values)
            problems = [f"{document.at(key)}: {key}: {wrong}" for key, wrong in _contradictions(scenario)]
        except ValidationError as error:
            problems = problems_of(error, document.at, Scenario)
    if problems:
        raise ConfigError([one_line(problem) for problem in problems])
    return path.stem, scenario


def _contradictions(scenario: Scenario) -> list[tuple[str, str]]:
    """What the fleet cannot have, each with its key."""
    fleet = {profile.name: profile.model for profile in profiles(scenario.agents)}
    models = sorted(set(fleet.values()))
    wrong = []
    for number, fault in enumerate(scenario.faults):
        key = f"fault.{number}"
        if fault.agents and fault.model:
            wrong.append((f"{key}.model", "agents and model: allowed is one of them"))
        if fault.model is not None and fault.model not in models:
            wrong.append((f"{key}.model", f'"{fault.model}":{suggestion(fault.model, models)} {listed(models)}'))
        for agent in fault.agents or (() if fault.model else (KINDS[fault.kind].agent,)):
            if agent not in fleet:
                near = suggestion(agent, fleet)
                wrong.append((f"{key}.agents", f'"{agent}": none of the fleet of {scenario.agents};{near}'))
        if fault.at >= scenario.lasts:
            wrong.append((f"{key}.at", f"{span(fault.at)}: allowed is less than lasts, {span(scenario.lasts)}"))
    return wrong


def faults_of(injection: Injection, number: int, agents: int) -> list[Fault]:
    """The faults that an injection is made of, one an agent.

    Args:
        number: its place in the scenario; part of their names.
        agents: how many product agents there are.
    """
    kind = KINDS[injection.kind]
    if injection.model is None:
        names = injection.agents or (kind.agent,)
    else:
        names = tuple(profile.name for profile in profiles(agents) if profile.model == injection.model)
    return [
        replace(
            kind,
            name=f"{number}:{injection.kind}:{name}",
            agent=name,
            starts_after_s=float(injection.at),
            ends_after_s=None if injection.lasts is None else float(injection.at + injection.lasts),
            share=injection.share,
            # What a provider broke no specialist of the fleet repairs.
            repair=injection.repair if injection.model is None else Repair.MISTAKEN,
            switches_to=kind.switches_to if injection.model is None else None,
        )
        for name in names
    ]
