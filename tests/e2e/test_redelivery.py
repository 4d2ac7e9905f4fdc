"""However senders repeat and reorder what they send, each item is folded once, and the accounting says what came."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from self_healing.api.server import Server
from self_healing.clock import FakeClock, SystemClock
from self_healing.config import ServerSettings
from self_healing.dashboard.changes import Changes
from self_healing.measures import MICRO, Measure
from self_healing.model import Group
from self_healing.orchestrator import SelfHealingOrchestrator
from self_healing.telemetry.encoded import Encoded
from self_healing.telemetry.intake import Receipt
from self_healing.telemetry.query.files import Places
from tests.accounts import held
from tests.conversion import conversion
from tests.e2e.test_service import settings
from tests.unit.api.test_server import END_NS, span, traces

AT = datetime(2026, 1, 5, 10, 0, 30, tzinfo=UTC)
LINE = {"ts": "2026-01-05T10:00:00Z", "type": "task_finished", "agent": "Lines", "status": "success", "duration_s": 1.0}

Step = tuple[str, Any]
SPANS = st.tuples(st.just("spans"), st.lists(st.integers(1, 9), min_size=1, max_size=5))
EVENTS = st.tuples(st.just("events"), st.integers(1, 4))
RECORDS = st.tuples(st.just("records"), st.integers(1, 4))
POINTS = st.tuples(st.just("points"), st.integers(1, 4))
OTHER = st.sampled_from([("fold", None), ("restart", None)])
STEPS = st.lists(st.one_of(SPANS, EVENTS, RECORDS, POINTS, OTHER), max_size=15)
"""Spans by their numbers, which may come again in any batch, the larger ones with a score; events by the key of their
batch; log records and points of metrics, which have neither, by how many there are; what is done between."""

SCORED = 6
"""From this number on a span carries a score."""


class Fleet:
    """A loop whose way in is the server of the test."""

    def __init__(self, directory: Path) -> None:
        (directory / "telemetry").mkdir()
        self._settings, self._clock = settings(directory), FakeClock(AT)
        self.loop = SelfHealingOrchestrator.open(self._settings, clock=self._clock)

    def fold(self) -> None:
        self._clock.advance(timedelta(seconds=1).total_seconds())
        while not self.loop.cycle(self._clock.now()).caught_up:
            pass

    def restart(self) -> None:
        self.loop.close()
        self.loop = SelfHealingOrchestrator.open(self._settings, clock=self._clock)

    def counts(self) -> dict[str, Any]:
        count = self.loop.telemetry.accounting
        return held({name: getattr(count, name) for name in count.__struct_fields__})

    def tasks(self) -> dict[Group, int]:
        """How many tasks of each agent ended, as triggers see it."""
        trigger = self.loop.spec.trigger("slow_tasks")
        measure = Measure.of(trigger)
        totals = self.loop.telemetry.window(measure, trigger.window * MICRO, self.loop.evaluated_us)
        counted = zip(self.loop.telemetry.groups(measure.group_by), totals.count.tolist(), strict=True)
        return {group: count for group, count in counted if count}


NOWHERE = Places(telemetry=Path("nowhere"), segments=Path("nowhere"))


class Door:
    """A server that stands while one fleet after the other stands behind it."""

    def __init__(self) -> None:
        self.fleet: Fleet | None = None
        ports = ServerSettings(port=0, otlp_http_port=None, otlp_grpc_port=None)
        self.server = Server(
            ports,
            submit=self._submit,
            conversion=conversion(),
            ask=self._ask,
            places=NOWHERE,
            explain=lambda _: {},
            verify=dict,
            changes=Changes(),
            now=SystemClock().now,
        )

    def _submit(self, batch: Encoded) -> Future[Receipt]:
        assert self.fleet is not None
        return self.fleet.loop.receiving.intake.submit(batch)

    async def _ask(self, command: str, **_arguments: Any) -> dict[str, Any]:
        raise AssertionError(f"nobody asks for {command}")

    @contextmanager
    def behind(self, directory: Path) -> Iterator[Fleet]:
        self.fleet = Fleet(directory)
        try:
            yield self.fleet
        finally:
            self.fleet.loop.close()

    def post(self, path: str, body: bytes, headers: dict[str, str]) -> None:
        connection = http.client.HTTPConnection(self.server.addresses["port"].removeprefix("http://"), timeout=30)
        try:
            connection.request("POST", path, body, headers)
            assert connection.getresponse().status == 200
        finally:
            connection.close()

    def send(self, step: Step) -> None:
        """Send what a step says."""
        match step:
            case ("spans", list() as numbers):
                body = traces(*map(scored, numbers))
                self.post("/v1/traces", body, {"Content-Type": "application/json"})
            case ("events", int() as key):
                lines = "\n".join(json.dumps({**LINE, "id": f"{key}-{place}"}) for place in range(key))
                headers = {"Content-Type": "application/x-ndjson", "Idempotency-Key": str(key)}
                self.post("/v1/events", lines.encode(), headers)
            case ("records", int() as count):
                self.post("/v1/logs", records(count), {"Content-Type": "application/json"})
            case ("points", int() as count):
                self.post("/v1/metrics", points(count), {"Content-Type": "application/json"})


def scored(number: int) -> dict[str, Any]:
    """A span, with a score from that number on."""
    said = {"key": "gen_ai.evaluation.score.value", "value": {"doubleValue": 0.5}}
    events = [{"name": "gen_ai.evaluation.result", "attributes": [said]}] if number >= SCORED else []
    return span(number, traceId=f"{number:032x}", events=events)


def events_of(numbers: Iterable[int]) -> int:
    """How many events those spans are, each with its score."""
    return sum(1 + (number >= SCORED) for number in numbers)


def records(count: int) -> bytes:
    """So many log records, each of which says what a call cost."""
    texts = {"event.name": "claude_code.api_request", "cost_usd": "0.5", "session.id": "s1"}
    attributes = [{"key": key, "value": {"stringValue": text}} for key, text in texts.items()]
    record = {"timeUnixNano": str(END_NS), "attributes": attributes}
    return json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": [record] * count}]}]}).encode()


def points(count: int) -> bytes:
    """So many points of a metric, each of which adds to it."""
    point = {"timeUnixNano": str(END_NS), "asInt": "1"}
    metric = {"name": "calls", "sum": {"aggregationTemporality": 1, "isMonotonic": True, "dataPoints": [point] * count}}
    return json.dumps({"resourceMetrics": [{"scopeMetrics": [{"metrics": [metric]}]}]}).encode()


@pytest.fixture(scope="module")
def door() -> Iterator[Door]:
    door = Door()
    door.server.start()
    try:
        yield door
    finally:
        door.server.stop()


@examples(max_examples=25)
@given(steps=STEPS)
def test_each_item_is_folded_once_however_often_and_in_whatever_order_it_comes(door: Door, steps: list[Step]) -> None:
    spans = {number for kind, numbers in steps if kind == "spans" for number in numbers}
    keys = {key for kind, key in steps if kind == "events"}
    others = {(kind, count) for kind, count in steps if kind in ("records", "points")}
    distinct = events_of(spans) + sum(keys) + sum(count for _, count in others)
    # What comes again changes nothing but these counts, whether it is known by its key or span by span.
    received = sum(events_of(sent) if isinstance(sent, list) else sent for _, sent in steps if sent is not None)
    with TemporaryDirectory() as place, door.behind(Path(place)) as fleet:
        for step in steps:
            match step[0]:
                case "fold":
                    fleet.fold()
                case "restart":
                    fleet.restart()
                case _:
                    door.send(step)
        fleet.fold()
        counts, tasks = fleet.counts(), fleet.tasks()
    assert (counts["received"], counts["aggregated"], counts["in_flight"]) == (received, distinct, 0)
    assert sum(counts["dropped"].values()) == counts["dropped"].get("duplicate", 0) == received - distinct
    expected = {(("agent", "Coder"),): len(spans), (("agent", "Lines"),): sum(keys)}
    assert tasks == {group: count for group, count in expected.items() if count}
