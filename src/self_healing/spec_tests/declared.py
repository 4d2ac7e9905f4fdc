"""Declared: reads files of unit tests, and finds every mistake in them at once."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from self_healing.clock import DAY_US, SECOND_US, to_us
from self_healing.config import Settings, load_spec
from self_healing.documents import Document, Read, read_document
from self_healing.errors import ConfigError
from self_healing.model import Group
from self_healing.problems import one_line, problems_of, shown, unknown
from self_healing.spec import DIRECTIVES, LONGEST_S, Declared, Spec
from self_healing.spec_tests.models import KINDS, Case, CaseFile, Expectation, Pushed, Series, Timing
from self_healing.spec_tests.notation import places
from self_healing.spec_tests.pushing import SHARES, VALUES, Line, lines
from self_healing.telemetry.columns import ATTRIBUTE
from self_healing.telemetry.describing import described
from self_healing.telemetry.native import decode
from self_healing.telemetry.signals import GROUP_COLUMNS, METRIC, signal_of
from self_healing.triggers.trying import try_boundaries

Part = TypeVar("Part", bound=Declared)


@dataclass(frozen=True)
class Ready:
    """A test that can be run.

    Args:
        case: as declared.
        spec: what it is run on.
        pushed: the lines with their instants, microseconds, in the order of time.
    """

    file: Path
    case: Case
    spec: Spec
    pushed: tuple[tuple[int, Line], ...]


def read_tests(files: Sequence[Path], settings: Settings, spec: Spec, read: Read = read_document) -> list[Ready]:
    """The tests in `files`, in their order.

    Args:
        settings: the configuration, for files that name their own triggers.
        spec: the loaded one, for those that don't.
        read: how each file is read.

    Raises:
        ConfigError: with every mistake in every file.
    """
    problems: list[str] = []
    found = [ready for file in files for ready in _read(file, settings, spec, read, problems)]
    if problems:
        raise ConfigError([one_line(problem) for problem in problems])
    return found


def _read(file: Path, settings: Settings, spec: Spec, read: Read, problems: list[str]) -> list[Ready]:
    known = len(problems)
    document = read(file)
    problems += document.problems
    cases: tuple[Case, ...] = ()
    try:
        cases = CaseFile.model_validate(document.values).test
    except ValidationError as error:
        problems += problems_of(error, partial(_where, document), CaseFile, incomplete=bool(document.problems))
    own: Spec | None = None
    try:
        own = _own_spec(file, document.values.get("triggers"), settings, spec, read)
    except ConfigError as error:
        problems += error.problems
    pushed = [
        _checked(table, own, _Mistakes(document, f"test.{number}", problems))
        for number, table in _tables(document.values.get("test"))
    ]
    names = [case.name for case in cases]
    for number, name in enumerate(names):
        if names.index(name) < number:
            where = _where(document, f"test.{number}.name")
            problems.append(f"{where}: test.{number}.name: {shown(name)}: allowed is once in a file")
    if len(problems) > known or own is None:
        return []
    return [Ready(file, case, own, lines) for case, lines in zip(cases, pushed, strict=True)]


def _tables(listed: Any) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The tables in a list of them, with their places; none when it is no list."""
    for number, table in enumerate(listed if isinstance(listed, list) else ()):
        if isinstance(table, Mapping):
            yield number, table


def _right(model: type[Part], listed: Any) -> Iterator[tuple[int, Part]]:
    """Those in a list whose own values are right, with their places; what is wrong with the others is said already."""
    for number, table in _tables(listed):
        with suppress(ValidationError):
            yield number, model.model_validate(table)


def _checked(table: Mapping[str, Any], spec: Spec | None, mistakes: _Mistakes) -> tuple[tuple[int, Line], ...]:
    """All that a test pushes, in the order of time; what its own values cannot tell joins the problems.

    Args:
        spec: what it is run on; None when that is wrong itself.
    """
    timing = next((each for _, each in _right(Timing, [_timing(table)])), Timing(name="-"))
    pushed: list[tuple[int, Line]] = []
    for place, series in _right(Series, table.get("series")):
        pushed += _of_series(timing, place, series, mistakes.at(f"series.{place}"))
    for place, event in _right(Pushed, table.get("event")):
        pushed += _of_event(timing, event, mistakes.at(f"event.{place}"))
    for place, expected in _right(Expectation, table.get("expect")):
        if spec is not None:
            _check_expectation(expected, spec, mistakes.at(f"expect.{place}"))
    return tuple(sorted(pushed, key=lambda each: each[0]))


def _timing(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in table.items() if key in Timing.model_fields}


