"""Conversion in a process of its own: what it answers, and what becomes of requests, and of it, when one is killed."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from self_healing.api import conversion as conversion_module
from self_healing.api import worker as module
from self_healing.api.bodies import BodyError, Room
from self_healing.api.conversion import Conversion, Normalise
from self_healing.api.server import Server
from self_healing.api.taking import Taking
from self_healing.api.unusable import Unusable
from self_healing.api.worker import Worker
from self_healing.clock import FakeClock
from self_healing.errors import ConversionLost, SelfHealingError, TooMany, Unconvertible, Undecodable
from self_healing.telemetry.encoded import Encoded, encoded
from self_healing.telemetry.intake import Intake, Receipt
from self_healing.telemetry.junit import junit
from self_healing.telemetry.native_batch import native_batch
from self_healing.telemetry.otlp import traces
from self_healing.telemetry.segments import Segments
from tests.conversion import WORKER, deadly, endless, failing, hanging, says_it_has_more_than_there_is, starved
from tests.conversion import conversion as by_the_shared_process
from tests.unit.api.test_server import post, protobuf, serving, span, stored
from tests.unit.api.test_server import traces as request
from tests.unit.telemetry.otlp.bodies import FIXTURES, KINDS

AT = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)


def convert(conversion: Conversion, normalise: Normalise, body: bytes, encoding: str | None = None) -> Encoded:
    return asyncio.run(conversion.encoded(normalise, body, encoding, "otlp"))


def process_of(worker: Worker) -> subprocess.Popen[bytes]:
    """Its process, which begins with this unless it is there."""
    convert(Conversion(FakeClock(AT).now, worker), traces, b"")
    return process_that_is_there(worker)


def process_that_is_there(worker: Worker) -> subprocess.Popen[bytes]:
    assert worker._process is not None
    return worker._process._process


def never(_batch: Encoded) -> Future[Receipt]:
    raise AssertionError("nothing is stored here")


@pytest.fixture
def shared() -> Conversion:
    """One by the process of all tests; whoever ends that has the next one begin it."""
    return Conversion(FakeClock(AT).now, WORKER)


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
        assert convert(by_the_shared_process(), normalise, body) == encoded(normalise(body), "otlp")


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
        convert(by_the_shared_process(), partial(traces, json=True), body, encoding)
    assert type(told.value) is error
    if encoding is None:
        with pytest.raises(error) as here:
            traces(body, json=True)
        assert str(told.value) == str(here.value)
    elif isinstance(told.value, BodyError):
        assert (told.value.status, str(told.value)[:20]) == (400, "the body is not gzip")


def test_a_process_that_ends_over_a_body_is_told_of_for_a_minute_and_followed_by_another() -> None:
    clock = FakeClock(AT)
    conversion = Conversion(clock.now, WORKER)
    with pytest.raises(ConversionLost, match="send it again"):
        convert(conversion, deadly, b"")
    assert "(1 since the start)" in conversion.problems[0]
    assert len(convert(conversion, traces, protobuf(1)).sizes) == 1
    clock.advance(61)
    assert conversion.problems == []


def test_a_hung_process_is_ended_with_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CLOSE_S", 0.1)
    own = Worker()
    process = process_of(own)
    os.kill(process.pid, signal.SIGSTOP)
    own.close()
    assert process.wait(30) == -signal.SIGKILL


@pytest.mark.parametrize(
    ("limit", "normalise", "why"),
    [("CONVERT_S", endless, "took more than 0.2 s of a processor"), ("HANG_S", hanging, "said nothing for 0.2 s")],
)
def test_a_slow_body_holds_up_no_other_for_long_and_is_refused_for_good_the_third_time(
    shared: Conversion, monkeypatch: pytest.MonkeyPatch, limit: str, normalise: Normalise, why: str
) -> None:
    async def both() -> tuple[BaseException | None, Encoded]:
        limited(0.2)
        first = asyncio.create_task(shared.encoded(normalise, b"slow", None, "otlp"))
        first.add_done_callback(lambda _: limited(60))  # the other has it from then on
        second = asyncio.create_task(shared.encoded(traces, protobuf(1), None, "otlp"))
        await asyncio.wait({first, second})
        return first.exception(), second.result()

    def limited(seconds: float) -> None:
        monkeypatch.setattr(f"self_healing.api.conversion.{limit}", seconds)

    lost, taken = asyncio.run(both())
    assert (type(lost), len(taken.sizes), shared.lost) == (ConversionLost, 1, 1)
    assert why in shared.problems[0]
    limited(0.2)
    with pytest.raises(ConversionLost):
        convert(shared, normalise, b"slow")
    with pytest.raises(Unconvertible, match="smaller batches"):
        convert(shared, normalise, b"slow")


def test_a_machine_on_which_the_process_has_to_wait_for_others_is_no_reason_to_end_it(
    shared: Conversion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("self_healing.api.conversion.CONVERT_S", 0.1)
    assert convert(shared, starved, b"").sizes == []
    assert shared.lost == 0


def test_what_waits_its_turn_is_dropped_when_its_sender_gives_up_and_what_is_converted_is_let_finish(
    shared: Conversion,
) -> None:
    process = process_of(WORKER)
    pid = process.pid

    async def given_up() -> Encoded:
        os.kill(pid, signal.SIGSTOP)
        waiting = [asyncio.create_task(shared.encoded(traces, protobuf(n), None, "otlp")) for n in range(3)]
        await asyncio.sleep(0)
        for each in waiting:
            each.cancel()
        await asyncio.wait(waiting)
        os.kill(pid, signal.SIGCONT)
        return await shared.encoded(traces, protobuf(4), None, "otlp")

    assert len(asyncio.run(given_up()).sizes) == 1
    assert (shared.lost, process.poll()) == (0, None)


def test_a_process_that_ended_while_it_had_nothing_to_do_costs_no_request(shared: Conversion) -> None:
    process_of(WORKER).kill()
    assert WORKER._process is not None
    while not WORKER._process.ended:
        time.sleep(0.01)
    assert len(convert(shared, traces, protobuf(1)).sizes) == 1
    assert shared.problems == []


def test_a_process_that_cannot_be_started_loses_the_request_for_now_and_is_tried_again(
    shared: Conversion,
) -> None:
    taking = Taking(never, Room(), shared, Unusable(lambda: AT))
    process_of(WORKER)
    process = WORKER._process
    WORKER.kill()
    while process is None or {process._given_to, process._answers} & {*map(int, os.listdir("/dev/fd"))}:
        time.sleep(0.01)
    files = resource.getrlimit(resource.RLIMIT_NOFILE)
    opened = {*map(int, os.listdir("/dev/fd"))}
    free = [number for number in range(len(opened) + 5) if number not in opened]
    for _ in range(3):  # there are three more for a loop, and for one of two pipes
        resource.setrlimit(resource.RLIMIT_NOFILE, (free[4], files[1]))
        try:
            with pytest.raises(ConversionLost, match=r"cannot be started \(.*Too many open files") as lost:
                convert(shared, traces, protobuf(1))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, files)
    refusal = taking.refusal(lost.value, "otlp")
    assert (refusal.status, refusal.headers, taking.refused["not_converted"]) == (503, {"Retry-After": "1"}, 1)
    assert "cannot be started" in shared.problems[0]
    assert len(convert(shared, traces, protobuf(1)).sizes) == 1


def test_a_body_that_fails_as_nobody_foresaw_is_told_with_its_error_and_refused_for_good_the_third_time() -> None:
    errors: list[Exception] = []
    conversion = Conversion(FakeClock(AT).now, WORKER, errors.append)
    for _ in range(2):
        with pytest.raises(ConversionLost, match="nobody foresaw"):
            convert(conversion, failing, b"x")
    with pytest.raises(Unconvertible) as refused:
        convert(conversion, failing, b"x")
    assert [str(error) for error in errors] == ["KeyError('nobody foresaw it')"] * 2
    assert "in failing" in str(errors[0].__cause__)  # where it happened, in the other process
    taking = Taking(never, Room(), conversion, Unusable(lambda: AT))
    assert taking.refusal(refused.value, "otlp").status == 400
    assert taking.refused["unconvertible"] == 1


GOOD: dict[str, Any] = {
    "type": "Encoded",
    "source": "otlp",
    "lines": b"{}\n",
    "sizes": [3],
    "known_by": [None],
    "times_us": [0],
    "rejected": {},
    "key": None,
}


def done(became: object) -> bytes:
    return msgspec.msgpack.encode({"type": "done", "result": {"became": became}})


def test_an_answer_that_is_one_is_taken() -> None:
    assert isinstance(module._decoder(conversion_module._Answer).decode(done(GOOD)), module._Done)


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (b"\x93\xff\xff", ""),
        (msgspec.msgpack.encode((None, None, "")), "Expected `object`, got `array`"),
        (done({}), "missing required field `type`"),
        (done(None), "Expected `object`, got `None`"),
        (done({"type": "_Refused", "kind": "BodyError", "says": "", "status": 99_999}), "<= 499"),
        (done({**GOOD, "known_by": ["a", "b"]}), "not of the same length"),
        (done({**GOOD, "times_us": []}), "not of the same length"),
        (done({**GOOD, "sizes": [99_999]}), "not those of the lines"),
        (done({**GOOD, "sizes": [4, -1], "known_by": [None] * 2, "times_us": [0] * 2}), "not those of the lines"),
        (done({**GOOD, "lines": b"{ }"}), "ends with its newline"),
        (done({**GOOD, "lines": b"{\n}\n", "sizes": [4]}), "ends with its newline"),
        (done({**GOOD, "lines": b"\n{}", "sizes": [3]}), "ends with its newline"),
        (done({**GOOD, "rejected": {"x": -5}}), "below zero"),
    ],
)
def test_what_is_no_answer_is_not_taken_for_one(message: bytes, why: str) -> None:
    with pytest.raises(msgspec.DecodeError) as refused:
        module._decoder(conversion_module._Answer).decode(message)
    assert why in str(refused.value)


def test_an_answer_that_says_it_is_longer_than_any_ends_the_process_before_it_comes(
    shared: Conversion, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConversionLost):
        convert(shared, says_it_has_more_than_there_is, b"c")
    assert f"what it said is no answer (a message of {1 << 60:,} bytes" in shared.problems[0]
    assert "Traceback" not in capfd.readouterr().err


def test_a_request_that_is_lost_with_the_process_is_asked_for_again_and_then_taken(tmp_path: Path) -> None:
    worker = Worker()
    conversion = Conversion(FakeClock(AT).now, worker)
    intake = Intake(Segments(tmp_path, now=lambda: AT), now=lambda: AT)
    intake.start()
    sent = [request(span(number)) for number in (1, 2)]
    try:
        with serving(intake.submit, conversion=conversion) as server, ThreadPoolExecutor(1) as sender:
            assert worker._process is None  # before a body comes
            assert post(server, "/v1/traces", sent[0], "application/json")[0] == 200
            process = process_that_is_there(worker)
            os.kill(process.pid, signal.SIGSTOP)
            held = sender.submit(post, server, "/v1/traces", sent[1], "application/json")
            process.kill()
            status, headers, _ = held.result(30)
            assert (status, headers["retry-after"], server.refused["not_converted"]) == (503, "1", 1)
            assert [post(server, "/v1/traces", body, "application/json")[0] for body in sent] == [200, 200]
    finally:
        worker.close()
        intake.stop()
    assert [line.get("span_id", line.get("dropped")) for line in stored(tmp_path)] == [
        f"{1:016x}",
        {"duplicate": 1},
        f"{2:016x}",
    ]


def test_of_many_senders_whose_process_is_killed_nobody_loses_anything_and_it_adds_up(tmp_path: Path) -> None:
    process_of(WORKER)
    intake = Intake(Segments(tmp_path, now=lambda: AT), now=lambda: AT)
    intake.start()

    def bring(server: Server, sender: int) -> Counter[str]:
        became: Counter[str] = Counter()
        for number in range(5):
            line = {"ts": "2026-01-05T09:59:00Z", "type": "heartbeat", "agent": "A", "id": f"{sender}-{number}"}
            if (sender, number) == (0, 2):
                process_that_is_there(WORKER).kill()
            while (answer := post(server, "/v1/events", json.dumps(line).encode(), "application/json"))[0] != 200:
                assert answer[0] == 503
                time.sleep(0.01)
            counts = json.loads(answer[2])
            became.update(received=1, accepted=counts["accepted"], dropped=sum(counts["dropped"].values()))
        return became

    try:
        with serving(intake.submit) as server, ThreadPoolExecutor(4) as senders:
            became = sum(senders.map(lambda sender: bring(server, sender), range(4)), Counter[str]())
    finally:
        intake.stop()
    assert became["received"] == became["accepted"] + became["dropped"] == 20
    expected = sorted(f"{sender}-{number}" for sender in range(4) for number in range(5))
    assert sorted(line["id"] for line in stored(tmp_path) if line["type"] == "heartbeat") == expected


STANDING = """
import asyncio, sys
from self_healing.api.conversion import Conversion
from self_healing.clock import SystemClock
from self_healing.telemetry.otlp import traces
conversion = Conversion(SystemClock().now)
asyncio.run(conversion.encoded(traces, b"", None, "otlp"))
try:
    print("converted", flush=True)
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
