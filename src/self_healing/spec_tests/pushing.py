"""Pushing: a series becomes the native lines that yield just its samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any

from self_healing.spec_tests.notation import Place, Share
from self_healing.telemetry.columns import ATTRIBUTE
from self_healing.telemetry.signals import METRIC

Line = dict[str, Any]


def lines(signal: str, place: Place, group: Mapping[str, str], fields: Mapping[str, Any], task: str) -> list[Line]:
    """The native lines of one place of a series, without their time.

    Args:
        signal: what is measured.
        place: the value; nothing comes of None.
        group: the columns of the group, and their values.
        fields: what else each line carries.
        task: the id of the task, for the signals that need one.

    Raises:
        ValueError: the signal has no such value.
    """
    if place is None:
        return []
    columns = {name.removeprefix(ATTRIBUTE): value for name, value in group.items()}
    return [{**line, **columns, **fields} for line in _of(signal, place, task)]


def _of(signal: str, place: Place, task: str) -> Iterator[Line]:
    if signal in SHARES:
        yield from SHARES[signal](_share(signal, place), task)
        return
    if not isinstance(place, Decimal):
        raise ValueError(f"{signal} is no part of a whole: allowed are values such as 5")
    value = int(place) if place == int(place) else float(place)
    if signal.startswith(METRIC):
        point = {"name": signal.removeprefix(METRIC), "temporality": "instant", "sum": value, "count": 1}
        yield {"type": "metric", "attributes": {"point": point}}
    elif signal in VALUES:
        yield VALUES[signal](value, task)
    else:
        raise ValueError(f"no notation for {signal}; push its events in [[test.event]] tables")


def _share(signal: str, place: Place) -> Share:
    if isinstance(place, Share):
        return place
    if place not in (0, 1):
        raise ValueError(f"{signal} is a part of a whole: allowed are 2/10 (2 of 10 failed), 0 and 1")
    return Share(int(place), 1)


def _errors(share: Share, task: str) -> Iterator[Line]:
    for number in range(share.whole):
        status = "failed" if number < share.part else "success"
        yield {"type": "task_finished", "id": f"{task}-{number}", "status": status}


def _tests(share: Share, _task: str) -> Iterator[Line]:
    yield {"type": "test_run", "passed": share.whole - share.part, "failed": share.part}


SHARES: dict[str, Callable[[Share, str], Iterator[Line]]] = {"task.errors": _errors, "task.tests": _tests}
"""The signals that are a part of a whole."""


def _finished(task: str, **said: Any) -> Line:
    # Without a status, it ended neither well nor badly: it is no sample of task.errors.
    return {"type": "task_finished", "id": task, **said}


VALUES: dict[str, Callable[[float, str], Line]] = {
    "task.duration_s": lambda value, task: _finished(task, duration_s=value),
    "task.attempts": lambda value, task: _finished(task, attempt=value),
    "task.tokens": lambda value, task: _finished(task, usage={"total_tokens": value}),
    "task.cost_usd": lambda value, task: _finished(task, usage={"total_usd": value}),
    "task.quality": lambda value, task: {"type": "quality_score", "id": task, "q": value},
}
"""The signals whose samples are amounts."""
