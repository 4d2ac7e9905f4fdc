"""The guard: reads what was published, looks by itself, and is safe where nothing can be seen."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from self_healing.actions.directives import FILE
from self_healing.actions.publication import Publication
from self_healing.api.server import Server
from self_healing.clock import FakeClock
from self_healing.config import ServerSettings
from self_healing.guard import Guard
from self_healing.model import Directive
from self_healing.service import Service
from self_healing.storage.store import Store
from tests.e2e.test_service import settings
from tests.unit.actions.test_directives import directive


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "state") as opened:
        yield opened


def lasting(name: str, value: Any, seconds: float, **changes: Any) -> Directive:
    now = datetime.now(UTC)
    given = {"created_at": now, "expires_at": now + timedelta(seconds=seconds), **changes}
    return directive(name, value, **given)


def seen_within(guard: Guard, setting: str, value: Any) -> bool:
    until = time.monotonic() + 5
    while time.monotonic() < until:
        if guard.get(setting) == value:
            return True
        time.sleep(0.01)
    return False


def test_without_a_state_the_agents_own_settings_hold(tmp_path: Path) -> None:
    with Guard("Coder", state_dir=tmp_path) as guard:
        assert (guard.paused, guard.strict, guard.model("m"), guard.max_retries(3)) == (False, False, "m", 3)
        assert guard.problem is None


def test_a_state_directory_that_is_not_there_is_a_problem_until_it_is(tmp_path: Path) -> None:
    with Guard("Coder", state_dir=tmp_path / "none") as guard:
        assert f"{tmp_path / 'none'} is not there" in (guard.problem or "")
        assert guard.model("m") == "m"
        (tmp_path / "none").mkdir()
        guard.refresh()
        assert guard.problem is None


def test_what_is_in_force_is_read_for_its_agent_only(store: Store) -> None:
    Publication(store)
    store.put(lasting("max_concurrency", 1, 60), lasting("timeout_s", 30, 60))
    with Guard("Coder", state_dir=store.state_dir) as coder, Guard("Other", state_dir=store.state_dir) as other:
        assert (coder.max_concurrency(8), coder.timeout_s(60.0)) == (1, 30.0)
        assert other.max_concurrency(8) == 8


def test_a_read_costs_no_more_than_fifteen_looks_into_a_dict(store: Store) -> None:
    """Which are 2 us where one takes 0.13 us: no file is looked at, nothing is locked, nothing worked out anew."""
    Publication(store)
    store.put(lasting("max_concurrency", 1, 600))
    bare = {"max_concurrency": 1}

    def least_s(read: Callable[[], object]) -> float:
        took = []
        for _ in range(20):
            began = time.thread_time()
            for _ in range(1000):
                read()
            took.append(time.thread_time() - began)
        return min(took)

    with Guard("Coder", state_dir=store.state_dir, refresh_s=60) as guard:
        of_dict = least_s(lambda: bare.get("max_concurrency", 8))
        for read in (lambda: guard.max_concurrency(8), lambda: guard.max_retries(3)):
            assert least_s(read) <= 15 * of_dict


def test_what_is_new_is_seen_in_the_background(store: Store) -> None:
    Publication(store)
    with Guard("Coder", state_dir=store.state_dir, refresh_s=0.01) as guard:
        store.put(lasting("paused", True, 60))
        assert seen_within(guard, "paused", True)


def test_when_the_safest_ends_the_next_holds_and_then_the_agents_own(store: Store) -> None:
    Publication(store)
    store.put(lasting("max_retries", 0, 0.3), lasting("max_retries", 2, 0.6, id="dir-2"))
    with Guard("Coder", state_dir=store.state_dir, refresh_s=60) as guard:
        assert guard.max_retries(5) == 0
        time.sleep(0.35)
        assert guard.max_retries(5) == 2
        time.sleep(0.35)
        assert guard.max_retries(5) == 5


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b'{"format": 2}', b'{"format": 1, "agents": {"Coder": {"paused": 1}}}']
)
def test_a_file_that_cannot_be_read_is_told_and_what_was_seen_last_holds(store: Store, text: bytes) -> None:
    Publication(store)
    store.put(lasting("paused", True, 60))
    with Guard("Coder", state_dir=store.state_dir, refresh_s=60) as guard:
        (store.state_dir / FILE).write_bytes(text)
        guard.refresh()
        assert guard.paused
        assert FILE in (guard.problem or "")


def test_a_child_of_a_fork_looks_by_itself(store: Store) -> None:
    Publication(store)
    with Guard("Coder", state_dir=store.state_dir, refresh_s=0.01) as guard:
        child = os.fork()
        if child == 0:
            os._exit(0 if seen_within(guard, "paused", True) else 1)
        store.put(lasting("paused", True, 60))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_threads_that_read_and_look_meanwhile_see_one_value_or_the_other(store: Store) -> None:
    Publication(store)
    changing = lasting("max_concurrency", 1, 60)
    store.put(changing)
    ending = threading.Event()

    def read(guard: Guard) -> set[Any]:
        seen = set()
        while not ending.is_set():
            guard.refresh()
            seen.add(guard.max_concurrency(8))
        return seen

    with Guard("Coder", state_dir=store.state_dir, refresh_s=0.001) as guard, ThreadPoolExecutor(3) as pool:
        reading = [pool.submit(read, guard) for _ in range(3)]
        for value in (2, 1) * 8:
            store.put(structs.replace(changing, value=value))
        assert seen_within(guard, "max_concurrency", 1)
        ending.set()
        assert set.union(*(each.result() for each in reading)) == {1, 2}
        assert guard.problem is None


@contextmanager
def serving(directory: Path, token: str | None = None) -> Iterator[tuple[Store, Server]]:
    """A service on a free port; nothing turns."""
    made = settings(directory, ServerSettings(port=0, otlp_http_port=None, otlp_grpc_port=None, token=token))

    async def listen() -> tuple[Service, Server]:
        service = Service(made, clock=FakeClock(datetime.now(UTC)), stop=asyncio.Event())
        server = await service.listen()
        assert server is not None
        return service, server

    service, server = asyncio.run(listen())
    try:
        yield service.loop.store, server
    finally:
        server.stop()
        service.loop.close()


def test_when_the_service_goes_away_what_was_seen_last_holds_until_it_ends_and_then_the_agents_own(
    tmp_path: Path,
) -> None:
    with serving(tmp_path) as (store, server):
        paused = lasting("paused", True, 1.5)
        store.put(paused)
        with Guard("Coder", url=server.addresses["port"], refresh_s=0.02) as guard:
            assert guard.get("paused")
            server.stop()
            told = []
            while guard.get("paused"):
                told.append(guard.problem or "")
                time.sleep(0.01)
            assert datetime.now(UTC) >= paused.expires_at
            assert "the directives of Coder could not be read from http://" in told[-1]


@pytest.mark.parametrize(
    "answer",
    [
        b"nonsense\r\n\r\n",
        b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"flags"',
        b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * 100_000,
        b'HTTP/1.1 200 OK\r\n\r\n{"flags": [{"key": "paused", "value": true, "metadata": {"expires_unix_s": 1'
        + b"0" * 400
        + b"}}]}",
    ],
    ids=["no HTTP", "half of it", "nested too deep", "a number too large"],
)
def test_an_answer_that_is_none_is_a_problem_and_it_is_looked_at_anew_all_the_same(answer: bytes) -> None:
    said = [b'HTTP/1.1 200 OK\r\n\r\n{"flags": []}', answer, answer]
    right = b'{"flags": [{"key": "paused", "value": true, "metadata": {"expires_unix_s": 9999999999.0}}]}'
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            for each in (*said, b"HTTP/1.1 200 OK\r\n\r\n" + right):
                connection, _ = listening.accept()
                with connection:
                    while not connection.recv(65536).endswith(b"}"):
                        pass
                    connection.sendall(each)

        threading.Thread(target=serve, daemon=True).start()
        with Guard("Coder", url=f"http://127.0.0.1:{listening.getsockname()[1]}", refresh_s=60) as guard:
            guard.refresh()
            assert "could not be read" in (guard.problem or "")
            guard._ending.set()
            guard._refresh_s = 0.01
            guard._begin()
            assert seen_within(guard, "paused", True)


def test_a_wrong_token_is_a_problem_and_the_agents_own_settings_hold(tmp_path: Path) -> None:
    with serving(tmp_path, token="right") as (store, server):
        store.put(lasting("paused", True, 60))
        url = server.addresses["port"]
        with Guard("Coder", url=url, token="right") as let_in, Guard("Coder", url=url, token="wrong") as refused:
            assert (let_in.paused, let_in.problem) == (True, None)
            assert refused.get("paused") is None
            assert "401" in (refused.problem or "")


@pytest.mark.parametrize(
    "given",
    [
        {"url": "http://127.0.0.1:1", "state_dir": "x"},
        {"url": "localhost"},
        {"token": "t"},
        {"refresh_s": 0},
        {"refresh_s": float("nan")},
    ],
)
def test_arguments_that_make_no_sense_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="Guard: "):
        Guard("Coder", **given)


def test_a_file_that_cannot_be_written_is_a_problem_until_it_can(store: Store) -> None:
    published = Publication(store)
    (store.state_dir / FILE).unlink()
    (store.state_dir / FILE).mkdir()
    store.put(lasting("paused", True, 60))
    assert FILE in (published.problem or "")
    assert published.snapshot["Coder"]["paused"][0]["value"] is True
    (store.state_dir / FILE).rmdir()
    published.publish()
    assert published.problem is None
    with Guard("Coder", state_dir=store.state_dir) as guard:
        assert guard.paused


def test_the_newest_is_told_by_time_whether_its_second_is_whole_or_not(store: Store) -> None:
    published, whole = Publication(store), datetime.now(UTC).replace(microsecond=0)
    store.put(lasting("model", "old", 60, created_at=whole))
    store.put(lasting("model", "new", 60, id="dir-2", created_at=whole + timedelta(seconds=0.5)))
    assert [each["value"] for each in published.snapshot["Coder"]["model"]] == ["new", "old"]


def test_what_is_not_committed_is_not_published(store: Store) -> None:
    published = Publication(store)
    with store.transaction():
        store.put(lasting("paused", True, 60))
        assert published.snapshot == {}
    assert list(published.snapshot) == ["Coder"]
