"""The socket: what is asked is answered, whatever the other side does."""

from __future__ import annotations

import asyncio
import json
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import self_healing
from self_healing.errors import ConfigError, NotFound, SelfHealingError, StateBusy, StateError
from self_healing.local_socket import MAX_REQUEST_BYTES, SOCKET, Handle, ask, listen


class Refused(NotFound):
    """An error that only the service's side knows."""


def echo(command: str, arguments: dict[str, Any]) -> dict[str, Any]:
    return {"command": command, **arguments}


@contextmanager
def serving(state_dir: Path, handle: Handle) -> Iterator[list[dict[str, Any]]]:
    """A service on `state_dir`, in a thread of its own; yields what its loop was told went wrong."""
    problems: list[dict[str, Any]] = []
    ready = threading.Event()
    stop: asyncio.Event | None = None

    async def serve() -> None:
        nonlocal stop
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: problems.append(context))
        server = await listen(state_dir / SOCKET, handle)
        ready.set()
        await stop.wait()
        server.close()
        await server.wait_closed()

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert ready.wait(5)
    try:
        yield problems
    finally:
        assert stop is not None
        loop.call_soon_threadsafe(stop.set)
        thread.join(5)
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


def send(state_dir: Path, *lines: bytes) -> list[dict[str, Any]]:
    """The answers to raw lines on one connection."""
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(5)
        asking.connect(str(state_dir / SOCKET))
        answers = []
        with asking.makefile("rb") as reading:
            for line in lines:
                asking.sendall(line)
                answers.append(json.loads(reading.readline()))
        return answers


def leave_stale(path: Path) -> None:
    """What a service leaves that was killed."""
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))


def test_a_command_is_answered_with_its_arguments(tmp_path: Path) -> None:
    with serving(tmp_path, echo):
        assert ask(tmp_path, "status", {"deep": {"é": [1, None]}}) == {"command": "status", "deep": {"é": [1, None]}}
        assert ask(tmp_path, "again") == {"command": "again"}


def test_nobody_answers_where_no_service_runs(tmp_path: Path) -> None:
    leave_stale(tmp_path / SOCKET)
    (tmp_path / "file").touch()
    for state_dir in (tmp_path, tmp_path / "missing", tmp_path / "file", tmp_path / ("long" * 30)):
        assert ask(state_dir, "status") is None


@pytest.mark.parametrize(
    "error",
    [NotFound("incident", "inc-1"), ConfigError(["a: 1", "b: 2"]), StateBusy("in use"), SelfHealingError("no")],
    ids=lambda error: type(error).__name__,
)
def test_an_error_is_raised_as_what_it_was_on_the_other_side(error: SelfHealingError, tmp_path: Path) -> None:
    def fail(command: str, arguments: dict[str, Any]) -> dict[str, Any]:
        raise error

    with serving(tmp_path, fail), pytest.raises(type(error)) as raised:
        ask(tmp_path, "incident")
    assert type(raised.value) is type(error)
    assert str(raised.value) == str(error)
    assert vars(raised.value) == vars(error)


def test_an_error_that_only_the_service_knows_is_raised_as_the_nearest_known_one(tmp_path: Path) -> None:
    def fail(command: str, arguments: dict[str, Any]) -> dict[str, Any]:
        raise Refused("handoff", "han-1")

    with serving(tmp_path, fail), pytest.raises(NotFound, match="no handoff 'han-1'"):
        ask(tmp_path, "handoff")


def test_a_mistake_of_ours_is_told_on_both_sides_and_the_next_command_is_answered(tmp_path: Path) -> None:
    def fail(command: str, arguments: dict[str, Any]) -> dict[str, Any]:
        if command == "bad":
            raise ZeroDivisionError("oops")
        return {"value": float("nan")} if command == "unsayable" else {}

    with serving(tmp_path, fail) as problems:
        with pytest.raises(SelfHealingError, match="ZeroDivisionError"):
            ask(tmp_path, "bad")
        with pytest.raises(SelfHealingError, match="ValueError"):
            ask(tmp_path, "unsayable")
        assert ask(tmp_path, "good") == {}
    assert [type(problem["exception"]) for problem in problems] == [ZeroDivisionError, ValueError]


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"not json\n",
        b"[]\n",
        b'{"command": 1, "arguments": {}}\n',
        b'{"command": "a"}\n',
        b"[" * 100_000 + b"\n",
    ],
    ids=["empty", "text", "list", "number", "no arguments", "deep"],
)
def test_what_is_no_request_is_refused_and_the_connection_goes_on(line: bytes, tmp_path: Path) -> None:
    with serving(tmp_path, echo) as problems:
        refused, answered = send(tmp_path, line, b'{"command": "a", "arguments": {}}\n')
    assert refused["error"]["type"] == "SelfHealingError"
    assert answered == {"result": {"command": "a"}}
    assert problems == []


