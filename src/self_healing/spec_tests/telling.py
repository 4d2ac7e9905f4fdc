"""Telling: what came of tests, in lines for people and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from self_healing.spec_tests.running import Failure, Moment, Ran
from self_healing.telemetry.signals import unit
from self_healing.wording import amount, span

BEFORE, AFTER = 3, 2
"""So many moments before and after the one that is not as expected are shown."""

_AMOUNTS = ("value", "threshold", "baseline")


def told(ran: Ran) -> list[str]:
    """The lines about a test that fails; none about one that passes."""
    if not ran.failures:
        return []
    lines = [f"{ran.test.file}: test {ran.test.case.name}: failed"]
    for failure in ran.failures:
        lines += _lines(failure)
    return lines


def _lines(failure: Failure) -> Iterator[str]:
    expected = failure.expectation
    group = ",".join(f"{key}={value}" for key, value in expected.group.items()) or "all"
    yield f"  at {when(failure.at_s)}: {expected.trigger} of {group}"
    width = max(len(each.what) for each in failure.differences)
    wanted = [_plain(failure, each.what, each.expected) for each in failure.differences]
    column = max(map(len, wanted))
    for each, text in zip(failure.differences, wanted, strict=True):
        got = _plain(failure, each.what, each.got)
        yield f"    {each.what:<{width}}  expected {text:<{column}}  got {got}"
    yield "    what it showed:"
    for moment, here in around(failure):
        yield f"    {'>' if here else ' '} {_moment(failure, moment)}"


def around(failure: Failure) -> list[tuple[Moment, bool]]:
    """What the series showed around a failure; each with whether it is what it showed then."""
    place = max(number for number, moment in enumerate(failure.path) if moment.at_s <= failure.at_s)
    first = max(place - BEFORE, 0)
    return [(moment, first + n == place) for n, moment in enumerate(failure.path[first : place + AFTER + 1])]


def _moment(failure: Failure, moment: Moment) -> str:
    verdict, of = moment.verdict, unit(failure.trigger)
    value = f"value {amount(verdict.value, of)} of {amount(verdict.threshold, of)}"
    samples = "1 sample" if verdict.samples == 1 else f"{verdict.samples} samples"
    state = verdict.state.name.lower()
    return f"from {when(moment.at_s):<8} {state:<10} {verdict.reason:<16} {value}, {samples}"


def when(at_s: float) -> str:
    """An instant of a test, such as ``5m`` or ``2m 52s``."""
    return span(at_s) if at_s else "0s"


def _plain(failure: Failure, what: str, value: Any) -> str:
    if value is None:
        return "none"
    if what in _AMOUNTS:
        return amount(value, unit(failure.trigger))
    if isinstance(value, dict):
        return ", ".join(f"{name} {each}" for name, each in value.items()) or "none"
    return str(value)


def as_json(ran: Sequence[Ran]) -> dict[str, Any]:
    """What ``triggers test --format json`` prints."""
    failed = sum(bool(each.failures) for each in ran)
    return {
        "tests": len(ran),
        "passed": len(ran) - failed,
        "failed": failed,
        "results": [
            {
                "file": str(each.test.file),
                "test": each.test.case.name,
                "passed": not each.failures,
                "failures": [_as_json(failure) for failure in each.failures],
            }
            for each in ran
        ],
    }


def _as_json(failure: Failure) -> dict[str, Any]:
    return {
        "at_s": failure.at_s,
        "trigger": failure.trigger.name,
        "group": failure.expectation.group,
        "differences": [
            {"what": each.what, "expected": each.expected, "got": each.got} for each in failure.differences
        ],
        "showed": [
            {
                "from_s": moment.at_s,
                "state": moment.verdict.state.name.lower(),
                "reason": moment.verdict.reason,
                "value": moment.verdict.value,
                "threshold": moment.verdict.threshold,
                "samples": moment.verdict.samples,
            }
            for moment, _ in around(failure)
        ],
    }
