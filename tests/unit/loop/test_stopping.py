"""What people say of the stop comes onto the audit log once each, whenever they say it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from self_healing.constitution.audit import Audit
from self_healing.constitution.stop import WORDS, StopRecord, resume, stop
from self_healing.loop.stopping import STOP, Stopping
from self_healing.storage.store import Store

AT = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path) as store:
        yield store


def heed(stopping: Stopping, store: Store) -> None:
    with store.transaction():
        stopping.heed(AT)


def told(store: Store) -> list[tuple[str, Any]]:
    return [(entry.kind, entry.payload.get("by")) for entry in Audit(store).tail(100)]


class Interrupted(Stopping):
    """A person says something right after the first look at whether a stop stands."""

    def __init__(self, store: Store, state_dir: Path, says: Callable[[], object]) -> None:
        super().__init__(store, Audit(store), state_dir)
        self._says: Callable[[], object] | None = says

    def stands(self) -> StopRecord | None:
        stands = super().stands()
        says, self._says = getattr(self, "_says", None), None
        if says is not None:
            says()
        return stands


def says_stop(state_dir: Path) -> None:
    stop(state_dir, "too hot", "Bo", AT)


def says_resume(state_dir: Path) -> None:
    resume(state_dir, "looked", "Bo", AT)


def says_both(state_dir: Path) -> None:
    says_resume(state_dir)
    stop(state_dir, "again", "Cy", AT)


@pytest.mark.parametrize(
    ("stood", "says", "expected"),
    [
        (False, says_stop, [("stopped", "Bo")]),
        (True, says_resume, [("stopped", "Ann"), ("resumed", "Bo")]),
        (True, says_both, [("stopped", "Ann"), ("resumed", "Bo"), ("stopped", "Cy")]),
    ],
)
def test_what_is_said_between_two_looks_is_told_once(
    store: Store, tmp_path: Path, stood: bool, says: Callable[[Path], None], expected: list[tuple[str, str]]
) -> None:
    if stood:
        stop(tmp_path, "it burns", "Ann", AT)
    stopping = Interrupted(store, tmp_path, lambda: says(tmp_path))
    for _ in range(3):
        heed(stopping, store)
    assert told(store) == expected


@pytest.mark.parametrize("left", [0.3, 0.6, 0.9])
def test_where_the_file_of_all_words_is_shorter_nothing_is_told_again_and_what_is_new_is(
    store: Store, tmp_path: Path, left: float
) -> None:
    stopping = Stopping(store, Audit(store), tmp_path)
    for number, by in enumerate(("Ann", "Bo", "Cy")):
        says = resume if number % 2 else stop
        says(tmp_path, "it burns", by, AT + timedelta(minutes=number))
        heed(stopping, store)
    before = told(store)
    words = (tmp_path / WORDS).read_bytes()
    (tmp_path / WORDS).write_bytes(words[: int(len(words) * left)])
    stopping = Stopping(store, Audit(store), tmp_path)
    for _ in range(2):
        heed(stopping, store)
    assert told(store) == before
    resume(tmp_path, "looked", "Di", AT + timedelta(minutes=5))
    for _ in range(2):
        heed(stopping, store)
    assert told(store) == [*before, ("resumed", "Di")]


def test_a_stop_that_an_earlier_release_told_is_not_told_again_and_the_file_that_it_kept_goes(
    store: Store, tmp_path: Path
) -> None:
    stands = stop(tmp_path, "it burns", "Ann", AT)
    (tmp_path / WORDS).unlink()
    (tmp_path / "resumed").write_text("{}")
    with store.transaction():
        store.put_fact(STOP, stands.said)
    heed(Stopping(store, Audit(store), tmp_path), store)
    assert told(store) == []
    assert not (tmp_path / "resumed").exists()
