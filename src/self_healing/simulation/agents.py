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
        idle_s: least and most time between two tasks of one slot, so that any agent ends 4 to 6 tasks a minute.
        duration_s: median of a task.
        tokens: median of a task.
    """

    name: str
    model: str
    concurrency: int
    idle_s: tuple[float, float]
    duration_s: float
    tokens: int


def profiles(count: int) -> tuple[Profile, ...]:
    """The first `count` product agents, always the same ones; beyond the named ones they are numbered."""
    names = (*NAMES[:count], *(f"Agent{number:05d}" for number in range(len(NAMES) + 1, count + 1)))
    return tuple(_profile(index, name) for index, name in enumerate(names))


def _profile(index: int, name: str) -> Profile:
    pair = index % 2 == 1
    return Profile(
        name=name,
        model=MODELS[index % len(MODELS)],
        concurrency=2 if pair else 1,
        idle_s=(8.0, 15.0) if pair else (1.0, 3.0),
        duration_s=10.5 + 0.5 * (index % 5),
        tokens=1200 + 50 * (index % 7),
    )
