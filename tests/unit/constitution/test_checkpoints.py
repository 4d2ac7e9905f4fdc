"""Checkpoints: what is done to the log, to its signatures or to their file is found and named."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import stat
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from self_healing.constitution.audit import HEAD, Audit
from self_healing.constitution.checkpoints import EVERY, Checkpoints, checkpoints_file, verify
from self_healing.constitution.keys import KEY, PUBLIC
from self_healing.errors import StateError
from self_healing.model import Decision
from self_healing.storage.readonly import DATABASE
from self_healing.storage.store import Store
from self_healing.testing import Scenario
from tests.unit.constitution.fine import NOW

Signed = tuple[Store, Path]


def write(store: Store, checkpoints: Checkpoints, entries: int, *, after_s: float = 0.0) -> None:
    at = NOW + timedelta(seconds=after_s)
    with store.transaction():
        for number in range(entries):
            Audit(store).append("decision", {"number": number}, at)
        checkpoints.take(at)
    checkpoints.publish()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "state") as opened:
        yield opened


@pytest.fixture
def signed(store: Store, tmp_path: Path) -> Signed:
    """A log of three checkpoints, about the entries 5, 11 and 17, and two entries after them."""
    file = checkpoints_file(tmp_path)
    checkpoints = Checkpoints(store, Audit(store), file)
    write(store, checkpoints, 4)
    for hour in (1, 2, 3):
        write(store, checkpoints, 1 if hour == 1 else 5, after_s=3600 * hour + 1)
    write(store, checkpoints, 2, after_s=4 * 3600)
    return store, file


def lines(file: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def tamper(store: Store, *statements: str) -> None:
    connection = sqlite3.connect(store.state_dir / DATABASE)
    with connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


def rechain(store: Store, upto: int) -> None:
    """Give every entry up to that one a right hash, drop the rest, and keep the head that fits."""
    connection = sqlite3.connect(store.state_dir / DATABASE)
    previous = "0" * 64
    with connection:
        connection.execute("DELETE FROM audit WHERE seq > ?", (upto,))
        for seq, at, kind, payload in connection.execute(
            "SELECT seq, at, kind, payload FROM audit ORDER BY seq"
        ).fetchall():
            text = msgspec.json.encode([seq, at, kind, msgspec.Raw(payload.encode())])
            digest = hashlib.sha256(previous.encode() + text).hexdigest()
            connection.execute("UPDATE audit SET previous = ?, hash = ? WHERE seq = ?", (previous, digest, seq))
            previous = digest
    connection.close()
    store.put_fact(HEAD, {"seq": upto, "hash": previous})


def test_what_was_signed_and_left_alone_is_found_right(signed: Signed) -> None:
    store, file = signed
    assert [each["seq"] for each in lines(file)] == [5, 11, 17]
    assert (verify(*signed).ok, verify(*signed).problem) == (True, None)
    assert Audit(store).tail(1)[0].kind == "decision"


def test_an_hour_without_entries_is_not_signed_and_a_thousand_entries_are_at_once(store: Store, tmp_path: Path) -> None:
    file = checkpoints_file(tmp_path)
    checkpoints = Checkpoints(store, Audit(store), file)
    write(store, checkpoints, EVERY - 1)
    assert not file.exists()
    write(store, checkpoints, 1)
    write(store, checkpoints, 0, after_s=9000)
    assert [each["seq"] for each in lines(file)] == [EVERY]


def test_the_key_is_its_owners_alone_and_stays(store: Store, tmp_path: Path) -> None:
    Checkpoints(store, Audit(store), tmp_path / "file")
    key = store.state_dir / KEY
    made = key.read_bytes()
    Checkpoints(store, Audit(store), tmp_path / "file")
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert key.read_bytes() == made
    key.unlink()
    with pytest.raises(StateError, match=r"audit\.key is gone; restore it"):
        Checkpoints(store, Audit(store), tmp_path / "file")


def edit_the_file(change: Callable[[list[str]], list[str]]) -> Callable[[Store, Path], None]:
    def edit(_store: Store, file: Path) -> None:
        file.write_text("".join(change(file.read_text().splitlines(keepends=True))))

    return edit


def edited_and_made_anew(store: Store, _file: Path) -> None:
    tamper(store, "UPDATE audit SET payload = '{\"number\":7}' WHERE seq = 2")
    rechain(store, 20)


def cut_off_with_its_head(store: Store, _file: Path) -> None:
    rechain(store, 13)


def without_a_checkpoint_in_the_middle(store: Store, _file: Path) -> None:
    tamper(store, "UPDATE audit SET kind = 'decision' WHERE seq = 12")
    rechain(store, 20)


def signed_by_another_key(store: Store, _file: Path) -> None:
    for name in (KEY, PUBLIC):
        (store.state_dir / name).unlink()
    Checkpoints(store, Audit(store), store.state_dir / "other")


def without_the_public_key(store: Store, _file: Path) -> None:
    (store.state_dir / PUBLIC).unlink()


@pytest.mark.parametrize(
    ("attack", "problem"),
    [
        (lambda store, _: tamper(store, "UPDATE audit SET kind = 'x' WHERE seq = 2"), "entry 2 was changed"),
        (lambda store, _: tamper(store, "DELETE FROM audit WHERE seq = 12"), "entry 12 is missing"),
        (edited_and_made_anew, "checkpoint 1 is about another entry 5 than the log has"),
        (cut_off_with_its_head, "checkpoint 3 is in the file and not in the log: it was cut off before entry 17"),
        (without_a_checkpoint_in_the_middle, "checkpoint 2 is missing from the log"),
        (signed_by_another_key, "checkpoint 1 in the log is forged"),
        (without_the_public_key, "audit.pub cannot be used"),
        (edit_the_file(lambda kept: kept[1:]), "checkpoint 1 is missing from the file"),
        (edit_the_file(lambda kept: [kept[0], kept[2]]), "checkpoint 2 is missing from the file"),
        (edit_the_file(lambda kept: kept[:1]), "checkpoint 2 is missing from the file"),
        (edit_the_file(lambda kept: [kept[1], kept[0], kept[2]]), "checkpoint 1 is missing from the file"),
        (
            edit_the_file(lambda kept: [kept[0].replace('"seq":5', '"seq":4'), *kept[1:]]),
            "checkpoint 1 in the file is forged",
        ),
        (edit_the_file(lambda kept: [*kept, "{}\n"]), "line 4 of the file of checkpoints is none"),
        (lambda _, file: file.unlink(), "checkpoint 1 is missing from the file"),
    ],
)
def test_each_way_to_tamper_is_found_and_named(
    signed: Signed, attack: Callable[[Store, Path], None], problem: str
) -> None:
    attack(*signed)
    report = verify(*signed)
    assert not report.ok
    assert report.problem is not None
    assert problem in report.problem


def test_an_end_that_was_cut_off_after_the_last_checkpoint_is_found_where_a_decision_says_that_it_was_there(
    tmp_path: Path,
) -> None:
    with Scenario(tmp_path) as fleet:
        fleet.finish("slow", duration_s=70.0)
        fleet.incident("slow_tasks")
        store, file = fleet.loop.store, checkpoints_file(tmp_path / "logs")
        [decision] = store.select(Decision)
        assert (verify(store, file).ok, decision.entry) == (True, 3)
        rechain(store, 2)
        problem = f"decision {decision.id} has entry 3, which the log lacks: it was cut off before that"
        assert verify(store, file).problem == problem
        with store.transaction():
            for _ in range(3):
                Audit(store).append("decision", {"decision": "dec-another"}, NOW)
        assert verify(store, file).problem == problem


@pytest.fixture
def trimmed(signed: Signed) -> Signed:
    """The same log without its entries 1 to 12, and the entry that says so."""
    store, file = signed
    checkpoints = Checkpoints(store, Audit(store), file)
    at = NOW + timedelta(days=31)
    with store.transaction():
        trim = checkpoints.too_old(timedelta(days=30), at, lambda: 13)
        assert trim is not None
        assert (trim.seq, checkpoints.trim(trim, at)) == (12, 12)
    return store, file


def test_a_log_that_was_trimmed_is_found_right_and_goes_on(trimmed: Signed) -> None:
    store, file = trimmed
    report = verify(store, file)
    assert (report.ok, report.problem, report.trimmed, report.entries) == (True, None, 12, 9)
    write(store, Checkpoints(store, Audit(store), file), 1, after_s=31 * 86400)
    assert (verify(store, file).ok, lines(file)[-1]["number"]) == (True, 4)
    assert Audit(store).whole()


def test_nothing_leaves_the_log_that_is_young_or_rested_on_nor_the_newest_checkpoint(signed: Signed) -> None:
    store, file = signed
    checkpoints = Checkpoints(store, Audit(store), file)
    write(store, checkpoints, 2, after_s=3 * 86400)

    def too_old(days: float, needed: int | None = None) -> int | None:
        found = checkpoints.too_old(timedelta(days=30), NOW + timedelta(days=days), lambda: needed)
        return None if found is None else found.seq

    assert too_old(30.9) is None
    assert too_old(32) == 20
    assert too_old(32, needed=3) == 2
    assert too_old(400) == 22
    assert too_old(400, needed=1) is None


def another_beginning(store: Store, _file: Path) -> None:
    other = json.dumps({"at": NOW.isoformat(), "hash": "0" * 64, "seq": 12, "signature": "00"}, separators=(",", ":"))
    tamper(store, f"UPDATE audit SET payload = '{other}' WHERE kind = 'trimmed'")


def without_saying_so(store: Store, _file: Path) -> None:
    tamper(store, "UPDATE audit SET kind = 'decision' WHERE kind = 'trimmed'")


def trimmed_by_somebody_else(store: Store, file: Path) -> None:
    keys = {name: (store.state_dir / name).read_bytes() for name in (KEY, PUBLIC)}
    for name in keys:
        (store.state_dir / name).unlink()
    forger = Checkpoints(store, Audit(store), file)
    with store.transaction():
        trim = forger.too_old(timedelta(0), NOW + timedelta(days=40), lambda: 16)
        assert trim is not None
        forger.trim(trim, NOW)
    for name, key in keys.items():
        (store.state_dir / name).write_bytes(key)


@pytest.mark.parametrize(
    ("attack", "problem"),
    [
        (lambda store, _: tamper(store, "DELETE FROM audit WHERE seq = 13"), "entry 13 is missing"),
        (another_beginning, "entry 13 does not follow from the entry before it"),
        (without_saying_so, "entry 1 is missing"),
        (trimmed_by_somebody_else, "that the log begins after entry 15 is forged"),
        (edit_the_file(lambda kept: kept[1:]), "checkpoint 1 is missing from the file"),
        (edit_the_file(lambda kept: kept[:1]), "checkpoint 2 is missing from the file"),
    ],
)
def test_what_is_taken_from_a_trimmed_log_is_found(
    trimmed: Signed, attack: Callable[[Store, Path], None], problem: str
) -> None:
    attack(*trimmed)
    report = verify(*trimmed)
    assert (report.ok, problem in str(report.problem)) == (False, True), report.problem


def test_a_checkpoint_that_a_crash_kept_from_the_file_is_written_with_the_next_start(signed: Signed) -> None:
    store, file = signed
    whole = file.read_text()
    file.write_text("".join(whole.splitlines(keepends=True)[:2]))
    assert verify(store, file).ok
    Checkpoints(store, Audit(store), file).publish()
    assert file.read_text() == whole


def test_a_file_that_cannot_be_written_is_a_problem_until_it_can(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "blocked" / "checkpoints.jsonl"
    file.parent.write_text("a file where the directory should be")
    checkpoints = Checkpoints(store, Audit(store), file)
    write(store, checkpoints, EVERY)
    assert checkpoints.problem is not None
    assert "cannot take the checkpoints" in checkpoints.problem
    file.parent.unlink()
    checkpoints.publish()
    assert (str(checkpoints.problem), len(lines(file))) == ("None", 1)


def test_the_loop_signs_hourly_and_at_a_clean_stop(tmp_path: Path) -> None:
    with Scenario(tmp_path) as fleet:
        file = checkpoints_file(fleet.settings.storage.logs_dir)
        fleet.finish("slow", duration_s=70.0).at(10)
        assert not file.exists()
        fleet.loop.seal()
        fleet.loop.seal()
        assert len(lines(file)) == 1
        fleet.finish("quick", duration_s=1.0).at(3700, step_s=60).finish("slow again", duration_s=70.0).at(3720)
        fleet.at(7400, step_s=60)
        assert len(lines(file)) >= 2
        assert verify(fleet.loop.store, file).ok
