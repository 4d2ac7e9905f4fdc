"""Running: the real loop on a fake clock and a state of its own, turned wherever something can happen."""

from __future__ import annotations

import json
import math
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from self_healing.clock import SECOND_US, FakeClock, from_us, to_us
from self_healing.config import Mode, Settings
from self_healing.documents import Read, read_document
from self_healing.loading import Loaded
from self_healing.model import Directive, Execution, Group, Incident, Verdict, affected_agent
from self_healing.orchestrator import SelfHealingOrchestrator
from self_healing.spec import PERCENT, Composite, Spec, TriggerSpec
from self_healing.spec_tests.declared import Ready, group_of, read_tests
from self_healing.spec_tests.models import Expectation
from self_healing.spec_tests.pushing import Line
from self_healing.storage.store import Store

EXACT, QUANTILE = 1e-6, 0.022
"""By which part of itself a value may differ: what is typed by hand is rounded, and quantiles are told to 2.2 %."""

Key = tuple[str, Group]


@dataclass(frozen=True)
class Difference:
    """One thing that is not as expected.

    Args:
        what: state, value, incident or another.
    """

    what: str
    expected: Any
    got: Any


@dataclass(frozen=True)
class Moment:
    """What a series showed from an instant on.

    Args:
        at_s: seconds after the start of the test.
    """

    at_s: float
    verdict: Verdict


@dataclass(frozen=True)
class Failure:
    """An expectation that does not hold.

    Args:
        at_s: the first instant at which it does not, seconds after the start of the test.
        differences: in what.
        path: all that the series showed; a moment for each change.
    """

    at_s: float
    expectation: Expectation
    trigger: TriggerSpec
    differences: tuple[Difference, ...]
    path: tuple[Moment, ...]


@dataclass(frozen=True)
class Ran:
    """What came of one test."""

    test: Ready
    failures: tuple[Failure, ...]


def run_files(files: Sequence[Path], settings: Settings, spec: Spec, *, read: Read = read_document) -> list[Ran]:
    """Run every test in `files`; what came of each, in their order.

    Args:
        settings: the configuration; of it only who stands in for an agent matters here.
        spec: the loaded one, for files that name no triggers of their own.
        read: how each file is read.

    Raises:
        ConfigError: with every mistake in every file; then none was run.
    """
    tests = read_tests(files, settings, spec, read)
    with _scratch() as empty:
        return [_run(test, settings, empty / str(number), empty) for number, test in enumerate(tests)]


@contextmanager
def _scratch() -> Iterator[Path]:
    """A directory to work in, with a state in which nothing ever happened: making one takes longer than a test."""
    with tempfile.TemporaryDirectory(prefix="self-healing-tests-") as name:
        Store(Path(name) / "state").close()
        yield Path(name)


def _run(test: Ready, settings: Settings, directory: Path, empty: Path) -> Ran:
    shutil.copytree(empty / "state", directory / "state")
    rehearsal = _Rehearsal(test, settings, directory)
    try:
        return Ran(test, tuple(rehearsal.run()))
    finally:
        rehearsal.loop.close()
        shutil.rmtree(directory)


def _switched_on(spec: Spec, names: frozenset[str]) -> Spec:
    """`spec` with what is tested switched on: a test holds whether or not its trigger is on where it is loaded.

    So are the members of a composite, which could not fire without them.
    """
    made = [
        each.condition.members for each in spec.triggers if each.name in names and isinstance(each.condition, Composite)
    ]
    on = names.union(*made)
    triggers = [
        trigger.model_copy(update={"enabled": True}) if trigger.name in on else trigger for trigger in spec.triggers
    ]
    return spec.model_copy(update={"triggers": tuple(triggers)})


@dataclass(slots=True)
class _Watched:
    """One expectation while the test runs."""

    expectation: Expectation
    group: Group
    first_us: int
    last_us: int
    failed: tuple[float, tuple[Difference, ...]] | None = None  # since when, and in what

    @property
    def key(self) -> Key:
        return self.expectation.trigger, self.group