def test_a_request_that_is_too_long_is_refused_and_the_service_goes_on(tmp_path: Path) -> None:
    with serving(tmp_path, echo) as problems:
        # One byte over: everything was read before the answer comes, so that it arrives.
        (refused,) = send(tmp_path, b"x" * (MAX_REQUEST_BYTES + 1))
        assert "longer than" in refused["error"]["message"]
        assert ask(tmp_path, "good") == {"command": "good"}
    assert problems == []


def test_who_goes_away_without_waiting_disturbs_nobody(tmp_path: Path) -> None:
    with serving(tmp_path, lambda *_: {"much": "x" * 2_000_000}) as problems:
        for request in (b"", b'{"command"', b'{"command": "a", "arguments": {}}\n'):
            with socket.socket(socket.AF_UNIX) as rude:
                rude.connect(str(tmp_path / SOCKET))
                rude.sendall(request)
        answer = ask(tmp_path, "good")
        assert answer is not None
        assert len(answer["much"]) == 2_000_000
    assert problems == []


def test_a_service_that_does_not_answer_in_time_is_an_error(tmp_path: Path) -> None:
    def slow(command: str, arguments: dict[str, Any]) -> dict[str, Any]:
        time.sleep(0.5)
        return {}

    with serving(tmp_path, slow), pytest.raises(StateError, match=r"did not answer 'status' within 0\.05 s"):
        ask(tmp_path, "status", timeout_s=0.05)


def test_a_service_that_ends_before_it_answers_is_an_error(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / SOCKET))
        listening.listen()

        def hang_up() -> None:
            connection, _ = listening.accept()
            connection.recv(1000)
            connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        with pytest.raises(StateError, match="ended before it answered"):
            ask(tmp_path, "status")
        thread.join()


def test_only_the_owner_may_open_the_socket(tmp_path: Path) -> None:
    with serving(tmp_path, echo):
        assert stat.S_IMODE((tmp_path / SOCKET).stat().st_mode) == 0o600


def test_a_socket_that_a_killed_service_left_is_replaced(tmp_path: Path) -> None:
    leave_stale(tmp_path / SOCKET)
    with serving(tmp_path, echo):
        assert ask(tmp_path, "a") == {"command": "a"}


def test_a_socket_on_which_a_service_answers_is_left_alone(tmp_path: Path) -> None:
    with serving(tmp_path, echo):
        with pytest.raises(StateBusy):
            asyncio.run(listen(tmp_path / SOCKET, echo))
        assert ask(tmp_path, "a") == {"command": "a"}


def test_a_file_in_the_place_of_the_socket_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / SOCKET).write_text("mine")
    with pytest.raises(StateError, match="cannot listen"):
        asyncio.run(listen(tmp_path / SOCKET, echo))
    assert (tmp_path / SOCKET).read_text() == "mine"


def test_a_path_longer_than_an_address_may_be_works(tmp_path: Path) -> None:
    state_dir = tmp_path / ("long" * 50)
    state_dir.mkdir()
    leave = state_dir / SOCKET
    with serving(state_dir, echo):
        assert ask(state_dir, "a") == {"command": "a"}
        assert leave.is_socket()
    # The one that was left is replaced here as well.
    with serving(state_dir, echo):
        assert ask(state_dir, "b") == {"command": "b"}


def test_asking_imports_little() -> None:
    source = Path(self_healing.__file__).parents[1]
    code = "import sys, self_healing.local_socket; print(*sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(source)}, capture_output=True, text=True, check=True
    )
    assert {"asyncio", "msgspec", "pydantic", "sqlalchemy", "numpy"} & set(ran.stdout.split()) == set()
