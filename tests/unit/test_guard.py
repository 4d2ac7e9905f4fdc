"""The guard: reads what was published, looks by itself, and is safe where nothing can be seen."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from self_healing.actions.directives import FILE
from self_healing.actions.publication import Publication
from self_healing.guard import Guard
from self_healing.model import Directive
from self_healing.storage.store import Store
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
    with Guard("Coder", state_dir=tmp_path / "none") as guard:
        assert (guard.paused, guard.strict, guard.model("m"), guard.max_retries(3)) == (False, False, "m", 3)
        assert guard.problem is None


def test_what_is_in_force_is_read_for_its_agent_only(store: Store) -> None:
    Publication(store)
    store.put(lasting("max_concurrency", 1, 60), lasting("timeout_s", 30, 60))
    with Guard("Coder", state_dir=store.state_dir) as coder, Guard("Other", state_dir=store.state_dir) as other:
        assert (coder.max_concurrency(8), coder.timeout_s(60.0)) == (1, 30.0)
        assert other.max_concurrency(8) == 8


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