@dataclass(slots=True)
class _Rehearsal:
    """One test on its way."""

    test: Ready
    settings: Settings
    directory: Path
    loop: SelfHealingOrchestrator = field(init=False)
    _spec: Spec = field(init=False)
    _clock: FakeClock = field(init=False)
    _watched: list[_Watched] = field(init=False)
    _paths: dict[Key, list[Moment]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        case, spec = self.test.case, self.test.spec
        self._spec = _switched_on(spec, frozenset(each.trigger for each in case.expect))
        self._watched = []
        for each in case.expect:
            last_s = each.at if each.until is None else each.until
            group = group_of(each, spec)
            self._watched.append(_Watched(each, group, self._start_us + each.at * SECOND_US, self._us(last_s)))
        self._paths = {each.key: [] for each in self._watched}
        self._telemetry_dir.mkdir()
        # A fresh state only takes in what lies before it, so it begins a second early.
        self._clock = FakeClock(from_us(self._start_us - SECOND_US))
        self._write([line for at_us, line in self.test.pushed if at_us < self._start_us])
        store = Store(self.directory / "state", durable=False)
        self.loop = SelfHealingOrchestrator(
            self._own_settings(), store=store, clock=self._clock, loaded=Loaded(spec=self._spec)
        )

    @property
    def _start_us(self) -> int:
        return to_us(self.test.case.start)

    def _us(self, seconds: int) -> int:
        return self._start_us + seconds * SECOND_US

    @property
    def _telemetry_dir(self) -> Path:
        return self.directory / "telemetry"

    def _own_settings(self) -> Settings:
        given = {
            "telemetry": {"dir": self._telemetry_dir},
            "storage": {"state_dir": self.directory / "state", "logs_dir": self.directory / "logs"},
            "actions": {"mode": Mode.ACT, "fallback": self.settings.actions.fallback},
        }
        return Settings.model_validate(given)

    def _write(self, lines: Sequence[Line]) -> None:
        """Append lines to the files of their days."""
        by_day: dict[str, list[Line]] = {}
        for line in lines:
            by_day.setdefault(line["ts"][:10].replace("-", ""), []).append(line)
        for day, of_day in by_day.items():
            with (self._telemetry_dir / f"events-{day}.jsonl").open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(line, default=str) + "\n" for line in of_day)

    def run(self) -> list[Failure]:
        """Turn the loop to the end of the test; returns what does not hold."""
        self.loop.cycle(self._clock.now())
        coming = [(at_us, line) for at_us, line in self.test.pushed if at_us >= self._start_us]
        end_us = max([each.last_us for each in self._watched])
        t_us = self._start_us
        while t_us <= end_us:
            due = [line for at_us, line in coming if at_us <= t_us]
            coming = coming[len(due) :]
            self._write(due)
            self._clock.set(from_us(t_us))
            self.loop.cycle(self._clock.now())
            self._look(t_us)
            t_us = self._next_us(t_us, coming)
        return [self._failure(each, *each.failed) for each in self._watched if each.failed is not None]

    def _next_us(self, t_us: int, coming: Sequence[tuple[int, Line]]) -> int:
        """The next instant at which something is expected, or of the grid at which something is pushed or due."""
        grid_us = self._spec.grid * SECOND_US
        due = [at_us for at_us, _ in coming[:1]]
        turn_us = self.loop.next_turn_us()
        due += [] if turn_us is None else [turn_us]
        later_us = (t_us // grid_us + 1) * grid_us
        turns = [max(-(-min(due) // grid_us) * grid_us, later_us)] if due else []
        # Between two instants of the grid it shows what it showed at the first: to pass over that would be to agree.
        expected = [at_us for each in self._watched for at_us in (each.first_us, each.last_us) if at_us > t_us]
        return min([*turns, *expected], default=later_us)

    # -- what is looked at

    def _look(self, t_us: int) -> None:
        at_s = (t_us - self._start_us) / SECOND_US
        for (trigger, group), path in self._paths.items():
            verdict = self.loop.framework.verdict(trigger, group, self.loop.evaluated_us)
            if not path or _shown(path[-1].verdict) != _shown(verdict):
                path.append(Moment(at_s, verdict))
        for watched in self._watched:
            if watched.failed is None and watched.first_us <= t_us <= watched.last_us:
                differences = self._differences(watched)
                if differences:
                    watched.failed = (at_s, differences)

    def _differences(self, watched: _Watched) -> tuple[Difference, ...]:
        expected = watched.expectation.expected
        verdict = self._paths[watched.key][-1].verdict
        got: dict[str, Any] = {
            "state": verdict.state.name.lower(),
            **{name: getattr(verdict, name) for name in ("reason", "value", "threshold", "baseline", "samples")},
        }
        if expected.keys() & {"incident", "close_reason", "actions"}:
            got |= self._incident(*watched.key)
        if "directives" in expected:
            got["directives"] = self._directives(affected_agent(watched.group))
        tolerance = QUANTILE if self._spec.trigger(watched.key[0]).aggregate in PERCENT else EXACT
        return tuple(
            Difference(name, wanted, got[name])
            for name, wanted in expected.items()
            if not _same(wanted, got[name], tolerance)
        )

    def _incident(self, trigger: str, group: Group) -> dict[str, Any]:
        found = [each for each in self.loop.store.select(Incident, trigger=trigger) if each.group == group]
        if not found:
            return {"incident": "none", "close_reason": None, "actions": {}}
        executions = self.loop.store.select(Execution, incident=found[-1].id)
        return {
            "incident": found[-1].state,
            "close_reason": found[-1].close_reason,
            "actions": {each.action: each.status for each in executions},
        }

    def _directives(self, agent: str) -> dict[str, Any]:
        now = self._clock.now()
        owned = self.loop.store.select(Directive, agent=agent, open="yes")
        return {each.name: each.value for each in owned if each.expires_at > now}

    def _failure(self, watched: _Watched, at_s: float, differences: tuple[Difference, ...]) -> Failure:
        trigger, _ = watched.key
        path = tuple(self._paths[watched.key])
        return Failure(at_s, watched.expectation, self._spec.trigger(trigger), differences, path)


def _shown(verdict: Verdict) -> tuple[Any, ...]:
    return verdict.state, verdict.reason, verdict.value, verdict.threshold, verdict.samples


def _same(wanted: Any, got: Any, tolerance: float) -> bool:
    if isinstance(wanted, float) and isinstance(got, int | float):
        return math.isclose(wanted, got, rel_tol=tolerance, abs_tol=EXACT)
    return bool(wanted == got)
