"""``simulate``: what the loop would do about a fleet's troubles, without waiting for them."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from self_healing.cli import output
from self_healing.cli.options import Format
from self_healing.cli.output import Column
from self_healing.cli.progress import progress

Json = dict[str, Any]


def simulate(
    scenario: Annotated[str | None, Parameter(help="A TOML file, or the name of one that comes along.")] = None,
    /,
    *,
    seed: Annotated[int, Parameter(help="Of everything that is random; the same seed, the same outcome.")] = 7,
    no_healing: Annotated[bool, Parameter(help="See everything and do nothing, to compare with.")] = False,
    config: Annotated[
        Path | None, Parameter(help="Whose triggers, actions and limits hold; self-healing.toml when left out.")
    ] = None,
    format: Annotated[Format, Parameter(help="How data is printed.")] = Format.TABLE,
) -> int:
    """Run the real loop over a simulated fleet, on a clock that does not wait. Without a scenario: list them.

    Nothing that is yours is read or written but the configuration.
    """
    import os

    from self_healing.given import load_settings
    from self_healing.simulation.scenario import load
    from self_healing.simulation.simulate import simulate as simulated

    if scenario is None:
        output.show_in(format, _shipped(), _print_shipped)
        return 0
    name, found = load(scenario)
    settings = load_settings(config, environ=os.environ, flags={})
    with progress() as tell:
        hears = partial(tell, name)
        outcome = simulated(found, seed=seed, healing=not no_healing, settings=settings, progress=hears)
    output.show_in(format, {"scenario": name, **outcome}, _print)
    return 0


def _shipped() -> Json:
    from self_healing.simulation.scenario import load, shipped

    return {
        "scenarios": [
            {"name": name, "agents": found.agents, "lasts_s": found.lasts, "description": found.description}
            for name, found in map(load, shipped())
        ]
    }


def _print_shipped(told: Json) -> None:
    output.table(
        ("scenario", Column("agents", rank=2), Column("lasts", rank=1), Column("what it shows", text=True)),
        (
            (each["name"], each["agents"], output.span(each["lasts_s"]), each["description"])
            for each in told["scenarios"]
        ),
        empty="none",
    )


def _print(told: Json) -> None:
    run = told["run"]
    output.table(
        (
            "fault",
            Column("agent", rank=1),
            Column("at", rank=4),
            "detected after",
            Column("acted after", rank=3),
            Column("actions", rank=2, text=True),
            "healed after",
            "outcome",
        ),
        (
            (
                each["fault"],
                _agents(each["agents"]),
                _span(each["injected_s"]),
                _span(each["detected_after_s"]),
                _span(each["acted_after_s"]),
                ", ".join(dict.fromkeys(each["actions"])),
                _span(each["healed_after_s"]),
                _outcome(each["outcomes"]),
            )
            for each in told["faults"]
        ),
        empty="no fault was injected",
    )
    print()
    output.pairs(
        [
            ("faults", f"{run['detected']} of {run['faults']} detected, {run['healed']} healed"),
            ("incidents", f"{run['incidents']}, {len(run['false_incidents'])} of them false"),
            ("escalated", run["escalated"]),
            ("false incidents", f"{run['false_incidents_per_agent_week']:g} an agent-week"),
            ("actions", f"{run['actions']}, harmful {run['harmful_actions']}, worse afterwards {run['worse']}"),
            ("detected after", _of_windows(run)),
            ("healed after", f"{_span(run['healed_after_s_median'])} (median)" if run["healed"] else ""),
            ("sick", f"{_short(run['sick_s'])} in all, {_short(run['sick_without_healing_s'])} without healing"),
            ("events", f"{told['events']:,} of {told['agents']} agents in {output.span(told['lasts_s'])}"),
            ("healing", "on" if told["healing"] else "off: everything was seen and nothing done"),
            ("seed", told["seed"]),
        ]
    )


def _of_windows(run: Json) -> str:
    if not run["detected"]:
        return ""
    return (
        f"{_span(run['detected_after_s_median'])} (median), 95 % within {run['detected_after_windows_p95']:g} windows"
    )


def _short(seconds: float) -> str:
    return _span(seconds) or "0s"


def _agents(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def _outcome(outcomes: dict[str, int]) -> str:
    if len(outcomes) == 1:
        return next(iter(outcomes))
    return ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items()) or "not detected"


def _span(seconds: float | None) -> str:
    return "" if seconds is None else output.span(round(seconds))
