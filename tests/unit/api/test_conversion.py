"""Conversion in a process of its own: what it answers, and what becomes of requests, and of it, when one is killed."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from multiprocessing import active_children
from pathlib import Path

import pytest

from self_healing.api.bodies import BodyError
from self_healing.api.conversion import Conversion, Normalise
from self_healing.clock import FakeClock
from self_healing.errors import ConversionLost, SelfHealingError, TooMany, Undecodable
from self_healing.telemetry.encoded import Encoded, encoded
from self_healing.telemetry.intake import Intake
from self_healing.telemetry.junit import junit
from self_healing.telemetry.native_batch import native_batch
from self_healing.telemetry.otlp import traces
from self_healing.telemetry.segments import Segments
from tests.conversion import CONVERSION, deadly
from tests.unit.api.test_server import post, protobuf, serving, span, stored
from tests.unit.api.test_server import traces as request
from tests.unit.telemetry.otlp.bodies import FIXTURES, KINDS

AT = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)


def convert(conversion: Conversion, normalise: Normalise, body: bytes, encoding: str | None = None) -> Encoded:
    return asyncio.run(conversion.encoded(normalise, body, encoding, "otlp"))


@pytest.fixture
def conversion() -> Iterator[Conversion]:
    made = Conversion(FakeClock(AT).now)
    yield made
    made.close()


def test_it_gives_what_is_made_of_the_same_body_here() -> None:
    bodies: list[tuple[Normalise, bytes]] = [
        (partial(junit, at=AT, agent="A"), b'<testsuite name="s"><testcase name="a"/></testsuite>'),
        (partial(native_batch, content_type="", key="k"), b'{"ts":1,"type":"log","password":"hunter2hunter2"}'),
    ]
    for file in sorted(FIXTURES.glob("*.json")):
        field = next(field for field in KINDS if field in file.read_text())
        bodies.append((partial(KINDS[field][1], json=True), file.read_bytes()))
    assert len(bodies) > 10
    for normalise, body in bodies:
        assert convert(CONVERSION, normalise, body) == encoded(normalise(body), "otlp")


@pytest.mark.parametrize(
    ("body", "encoding", "error"),
    [
        (b"{", None, Undecodable),
        (b'{"resourceSpans":[{"scopeSpans":[{"spans":[{}' + b",{}" * 60_000 + b"]}]}]}", None, TooMany),
        (b"{}", "gzip", BodyError),
    ],
)
def test_what_is_wrong_with_a_body_is_told_as_it_is_here(
    body: bytes, encoding: str | None, error: type[SelfHealingError]
) -> None:
    with pytest.raises(error) as told:
        convert(CONVERSION, partial(traces, json=True), body, encoding)
    assert type(told.value) is error
    if encoding is None:
        with pytest.raises(error) as here:
            traces(body, json=True)
        assert str(told.value) == str(here.value)
    elif isinstance(told.value, BodyError):
        assert (told.value.status, str(told.value)[:20]) == (400, "the body is not gzip")


def test_a_process_that_ends_over_a_body_is_told_of_for_a_minute_and_followed_by_another() -> None:
    clock = FakeClock(AT)
    conversion = Conversion(clock.now)
    try:
        with pytest.raises(ConversionLost, match="send it again"):
            convert(conversion, deadly, b"")
        assert "(1 since the start)" in conversion.problems[0]
        assert len(convert(conversion, traces, protobuf(1)).sizes) == 1
        clock.advance(61)
        assert conversion.problems == []
    finally:
        conversion.close()


def test_a_request_that_is_lost_with_the_process_is_asked_for_again_and_then_taken(
    tmp_path: Path, conversion: Conversion
) -> None:
    before = {child.pid for child in active_children()}
    intake = Intake(Segments(tmp_path, now=lambda: AT), now=lambda: AT)
    intake.start()
    sent = [request(span(number)) for number in (1, 2)]
    try:
        with serving(intake.submit, conversion=conversion) as server, ThreadPoolExecutor(1) as sender:
            assert [child for child in active_children() if child.pid not in before] == []  # before a body comes
            assert post(server, "/v1/traces", sent[0], "application/json")[0] == 200
            (process,) = [child for child in active_children() if child.pid not in before]
            assert process.pid is not None
            os.kill(process.pid, signal.SIGSTOP)
            held = sender.submit(post, server, "/v1/traces", sent[1], "application/json")
            process.kill()
            status, headers, _ = held.result(30)
            assert (status, headers["retry-after"], server.refused["not_converted"]) == (503, "1", 1)
            assert [post(server, "/v1/traces", body, "application/json")[0] for body in sent] == [200, 200]
    finally:
        intake.stop()
    assert [line.get("span_id", line.get("dropped")) for line in stored(tmp_path)] == [
        f"{1:016x}",
        {"duplicate": 1},
        f"{2:016x}",
    ]


STANDING = """
import asyncio, sys
from self_healing.api.conversion import Conversion
from self_healing.clock import SystemClock
from self_healing.telemetry.otlp import traces
conversion = Conversion(SystemClock().now)
asyncio.run(conversion.encoded(traces, b"", None, "otlp"))
print("converted", flush=True)
try:
    sys.stdin.read()
except KeyboardInterrupt:
    conversion.close()
    print("closed", flush=True)
"""


@pytest.mark.parametrize(("number", "said"), [(signal.SIGKILL, ""), (signal.SIGINT, "closed\n")])
def test_it_ends_with_its_parent_however_that_ends_and_says_nothing(number: signal.Signals, said: str) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", STANDING],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == "converted\n"
    if number is signal.SIGKILL:
        parent.kill()
    else:
        os.killpg(parent.pid, number)  # as a terminal does
    printed, complained = parent.communicate(timeout=60)  # until the end of its output: nobody holds that any more
    assert printed == said
    assert "Traceback" not in complained