def _where(document: Document, key: str) -> str:
    """The line of a key such as ``test.2.expect.0.state``, and the name of the test that it is in."""
    _, _, rest = key.partition(".")
    tests = dict(_tables(document.values.get("test")))
    number = rest.partition(".")[0]
    name = tests.get(int(number), {}).get("name") if number.isdigit() else None
    return f"{document.at(key)}: test {name}" if isinstance(name, str) else document.at(key)


def _own_spec(file: Path, triggers: Any, settings: Settings, spec: Spec, read: Read) -> Spec:
    """What a file is run on: the loaded spec, or the defaults with the files of triggers that it names."""
    if not isinstance(triggers, list):
        return spec
    named = tuple(file.parent / each for each in triggers if isinstance(each, str))
    own = settings.triggers.model_copy(update={"files": named})
    spec = load_spec(settings.model_copy(update={"triggers": own}), read=read)
    try_boundaries(spec, named, {}, read=read)
    return spec


@dataclass(frozen=True)
class _Mistakes:
    """Gathers what is wrong beneath one key."""

    document: Document
    key: str
    problems: list[str]

    def at(self, key: str) -> _Mistakes:
        return _Mistakes(self.document, f"{self.key}.{key}", self.problems)

    def add(self, key: str, value: Any, allowed: str) -> None:
        self.at(key).say(f"{shown(value)}: {allowed}")

    def say(self, what: str) -> None:
        self.problems.append(f"{_where(self.document, self.key)}: {self.key}: {what}")


def _check_expectation(expected: Expectation, spec: Spec, mistakes: _Mistakes) -> None:
    names = [trigger.name for trigger in spec.triggers]
    if expected.trigger not in names:
        mistakes.add("trigger", expected.trigger, unknown(expected.trigger, names))
        return
    group_by = spec.trigger(expected.trigger).group_by
    if set(expected.group) != set(group_by):
        wanted = ", ".join(group_by) or "no column"
        mistakes.add("group", expected.group, f"allowed is a value for {wanted}, as {expected.trigger} groups")
    actions = [action.name for action in spec.actions]
    for name in expected.actions or ():
        if name not in actions:
            mistakes.add(f"actions.{name}", name, unknown(name, actions))
    for name in expected.directives or ():
        if name not in DIRECTIVES:
            mistakes.add(f"directives.{name}", name, unknown(name, DIRECTIVES))


def group_of(expected: Expectation, spec: Spec) -> Group:
    """The group of the series that is looked at."""
    return tuple((column, expected.group[column]) for column in spec.trigger(expected.trigger).group_by)


def _of_series(timing: Timing, number: int, series: Series, mistakes: _Mistakes) -> Iterator[tuple[int, Line]]:
    columns = [*GROUP_COLUMNS, *(name for name in series.group if name.startswith(ATTRIBUTE))]
    for column in series.group:
        if column not in columns:
            mistakes.add(f"group.{column}", series.group[column], unknown(column, [*GROUP_COLUMNS, f"{ATTRIBUTE}KEY"]))
    if signal_of(series.signal) is None:
        names = [*SHARES, *VALUES, f"{METRIC}NAME"]
        mistakes.add("signal", series.signal, unknown(series.signal, names))
        return
    try:
        listed = places(series.samples)
    except ValueError as error:
        mistakes.add("samples", series.samples, str(error))
        return
    interval = series.interval or timing.interval
    if series.begins + (len(listed) - 1) * interval > LONGEST_S:
        days = LONGEST_S * SECOND_US // DAY_US
        mistakes.add("samples", series.samples, f"allowed are samples up to {days}d after the start")
        return
    for step, place in enumerate(listed):
        at = timing.start + timedelta(seconds=series.begins + step * interval)
        try:
            told = lines(series.signal, place, series.group, series.fields, f"series{number}-{step}")
        except ValueError as error:
            mistakes.add("samples", series.samples, str(error))
            return
        for line in told:
            dated = {"ts": at.isoformat(), **line}
            wrong = _wrong(dated)
            if wrong is not None:
                mistakes.add("samples", series.samples, wrong)
                return
            yield to_us(at), dated


def _of_event(timing: Timing, event: Pushed, mistakes: _Mistakes) -> Iterator[tuple[int, Line]]:
    if event.type not in KINDS:
        mistakes.add("type", event.type, unknown(event.type, KINDS))
        return
    at = timing.start + timedelta(seconds=event.at)
    dated = {"ts": at.isoformat(), "type": event.type, **(event.model_extra or {})}
    wrong = _wrong(dated)
    if wrong is None:
        yield to_us(at), dated
    else:
        mistakes.say(wrong)


def _wrong(line: Line) -> str | None:
    """What is wrong with a native line; None when it can be used."""
    at_us = to_us(datetime.fromisoformat(line["ts"]))
    text = json.dumps(line, default=str).encode()
    bad = decode(text, now_us=at_us).bad
    return described(text, bad[0][1]) or str(bad[0][1]) if bad else None
