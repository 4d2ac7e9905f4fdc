"""The shape of the package: stages know the records that cross them and few ports, and importing it costs little."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import self_healing

PACKAGE = Path(self_healing.__file__).parent

STAGES = ("telemetry", "triggers", "incidents", "constitution", "actions", "handoffs", "verification", "learning")

SHARED = frozenset(
    (
        "clock",
        "declarations",
        "documents",
        "errors",
        "filenames",
        "histograms",
        "labelling",
        "measures",
        "model",
        "plugins",
        "problems",
        "redaction",
        "spec",
        "storage",
        "taps",
        "wording",
    )
)
"""The vocabulary that every stage may speak."""

PORTS = {
    ("triggers.declared", "telemetry.asked"): "a trigger names a signal, and a wrong name is refused on load",
    ("triggers.declared", "telemetry.signals"): "a trigger groups by columns, and a wrong name is refused on load",
    ("actions.registry", "telemetry.asked"): "an action may be judged by a signal, and a wrong name is refused on load",
    ("triggers.selftest", "telemetry.signals"): "what a signal can be at all says whether a condition can ever be met",
    ("incidents.lifecycle", "telemetry.signals"): "a value in the timeline carries the unit of its signal",
    ("actions.effect", "handoffs.channel"): "the port by which an effect delivers a handoff",
    ("actions.calling", "handoffs"): "an action runs a program or calls a web server as a channel does",
}
"""The imports from one stage into another, and why each is there. Anything else is joined in the loop."""


JOINTS = {
    "__init__": "names what is public, and imports none of it until it is used",
    "backtest": "replays history through telemetry and triggers, muted as declared, without the rest of the loop",
    "checkpoint": "stores what telemetry and triggers know in one piece",
    "config": "loads the declared triggers, maintenance windows and actions into one spec",
    "doctor.surroundings": "looks at whether a stop is in force, and at the variables that channels name",
    "explaining.replaying": "replays stored events through telemetry and triggers, with what is on record",
    "explaining.telling": "says in JSON what a trigger saw, with the unit of its signal",
    "forgetting": "lets telemetry and triggers forget the same groups at once",
    "lookahead": "sees in a history's samples where its triggers can come to anything",
    "overview": "says at a glance how the fleet is, by its telemetry and what was done",
    "schemas": "says what files of settings, triggers and actions may hold",
    "service": "gives the loop its executor and its channel",
    "spec_tests.declared": "reads tests of triggers, whose events are decoded and whose specs are tried at once",
    "sights": "sees in what was heard of groups where triggers that wait for silence can come to anything",
    "status": "reads the stop, and says what is wrong with a line in quarantine",
    "surface.standing": "takes tests in that people bring, and lets them stop and resume healing",
}
"""The modules beside the loop that know more than one stage, and why."""


def modules(stage: str) -> Iterator[tuple[str, Path]]:
    """Name, within the package, and file of each module of a stage."""
    for file in sorted([*(PACKAGE / stage).rglob("*.py"), PACKAGE / f"{stage}.py"]):
        if file.exists():
            yield ".".join(file.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"), file


def imported(file: Path) -> Iterator[str]:
    """The modules of the package that a file imports, wherever in it, for running or for types alone."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        match node:
            case ast.ImportFrom(level=level) if level:
                raise AssertionError(f"{file}: a relative import; write where it comes from")
            case ast.ImportFrom(module="self_healing"):
                yield from (alias.name for alias in node.names)
            case ast.ImportFrom(module=str(module)) if module.startswith("self_healing."):
                yield module.removeprefix("self_healing.")
            case ast.Import():
                yield from (
                    alias.name.removeprefix("self_healing.")
                    for alias in node.names
                    if alias.name.startswith("self_healing.")
                )
            case _:
                pass


def crossings(stage: str) -> set[tuple[str, str]]:
    """The imports by which a stage leaves itself and the shared vocabulary: who imports, and what."""
    return {
        (name, what)
        for name, file in modules(stage)
        for what in imported(file)
        if what.partition(".")[0] not in SHARED | {stage}
    }


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_imports_the_shared_vocabulary_and_its_listed_ports_only(stage: str) -> None:
    assert [name for name, _ in modules(stage)], "no such stage"
    assert crossings(stage) == {port for port in PORTS if port[0].partition(".")[0] == stage}


def test_only_the_loop_and_the_listed_modules_know_several_stages() -> None:
    knowing = set()
    for file in PACKAGE.rglob("*.py"):
        name = ".".join(file.relative_to(PACKAGE).with_suffix("").parts)
        stages = {what.partition(".")[0] for what in imported(file)} & set(STAGES)
        if len(stages) > 1 and name.partition(".")[0] not in {*STAGES, "loop"}:
            knowing.add(name)
    assert knowing == set(JOINTS)


def test_the_shared_vocabulary_knows_no_stage() -> None:
    found = {(name, what) for part in SHARED for name, file in modules(part) for what in imported(file)}
    assert {(name, what) for name, what in found if what.partition(".")[0] in STAGES} == set()


def test_the_public_names_are_these() -> None:
    assert sorted(self_healing.__all__) == [
        "ActionRegistry",
        "Client",
        "ContextMessageHandoff",
        "Emitter",
        "Guard",
        "SelfHealingOrchestrator",
        "TelemetryHandler",
        "TriggerFramework",
        "emit",
        "read_directives",
        "run_self_healing_check",
    ]
    assert dir(self_healing) == sorted(self_healing.__all__)
    assert {name: getattr(self_healing, name).__name__ for name in self_healing.__all__} == {
        name: name for name in self_healing.__all__
    }


def test_a_name_that_is_not_public_is_refused() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        getattr(self_healing, "Nothing")  # noqa: B009 as a plain attribute it would not pass the type checker


@pytest.mark.parametrize(
    "code", ["import self_healing", "from self_healing import read_directives", "from self_healing import emit"]
)
def test_an_agent_pays_only_for_what_it_uses(code: str) -> None:
    heavy = ["cedarpy", "cyclopts", "msgspec", "numpy", "pydantic", "rich", "sqlalchemy", "structlog"]
    check = f"{code}; import sys; print(*(name for name in {heavy!r} if name in sys.modules))"
    ran = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout.strip(), ran.stderr) == (0, "", "")
