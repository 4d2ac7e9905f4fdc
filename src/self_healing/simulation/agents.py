"""Who is in the fleet, and how each agent works while it is well."""

from __future__ import annotations

from dataclasses import dataclass

SPECIALISTS = ("ChiefArchitectAgent", "AuditorAgent", "TestGeneratorAgent", "PlannerAgent")
"""The agents that repair others. The person who gets what they cannot have, ``Operator``, does nothing here."""

NAMES = (
    "Coder",
    "Refactorer",
    "Reviewer",
    "Tester",
    "SupportBot",
    "DataAnalyst",
    "Summarizer",
    "DocsWriter",
    "Researcher",
    "Translator",
    "Debugger",
    "Planner",
    "SqlWriter",
    "ApiDesigner",
    "UiBuilder",
    "Migrator",
    "Releaser",
    "Triager",
    "Packager",
    "Benchmarker",
    "LogReader",
    "Localizer",
    "SecurityScanner",
    "OnboardingGuide",
)
"""The product agents of a fleet of the usual size."""

MODELS = ("atlas-2", "atlas-2-mini", "boreal-1")
PROVIDER = "example"
USD_PER_TOKEN = 1.3e-5


@dataclass(frozen=True, slots=True)
class Profile:
    """How one agent works while it is well.

    Args:
        name: as in its telemetry.
        model: which model it uses.
        concurrency: how many tasks it works on at a time.
        idle_s: least and most time between two tasks of one slot.
        duration_s: median of a task.
        tokens: median of a task.
    """

    name: str
    model: str
    concurrency: int
    idle_s: tuple[float, float]
    duration_s: float
    tokens: int


def profiles(count: int, tasks_per_minute: float | None = None) -> tuple[Profile, ...]:
    """The first `count` product agents, always the same ones; beyond the named ones they are numbered.

    Args:
        tasks_per_minute: about how many each ends; 4 to 6 when left out.
    """
    names = (*NAMES[:count], *(f"Agent{number:05d}" for number in range(len(NAMES) + 1, count + 1)))
    return tuple(_profile(index, name, tasks_per_minute) for index, name in enumerate(names))


def _profile(index: int, name: str, tasks_per_minute: float | None) -> Profile:
    pair, duration_s = index % 2 == 1, 10.5 + 0.5 * (index % 5)
    idle_s = (8.0, 15.0) if pair else (1.0, 3.0)
    if tasks_per_minute is not None:
        rest_s = max((2 if pair else 1) * 60 / tasks_per_minute - duration_s, 1.0)
        idle_s = (rest_s / 2, rest_s * 1.5)
    return Profile(
        name=name,
        model=MODELS[index % len(MODELS)],
        concurrency=2 if pair else 1,
        idle_s=idle_s,
        duration_s=duration_s,
        tokens=1200 + 50 * (index % 7),
    )
