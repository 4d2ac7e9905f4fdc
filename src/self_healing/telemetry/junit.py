"""JUnit XML, as every test runner writes it: one `test_run` for each suite of tests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final
from xml.etree import ElementTree

from junitparser import Error, Failure, JUnitXml, JUnitXmlError, Skipped, TestCase, TestSuite

from self_healing.clock import to_us
from self_healing.model import Ingested
from self_healing.telemetry.caps import ITEMS_MAX, VALUES_MAX
from self_healing.telemetry.normalised import Normalised, key_of
from self_healing.telemetry.timestamps import encode_ts

SOURCE: Final = "junit"

MAX_BYTES: Final = 20 << 20
"""The largest file that is read."""

TOO_LARGE: Final = "too_large"
INVALID_XML: Final = "invalid_xml"


def junit(data: bytes, *, at: datetime, agent: str | None = None) -> Normalised:
    """The test runs in one file.

    A suite with tests of its own is one event: those that passed, and those that failed or broke off; what was skipped
    is neither. Its task is the suite's property ``task_id``, its agent the property ``agent``. Its time is the suite's
    where that names its zone, which few runners do. The same file again is the same batch.

    Args:
        data: the file.
        at: when it was written; the time of suites without one.
        agent: whose tests they are where a suite does not say.
    """
    # Whose they are taken for is part of it: the same bytes may be the tests of two.
    key = key_of(data if agent is None else data + b"\0" + agent.encode())
    batch = Normalised(key=key)
    if len(data) > MAX_BYTES or data.count(b"<") > VALUES_MAX:
        batch.reject(TOO_LARGE, f"it is larger than {MAX_BYTES >> 20} MiB, or has more than {VALUES_MAX:,} elements")
        return batch
    try:
        document = JUnitXml.fromroot(_parsed(data))
        events = [_event(suite, properties, at, agent) for suite, properties in _suites(document)]
    except (ElementTree.ParseError, JUnitXmlError, ValueError, LookupError, RecursionError) as error:
        batch.reject(INVALID_XML, _why(error))
        return batch
    if len(events) > ITEMS_MAX:
        batch.reject(TOO_LARGE, f"it has more than {ITEMS_MAX:,} suites; bring it in parts")
        return batch
    batch.events += [event for event in events if event is not None]
    return batch


def _why(error: Exception) -> str:
    match error:
        case ElementTree.ParseError():
            return f"it is no XML: {error}"
        case JUnitXmlError():
            return "it is no JUnit XML: its root is neither testsuites nor testsuite"
        case RecursionError():
            return "its suites nest too deep"
        case _:
            return f"it is no JUnit XML: {error}"


class _NoDoctype(ElementTree.TreeBuilder):
    """Builds a tree, and refuses a document type: nothing else can define entities, which grow without bound."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise ValueError("a document type is not allowed in JUnit XML")


def _parsed(data: bytes) -> Any:
    parser = ElementTree.XMLParser(target=_NoDoctype())
    parser.feed(data)
    return parser.close()


def _suites(
    suites: Iterable[TestSuite], above: Mapping[str, str] | None = None
) -> Iterator[tuple[TestSuite, dict[str, str]]]:
    """Each suite with the properties that hold for it: its own, else those of the suite that it stands in."""
    for suite in suites:
        own = {str(each.name): str(each.value) for each in suite.properties() if each.name and each.value}
        properties = {**(above or {}), **own}
        yield suite, properties
        yield from _suites(suite.testsuites(), properties)


def _event(suite: TestSuite, properties: Mapping[str, str], at: datetime, agent: str | None) -> Ingested | None:
    """What one suite says; None when it has no tests of its own."""
    counted = _counted(suite)
    if counted is None:
        return None
    return Ingested(
        ts=encode_ts(to_us(_time(suite.timestamp) or at)),
        kind="test_run",
        task_id=properties.get("task_id"),
        agent=properties.get("agent") or agent,
        passed=counted[0],
        failed=counted[1],
        duration_s=suite.time if isinstance(suite.time, float) and suite.time >= 0 else None,
        attributes={"suite": suite.name} if suite.name else None,
    )


def _counted(suite: TestSuite) -> tuple[int, int] | None:
    """How many of its own tests passed, and how many did not: where it lists none, by its own count; None without any.

    What a suite counts may include the suites that stand in it, so what it lists goes first.
    """
    outcomes: Counter[str] = Counter()
    for case in suite.iterchildren(TestCase):
        kinds = {type(result) for result in case.result}
        outcomes["failed" if kinds & {Failure, Error} else "skipped" if Skipped in kinds else "passed"] += 1
    if outcomes:
        return outcomes["passed"], outcomes["failed"]
    if next(suite.testsuites(), None) is not None or not suite.tests:
        return None
    tests, failed, skipped = suite.tests, (suite.failures or 0) + (suite.errors or 0), suite.skipped or 0
    return max(tests - failed - skipped, 0), failed


def _time(text: str | None) -> datetime | None:
    try:
        time = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return None if time is None or time.tzinfo is None else time.astimezone(UTC)
