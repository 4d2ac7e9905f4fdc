from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from self_healing.errors import HandoffRefused, NotFound
from self_healing.handoffs.inbox import ALLOWED, MOST_NOTES, Inbox, advance
from self_healing.model import Handoff, HandoffStatus
from self_healing.storage.store import Store
from tests.unit.actions.intents import START, handoff

LATER = START + timedelta(minutes=1)
S = HandoffStatus


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "state") as opened:
        yield opened


@pytest.fixture
def audited() -> list[tuple[str, dict[str, Any], datetime]]:
    return []


@pytest.fixture
def inbox(store: Store, audited: list[tuple[str, dict[str, Any], datetime]]) -> Inbox:
    store.put(handoff(1, status=S.DELIVERED))
    return Inbox(store, lambda kind, payload, at: audited.append((kind, payload, at)))


@pytest.mark.parametrize("before", S)
@pytest.mark.parametrize("to", S)
def test_a_handoff_moves_only_along_its_life(before: HandoffStatus, to: HandoffStatus) -> None:
    given = handoff(1, status=before)
    if to in ALLOWED[before]:
        assert advance(given, to, LATER).status is to
    else:
        with pytest.raises(HandoffRefused, match=f"hnd-1 cannot become {to.value}"):
            advance(given, to, LATER)


def test_the_life_is_the_one_that_is_drawn() -> None:
    ended = {S.COMPLETED, S.FAILED, S.EXPIRED}
    assert set(ALLOWED[S.DELIVERED]) == {S.ACCEPTED} | ended
    assert set(ALLOWED[S.ACCEPTED]) == ended
    assert all(ALLOWED[end] == () for end in ended)
    assert S.COMPLETED not in ALLOWED[S.CREATED]


def test_an_accepted_and_completed_handoff_keeps_when_by_whom_and_what_was_said(store: Store, inbox: Inbox) -> None:
    inbox.accept("hnd-1", by="Auditor", at=START)
    done = inbox.complete("hnd-1", by="Auditor", at=LATER, result="fixed\x1b[0m")
    assert store.get(Handoff, "hnd-1") == done
    assert (done.status, done.accepted_at, done.ended_at) == (S.COMPLETED, START, LATER)
    assert done.result == "fixed\\x1b[0m"
    assert [(note.what, note.text) for note in done.notes] == [("accepted", "by Auditor"), ("completed", "by Auditor")]


def test_a_handoff_can_be_completed_without_being_accepted_first(inbox: Inbox) -> None:
    assert inbox.complete("hnd-1", by="Auditor", at=LATER).status is S.COMPLETED


def test_every_answer_is_audited(inbox: Inbox, audited: list[tuple[str, dict[str, Any], datetime]]) -> None:
    inbox.fail("hnd-1", by="Auditor", at=LATER, result="cannot")
    said = {"handoff": "hnd-1", "incident": "inc-1", "status": "failed", "by": "Auditor", "result": "cannot"}
    assert audited == [("handoff", said, LATER)]


def test_an_answer_that_cannot_be_audited_is_not_taken(store: Store) -> None:
    def refuse(kind: str, payload: dict[str, Any], at: datetime) -> None:
        raise RuntimeError("no audit")

    store.put(handoff(1, status=S.DELIVERED))
    with pytest.raises(RuntimeError, match="no audit"):
        Inbox(store, refuse).complete("hnd-1", by="Auditor", at=LATER)
    assert store.get(Handoff, "hnd-1").status is S.DELIVERED


def test_an_ended_handoff_refuses_with_what_ended_it(inbox: Inbox) -> None:
    inbox.complete("hnd-1", by="Auditor", at=LATER)
    with pytest.raises(HandoffRefused, match=r"it ended \(completed\) at 2026-01-05 10:01:00; nothing"):
        inbox.accept("hnd-1", by="Auditor", at=LATER)


def test_an_unknown_handoff_is_not_found(inbox: Inbox) -> None:
    with pytest.raises(NotFound):
        inbox.complete("hnd-9", by="Auditor", at=LATER)


def test_open_handoffs_expire_at_their_deadline_and_ended_ones_do_not(
    store: Store, inbox: Inbox, audited: list[tuple[str, dict[str, Any], datetime]]
) -> None:
    deadline = START + timedelta(minutes=15)
    store.put(handoff(2, status=S.ACCEPTED), handoff(3, status=S.COMPLETED), handoff(4))
    store.put(msgspec.structs.replace(handoff(5), deadline=deadline + timedelta(microseconds=1)))
    assert inbox.expire(deadline - timedelta(microseconds=1)) == []
    audited.clear()
    assert [expired.id for expired in inbox.expire(deadline)] == ["hnd-1", "hnd-2", "hnd-4"]
    assert [(told["handoff"], told["status"], told["by"]) for _, told, _ in audited] == [
        (id, "expired", "self-healing") for id in ("hnd-1", "hnd-2", "hnd-4")
    ]
    assert store.get(Handoff, "hnd-1").ended_at == deadline
    assert inbox.expire(deadline) == []


def test_a_note_changes_the_state_and_not_the_message(store: Store, inbox: Inbox) -> None:
    before = store.get(Handoff, "hnd-1")
    noted = inbox.note("hnd-1", at=LATER, text="paused again\u202e")
    assert noted.notes[-1].text == "paused again\\u202e"
    assert (noted.message, noted.status) == (before.message, before.status)


def test_only_the_newest_notes_are_kept(inbox: Inbox) -> None:
    for number in range(MOST_NOTES + 5):
        noted = inbox.note("hnd-1", at=LATER, text=str(number))
    assert [note.text for note in noted.notes] == [str(number) for number in range(5, MOST_NOTES + 5)]


def test_handoffs_are_listed_by_status(store: Store, inbox: Inbox) -> None:
    store.put(handoff(2))
    assert [each.id for each in inbox.list()] == ["hnd-1", "hnd-2"]
    assert [each.id for each in inbox.list(S.CREATED)] == ["hnd-2"]
